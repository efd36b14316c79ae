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
"""What the cells of a line of `commands` and `follow` are."""


def command_of_line(line: str) -> Command | None:
    """Return the command that a line names; None for one that is empty.

    That is an id, which may have more behind a blank or a tab, or JSON with an `id`.  What `commands` and `follow`
    write is taken with all that it says, as a line or as JSON.  A line of `capture` for which there was no command is
    an empty one.  Raises `ConfigurationError`.
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
    """Return the command that the cells of a line of `commands` tell of; None where they can't be trusted."""
    fields = dict(zip(CELLS, cells, strict=False))
    if len(cells) != len(CELLS) or fields["status"] not in STATUSES:
        return None
    if any(" " in cell or len(cell) >= LONGEST_CELL for cell in cells):
        # What a cell can't have was made a blank, or cut.
        return None
    try:
        return structure({name: cell or None for name, cell in fields.items()}, Command, "$")
    except ResponseDecodeError:
        return None


class Lines:
    """Lines of stdin, as they come, without ever holding the event loop or the end of the process up."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def stop(self) -> None:
        """End the iteration, whatever is still to come."""
        self._queue.put_nowait(None)

    async def read(self) -> AsyncGenerator[str]:
        """Yield each line once it is whole."""
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - so it is where it was closed
            return
        loop = asyncio.get_running_loop()
        # A thread of its own, and none that is waited for: a read can't be cancelled.  Past Python's buffer, whose
        # lock it would hold at the end of the process.
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
                # The loop has ended, and nobody waits for more.
                return


def refuse_empty(ids: Sequence[str]) -> None:
    """Raise `ConfigurationError` for an argument that is none, as a shell makes of a variable that is not set."""
    if not all(map(str.strip, ids)):
        raise ConfigurationError("an id is empty: is a variable not set?")


async def named_commands(ids: Sequence[str], lines: Lines) -> AsyncGenerator[Command]:
    """Yield the commands that arguments name, each once, with those of stdin where `STDIN` stands.

    Raises `ConfigurationError`, for arguments before it yields any.
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
