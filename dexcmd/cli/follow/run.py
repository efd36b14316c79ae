"""Follows commands, writing a row as each ends, and returns an exit code."""

import time
from collections.abc import Sequence
from datetime import timedelta

import attrs

from dexcmd.amounts import counted, listed
from dexcmd.cli.calling import call
from dexcmd.cli.common import Common
from dexcmd.cli.documents import command_document
from dexcmd.cli.exits import OK, PARTLY
from dexcmd.cli.failure import Failure, explain
from dexcmd.cli.ids import Lines, named_commands
from dexcmd.cli.lists.run import COMMANDS
from dexcmd.cli.moments import duration_text
from dexcmd.cli.rows import RowWriter
from dexcmd.cli.stderr import complain, note
from dexcmd.cli.terminal import stderr_console
from dexcmd.cli.view import Picture, Stage, showing, view_for
from dexcmd.client import DexClient
from dexcmd.errors import ConfigurationError, ServerError, TransportError, WaitTimeoutError
from dexcmd.resources.command import Command

__all__ = ["late", "run_follow"]


@attrs.define
class Standing:
    """The progress of following."""

    total: int
    until: float
    ended: int = 0
    succeeded: int = 0

    def picture(self) -> Picture:
        """Return the progress for display."""
        said = f"{self.succeeded} succeeded, {self.ended - self.succeeded} failed"
        if self.ended < self.total:
            said += f"; waiting up to {duration_text(self.until - time.monotonic())} more"
        return Picture((Stage("ended", self.ended, self.total),), said)


def run_follow(common: Common, ids: Sequence[str], timeout: timedelta) -> int:
    """Write each command when it ends, and return the exit code.  Raises `DexError`."""
    if not ids:
        raise ConfigurationError("no command: name their ids, or - to read them from stdin")
    writer = RowWriter(COMMANDS, command_document, as_json=common.json, line=_line)

    async def work(dex: DexClient) -> int:
        commands = [command async for command in named_commands(ids, Lines())]
        following = dex.commands.follow(commands, timeout=timeout.total_seconds())
        standing = Standing(len(commands), time.monotonic() + timeout.total_seconds())
        told: set[str] = set()

        def picture() -> Picture:
            # Waiting alone would never reveal a mistyped id.
            if missing := [command_id for command_id in following.unlisted if command_id not in told]:
                told.update(missing)
                note(f"not in the list yet: {listed(missing)}; waiting for {_them(missing)} anyway")
            return standing.picture()

        try:
            async with following as ended, showing(view_for(stderr_console()), picture):
                async for command in ended:
                    standing.ended += 1
                    standing.succeeded += command.succeeded
                    writer.add(command)
        except WaitTimeoutError as error:
            for command_id in error.pending:
                writer.add(Command(id=command_id))
            complain(late(error))
        except (TransportError, ServerError) as error:
            if not (isinstance(error, TransportError) and error.permanent):
                error.add_note("the commands keep running; run the same command again to wait for them")
            raise
        return OK if standing.succeeded == standing.total else PARTLY

    return call(common, work)


def late(error: WaitTimeoutError) -> Failure:
    """Return the failure for commands that have not ended in time, some of which may never have been in the list."""
    failure = explain(error)
    if not error.unlisted:
        return failure
    hint = f"{'is the id' if len(error.unlisted) == 1 else 'are the ids'} right, and the account?"
    others = len(error.pending) - len(error.unlisted)
    if others:
        hint += f" {counted(others, 'other')} {'keeps' if others == 1 else 'keep'} running"
    return attrs.evolve(failure, hint=hint)


def _them(ids: Sequence[str]) -> str:
    return "it" if len(ids) == 1 else "them"


def _line(command: Command) -> str:
    status = command.status or "not ended"
    return "  ".join(filter(None, (f"{status:<9}", command.id, command.type, command.user_email or command.device_id)))
