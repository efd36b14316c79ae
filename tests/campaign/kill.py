"""Kills a process that runs a campaign, at random moments, and looks at what comes of the campaign in the end.

The tests do it a few times.  For more:

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
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from dexcmd import Pcap
from dexcmd.campaign.layout import spec_to_json
from dexcmd.campaign.spec import AccountSpec, ArtifactsSpec, CampaignSpec, Pace
from dexcmd.sandbox import Behaviour, Fault, Sandbox, make_devices
from tests.campaign.kill_program import SharedClock

SPEED = 60.0
EPOCH = datetime(2026, 1, 1, 9, tzinfo=UTC)
SETTLE_SECONDS = 60.0
AUDIT_AFTER = 120.0

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
    kills: int = 0
    runs: int = 0
    commands: int = 0
    lost: int = 0
    """Commands of the service that the journal does not know, as of a target or as surplus."""
    doubled: int = 0
    """Targets that have more than one command of which the audit says nothing."""
    surplus: int = 0
    """Second commands that the audit states."""
    unknown: int = 0
    """Targets of which it can't be told whether they have a command: two of their POSTs got lost."""
    saved: int = 0
    broken: int = 0
    """Files that are not whole."""
    refetched: int = 0
    """Artifacts that were asked for although their file was in its place."""
    twice: int = 0
    """Artifacts that came whole twice: the process was killed after the last byte and before the name."""
    posts_lost: int = 0
    left: list[str] = attrs.field(factory=list[str])
    """Names of what else is in the folder."""
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.runs} processes, {self.devices} devices, {self.posts_lost} POSTs lost, "
            f"{self.seconds:.0f} s: {self.commands} commands made, {self.lost} lost, {self.doubled} doubled, "
            f"{self.surplus} surplus, {self.unknown} unknown; {self.saved} files, {self.broken} broken, "
            f"{self.refetched} fetched again, {self.twice} came twice before they were in place; {len(self.left)} left"
        )


def spec_for(sandbox: Sandbox, folder: Path, **changes: Any) -> CampaignSpec:
    settings: dict[str, Any] = {
        "name": "kill",
        "command": Pcap(),
        "accounts": (AccountSpec(account_id=sandbox.account_id, name="acme"),),
        "pace": Pace(in_flight=2000),
        "artifacts": ArtifactsSpec(into=str(folder), name="{user_email}/{command_id}.zip"),
        "audit_after": timedelta(seconds=AUDIT_AFTER),
    }
    return CampaignSpec(**{**settings, **changes})


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


async def kill_at_random(
    *, devices: int, kills: int, seed: int, folder: Path, list_lag: float = 0.0, latest: float | None = None
) -> Report:
    """Run a campaign in processes that are killed, each within `latest` seconds of real time, then once more
    to its end.
    """
    rng = random.Random(seed)
    report = Report(devices)
    started = time.monotonic()
    fleet = make_devices(devices, multi_user_share=0.02, ineligible_share=0, disconnected_share=0)
    clock = SharedClock(SPEED, started, EPOCH)
    behaviour = Behaviour(rate_limit=None, list_lag=list_lag)
    async with Sandbox(fleet, clock=clock, behaviour=behaviour, quota=10 * devices) as sandbox:
        rule = sandbox.faults.add_random(rate=0.15, mix=LOST, on="create_commands", seed=seed)
        captures = folder / "captures"
        task = {
            "journal": str(folder / "journal.db"),
            "spec": spec_to_json(spec_for(sandbox, captures)),
            "token": sandbox.token,
            "base_url": sandbox.base_url,
            "speed": SPEED,
            "started": started,
            "epoch": EPOCH.isoformat(),
            "settle_seconds": SETTLE_SECONDS,
        }
        async with Processes.open(task) as processes:
            for _ in range(kills):
                await one_run(processes, sandbox, captures, report, rng.uniform(0.05, latest or 1.0))
            await one_run(processes, sandbox, captures, report, None)
        report.posts_lost = rule.hits
        judge(report, sandbox, captures, folder / "journal.db")
    report.seconds = time.monotonic() - started
    return report


async def one_run(
    processes: Processes, sandbox: Sandbox, captures: Path, report: Report, seconds: float | None, **changes: Any
) -> int:
    """Run a process, to its end or until it is killed after so many seconds, and return its status."""
    placed = in_place(captures)
    before = len(sandbox.requests)
    number = await processes.start(**changes)
    report.runs += 1
    ended = asyncio.ensure_future(processes.ended())
    if seconds is not None:
        await asyncio.wait([ended], timeout=seconds)
        with suppress(ProcessLookupError):
            if not ended.done():
                os.kill(number, signal.SIGKILL)
                report.kills += 1
    status = await ended
    asked = {request.params["command_id"] for request in sandbox.requests[before:] if request.operation == "download"}
    report.refetched += len(asked & placed)
    return status


def judge(report: Report, sandbox: Sandbox, captures: Path, journal: Path) -> None:
    """Compare what the service has with what the journal and the folder say."""
    made = dict(sandbox.state.commands)
    with sqlite3.connect(journal) as db:
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
    report.commands = len(made)
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
    whole = Counter(
        request.params["command_id"]
        for request in sandbox.requests
        if request.operation == "download" and request.status == 200
    )
    report.twice = sum(count - 1 for count in whole.values())


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
                devices=options.devices,
                kills=options.kills,
                seed=options.seed,
                folder=Path(folder),
                list_lag=options.list_lag,
            )
        )
    print(report)
    return int(bool(report.lost or report.doubled or report.broken or report.refetched))


if __name__ == "__main__":
    sys.exit(main())
