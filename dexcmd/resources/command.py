"""A command as the service tells of it."""

import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from dexcmd.errors import ConfigurationError
from dexcmd.validators import told
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
"""All that are documented; others may come."""

_IN_NO_ID = re.compile(r"[ /\\\ufffd]")
"""The last stands for bytes that are no text."""


@attrs.frozen(kw_only=True)
class Command:
    """A command, as a row of the list or of the answer to a POST.

    Any field may be None: the service promises none in the list, and a POST's answer has no user, dates and
    file name.
    """

    id: str | None = None
    type: str | None = None
    """`pcap`, `speed-test` or `warp-diag`; another value is passed through."""

    status: str | None = None
    """`PENDING_EXEC`, `PENDING_UPLOAD`, `SUCCESS` or `FAILED`; another value is passed through."""

    device_id: str | None = None
    registration_id: str | None = None
    user_email: str | None = None
    created_date: datetime | None = None
    completed_date: datetime | None = None
    filename: str | None = None
    """The artifact's name: bare, or as a URL.  SUCCESS may come before it is set."""

    args: Mapping[str, str] | None = attrs.field(default=None, hash=False)
    """What the service took of the args, under its own names; only in the answer to a POST."""

    @property
    def ended(self) -> bool:
        """Tell whether the command is over: SUCCESS or FAILED."""
        return self.status in (SUCCESS, FAILED)

    @property
    def succeeded(self) -> bool:
        """Tell whether the command ended in SUCCESS, which may be partial: one of two interfaces captured."""
        return self.status == SUCCESS


register_model(Command)


def decode_commands(result: object) -> list[Command]:
    """Return the commands of a result; raises `ResponseDecodeError`."""
    return structure_rows(result, "commands", Command)


def identity(command: Command) -> object:
    """Return what tells a row of the list from another."""
    return command if command.id is None else command.id


def command_id_of(command: Command | str) -> str:
    """Return the id of a command that is given as itself or by its id.

    Raises `ConfigurationError` where it has none, and for what is given as one and can be none.
    """
    command_id = command.id if isinstance(command, Command) else command
    if not isinstance(command_id, str) or not command_id:  # pyright: ignore[reportUnnecessaryIsInstance]
        given = "a command without an id" if isinstance(command, Command) else told(command)
        raise ConfigurationError(f"expected a command or its id, not {given}")
    if command_id is command:
        check_command_id(command_id)
    return command_id


def check_command_id(text: str, source: str = "") -> None:
    """Raise `ConfigurationError` for what can be no id, whatever ids look like: they stand in names of files.

    `source` goes before what is told.
    """
    if text in (".", "..") or not text.isprintable() or _IN_NO_ID.search(text):
        raise ConfigurationError(f"{source}{text[:60]!r} can't be the id of a command")
