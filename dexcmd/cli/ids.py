"""Commands named by their ids: as arguments, or as lines of stdin."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, Sequence

from dexcmd.cli.common import STDIN
from dexcmd.cli.documents import CAPTURE_SCHEMA
from dexcmd.cli.rows import LONGEST_CELL
from dexcmd.errors import ConfigurationError, ResponseDecodeError
from dexcmd.resources.command import STATUSES, Command, check_command_id, command_id_of
from dexcmd.wire.converter import structure

__all__ = ["Lines", "command_of_line", "named_commands", "refuse_empty"]

PIECE = 65536

CELLS = (
    "id",
    "type",
    "status",
    "created_date",
    "user_email",
    "device_id",
    "registration_id",
    "completed_date",
    "filename",
)
"""The fields in the cells of a line of `commands` and `follow`."""


def command_of_line(line: str) -> Command | None:
    """Return the command that a line names; None for an empty line.

    A line is an id, which may be followed by a blank or tab and other text, or JSON with an `id`.  From the output of
    `commands` and `follow`, as lines or as JSON, all fields are used.  A line of `capture` without a command counts as
    empty.  Raises `ConfigurationError`.
    """
    text = line.strip()
    if not text or line.startswith("\t"):
        return None
    if not text.startswith("{"):
        return _command_of_cells(line.rstrip("\r\n").split("\t")) or Command(id=text.split()[0])
    try:
        found = json.loads(text)
        command = structure(found, Command, "$")
    except (ValueError, ResponseDecodeError) as error:
        raise ConfigurationError(f"stdin: can't read {text[:60]!r}: {error}") from error
    if not command.id and found.get("schema") == CAPTURE_SCHEMA:
        return None
    if not command.id:
        raise ConfigurationError(f"stdin: there is no id in {text[:60]!r}")
    return command


def _command_of_cells(cells: Sequence[str]) -> Command | None:
    """Return the command described by the cells of a line of `commands`; None if they can't be trusted."""
    fields = dict(zip(CELLS, cells, strict=False))
    if len(cells) != len(CELLS) or fields["status"] not in STATUSES:
        return None
    if any(" " in cell or len(cell) >= LONGEST_CELL for cell in cells):
        # Characters that a cell can't contain were replaced with blanks, or the cell was truncated.
        return None
    try:
        return structure({name: cell or None for name, cell in fields.items()}, Command, "$")
    except ResponseDecodeError:
        return None


class Lines:
    """Lines of stdin as they arrive, without blocking the event loop or the exit of the process."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def stop(self) -> None:
        """End the iteration, even if more input is to come."""
        self._queue.put_nowait(None)

    async def read(self) -> AsyncGenerator[str]:
        """Yield each line once it is complete."""
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - so it is where it was closed
            return
        loop = asyncio.get_running_loop()
        # In a daemon thread, since a read can't be cancelled.  It bypasses Python's buffer, whose lock it would hold
        # when the process exits.
        threading.Thread(target=self._read, args=(loop, sys.stdin.fileno()), daemon=True).start()
        rest = b""
        while (piece := await self._queue.get()) is not None:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")

    def _read(self, loop: asyncio.AbstractEventLoop, file: int) -> None:
        piece: bytes | None = b""
        while piece is not None:
            try:
                piece = os.read(file, PIECE) or None
            except OSError:
                piece = None
            try:
                loop.call_soon_threadsafe(self._queue.put_nowait, piece)
            except RuntimeError:
                # The loop has ended, so nobody waits for more.
                return


def refuse_empty(ids: Sequence[str]) -> None:
    """Raise `ConfigurationError` for an empty argument, which a shell makes of an unset variable."""
    if not all(map(str.strip, ids)):
        raise ConfigurationError("an id is empty: is a variable not set?")


async def named_commands(ids: Sequence[str], lines: Lines) -> AsyncGenerator[Command]:
    """Yield the commands named by the arguments, each once, reading stdin for `STDIN`.

    Raises `ConfigurationError`; for invalid arguments before yielding anything.
    """
    refuse_empty(ids)
    for name in ids:
        check_command_id(name)
    seen: set[str] = set()
    for name in ids:
        if name != STDIN:
            if name not in seen:
                seen.add(name)
                yield Command(id=name)
            continue
        async for line in lines.read():
            command = command_of_line(line)
            if command is not None and (command_id := command_id_of(command)) not in seen:
                check_command_id(command_id, "stdin: ")
                seen.add(command_id)
                yield command
