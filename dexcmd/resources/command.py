"""A command as the service reports it."""

import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from dexcmd.errors import ConfigurationError
from dexcmd.safe_text import brief_repr
from dexcmd.wire.converter import register_model, structure_rows

__all__ = [
    "FAILED",
    "PENDING_EXEC",
    "PENDING_UPLOAD",
    "STATUSES",
    "SUCCESS",
    "Command",
    "check_command_id",
    "command_id_of",
    "decode_commands",
    "identity",
]

PENDING_EXEC = "PENDING_EXEC"
PENDING_UPLOAD = "PENDING_UPLOAD"
SUCCESS = "SUCCESS"
FAILED = "FAILED"

STATUSES = frozenset({PENDING_EXEC, PENDING_UPLOAD, SUCCESS, FAILED})
"""All documented values; others may occur."""

_IN_NO_ID = re.compile(r"[ /\\\ufffd]")
"""The last one stands for undecodable bytes."""


@attrs.frozen(kw_only=True)
class Command:
    """A command, as a row of the list or of the response to a POST.

    Any field may be None: the service guarantees none of them in the list, and the response to a POST has no user,
    dates or file name.
    """

    id: str | None = None
    type: str | None = None
    """`pcap`, `speed-test` or `warp-diag`; other values are passed through."""

    status: str | None = None
    """`PENDING_EXEC`, `PENDING_UPLOAD`, `SUCCESS` or `FAILED`; other values are passed through."""

    device_id: str | None = None
    registration_id: str | None = None
    user_email: str | None = None
    created_date: datetime | None = None
    completed_date: datetime | None = None
    filename: str | None = None
    """The artifact's name: a bare name, or a URL.  It may still be missing when the status is SUCCESS."""

    args: Mapping[str, str] | None = attrs.field(default=None, hash=False)
    """The args that the service accepted, under its own names; only in the response to a POST."""

    @property
    def ended(self) -> bool:
        """Whether the command has ended, in SUCCESS or FAILED."""
        return self.status in (SUCCESS, FAILED)

    @property
    def succeeded(self) -> bool:
        """Whether the command ended in SUCCESS, which may be partial: one of two interfaces captured."""
        return self.status == SUCCESS


register_model(Command)


def decode_commands(result: object) -> list[Command]:
    """Return the commands of a result; raises `ResponseDecodeError`."""
    return structure_rows(result, "commands", Command)


def identity(command: Command) -> object:
    """Return a key that distinguishes rows of the list."""
    return command if command.id is None else command.id


def command_id_of(command: Command | str) -> str:
    """Return the id of a command, given as a `Command` or as its id.

    Raises `ConfigurationError` for a command without an id, and for text that can't be one.
    """
    command_id = command.id if isinstance(command, Command) else command
    if not isinstance(command_id, str) or not command_id:  # pyright: ignore[reportUnnecessaryIsInstance]
        given = "a command without an id" if isinstance(command, Command) else brief_repr(command)
        raise ConfigurationError(f"expected a command or its id, not {given}")
    if command_id is command:
        check_command_id(command_id)
    return command_id


def check_command_id(text: str, source: str = "") -> None:
    """Raise `ConfigurationError` for text that can't be an id in any format, since ids become part of file names.

    The message begins with `source`.
    """
    if text in (".", "..") or not text.isprintable() or _IN_NO_ID.search(text):
        raise ConfigurationError(f"{source}{text[:60]!r} can't be the id of a command")
