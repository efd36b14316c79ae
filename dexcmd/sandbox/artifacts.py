"""The artifacts that the sandbox's commands leave behind: zip archives of captures, logs and measurements.

Pure.  Everything in them is made up of names and addresses that are reserved for examples, and follows from
the `ArtifactSpec` alone.  Nothing of a large artifact is held: its bytes are made as they are read.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache

import attrs

from dexcmd.sandbox.packets import Dice, Link, mac, packed
from dexcmd.sandbox.pcap import TURNS, VirtualPcap, least_size, virtual_pcap
from dexcmd.sandbox.zipfiles import ZIP64_FROM, Archive, Blocks, Loaded, Member, archive_size

__all__ = ["Artifact", "ArtifactSpec", "build_artifact"]

_INTERFACES = ("default", "tunnel")
_DEFAULT_SNAPLEN, _LARGEST_SNAPLEN = 160, 262_144
# So few that the blocks behind small captures are soon all made; ports and times differ anyway.
_VARIANTS = 2

_LOG_BLOCK = 1 << 20
_SMALLEST_LOG_BLOCK = 64 * 1024
_LOG_LINE_EVERY = 320  # milliseconds: a block's lines fit into the hour that they share


@attrs.frozen
class ArtifactSpec:
    """What an artifact follows from."""

    command_id: str
    command_type: str  #: "pcap", "warp-diag" or "speed-test"
    device_name: str
    user_email: str
    platform: str  #: "windows", "mac", "linux", "ios", "android" or "chromeos"
    version: str  #: of the client, such as "2025.4.929.0"
    args: Mapping[str, object]  #: of the command, by their wire names
    created: datetime  #: aware; packets were seen from then on
    size: int | None = None  #: of the whole archive in bytes; None for a plausible one
    revision: int = 0  #: another revision has other content and another ETag


@attrs.frozen
class Artifact:
    """A zip archive whose bytes are made while it is read, as often and from wherever one likes."""

    size: int  #: bytes
    etag: str  #: strong, with its quotes
    last_modified: datetime  #: aware, in whole seconds
    content_type: str
    _archive: Archive = attrs.field(repr=False, alias="archive")

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in pieces of at most 256 KiB; `stop` None is the end.

        ValueError, at once, for a range that is not inside.
        """
        return self._archive.read(start, stop)


def build_artifact(spec: ArtifactSpec) -> Artifact:
    """Return the artifact of a command; the same spec always gives the same bytes.

    ValueError for an unknown type, a naive time, and a size that is too small (it says the least one).
    """
    if spec.created.tzinfo is None:
        raise ValueError("an artifact's time must be timezone-aware")
    if spec.command_type not in _BUILDERS:
        raise ValueError(f"no command of type {spec.command_type!r} leaves an artifact")
    build, smallest, largest = _BUILDERS[spec.command_type]
    dice = Dice.of(spec.command_id, spec.revision)
    usual = dice.between(smallest, largest)
    size = usual if spec.size is None else spec.size
    archive = Archive(build(_Making(spec, size, dice)), zip64=size >= ZIP64_FROM)
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


@attrs.frozen
class _Making:
    """An artifact in the making."""

    spec: ArtifactSpec
    size: int
    dice: Dice

    @property
    def variant(self) -> int:
        """Which of a few clients this is."""
        return Dice.of("variant", self.spec.command_id).below(_VARIANTS)

    @property
    def turn(self) -> int:
        """What ports and process ids start from; the next revision's is another."""
        return (Dice.of("turn", self.spec.command_id).below(TURNS) + self.spec.revision) % TURNS

    @property
    def started(self) -> datetime:
        """When the device began; a later revision began later."""
        return self.spec.created + timedelta(seconds=self.spec.revision)

    def text(self, name: str, text: str) -> Member:
        """Return a small member."""
        return Member(name, Loaded(text.encode()), self.spec.created)

    def capture(self, interface: str, size: int, snaplen: int) -> VirtualPcap:
        """Return what was seen on an interface."""
        return virtual_pcap(
            size,
            snaplen=snaplen,
            link=_link(interface, self.variant),
            seed=f"{interface} {self.variant}",
            started=self.started,
            turn=self.turn,
        )

    def log(self, name: str, size: int) -> Member:
        """Return a log of any size."""
        return Member(name, _log(size, self.started, 1000 + self.turn % 9000), self.spec.created)

    def space(self, members: Sequence[tuple[str, int]], least: int = 0) -> int:
        """Return how many bytes the members leave free, their headers counted.

        ValueError if that is below `least`.
        """
        space = self.size - archive_size(members, zip64=self.size >= ZIP64_FROM)
        if space < least:
            smallest = self.size - space + least
            kind = self.spec.command_type
            raise ValueError(f"a {kind} artifact like this has at least {smallest} bytes, not {self.size}")
        return space

    def cost(self, member: Member) -> int:
        """Return how much larger a member makes the archive."""
        with_it, without = ((member.name, member.content.size),), ()
        wide = self.size >= ZIP64_FROM
        return archive_size(with_it, zip64=wide) - archive_size(without, zip64=wide)


@lru_cache(maxsize=2 * _VARIANTS)
def _link(interface: str, variant: int) -> Link:
    """Return the network interface of one of a few clients."""
    tunnel = interface == "tunnel"
    net = f"100.96.{variant}" if tunnel else f"10.20.{variant}"
    return Link(
        mac=mac(0x10_00 + 2 * variant + tunnel),
        gateway_mac=mac(0x20_00 + 2 * variant + tunnel),
        address=packed(f"{net}.23"),
        address6=packed(f"2001:db8:{20 + variant}:{int(tunnel)}::23"),
        gateway=packed(f"{net}.1"),
        resolver=packed(f"{net}.53"),
        tunnel=None if tunnel else packed("192.0.2.40"),
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _snaplen(args: Mapping[str, object]) -> int:
    wanted = int(float(str(args.get("packet-size-bytes", _DEFAULT_SNAPLEN))))
    return min(max(wanted, 1), _LARGEST_SNAPLEN)


# -- pcap ----------------------------------------------------------------------------------------------------


def _results(spec: ArtifactSpec, captures: Mapping[str, tuple[int, int, datetime, datetime]]) -> str:
    """Return the report on captures: per interface its bytes, its packets, its first and last time."""
    interfaces = {
        name: {
            "status": "SUCCESS",
            "file": f"capture-{name}.pcap",
            "bytes": size,
            "packets": packets,
            "started_at": _stamp(first),
            "ended_at": _stamp(last),
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


def _pcap(making: _Making) -> list[Member]:
    spec, snaplen = making.spec, _snaplen(making.spec.args)
    least = least_size(snaplen)
    # How long the report gets depends on the captures, whose sizes depend on its length: it has room for all.
    widest = (10**14, 10**14, spec.created, spec.created)
    room = len(_results(spec, dict.fromkeys(_INTERFACES, widest)).encode())
    names = [f"capture-{name}.pcap" for name in _INTERFACES]
    space = making.space([(name, 0) for name in names] + [("results.json", room)], 2 * least)
    sizes = {"tunnel": max(space * 9 // 20, least)}
    sizes["default"] = space - sizes["tunnel"]
    captures = {name: making.capture(name, sizes[name], snaplen) for name in _INTERFACES}
    results = _results(
        spec, {name: (sizes[name], made.packets, made.first, made.last) for name, made in captures.items()}
    )
    return [
        *(Member(f"capture-{name}.pcap", made.content, spec.created) for name, made in captures.items()),
        making.text("results.json", results + " " * (room - len(results.encode()))),
    ]


# -- speed-test ----------------------------------------------------------------------------------------------


def _speed_test(making: _Making) -> list[Member]:
    spec, dice = making.spec, making.dice
    # The API takes a list and echoes values as strings: either has the names in its text.
    wanted = str(spec.args.get("interfaces"))
    chosen = [name for name in _INTERFACES if name in wanted]
    members: list[Member] = []
    for name in chosen or _INTERFACES:
        result = {
            "command_id": spec.command_id,
            "interface": name,
            "status": "SUCCESS",
            "started_at": _stamp(making.started),
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


# -- warp-diag -----------------------------------------------------------------------------------------------

_ALL = "windows mac linux ios android chromeos"
_UNIX = "mac linux ios android chromeos"
_DESKTOP = "windows mac linux"


@attrs.frozen
class _Text:
    """A file of text: a head, then rows that differ in a counter `n`, a byte `a` and 16 bits `b`."""

    name: str
    platforms: str
    head: str
    row: str = ""
    rows: int = 0


# Without these no collection is useful; they are there however small it has to be.
_CORE = (
    _Text("warp-status.txt", _ALL, "Status update: Connected\nNetwork: healthy\nOrganization: example\n"),
    _Text(
        "warp-settings.txt",
        _ALL,
        "Merged configuration:\n(network policy)\tMode: WarpWithDnsOverHttps\n"
        "(network policy)\tExclude mode, with hosts/ips:\n  10.0.0.0/8\n  203.0.113.0/24 (office)\n"
        "(user set)\tAlways On: true\n(network policy)\tSwitch Locked: true\n"
        "(not set)\tOnboarding: true\n(network policy)\tSupport URL: https://help.example.com\n",
    ),
)

_MORE = (
    _Text("version.txt", _ALL, "Version: {version}\nPlatform: {platform}\nCollected: {created}\n"),
    _Text("warp-account.txt", _ALL, "Account type: Team\nDevice: {device}\nUser: {email}\nId: {command}\n"),
    _Text("platform.txt", _ALL, "{platform} on {device}, client {version}\n"),
    _Text("date.txt", _ALL, "{created}\n"),
    _Text("timezone.txt", _ALL, "Etc/UTC (UTC, +0000)\n"),
    _Text(
        "connectivity.log",
        _ALL,
        "{created} connectivity checks on {device}\n",
        "check {n:03}: https://edge{a}.example.net/trace -> 200 in {b} us over default, warp=on\n",
        96,
    ),
    _Text(
        "captive-portal-check.txt",
        _ALL,
        "GET http://captive.example.com/generate_204\n",
        "try {n}: 204 after {a} ms\n",
        4,
    ),
    _Text(
        "dns-check.txt",
        _ALL,
        "Resolver 100.96.{variant}.53, over the tunnel\n",
        "www{n}.example.com. {b} IN A 198.51.100.{a}  ;; NOERROR\n",
        64,
    ),
    _Text("dig.txt", _ALL, "; <<>> DiG <<>> example.com\n;; ANSWER SECTION:\nexample.com. 300 IN A 192.0.2.80\n"),
    _Text("dns-upstreams.txt", _ALL, "", "upstream {n}: 2001:db8:53::{a:x} rtt {b} us, 0 failures\n", 6),
    _Text("dns-fallbacks.txt", _ALL, "", "corp{n}.example.net -> 10.20.{variant}.53\n", 12),
    _Text("warp-stats.txt", _ALL, "Sent: {number} B\nReceived: {number} B\nLoss: 0.1%\n"),
    _Text("warp-network.txt", _ALL, "", "flow {n:04}: 100.96.{variant}.23:{b} -> 203.0.113.{a}:443 open\n", 72),
    _Text("warp-device-posture.txt", _ALL, "", "rule {n}: firewall=on disk_encrypted=on score={a}\n", 10),
    _Text("warp-bus-metrics.txt", _ALL, "", "subscriber {n}: depth {a} of 256, sent {b}\n", 24),
    _Text("virtual-networks.txt", _ALL, "", "vnet{n}\tDefault: false\tComment: site {a}\n", 5),
    _Text("tunnel-keepalives.txt", _ALL, "", "{n:05} peer 192.0.2.40:2408 answered in {b} us\n", 128),
    _Text("alternate-networks.txt", _ALL, "", "network {n}: beacon 10.{a}.0.1:3333 not reachable\n", 3),
    _Text(
        "hosts.txt",
        _DESKTOP,
        "127.0.0.1 localhost\n::1 localhost\n",
        "10.20.{a}.{n} host{n}.example.net\n",
        16,
    ),
    _Text("processes.txt", _DESKTOP, "PID CPU MEM NAME\n", "{b:6} 0.{n:02} {a:4} service-{n}\n", 90),
    _Text(
        "netstat.txt",
        _DESKTOP,
        "Proto Local Foreign State\n",
        "tcp 10.20.{variant}.23:{b} 198.51.100.{a}:443 UP\n",
        80,
    ),
    _Text("traceroute.txt", _DESKTOP, "to edge.example.net\n", "{n:2}  10.{a}.{n}.1  {b} us\n", 14),
    _Text("installed-certificates.txt", _DESKTOP, "", "{n}: CN=Example Root {n}, expires 20{n:02}-01-01\n", 60),
    _Text("gui-launcher.log", _DESKTOP, "", "{created} DEBUG gui: frame {n} drawn in {b} us\n", 40),
    _Text("ipconfig.txt", "windows", "Windows IP Configuration\n", "Adapter {n}: 10.20.{variant}.{a}\n", 9),
    _Text(
        "route-print.txt",
        "windows",
        "IPv4 Route Table\n",
        "10.{a}.0.0 255.255.0.0 On-link 100.96.{variant}.23 {n}\n",
        60,
    ),
    _Text(
        "systeminfo.txt",
        "windows",
        "Host Name: {device}\nOS Name: Windows 11 Enterprise\n",
        "Hotfix {n}: KB50{b:05}\n",
        12,
    ),
    _Text(
        "event-log.txt",
        "windows",
        "",
        "{created} Information {b} service {n} entered the running state\n",
        70,
    ),
    _Text("firewall-rules.txt", "windows", "", "Rule {n}: Allow In TCP {b} from 10.{a}.0.0/16\n", 80),
    _Text("gpresult.txt", "windows", "Policies applied to {device}\n", "Policy {n}: revision {b}\n", 20),
    _Text("ifconfig.txt", _UNIX, "", "if{n}: flags=8863<UP,RUNNING> mtu 1280 inet 10.20.{variant}.{a}\n", 9),
    _Text(
        "route-table.txt",
        _UNIX,
        "Destination Gateway Interface\n",
        "10.{a}.{n}.0/24 100.96.{variant}.1 if9\n",
        60,
    ),
    _Text(
        "scutil-dns.txt",
        "mac ios",
        "DNS configuration\n",
        "resolver #{n}: nameserver 10.20.{variant}.53 order {b}\n",
        12,
    ),
    _Text("scutil-proxy.txt", "mac", "<dictionary> {{\n  HTTPEnable : 0\n}}\n"),
    _Text("pfctl-rules.txt", "mac", "", "pass out quick on utun{n} inet from any to 10.{a}.0.0/16\n", 40),
    _Text(
        "system-profiler.txt",
        "mac",
        "Software:\n  System Version: macOS 15.4\n",
        "  Extension {n}: build {b}\n",
        24,
    ),
    _Text("uname.txt", "linux android chromeos", "Linux {device} 6.8.0 #1 SMP x86_64\n"),
    _Text("resolv-conf.txt", "linux android chromeos", "nameserver 100.96.{variant}.53\nsearch example.net\n"),
    _Text(
        "nft-rules.txt",
        "linux android chromeos",
        "table inet warp\n",
        "ip daddr 10.{a}.{n}.0/24 accept\n",
        50,
    ),
    _Text("resolvectl.txt", "linux", "Global\n", "Link {n}: 10.20.{variant}.53 DNSOverTLS=no cache {b}\n", 8),
    _Text("journalctl.txt", "linux", "", "{created} {device} warp-svc[{b}]: unit {n} reloaded\n", 90),
)

_ROUTES_TESTED, _ROUTES_TESTED_IN_SHORT = 64, 2


def _written(making: _Making, text: _Text) -> Member:
    spec, dice = making.spec, making.dice
    facts = {
        "created": _stamp(making.started),
        "command": spec.command_id,
        "device": spec.device_name,
        "email": spec.user_email,
        "platform": spec.platform,
        "version": spec.version,
        "variant": making.variant,
        "number": dice.below(2**31),
    }
    rows = [text.row.format(n=n, a=dice.below(256), b=dice.below(65536), **facts) for n in range(text.rows)]
    return making.text(text.name, text.head.format(**facts) + "".join(rows))


def _extras(making: _Making) -> Iterator[Member]:
    """Yield what a collection has besides its core, the more telling first."""
    spec = making.spec
    thorough = str(spec.args.get("test-all-routes", True)).lower() != "false"
    tested = _ROUTES_TESTED if thorough else _ROUTES_TESTED_IN_SHORT
    row = "route {n:03}: 203.0.113.{a} answered in {b} us over the tunnel\n"
    yield _written(making, _Text("route-tests.txt", _ALL, "{created} testing routes\n", row, tested))
    for text in _MORE:
        if spec.platform in text.platforms.split():
            yield _written(making, text)
    for name in _INTERFACES:
        capture = making.capture(name, making.dice.between(4_000, 12_000), _DEFAULT_SNAPLEN)
        yield Member(f"capture-{name}.pcap", capture.content, spec.created)


def _warp_diag(making: _Making) -> list[Member]:
    members = [_written(making, text) for text in _CORE]
    space = making.space([*((each.name, each.content.size) for each in members), ("daemon.log", 0)])
    # The log gets a quarter at least: it is what people look into first.
    left = space * 3 // 4
    for member in _extras(making):
        needed = making.cost(member)
        if needed <= left:
            members.append(member)
            left -= needed
            space -= needed
    return [*members, making.log("daemon.log", space)]


# -- logs of any size ----------------------------------------------------------------------------------------

_MESSAGES = (
    " INFO main_loop: warp::warp_service: Entered main loop arm branch=incoming_ipc elapsed={b}us depth={a}",
    "DEBUG actor_device_state: Evaluated rule number={a} in {b}us, posture unchanged since the last one",
    "DEBUG warp_net::ipc: Accepted a connection handle={b} from user interface process, protocol version={a}",
    " INFO warp_edge::tunnel: Keepalive answered peer=192.0.2.40:2408 rtt={b}us lost={a} of the last 10000",
    "DEBUG dns_proxy: Answered query id={b} www{a}.example.com. IN A 198.51.100.{a} from 2001:db8:53::1",
    "DEBUG dns_proxy: Forwarded query id={b} corp{a}.example.net. to fallback resolver 10.20.0.53, udp",
    " INFO connectivity: Reached https://edge.example.net/trace over default colo=EX{a} elapsed={b}us",
    " WARN firewall: Rule set differs from the wanted one entries={a} checksum={b:08x}, applied it once more",
    "TRACE route_monitor: Interface event index={a} kind=address-changed generation={b}, nothing to do",
    "DEBUG stats: tunnel sent={b}kB received={b}kB estimated_loss=0.{a:03} latency={a}ms handshake_age={a}s",
)


_HOUR_SIZE = len("[1234] 2025-04-02T11")


@lru_cache(maxsize=8)
def _log_lines(limit: int) -> tuple[bytes, ...]:
    """Return at least `limit` bytes of lines of one hour, without the process and the hour before each."""
    dice = Dice.of("log")
    lines: list[bytes] = []
    size = 0
    while size < limit:
        seconds, milliseconds = divmod(_LOG_LINE_EVERY * len(lines) + dice.below(_LOG_LINE_EVERY), 1000)
        message = _MESSAGES[dice.below(len(_MESSAGES))].format(a=dice.below(250), b=dice.below(65536))
        line = f":{seconds // 60:02}:{seconds % 60:02}.{milliseconds:03}Z {message}\n".encode()
        lines.append(line)
        size += _HOUR_SIZE + len(line)
    return tuple(lines)


@attrs.frozen
class _Log:
    """A log: blocks of the same lines, each an hour later, the last one cut off wherever the size says so."""

    lines: tuple[bytes, ...]
    first: datetime  #: the hour of the first block, UTC
    pid: int  #: four digits
    count: int  #: whole blocks
    rest: int  #: bytes of the block that is cut off

    def hour(self, index: int) -> bytes:
        """Return what all lines of a block begin with."""
        return f"[{self.pid}] {self.first + timedelta(hours=index):%Y-%m-%dT%H}".encode()

    def made(self, index: int) -> bytes:
        """Return a block; after the whole ones what is left."""
        block = self.hour(index).join((b"", *self.lines))
        if index < self.count:
            return block
        return block[: self.rest - 1] + b"\n" if self.rest else b""

    @cached_property
    def _first_crc32(self) -> int:
        return zlib.crc32(self.made(0))

    @cached_property
    def _effects(self) -> dict[tuple[int, int], int]:
        """What the CRC-32 of a block changes by (xor) when a bit of its hour does, in all lines at once."""
        hour = self.hour(0)
        effects: dict[tuple[int, int], int] = {}
        for position, bit in ((position, bit) for position in range(len(hour)) for bit in range(4)):
            other = bytearray(hour)
            other[position] ^= 1 << bit
            block = bytes(other).join((b"", *self.lines))
            effects[position, bit] = zlib.crc32(block) ^ self._first_crc32
        return effects

    def crc32(self, index: int) -> int:
        """Return the CRC-32 of a whole block without making it; digits differ in four bits only."""
        crc = self._first_crc32
        for position, (ours, first) in enumerate(zip(self.hour(index), self.hour(0), strict=True)):
            for bit in range(4):
                if (ours ^ first) >> bit & 1:
                    crc ^= self._effects[position, bit]
        return crc


def _log(size: int, ended: datetime, pid: int) -> Blocks:
    """Return a log of `size` bytes that ends in the hour before `ended`."""
    limit = _SMALLEST_LOG_BLOCK
    while limit < min(size, _LOG_BLOCK):
        limit *= 2
    lines = _log_lines(limit)
    block_size = sum(_HOUR_SIZE + len(line) for line in lines)
    count, rest = divmod(size, block_size)
    hour = ended.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    log = _Log(lines, hour - timedelta(hours=count + 1), pid, count, rest)
    return Blocks(b"", block_size, count, rest, log.made, log.crc32)


_BUILDERS: Mapping[str, tuple[Callable[[_Making], list[Member]], int, int]] = {
    "pcap": (_pcap, 20 * 1024, 200 * 1024),
    "warp-diag": (_warp_diag, 100 * 1024, 400 * 1024),
    "speed-test": (_speed_test, 3 * 1024, 9 * 1024),
}
