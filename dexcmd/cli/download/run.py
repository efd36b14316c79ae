"""Downloads artifacts, writing rows and progress, and returns an exit code."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import attrs

from dexcmd.amounts import size_text
from dexcmd.cli.calling import call
from dexcmd.cli.common import Common
from dexcmd.cli.documents import Document, download_document
from dexcmd.cli.exits import INTERRUPTED, OK, PARTLY, Stopped
from dexcmd.cli.failure import explain
from dexcmd.cli.ids import Lines, named_commands
from dexcmd.cli.moments import duration_text
from dexcmd.cli.rates import Rate
from dexcmd.cli.rows import Column, RowWriter
from dexcmd.cli.signals import GentleStop
from dexcmd.cli.stderr import complain, note
from dexcmd.cli.terminal import stderr_console
from dexcmd.cli.view import Picture, Stage, showing, view_for
from dexcmd.client import DexClient
from dexcmd.errors import AuthenticationError, ConfigurationError, DexError, DownloadError, PermissionDeniedError
from dexcmd.resources.command import Command, command_id_of
from dexcmd.transfer.progress import Progress
from dexcmd.transfer.saved import SavedArtifact

__all__ = ["COLUMNS", "Job", "Row", "Standing", "run_download"]

HOPELESS = (AuthenticationError, PermissionDeniedError)
"""Errors that every other artifact would get as well."""

FINISHING = "finishing the downloads in progress; Ctrl-C again quits immediately"


@attrs.frozen(kw_only=True)
class Job:
    """What to download, and how."""

    ids: Sequence[str]
    into: Path
    concurrency: int
    verify: Literal["zip", "size", "none"] | None
    bytes_per_second: float | None


@attrs.frozen
class Row:
    """The result for one command's artifact."""

    command_id: str
    artifact: SavedArtifact | None = None
    error: DexError | None = None

    @property
    def state(self) -> str:
        """Return the result in one word."""
        return "failed" if self.artifact is None else "skipped" if self.artifact.skipped else "saved"

    @property
    def reason(self) -> str | None:
        """Return why it failed, and what to do about it."""
        return None if self.error is None else str(explain(self.error))

    @property
    def line(self) -> str:
        """Return the result for display."""
        if self.artifact is None:
            return f"failed   {self.command_id}: {self.reason}"
        return f"{self.state:<8} {self.artifact.path}  {size_text(self.artifact.size)}"


COLUMNS = (
    Column[Row](title="command", text=lambda row: row.command_id),
    Column[Row](title="state", text=lambda row: row.state),
    Column[Row](title="path", text=lambda row: None if row.artifact is None else str(row.artifact.path)),
    Column[Row](title="size", text=lambda row: None if row.artifact is None else str(row.artifact.size)),
    Column[Row](title="sha256", text=lambda row: None if row.artifact is None else row.artifact.sha256),
    Column[Row](title="error", text=lambda row: row.reason),
)


@attrs.define
class Standing:
    """The progress of the downloads."""

    named: int = 0
    """Number of commands named so far."""

    all_named: bool = False
    saved: int = 0
    skipped: int = 0
    failed: int = 0
    size: int = 0
    """Bytes of artifacts that were saved."""

    finishing: bool = False
    """Whether no more downloads are started."""

    first_error: DexError | None = None
    under_way: dict[str, Progress] = attrs.field(factory=dict[str, Progress])
    _bytes: Rate = attrs.field(factory=Rate)
    _artifacts: Rate = attrs.field(factory=Rate)

    @property
    def done(self) -> int:
        """Return how many have a result."""
        return self.saved + self.skipped + self.failed

    def on_progress(self, progress: Progress) -> None:
        """Record the progress of an artifact."""
        self.under_way[progress.command_id] = progress

    def on_row(self, row: Row) -> None:
        """Count the result for an artifact."""
        self.under_way.pop(row.command_id, None)
        if row.artifact is None:
            self.failed += 1
            self.first_error = self.first_error or row.error
        elif row.artifact.skipped:
            self.skipped += 1
        else:
            self.saved += 1
            self.size += row.artifact.size

    def picture(self, now: float) -> Picture:
        """Return the progress at a time in seconds, which never goes back."""
        received = self.size + sum(progress.received for progress in self.under_way.values())
        parts = sum(progress.received / progress.size for progress in self.under_way.values() if progress.size)
        self._bytes.note(received, now)
        self._artifacts.note(self.done + parts, now)
        total = self.named if self.all_named else None
        left = None if total is None else self._artifacts.seconds_for(total - self.done - parts)
        remaining = "" if left is None or self.finishing or self.done == total else f"{duration_text(left)} left"
        said = f"{size_text(received)}, {size_text(self._bytes.per_second)}/s, {len(self.under_way)} in progress"
        if self.skipped:
            said += f", {self.skipped} already there"
        if self.failed:
            said += f", {self.failed} failed"
        return Picture((Stage("done", self.done, total, remaining),), said)

    @property
    def summary(self) -> str:
        """Return the final summary in one line."""
        parts = [f"{self.saved} saved ({size_text(self.size)})"]
        if self.skipped:
            parts.append(f"{self.skipped} already there")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if left := self.named - self.done:
            parts.append(f"{left} not started")
        return ", ".join(parts)

    def exit_code(self, *, interrupted: bool) -> int:
        """Return the exit code; `interrupted` is whether Ctrl-C was pressed."""
        if interrupted and (self.done < self.named or not self.all_named):
            return INTERRUPTED
        if self.first_error is None:
            return OK
        return PARTLY if self.saved or self.skipped else explain(self.first_error).exit_code


def run_download(common: Common, job: Job) -> int:
    """Save the artifacts, write one row for each, and return the exit code.  Raises `DexError`."""
    if not job.ids:
        raise ConfigurationError("no command: name their ids, or - to read them from stdin")
    gently = GentleStop(partial(note, FINISHING))
    try:
        return call(common, _Download(common, job, gently).run, gently)
    except Stopped:
        note("partial downloads are kept: run the same command again to resume")
        raise


class _Download:
    def __init__(self, common: Common, job: Job, gently: GentleStop) -> None:
        self._job = job
        self._gently = gently
        self._lines = Lines()
        self._named: asyncio.Queue[Command | None] = asyncio.Queue()
        self._standing = Standing()
        self._writer = RowWriter(COLUMNS, _document, as_json=common.json, line=lambda row: row.line)

    async def run(self, dex: DexClient) -> int:
        standing, job = self._standing, self._job
        naming = asyncio.create_task(self._name())
        results = dex.downloads.save_many(
            self._succeeded(naming),
            job.into,
            concurrency=job.concurrency,
            verify=job.verify,
            bytes_per_second=job.bytes_per_second,
            on_progress=standing.on_progress,
        )

        def stop() -> None:
            standing.finishing = True
            self._lines.stop()
            results.stop()

        self._gently.then(stop)
        try:
            async with showing(view_for(stderr_console()), lambda: standing.picture(time.monotonic())), results:
                async for result in results:
                    self._add(Row(command_id_of(result.command), result.artifact, result.error))
                    if isinstance(result.error, HOPELESS):
                        stop()
        finally:
            naming.cancel()
            await asyncio.gather(naming, return_exceptions=True)
        note(standing.summary)
        if standing.first_error is not None and not sys.stdout.isatty():
            # On a terminal, the rows have shown it.
            complain(explain(standing.first_error), standing.failed - 1)
        return standing.exit_code(interrupted=self._gently.requested)

    async def _name(self) -> None:
        """Read all names ahead of the downloads, so that the total can be shown."""
        try:
            async for command in named_commands(self._job.ids, self._lines):
                self._standing.named += 1
                self._named.put_nowait(command)
            self._standing.all_named = not self._gently.requested
        finally:
            self._named.put_nowait(None)

    async def _succeeded(self, naming: "asyncio.Task[None]") -> AsyncGenerator[Command]:
        while (command := await self._named.get()) is not None:
            if command.status is None or command.succeeded:
                yield command
            else:
                # Known without a request.
                error = DownloadError(f"command {command.id} is {command.status}: it has no artifact")
                self._add(Row(command_id_of(command), error=error))
        await naming

    def _add(self, row: Row) -> None:
        self._standing.on_row(row)
        self._writer.add(row)


def _document(row: Row) -> Document:
    return download_document(row.command_id, row.state, row.artifact, row.reason)
