"""What is known of a part file, as kept in the small file beside it.  Pure."""

import json

import attrs

from dexcmd.errors import ResponseDecodeError
from dexcmd.transfer.ranges import Have, Version
from dexcmd.wire.converter import register_model, structure

__all__ = ["PartState", "parse_state"]

FORMAT = 1


@attrs.frozen(kw_only=True)
class PartState:
    """Of which artifact and version a part is, and how much of it can be relied on."""

    format: int = FORMAT
    command_id: str
    filename: str
    etag: str | None
    last_modified: str | None
    size: int | None
    durable: int
    """So many bytes were synced to disk: they are there even after a power cut."""

    boot: str | None
    """Which run of the operating system wrote it; None where that can't be told."""

    @property
    def version(self) -> Version:
        """The version of the artifact."""
        return Version(self.etag, self.last_modified, self.size)

    def encode(self) -> bytes:
        """Return the content of the state file."""
        return json.dumps(attrs.asdict(self), indent=1).encode()

    def have(self, written: int, boot: str | None) -> Have:
        """Return what can be gone on from, where the part file has `written` bytes, in the run `boot` of the system.

        What a process wrote outlives its end, but not that of the system: then only what was synced counts.
        """
        reliable = written if boot is not None and boot == self.boot else min(written, self.durable)
        return Have(reliable if self.size is None else min(reliable, self.size), self.version)


register_model(PartState)


def parse_state(data: bytes, command_id: str, filename: str) -> PartState | None:
    """Return what a state file says; None where it can't be read, or is of another artifact or format."""
    try:
        state = structure(json.loads(data), PartState, "$")
    except (ValueError, RecursionError, ResponseDecodeError):
        return None
    described = (state.format, state.command_id, state.filename)
    good = described == (FORMAT, command_id, filename) and state.durable >= 0 and (state.size is None or state.size > 0)
    return state if good else None
