"""The artifacts of the sandbox's commands: zip archives of captures, logs and measurements."""

# Pure.  Names and addresses are those reserved for examples, and everything is derived from the `ArtifactSpec`
# alone.  A large artifact is never held in memory: its bytes are generated as they are read.

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import attrs

from dexcmd.sandbox.diagnostics import warp_diag
from dexcmd.sandbox.dice import Dice
from dexcmd.sandbox.making import DEFAULT_SNAPLEN, INTERFACES, ArtifactSpec, Making, stamp
from dexcmd.sandbox.pcap import least_size
from dexcmd.sandbox.zipfiles import ZIP64_FROM, Archive, Member

__all__ = ["Artifact", "ArtifactSpec", "build_artifact"]

_LARGEST_SNAPLEN = 262_144


@attrs.frozen
class Artifact:
    """A zip archive whose bytes are generated on demand; it can be read repeatedly and from any offset."""

    size: int  #: bytes
    etag: str  #: strong, with its quotes
    last_modified: datetime  #: aware, in whole seconds
    content_type: str
    _archive: Archive = attrs.field(repr=False, alias="archive")

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in pieces of at most 256 KiB; a `stop` of None means the end.

        Raises `ValueError`, before yielding anything, if the range is out of bounds.
        """
        return self._archive.read(start, stop)


def build_artifact(spec: ArtifactSpec) -> Artifact:
    """Return the artifact of a command; the same spec always gives the same bytes.

    Raises `ValueError` for an unknown type, a naive time, or a size below the minimum, which the message names.
    """
    if spec.created.tzinfo is None:
        raise ValueError("an artifact's time must be timezone-aware")
    if spec.command_type not in _BUILDERS:
        raise ValueError(f"no command of type {spec.command_type!r} leaves an artifact")
    build, smallest, largest = _BUILDERS[spec.command_type]
    dice = Dice.of(spec.command_id, spec.revision)
    usual = dice.between(smallest, largest)
    size = usual if spec.size is None else spec.size
    archive = Archive(build(Making(spec, size, dice)), zip64=size >= ZIP64_FROM)
    created = spec.created.astimezone(UTC)
    facts = attrs.asdict(spec, recurse=False) | {"args": dict(spec.args), "created": created, "size": size}
    digest = hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()
    return Artifact(
        size=archive.size,
        etag=f'"{digest[:32]}"',
        last_modified=created.replace(microsecond=0) + timedelta(seconds=spec.revision),
        content_type="application/zip",
        archive=archive,
    )


# -- pcap ----------------------------------------------------------------------------------------------------


def _results(spec: ArtifactSpec, captures: Mapping[str, tuple[int, int, datetime, datetime]]) -> str:
    """Return the report on captures: per interface its bytes, its packets, its first and last time."""
    interfaces = {
        name: {
            "status": "SUCCESS",
            "file": f"capture-{name}.pcap",
            "bytes": size,
            "packets": packets,
            "started_at": stamp(first),
            "ended_at": stamp(last),
        }
        for name, (size, packets, first, last) in captures.items()
    }
    report = {
        "command_id": spec.command_id,
        "type": spec.command_type,
        "status": "SUCCESS",
        "device": {"name": spec.device_name, "platform": spec.platform, "version": spec.version},
        "user_email": spec.user_email,
        "args": dict(spec.args),
        "interfaces": interfaces,
    }
    return json.dumps(report, indent=1, default=str) + "\n"


def _snaplen(args: Mapping[str, object]) -> int:
    wanted = float(str(args.get("packet-size-bytes", DEFAULT_SNAPLEN)))
    return int(min(max(wanted, 1), _LARGEST_SNAPLEN))


def _pcap(making: Making) -> list[Member]:
    spec, snaplen = making.spec, _snaplen(making.spec.args)
    least = least_size(snaplen)
    # The report's length depends on the captures, whose sizes depend on its length: reserve room for the longest.
    widest = (10**14, 10**14, spec.created, spec.created)
    room = len(_results(spec, dict.fromkeys(INTERFACES, widest)).encode())
    names = [f"capture-{name}.pcap" for name in INTERFACES]
    space = making.space([(name, 0) for name in names] + [("results.json", room)], 2 * least)
    sizes = {"tunnel": max(space * 9 // 20, least)}
    sizes["default"] = space - sizes["tunnel"]
    captures = {name: making.capture(name, sizes[name], snaplen) for name in INTERFACES}
    results = _results(
        spec, {name: (sizes[name], made.packets, made.first, made.last) for name, made in captures.items()}
    )
    return [
        *(Member(f"capture-{name}.pcap", made.content, spec.created) for name, made in captures.items()),
        making.text("results.json", results + " " * (room - len(results.encode()))),
    ]


# -- speed-test ----------------------------------------------------------------------------------------------


def _speed_test(making: Making) -> list[Member]:
    spec, dice = making.spec, making.dice
    # The API takes a list but echoes values as strings: the text of either contains the names.
    wanted = str(spec.args.get("interfaces"))
    chosen = [name for name in INTERFACES if name in wanted]
    members: list[Member] = []
    for name in chosen or INTERFACES:
        result = {
            "command_id": spec.command_id,
            "interface": name,
            "status": "SUCCESS",
            "started_at": stamp(making.started),
            "server": {"host": "speed.example.net", "address": f"198.51.100.{dice.between(1, 254)}"},
            "latency_ms": dice.between(40, 900) / 10,
            "jitter_ms": dice.between(1, 90) / 10,
            "packet_loss": dice.below(4) / 1000,
            "download_mbps": [dice.between(2_000, 90_000) / 100 for _ in range(8)],
            "upload_mbps": [dice.between(500, 20_000) / 100 for _ in range(8)],
        }
        members.append(making.text(f"speed-test-{name}.json", json.dumps(result, indent=1) + "\n"))
    space = making.space([*((each.name, each.content.size) for each in members), ("speed-test.log", 0)])
    return [*members, making.log("speed-test.log", space)]


# Per type: the builder of the members, and the smallest and largest plausible size.
_BUILDERS: Mapping[str, tuple[Callable[[Making], list[Member]], int, int]] = {
    "pcap": (_pcap, 20 * 1024, 200 * 1024),
    "warp-diag": (warp_diag, 100 * 1024, 400 * 1024),
    "speed-test": (_speed_test, 3 * 1024, 9 * 1024),
}
