"""Kills processes that run a campaign, and looks at what comes of the campaign in the end.

The tests do it a few times, at moments that they choose.  For more, at random moments:

    python -m tests.campaign.kill --kills 50 --devices 5000 --seed 1
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from dexcmd import Pcap
from dexcmd.campaign.layout import spec_to_json
from dexcmd.campaign.spec import AccountSpec, ArtifactsSpec, CampaignSpec, Pace
from dexcmd.sandbox import Behaviour, Fault, Sandbox, make_devices
from dexcmd.sandbox.requestlog import Operation, RecordedRequest
from tests.campaign.kill_program import SharedClock

SPEED = 60.0
EPOCH = datetime(2026, 1, 1, 9, tzinfo=UTC)

LOST = (
    Fault.drop(processed=True),
    Fault.drop(processed=False),
    Fault.error(502, processed=True),
    Fault.error(502, processed=False),
    Fault.garbage(),
)
"""Answers of POSTs that don't tell whether the commands were made."""


@attrs.define
class Report:
    """What was measured."""

    devices: int
    wanted: int
    """Kills that are to strike."""

    late: bool = False
    """Whether the list shows commands only when they are looked for no longer: then there may be second ones."""

    kills: int = 0
    """Those that struck: the campaign may end before the others."""

    runs: int = 0
    failed: int = 0
    """Processes that ended by an error of their own."""

    commands: int = 0
    """Of targets, by the journal."""
    spent: int = 0
    """Of the quota, by the service."""

    lost: int = 0
    """Commands of the service that the journal does not know, as of a target or as surplus."""
    doubled: int = 0
    """Targets that have more than one command of which the audit says nothing."""
    surplus: int = 0
    """Second commands that the audit states, in the journal."""
    unknown: int = 0
    """Targets of which it can't be told whether they have a command: two of their POSTs got lost."""
    saved: int = 0
    broken: int = 0
    """Files that are not whole."""
    refetched: int = 0
    """Artifacts that came once more although they were whole on the disk: in their place, or in a part file."""
    written: int = 0
    """Artifacts that were found whole in part files after a kill, and are not to come again."""
    twice: int = 0
    """Artifacts that were sent whole twice, at the most: the process was killed before it had written the last byte.

    Of some the last bytes may have been still on their way.
    """
    posts_lost: int = 0
    left: list[str] = attrs.field(factory=list[str])
    """Names of what else is in the folder."""
    seconds: float = 0.0

    @property
    def wrong(self) -> int:
        """How much there is of what must not be."""
        return (
            (self.wanted - self.kills)
            + self.failed
            + self.lost
            + self.doubled
            + (0 if self.late else self.surplus)
            + self.broken
            + self.refetched
            # A kill costs at most what is being fetched.
            + max(0, self.twice - self.kills * Pace().downloads)
            # What the journal says of what there is, against what the service has counted.
            + abs(self.spent - self.commands - self.surplus)
        )

    def __str__(self) -> str:
        ended = "" if self.kills == self.wanted else " (the campaign ended before the others)"
        return (
            f"{self.kills} of {self.wanted} kills{ended}, "
            f"{self.runs} processes ({self.failed} failed), {self.devices} devices, "
            f"{self.posts_lost} POSTs lost, {self.seconds:.0f} s: {self.commands} commands by the journal, "
            f"{self.spent} of the quota spent, {self.lost} lost, {self.doubled} doubled, {self.surplus} surplus, "
            f"{self.unknown} unknown; "
            f"{self.saved} files, {self.broken} broken, {self.refetched} fetched again; "
            f"{self.written} were whole in parts after a kill, {self.twice} had been sent and not been written; "
            f"{len(self.left)} left"
        )


def spec_for(sandbox: Sandbox, folder: Path, audit_after: float) -> CampaignSpec:
    return CampaignSpec(
        name="kill",
        command=Pcap(),
        accounts=(AccountSpec(account_id=sandbox.account_id, name="acme"),),
        pace=Pace(in_flight=2000),
        artifacts=ArtifactsSpec(into=str(folder), name="{user_email}/{command_id}.zip"),
        audit_after=timedelta(seconds=audit_after),
    )


class Processes:
    """Starts processes that run a campaign, and kills them."""

    def __init__(self, program: asyncio.subprocess.Process, task: dict[str, Any]) -> None:
        self._program = program
        self._task = task

    @classmethod
    @asynccontextmanager
    async def open(cls, task: dict[str, Any]) -> AsyncIterator["Processes"]:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.campaign.kill_program",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield cls(program, task)
        finally:
            assert program.stdin is not None
            program.stdin.close()
            await program.wait()

    async def start(self, **changes: Any) -> int:
        """Start one and return its number."""
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps({**self._task, **changes}).encode() + b"\n")
        return await self._line()

    async def _line(self) -> int:
        assert self._program.stdout is not None
        return int(await self._program.stdout.readline())

    async def ended(self) -> int:
        """Return the status of the one that was started, once it has ended."""
        return await self._line()


def in_place(folder: Path) -> set[str]:
    """Return the ids of the commands whose artifacts are under their final names."""
    return {path.stem for path in folder.rglob("*.zip")}


def in_parts(folder: Path) -> list[Path]:
    """Return the part files."""
    return [*folder.rglob(".*.part")]


def whole_in_parts(folder: Path, sandbox: Sandbox) -> set[str]:
    """Return the ids of the commands whose artifacts are whole in a part file, and have no name yet."""
    return {
        command_id
        for path in in_parts(folder)
        if (command_id := path.name[1:].partition(".")[0]) in sandbox.state.commands
        and path.read_bytes() == b"".join(sandbox.artifact(command_id).read())
    }


@attrs.frozen(kw_only=True)
class Trial:
    """What is tried."""

    devices: int
    seed: int
    list_lag: float = 0.0
    """Seconds of the sandbox's clock, as all that follow."""

    settle_seconds: float = 60.0
    audit_after: float = 120.0
    lost_first: int = 0
    """How many POSTs are worked off, with their answers lost, before any is answered."""

    def report(self, kills: int) -> Report:
        """Return a report that is to be filled in, of so many kills."""
        return Report(self.devices, kills, late=self.list_lag >= self.settle_seconds)


@attrs.frozen
class Moment:
    """When a process is killed: with the nth request of a kind, as it arrives, or with its nth write to the journal."""

    nth: int
    operation: Operation | None = None
    after: bool = False
    """For a write: whether it is durable."""


@attrs.define
class Bench:
    """The service, and what runs against it."""

    sandbox: Sandbox
    processes: Processes
    captures: Path
    report: Report
    moment: Moment | None = None
    """When the process is killed that runs now."""

    arrived: int = 0
    """How many requests of that kind it has made."""

    number: int = 0
    """Of the process."""

    before: int = 0
    """How many requests there were before the process was started."""

    sent: set[str] = attrs.field(factory=set[str])
    """Of which commands any process was sent artifacts."""

    whole: list[str] | None = None
    """Of which commands the process was sent artifacts; None as long as it runs."""

    async def run(self, *, within: float | None = None, at: Moment | None = None) -> bool:
        """Run a process until it is killed, `within` seconds of real time or `at` a moment, or to its end.

        Returns whether it was killed.
        """
        report, placed = self.report, in_place(self.captures)
        written = whole_in_parts(self.captures, self.sandbox)
        self.moment, self.arrived, self.before, self.whole = at, 0, len(self.sandbox.requests), None
        write = at if at is not None and at.operation is None else None
        self.number = await self.processes.start(
            appends=0 if write is None else write.nth, after=write is not None and write.after
        )
        report.runs += 1
        ended = asyncio.ensure_future(self.processes.ended())
        if within is not None:
            await asyncio.wait([ended], timeout=within)
            if not ended.done():
                self._kill()
        status = await ended
        killed = os.WIFSIGNALED(status)
        report.kills += killed
        report.failed += os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
        asked = {one.params["command_id"] for one in self._downloads()}
        sent = self._sent() if self.whole is None else self.whole
        report.refetched += len(asked & placed) + len(written.intersection(sent))
        report.written += len(written)
        report.twice += sum(command_id in self.sent for command_id in sent)
        self.sent.update(sent)
        return killed

    def look(self, request: RecordedRequest) -> bool:
        """Kill the process if this is the moment; a condition of a fault that strikes nothing."""
        if self.moment is not None and request.operation == self.moment.operation:
            self.arrived += 1
            if self.arrived == self.moment.nth:
                self._kill()
        return False

    def _kill(self) -> None:
        # It may have ended just before.
        with suppress(ProcessLookupError):
            os.kill(self.number, signal.SIGKILL)
        # What is answered from now on reaches nobody.
        self.whole = self._sent()

    def _downloads(self) -> list[RecordedRequest]:
        return [request for request in self.sandbox.requests[self.before :] if request.operation == "download"]

    def _sent(self) -> list[str]:
        """Return of which commands the process was sent artifacts."""
        return [request.params["command_id"] for request in self._downloads() if request.status == 200]


@asynccontextmanager
async def bench(trial: Trial, folder: Path, kills: int) -> AsyncIterator[Bench]:
    """Set all up for so many kills, and judge what has come of it when the block ends."""
    report = trial.report(kills)
    started = time.monotonic()
    fleet = make_devices(trial.devices, multi_user_share=0.02, ineligible_share=0, disconnected_share=0)
    clock = SharedClock(SPEED, started, EPOCH)
    behaviour = Behaviour(rate_limit=None, list_lag=trial.list_lag)
    async with Sandbox(fleet, clock=clock, behaviour=behaviour, quota=10 * trial.devices) as sandbox:
        captures, journal = folder / "captures", folder / "journal.db"
        # It sees each request, being the first.
        sandbox.faults.add(Fault.drop(), where=lambda request: on.look(request))
        if trial.lost_first:
            sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=trial.lost_first)
        rule = sandbox.faults.add_random(rate=0.15, mix=LOST, on="create_commands", seed=trial.seed)
        task = {
            "journal": str(journal),
            "spec": spec_to_json(spec_for(sandbox, captures, trial.audit_after)),
            "token": sandbox.token,
            "base_url": sandbox.base_url,
            "speed": SPEED,
            "started": started,
            "epoch": EPOCH.isoformat(),
            "settle_seconds": trial.settle_seconds,
        }
        async with Processes.open(task) as processes:
            on = Bench(sandbox, processes, captures, report)
            yield on
        report.posts_lost = rule.hits + trial.lost_first
        judge(report, sandbox, captures, journal)
    report.seconds = time.monotonic() - started


async def kill_at_random(trial: Trial, folder: Path, *, kills: int, latest: float = 1.0) -> Report:
    """Run a campaign in processes that are killed, each within `latest` seconds of real time, then once more to its
    end.

    On a fast machine they are killed sooner: the last one when nine tenths are fetched, and each before it at its
    share of that.  If a process ends by itself all the same, nothing is left that could be killed.
    """
    rng = random.Random(trial.seed)
    async with bench(trial, folder, kills) as on:
        while on.report.kills < kills:
            share = trial.devices * 9 * (on.report.kills + 1) // (10 * kills)
            last = Moment(max(1, share - len(in_place(on.captures)) - len(in_parts(on.captures))), "download")
            if not await on.run(within=rng.uniform(0.05, latest), at=last):
                break
        await on.run()
    return on.report


async def kill_at(trial: Trial, folder: Path, moments: Sequence[Moment]) -> Report:
    """Run a campaign in processes that are killed each at a moment, then once more to its end."""
    async with bench(trial, folder, len(moments)) as on:
        for moment in moments:
            await on.run(at=moment)
        await on.run()
    return on.report


def judge(report: Report, sandbox: Sandbox, captures: Path, journal: Path) -> None:
    """Compare what the service has with what the journal and the folder say."""
    made = dict(sandbox.state.commands)
    with closing(sqlite3.connect(journal)) as db:
        known = dict(db.execute("SELECT command_id, target FROM command"))
        events = Counter(kind for (kind,) in db.execute("SELECT kind FROM event"))
        surplus = {
            json.loads(data)["command_id"]
            for (data,) in db.execute("SELECT data FROM event WHERE kind = 'SurplusFound'")
        }
        report.unknown = sum(
            n for (n,) in db.execute("SELECT count(*) FROM target WHERE state = 'failed' AND failure = 'unknown'")
        )
    assert events["CampaignPlanned"] == 1
    report.commands = len(known)
    report.spent = sandbox.state.quota.usage
    report.surplus = len(surplus)
    report.lost = len(made.keys() - known.keys() - surplus) + len(known.keys() - made.keys())
    targets = Counter(
        (command.device.device_id, command.device.registration_id)
        for command in made.values()
        if command.id not in surplus
    )
    report.doubled = sum(count - 1 for count in targets.values())
    for path in captures.rglob("*"):
        if path.is_dir():
            continue
        if path.suffix != ".zip":
            report.left.append(path.name)
            continue
        report.saved += 1
        artifact = sandbox.artifact(path.stem)
        with zipfile.ZipFile(path) as archive:
            report.broken += archive.testzip() is not None or path.read_bytes() != b"".join(artifact.read())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list-lag", type=float, default=0.0, help="seconds of the sandbox's clock")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(
            kill_at_random(
                Trial(devices=options.devices, seed=options.seed, list_lag=options.list_lag),
                Path(folder),
                kills=options.kills,
            )
        )
    print(report)
    return int(report.wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
