"""Whatever happens to a campaign, its journal, its files and the service agree in the end: random fleets, specs,
services, faults, and ends of processes.

A few campaigns, always the same ones, run with the other tests.  For many more, others each time:

    DEXCMD_CAMPAIGNS=thorough pytest -o faulthandler_timeout=0 tests/campaign/test_any_course.py
"""

import asyncio
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from dexcmd import Campaign, CampaignError, DexClient, Pcap, RetryPolicy, SpeedTest, WarpDiag
from dexcmd.campaign.events import (
    ArtifactSaved,
    CampaignEvent,
    CommandKnown,
    ForeignFound,
    SurplusFound,
    TargetPlanned,
    TargetRetried,
)
from dexcmd.campaign.export.write import export_campaign
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.records import Recorded, TargetRecord
from dexcmd.campaign.report import report_lines
from dexcmd.campaign.spec import (
    AbortRule,
    AccountSpec,
    ArtifactsSpec,
    CampaignSpec,
    Pace,
    Retries,
    Share,
    Targeting,
    Waves,
)
from dexcmd.campaign.state import DECIDED
from dexcmd.campaign.status import CampaignStatus
from dexcmd.campaign.store import Store
from dexcmd.sandbox import Behaviour, Fault, Sandbox, SandboxDevice, make_devices
from dexcmd.sandbox.state import NewCommand
from tests.campaign.conftest import SWIFT
from tests.campaign.memory import MemoryStore
from tests.campaign.test_crash import Crash, CrashingStore
from tests.courses import mostly, profile
from tests.faults.loops import LoopClock, StillLoop, wait_for_threads

PROFILE = profile(60, 1000, shrinks=False)

SETTLE_SECONDS = 60.0
LONGEST = timedelta(days=4)
"""No process needs that long, for the quota is enough for two days; one that does waits for what does not come."""

MAX_REQUESTS = 5000
"""No campaign needs a tenth of it; one that goes round in circles is ended and shown."""

CONTROL_INTERVAL = 100.0
LAST_RUNS = 5
"""Of a campaign that nothing interrupts any more; faults may still make the service refuse an account."""

# --- what may be


KINDS = (*["plain"] * 8, "shared", "shared", "ineligible", "disconnected", "away", "old")


def fleet(kinds: Sequence[str], seed: int) -> list[SandboxDevice]:
    """Return devices, one of each kind; a `shared` one is two registrations of a device."""
    plain = make_devices(len(kinds), seed=seed, multi_user_share=0, ineligible_share=0, disconnected_share=0)
    devices: list[SandboxDevice] = []
    for number, (device, kind) in enumerate(zip(plain, kinds, strict=True)):
        changes: dict[str, Any] = {
            "ineligible": {"eligible": False, "ineligible_reason": "not supported"},
            "disconnected": {"connected": False, "last_seen": 100.0},
            # Gone from the list before long.
            "away": {"connected": False, "last_seen": 3500.0},
            "old": {"version": "2024.1.2.0"},
        }.get(kind, {})
        devices.append(attrs.evolve(device, **changes))
        if kind == "shared":
            registration = f"{seed:08d}-0000-4000-8000-{number:012d}"
            devices.append(attrs.evolve(device, registration_id=registration, user_email=f"second.{device.user_email}"))
    return devices


FLEETS = st.one_of(
    st.lists(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), min_size=1, max_size=2),
    st.lists(st.lists(st.sampled_from(KINDS), min_size=7, max_size=25), min_size=1, max_size=1),
)


BEHAVIOURS = st.builds(
    Behaviour,
    rate_limit=st.none(),
    failure_rate=mostly(0.0, 0.2, 1.0),
    run_seconds=mostly((2.0, 20.0), (0.0, 0.0), (100.0, 2000.0)),
    list_lag=st.sampled_from([0.0, 0.0, 5.0, 40.0, 200.0]),
    result_info=st.sampled_from(["full", "without-total-pages", "missing", "wrong"]),
    repeat_last_page=st.booleans(),
    total_count_ignores_filters=st.booleans(),
    ignored_filters=mostly(frozenset(), frozenset({"status"}), frozenset({"from", "to"})),
    date_format=mostly("rfc3339", "postgres"),
    omit_absent=st.booleans(),
    target_acceptance=mostly("whole", "partial"),
    error_pointers=st.booleans(),
    quota_acceptance=mostly("whole", "partial"),
    quota_status=mostly(403, 429, 400),
    create_rows=mostly((), ("partial",), ("reordered", "duplicated"), ("foreign",)),
    filename_style=mostly("name", "null"),
    filename_delay=mostly(0.0, 30.0, 300.0),
    retention=mostly(7 * 86400.0, 20.0),
    download_redirect=mostly(None, 307),
    etag=mostly("strong", "weak", "none"),
    clock_skew=mostly(0.0, -300.0, 300.0),
)

ANYWHERE = [
    Fault.error(500),
    Fault.error(502, form="html"),
    Fault.error(503, retry_after=20),
    Fault.error(400),
    Fault.error(403, code=10000, form="envelope"),
    Fault.error(404),
    Fault.rate_limited(3),
    Fault.rate_limited(400),
    Fault.rate_limited(None),
    Fault.drop(),
    Fault.silence(),
    Fault.silence(headers=False),
    Fault.slow(15.0),
    Fault.html(),
    Fault.unsuccessful(),
    Fault.garbage(),
    Fault.cut(0.5),
    Fault.cut(0.5, framing="chunked"),
]
LOST = [
    Fault.drop(),
    Fault.drop(processed=True),
    Fault.drop(processed=True),
    Fault.error(502, processed=True),
    Fault.error(524, processed=True),
    Fault.silence(processed=True),
    Fault.slow(30.0, processed=True),
    # It is worked off after the client has given it up.
    Fault.slow(30.0, processed=False),
    Fault.html(processed=True),
    Fault.rows("partial"),
]
ON_DOWNLOAD = [
    *ANYWHERE,
    Fault.cut(0.9),
    Fault.stall(0.5),
    Fault.corrupt(0.5),
    Fault.lying_length(10),
    Fault.lying_length(-10),
    Fault.empty(),
]


@attrs.frozen
class Strike:
    """A line of the fault script."""

    on: Any
    fault: Fault
    times: int
    skip: int
    account: int


def strikes(on: str, faults: Sequence[Fault], most: int = 3) -> st.SearchStrategy[Strike]:
    return st.builds(
        Strike,
        st.just(on),
        st.sampled_from(faults),
        st.integers(1, most),
        st.sampled_from([0, 0, 0, 1, 2]),
        st.integers(0, 1),
    )


ON_CREATE = st.one_of(
    strikes("create_commands", LOST), strikes("create_commands", LOST), strikes("create_commands", ANYWHERE)
)
SCRIPTS = st.builds(
    list[Strike].__add__,
    st.one_of(st.just([]), st.lists(ON_CREATE, min_size=1, max_size=2), st.lists(ON_CREATE, min_size=1, max_size=4)),
    st.lists(
        st.one_of(
            strikes("list_commands", ANYWHERE, 8),
            strikes("list_devices", ANYWHERE),
            strikes("get_quota", ANYWHERE),
            strikes("download", ON_DOWNLOAD, 8),
        ),
        max_size=3,
    ),
)

SPECS = st.fixed_dictionaries(
    {
        "command": st.sampled_from([Pcap(), WarpDiag(), SpeedTest()]),
        "targets": mostly(
            Targeting(),
            Targeting(platforms=("windows",)),
            Targeting(version=">=2025"),
            Targeting(sample=Share(count=3)),
        ),
        "waves": mostly(
            Waves(),
            Waves(sizes=(Share(count=3),)),
            Waves(sizes=(Share(count=1), Share(percent=50)), soak=timedelta(minutes=5)),
            Waves(sizes=(Share(count=2),), min_succeeded_percent=60.0),
        ),
        "pace": st.builds(
            Pace,
            creates=st.integers(1, 4),
            in_flight=mostly(1000, 1, 4, 10),
            downloads=st.sampled_from([1, 8]),
            timeout=mostly(timedelta(minutes=30), timedelta(minutes=5)),
        ),
        "abort": mostly((), (AbortRule(failed_percent=50, of_at_least=3),)),
        "retries": st.builds(
            Retries,
            device=mostly(0, 1),
            timeout=mostly(0, 1),
            rejected=mostly(0, 1),
            unknown=mostly(0, 1),
            download=st.integers(0, 3),
        ),
        "leave_quota": mostly(0, 2),
        "deadline": mostly(None, timedelta(minutes=10)),
        "lost_answers": mostly("reconcile", "give_up"),
        "audit_after": mostly(timedelta(minutes=15), timedelta(minutes=5)),
        "name_template": mostly(
            "{account}/{created:%Y-%m-%d}/{user_email}-{command_id}.zip",
            "{command_id}.zip",
            "{wave}/{type}-{command_id}",
        ),
    }
)


@attrs.frozen
class Interruption:
    """How a process ends, or what is done to its campaign from outside while it runs."""

    kind: str
    at: int
    """After so many writes to the journal, or events, of the process."""

    turns: int
    """Turns of the loop later."""


INTERRUPTIONS = st.lists(
    st.builds(
        Interruption,
        st.sampled_from(
            ["crash before", "crash after", "crash after", "stop", "cut off", "pause", "cancel_keep", "cancel_drop"]
        ),
        st.integers(1, 60),
        st.integers(0, 30),
    ),
    max_size=4,
)


@attrs.frozen
class Course:
    """A campaign as drawn, and what happens to it."""

    fleets: Sequence[Sequence[str]]
    behaviour: Behaviour
    script: Sequence[Strike]
    spec: dict[str, Any]
    interruptions: Sequence[Interruption]
    scarce: bool
    """Whether the quota of the first day is not enough."""

    attempts: int
    strangers: int
    """Commands of others: the first half made before, the rest while it runs."""


COURSES = st.builds(
    Course,
    fleets=FLEETS,
    behaviour=BEHAVIOURS,
    script=SCRIPTS,
    spec=SPECS,
    interruptions=INTERRUPTIONS,
    scarce=mostly(False, True),
    attempts=st.integers(1, 3),
    strangers=mostly(0, 2, 8),
)

# --- how it runs


@attrs.define
class Run:
    """A campaign, run in one process after the other until all is decided."""

    course: Course
    folder: Path
    clock: Any = attrs.field(init=False)
    sandboxes: list[Sandbox] = attrs.field(factory=list[Sandbox])
    spec: CampaignSpec = attrs.field(init=False)
    strangers: set[str] = attrs.field(factory=set[str])
    told: list[Recorded] = attrs.field(factory=list[Recorded])
    """The events that the journal had after the last process."""

    task: "asyncio.Task[Any] | None" = None
    endless: bool = False
    cancelled: str | None = None
    """How the operator has ended it."""

    async def __call__(self) -> None:
        wait_for_threads()
        course = self.course
        start = datetime(2026, 1, 1, 23, 40, tzinfo=UTC) if course.scarce else datetime(2026, 1, 1, 12, tzinfo=UTC)
        self.clock = LoopClock(start)
        async with AsyncExitStack() as stack:
            for number, kinds in enumerate(course.fleets):
                devices = fleet(kinds, number)
                sandbox = Sandbox(
                    devices,
                    clock=self.clock,
                    behaviour=course.behaviour,
                    seed=number,
                    quota=len(devices) + 5,
                    account_id=f"{number}" * 32,
                    token=f"token-{number}",
                )
                if course.scarce:
                    sandbox.state.quota.usage = len(devices) // 2 + 5
                self.sandboxes.append(await stack.enter_async_context(sandbox))
            for _ in range(course.strangers // 2):
                self.meddle()
            self.spec = self.make_spec()
            for strike in course.script:
                sandbox = self.sandboxes[strike.account % len(self.sandboxes)]
                sandbox.faults.add(strike.fault, on=strike.on, times=strike.times, skip=strike.skip)
            for interruption in course.interruptions:
                await self.process(interruption)
                self.meddle()
            await self.converge()
            await self.check()

    def meddle(self) -> None:
        """Have somebody else make a command, as long as there are any to be made."""
        if len(self.strangers) < self.course.strangers:
            state = self.sandboxes[0].state
            device = state.devices[len(self.strangers) % len(state.devices)]
            kind = ("speed-test", "warp-diag", "pcap")[len(self.strangers) % 3]
            if kind == self.course.spec["command"].type:
                # One like ours of just then can't be told from ours.
                device = attrs.evolve(device, device_id="22222222-0000-4000-8000-000000000000")
            self.strangers.add(state.create(NewCommand(device, kind)).id)

    def make_spec(self) -> CampaignSpec:
        changes = dict(self.course.spec)
        name = changes.pop("name_template")
        return CampaignSpec(
            name="any",
            accounts=tuple(
                AccountSpec(account_id=sandbox.account_id, name=f"account-{number}")
                for number, sandbox in enumerate(self.sandboxes)
            ),
            artifacts=ArtifactsSpec(into=str(self.folder / "captures"), name=name),
            **changes,
        )

    def client(self, account: AccountSpec) -> DexClient:
        [sandbox] = [one for one in self.sandboxes if one.account_id == account.account_id]
        return DexClient(
            api_token=sandbox.token,
            account_id=sandbox.account_id,
            base_url=sandbox.base_url,
            clock=self.clock,
            random=lambda: 0.5,
            rate_limit=None,
            settle_seconds=SETTLE_SECONDS,
            retry=RetryPolicy(attempts=self.course.attempts, attempt_seconds=20.0),
        )

    def campaign(self, store: Any, *, by_name: bool = False) -> Campaign:
        return Campaign(
            self.spec.name if by_name else self.spec,
            journal=store,
            client=self.client,
            clock=self.clock,
            control_interval=CONTROL_INTERVAL,
        )

    async def process(self, ends: Interruption | None = None) -> CampaignStatus | None:
        """Run the campaign until it ends or `ends` strikes; return how it stands if it came to its end."""
        placed = self.in_place()
        before = [len(sandbox.requests) for sandbox in self.sandboxes]
        async with open_journal(self.folder / "journal.db") as store:
            record = await store.campaign("any")
            if record is not None and record.control == "pause" and record.ended != "finished":
                # The process ended before its operator went on.
                async with self.campaign(store, by_name=True) as campaign:
                    await campaign.resume()
            self.task = asyncio.ensure_future(self.run(store, ends))
            done, _ = await asyncio.wait([self.task], timeout=LONGEST.total_seconds())
            if not done:
                self.task.cancel()
                await asyncio.wait([self.task])
            assert done, "it waits for what does not come"
            assert not self.endless, "it goes round in circles"
            left = [one for one in asyncio.all_tasks() if "operate" in getattr(one.get_coro(), "__qualname__", "")]
            assert not left
            status: CampaignStatus | None = None
            if not self.task.cancelled():
                error = self.task.exception()
                if isinstance(error, Crash):
                    pass
                elif error is not None:
                    raise error
                else:
                    status = self.task.result()
            await self.quiet()
            # What was told stays as it is, and what follows comes after it.
            recorded = await store.events("any", 0, 1_000_000)
            assert recorded[: len(self.told)] == self.told
            assert [one.seq for one in recorded] == sorted({one.seq for one in recorded})
            self.told = recorded
        for sandbox, number in zip(self.sandboxes, before, strict=True):
            asked = {r.params["command_id"] for r in sandbox.requests[number:] if r.operation == "download"}
            assert not asked & placed, "what was in its place is fetched again"
        return status

    async def run(self, store: Store, ends: Interruption | None) -> CampaignStatus:
        crashes = ends is not None and ends.kind.startswith("crash")
        journal = CrashingStore(store, ends.at, after=ends.kind == "crash after") if ends and crashes else store
        events, operator = 0, AsyncExitStack()
        async with operator, self.campaign(journal) as campaign:

            def act() -> None:
                assert ends is not None
                match ends.kind:
                    case "stop":
                        campaign.stop()
                    case "cut off":
                        assert self.task is not None
                        self.task.cancel()
                    case "pause" | "cancel_keep" | "cancel_drop":
                        task = asyncio.ensure_future(self.operate(store, ends.kind))
                        operator.push_async_callback(_over, task)
                    case _:
                        pass

            def note(_: CampaignEvent) -> None:
                nonlocal events
                events += 1
                if ends is not None and events == ends.at:
                    after(ends.turns, act)
                if not self.endless and sum(len(one.requests) for one in self.sandboxes) > MAX_REQUESTS:
                    self.endless = True
                    assert self.task is not None
                    self.task.cancel()

            return await campaign.run(on_event=note)

    async def operate(self, store: Store, kind: str) -> None:
        """Do what an operator does at another terminal."""
        # It may have ended just now.
        with suppress(CampaignError):
            async with self.campaign(store, by_name=True) as other:
                if kind == "pause":
                    await other.pause()
                    await self.clock.sleep(1000)
                    await other.resume()
                else:
                    self.cancelled = kind
                    running = await other.cancel(collect="keep" if kind == "cancel_keep" else "drop")
                    assert 0 <= running <= (await other.status()).count()

    def in_place(self) -> set[str]:
        """Return the ids of the commands whose artifacts are under their final names."""
        return {command_id_in(path) for path in self.files()}

    def files(self) -> Iterator[Path]:
        for path in (self.folder / "captures").rglob("*"):
            if path.is_file() and not path.name.endswith((".part", ".part.json")):
                yield path

    async def quiet(self) -> None:
        """Wait until the service has dealt with all that was sent before a process ended."""
        await asyncio.sleep(60)
        assert sum(sandbox.open_connections for sandbox in self.sandboxes) == 0

    async def converge(self) -> None:
        """Run it until all is decided."""
        for number in range(LAST_RUNS):
            status = await self.process()
            assert status is not None
            if status.state in ("finished", "aborted", "cancelled"):
                return
            assert status.state == "refused", status.state
            # A token that was told to wait waits, whatever comes after.
            await self.clock.sleep(600)
            if number == LAST_RUNS - 2:
                for sandbox in self.sandboxes:
                    sandbox.faults.clear()
        raise AssertionError(f"it does not come to an end: {status.accounts}")

    # --- what must be so

    async def check(self) -> None:
        async with open_journal(self.folder / "journal.db") as store:
            assert await store.check() == []
            async with self.campaign(store, by_name=True) as campaign:
                status = await campaign.status()
            targets = await store.targets("any", range(1, 1000))
            await self.check_replay(store)
            self.check_targets(status, targets)
            self.check_commands(status, targets)
            await self.check_files(store, targets)
            self.check_words(status)
            await self.check_export(store, status, targets)

    async def check_replay(self, store: Store) -> None:
        """Compare the journal with one that is told the same events from the beginning, in the same order."""
        memory = MemoryStore()
        for recorded in self.told:
            await memory.append("any", [recorded.event])
        for ask in ("campaign", "accounts", "counts"):
            assert sorted_if_counts(await getattr(memory, ask)("any")) == sorted_if_counts(
                await getattr(store, ask)("any")
            )
        assert await memory.export("any", 0, 1000) == await store.export("any", 0, 1000)

    def check_targets(self, status: CampaignStatus, targets: Sequence[TargetRecord]) -> None:
        planned = self.of(TargetPlanned)
        assert [event.target for event in planned] == list(range(1, len(planned) + 1))
        assert len(targets) == len(planned)
        assert status.count() + status.count("skipped") == len(planned)
        assert status.count(*DECIDED) == len(planned), "a target is not decided"
        assert Counter(target.state for target in targets) == Counter(
            {state: n for state in {target.state for target in targets} if (n := status.count(state))}
        )
        failures = Counter(target.failure for target in targets if target.state == "failed")
        told = sum((Counter(account.failures) for account in status.accounts), Counter[Any]())
        assert +told == failures
        for target in targets:
            event(f"target {target.state} {target.failure or target.reason or ''}")

    def check_commands(self, status: CampaignStatus, targets: Sequence[TargetRecord]) -> None:
        """Compare what the service has with what the journal tells."""
        made = {
            command_id: command
            for sandbox in self.sandboxes
            for command_id, command in sandbox.state.commands.items()
            if command_id not in self.strangers
        }
        known = {event.command_id: event.target for event in self.of(CommandKnown)}
        surplus = {event.command_id: event.target for event in self.of(SurplusFound)}
        foreign = {event.command_id for event in self.of(ForeignFound)}
        assert known.keys() <= made.keys()
        assert surplus.keys() <= made.keys()
        assert not known.keys() & surplus.keys()
        assert not foreign & made.keys(), "a command of ours is told to be somebody else's"
        assert status.count() - status.count("not_attempted") <= len(targets)
        for account in status.accounts:
            of_account = [event.command_id for event in self.of(CommandKnown) if event.account == account.name]
            assert account.commands == len(of_account)
        assert sum(account.surplus for account in status.accounts) == len(surplus)
        lag = self.course.behaviour.list_lag
        audited = all(account.audited_at is not None or not account.posts for account in status.accounts)
        untold = made.keys() - known.keys() - surplus.keys()
        # Where nobody waits for late commands, those that the list shows late are not told.
        if audited and not (self.cancelled and lag):
            assert not untold, "a command of ours is neither known nor told as surplus"
        by_number = {target.number: target for target in targets}
        for command_id, number in [*known.items(), *surplus.items()]:
            device, target = made[command_id].device, by_number[number]
            assert (device.device_id, device.registration_id) == (target.device_id, target.registration_id)
        again = Counter(event.target for event in self.of(TargetRetried) if event.failure != "download")
        for number, count in Counter(known.values()).items():
            assert count <= 1 + again[number], "a target has two commands"
        if lag < SETTLE_SECONDS:
            assert not surplus, "a command is doubled"
            assert not untold
        for target in targets:
            if target.command_id is not None and target.state == "saved":
                assert made[target.command_id].timeline.succeeded
            if target.state == "failed" and target.failure == "device":
                assert target.command_id is not None
                assert not made[target.command_id].timeline.succeeded
        if not (surplus or untold or self.course.strangers):
            for sandbox in self.sandboxes:
                days = Counter(command.created.date() for command in sandbox.state.commands.values())
                most = sandbox.state.quota.limit - self.spec.leave_quota
                assert max(days.values(), default=0) <= most, "more is spent than may be"
        event(f"surplus {len(surplus) > 0}, untold {len(untold) > 0}, audited {audited}")

    async def check_files(self, store: Store, targets: Sequence[TargetRecord]) -> None:
        files = {str(path): path for path in self.files()}
        saved = {event.location: event for event in self.of(ArtifactSaved)}
        in_journal = {
            artifact.location: artifact
            for _, _, artifact, _ in await store.export("any", 0, 1000)
            if artifact is not None
        }
        assert in_journal.keys() == saved.keys()
        assert len(saved) == sum(target.state == "saved" for target in targets)
        ended = self.cancelled == "cancel_drop"
        assert saved.keys() <= files.keys()
        # One whose process ended before it was written down, and that was dropped then, is there all the same.
        assert saved.keys() == files.keys() or ended
        for location, path in files.items():
            command_id = command_id_in(path)
            [sandbox] = [one for one in self.sandboxes if command_id in one.state.commands]
            assert path.read_bytes() == b"".join(sandbox.artifact(command_id).read())
            if location in saved:
                assert saved[location].command_id == command_id
                assert saved[location].size == path.stat().st_size

    def check_words(self, status: CampaignStatus) -> None:
        lines = report_lines(status)
        for state in DECIDED - {"skipped"}:
            if n := status.count(state):
                assert any(line.split()[: len(state.split("_")) + 1] == [*state.split("_"), f"{n}"] for line in lines)

    async def check_export(self, store: Store, status: CampaignStatus, targets: Sequence[TargetRecord]) -> None:
        stream = io.StringIO()
        n = await export_campaign(store, "any", stream, "jsonl")
        rows = [json.loads(line) for line in stream.getvalue().splitlines()]
        assert len(rows) == n
        outcomes = Counter(row["outcome"] for row in rows)
        states = Counter(target.state for target in targets)
        assert outcomes == Counter(
            {
                **states,
                "surplus": sum(account.surplus for account in status.accounts),
                "foreign": sum(account.foreign for account in status.accounts),
            }
        )
        saved = {row["path"]: row["command_id"] for row in rows if row["outcome"] == "saved"}
        assert saved == {event.location: event.command_id for event in self.of(ArtifactSaved)}

    def of(self, kind: type[Any]) -> list[Any]:
        return [recorded.event for recorded in self.told if isinstance(recorded.event, kind)]


def sorted_if_counts(rows: Any) -> Any:
    return sorted(rows, key=repr) if isinstance(rows, list) else rows


def command_id_in(path: Path) -> str:
    return path.name.removesuffix(".zip")[-36:]


def after(turns: int, act: Any) -> None:
    if turns:
        asyncio.get_running_loop().call_soon(after, turns - 1, act)
    else:
        act()


async def _over(task: "asyncio.Task[None]") -> None:
    """End what an operator does: the process that it was about is over."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def run(course: Course) -> None:
    with tempfile.TemporaryDirectory(dir=SWIFT) as folder, asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(Run(course, Path(folder))())


@PROFILE
@given(COURSES)
def test_whatever_happens_journal_files_and_service_agree(course: Course) -> None:
    run(course)
