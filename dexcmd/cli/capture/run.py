"""Runs a capture, from the choice of devices to the exit code."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import attrs

from dexcmd.amounts import counted
from dexcmd.cli.calling import call
from dexcmd.cli.capture.advice import advice
from dexcmd.cli.capture.choice import Choice, choose, read_names
from dexcmd.cli.capture.preview import preview
from dexcmd.cli.capture.rows import CREATED, LINES, TABLE, Row, row_document
from dexcmd.cli.capture.standing import Standing
from dexcmd.cli.common import Common
from dexcmd.cli.confirm import confirm
from dexcmd.cli.exits import ABORTED, FAILED, REFUSED, Stopped
from dexcmd.cli.failure import Failure, explain
from dexcmd.cli.ids import Lines, refuse_empty
from dexcmd.cli.rows import RowWriter
from dexcmd.cli.selection import Selection, selected_devices
from dexcmd.cli.signals import GentleStop
from dexcmd.cli.stderr import complain, note
from dexcmd.cli.terminal import stderr_console
from dexcmd.cli.view import Picture, showing, view_for
from dexcmd.client import DexClient
from dexcmd.errors import ConfigurationError, DexError
from dexcmd.fanout import OnQuota
from dexcmd.outcome import BulkResult
from dexcmd.resources.devices import Device
from dexcmd.resources.quota import Quota
from dexcmd.resources.requests import CommandArgs, Target

__all__ = ["Job", "run_capture"]

FINISHING = "creating no more commands and finishing what is in progress; Ctrl-C again quits immediately"

MARGIN = timedelta(minutes=1)
"""How far this machine's clock may be ahead of the service's, for the time from which commands are listed."""


@attrs.frozen(kw_only=True)
class Job:
    """What to capture, and how."""

    args: CommandArgs
    names: Sequence[str]
    selection: Selection
    everything: bool
    into: Path
    yes: bool
    no_wait: bool
    timeout: float
    on_quota: OnQuota
    concurrency: int

    def check(self) -> None:
        """Raise `ConfigurationError` unless devices are chosen in exactly one way, and no id is empty."""
        refuse_empty(self.names)
        ways = [bool(self.names), bool(self.selection), self.everything]
        if not any(ways):
            raise ConfigurationError("no device: name ids, or select with --search, --user, --platform or --all")
        if sum(ways) > 1:
            raise ConfigurationError(
                "devices are chosen in one way: by ids, or with --search, --user and --platform, or with --all"
            )


def run_capture(common: Common, job: Job) -> int:
    """Choose devices, confirm and capture; write one row per target and return the exit code.  Raises `DexError`."""
    job.check()

    async def survey(dex: DexClient) -> tuple[Choice, Quota]:
        names = await read_names(job.names, Lines()) if job.names else None
        rows = [device async for device in selected_devices(dex, job.selection)]
        return choose(rows, names), await dex.quota.get()

    choice, quota = call(common, survey)
    if not choice.devices:
        _Work(common, job, choice).write_nothing()
        return _nothing(choice)
    if quota.remaining == 0 and job.on_quota == "stop":
        complain(Failure("the day's quota is used up", "`dexcmd quota` says when there is more", REFUSED))
        return REFUSED
    preview(stderr_console(), choice, quota, job.args, named=bool(job.names))
    if not confirm(f"Create {counted(len(choice.devices), 'command')}?", yes=job.yes):
        note("nothing was created")
        return ABORTED
    # The work starts with the confirmation, however late: its duration is shown, and commands are listed since then.
    return _Work(common, job, choice).run()


def _nothing(choice: Choice) -> int:
    why = "none of them can be captured" if choice.left else "no such device was connected within the last hour"
    complain(Failure(why, "`dexcmd devices` shows which there are", FAILED))
    return FAILED


class _Work:
    def __init__(self, common: Common, job: Job, choice: Choice) -> None:
        self._common = common
        self._job = job
        self._choice = choice
        requests = [device.request(job.args) for device in choice.devices]
        self._requests = requests
        self._devices: dict[Target, Device] = {
            request.target: device for request, device in zip(requests, choice.devices, strict=True)
        }
        self._told: set[Target] = set()
        self._standing = Standing(len(requests), job.no_wait, time.monotonic())
        self._gently = GentleStop(partial(note, FINISHING), self._standing.stop)
        self._since = datetime.now(UTC) - MARGIN
        self._outcomes = BulkResult(())
        self._finished = self._written = False
        columns = (CREATED if job.no_wait else TABLE) if sys.stdout.isatty() else LINES
        self._writer = RowWriter(columns, row_document, as_json=common.json, once=True)

    def write_nothing(self) -> None:
        """Write the rows if nothing is captured."""
        self._write_left()
        self._write_rest()

    def _write_left(self) -> None:
        """Write the rows of devices that were named but are not captured."""
        if self._job.names:
            self._write([Row.of_left(left, self._job.args.type) for left in self._choice.left])

    def run(self) -> int:
        """Capture, and report what was created whatever happens."""
        work = self._create if self._job.no_wait else self._capture
        try:
            call(self._common, work, self._gently, self._standing.on_event)
            self._finished = True
        except (Stopped, DexError):
            self._write_rest()
            raise
        else:
            self._write_left()
            self._write_rest()
            self._written = True
        finally:
            self._tell()
        return self._standing.exit_code(interrupted=self._gently.requested)

    async def _create(self, dex: DexClient) -> None:
        bulk = dex.commands.create_many(self._requests, on_quota=self._job.on_quota)
        self._gently.then(bulk.stop)
        try:
            async with showing(view_for(stderr_console()), self._picture):
                await bulk
        finally:
            self._outcomes = bulk.result

    async def _capture(self, dex: DexClient) -> None:
        job = self._job
        capture = dex.capture(
            self._requests,
            job.into,
            concurrency=job.concurrency,
            timeout=job.timeout,
            on_quota=job.on_quota,
            on_progress=self._standing.on_progress,
        )
        self._gently.then(capture.stop)
        try:
            async with showing(view_for(stderr_console()), self._picture), capture as results:
                async for result in results:
                    target = result.request.target
                    self._told.add(target)
                    self._write([Row.of_result(self._devices[target], result)])
        finally:
            self._outcomes = capture.created

    def _picture(self) -> Picture:
        return self._standing.picture(time.monotonic())

    def _write(self, rows: Sequence[Row]) -> None:
        # Counted before any is written: rows that can no longer be written must still be reported.
        for row in rows:
            self._standing.on_row(row)
        for row in rows:
            self._writer.add(row)

    def _write_rest(self) -> None:
        """Write the rows of targets without a result so far, and the table."""
        self._write(self._rest())
        if self._writer.count:
            self._writer.finish("")

    def _rest(self) -> list[Row]:
        """Return the rows of targets left without a result; none if nothing was started."""
        outcomes = self._outcomes.outcomes
        if not self._finished and all(outcome.state == "not_attempted" for outcome in outcomes):
            return []
        rest = [outcome for outcome in outcomes if outcome.request.target not in self._told]
        self._told.update(outcome.request.target for outcome in rest)
        return [
            Row.of_outcome(self._devices[outcome.request.target], outcome, no_wait=self._job.no_wait)
            for outcome in rest
        ]

    def _tell(self) -> None:
        """Report the outcome, and how to continue."""
        for row in self._rest():
            self._standing.on_row(row)
        rows = self._standing.rows
        if not rows:
            return
        note(self._standing.summary(self._job.into))
        if (error := next((row.error for row in rows if row.error is not None), None)) and not sys.stdout.isatty():
            # On a terminal, the rows have shown it.
            complain(explain(error, created=True), sum(row.error is not None for row in rows) - 1)
        if self._job.no_wait and self._written and not sys.stdout.isatty() and not self._gently.requested:
            # The reader of the rows has the ids.
            rows = [row for row in rows if row.state == "unknown"]
        for line in advice(rows, self._common, self._job.into, self._since):
            note(line)
