"""The state file beside a part file: what is known about its bytes.  Pure."""

import json

import attrs

from dexcmd.errors import ResponseDecodeError
from dexcmd.transfer.ranges import Have, Version
from dexcmd.wire.converter import register_model, structure

__all__ = ["PartState", "parse_state"]

FORMAT = 1


@attrs.frozen(kw_only=True)
class PartState:
    """Which artifact and version a part file belongs to, and how many of its bytes can be relied on."""

    format: int = FORMAT
    command_id: str
    filename: str
    etag: str | None
    last_modified: str | None
    size: int | None
    durable: int
    """The number of bytes synced to disk, which survive even a power failure."""

    boot: str | None
    """The boot id of the system that wrote it; None where there is none."""

    @property
    def version(self) -> Version:
        """The version of the artifact that the bytes belong to."""
        return Version(self.etag, self.last_modified, self.size)

    def encode(self) -> bytes:
        """Return the content of the state file."""
        return json.dumps(attrs.asdict(self), indent=1).encode()

    def have(self, written: int, boot: str | None) -> Have:
        """Return what can be resumed from, given the `written` bytes of the part file and the current `boot` id.

        Written bytes survive the end of a process.  After a reboot, or without a boot id, only synced ones count.
        """
        reliable = written if boot is not None and boot == self.boot else min(written, self.durable)
        return Have(reliable if self.size is None else min(reliable, self.size), self.version)


register_model(PartState)


def parse_state(data: bytes, command_id: str, filename: str) -> PartState | None:
    """Parse a state file; None if it is invalid, or of another artifact or format."""
    try:
        state = structure(json.loads(data), PartState, "$")
    except (ValueError, RecursionError, ResponseDecodeError):
        return None
    described = (state.format, state.command_id, state.filename)
    good = described == (FORMAT, command_id, filename) and state.durable >= 0 and (state.size is None or state.size > 0)
    return state if good else None
