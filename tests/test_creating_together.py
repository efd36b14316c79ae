"""Whatever creates commands for one device by one client, and whatever goes wrong meanwhile: none is doubled."""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from functools import partial

import anyio
import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd import CommandRequest, DexError, Pcap, RateLimit, RetryPolicy
from dexcmd.clock import ManualClock
from dexcmd.creation import Creation
from dexcmd.outcome import Outcome
from dexcmd.sandbox import Behaviour, Fault, SandboxDevice, make_devices
from dexcmd.sandbox.requestlog import Operation, RecordedRequest
from dexcmd.sandbox.state import NewCommand
from tests.conftest import Rig

HASTY = RetryPolicy(attempts=2, attempt_seconds=5.0)

POSTS = {
    "ok": None,
    "lost": Fault.drop(processed=True),
    "not made": Fault.drop(processed=False),
    "lost in a 500": Fault.error(500, processed=True),
    "refused": Fault.error(400),
    "limited": Fault.rate_limited(20),
    "slow": Fault.slow(12.0),
    "made late": Fault.slow(12.0, processed=False),
    "not told of": Fault.rows("partial"),
}
LISTS = {"ok": None, "500": Fault.error(500), "drop": Fault.drop(), "slow": Fault.slow(7.0), "garbage": Fault.garbage()}

# Most of them near to one another, and yet so far apart that the row of one is too old for the next.
TIMES = st.one_of(st.sampled_from([0.0, 2.0, 7.0, 13.0]), st.sampled_from([0.0, 7.0, 13.0]), st.floats(0.0, 200.0))


@attrs.frozen
class Call:
    """One that creates a command."""

    how: str
    registration: int | None
    """Which of the device it names, if any."""

    begins: float
    leaves: float | None
    """After how many seconds it is cancelled, or where it can be, told to stop."""


@attrs.frozen
class Course:
    """What happens to some calls."""

    calls: list[Call]
    posts: list[str]
    lists: list[str]
    registrations: int
    list_lag: float
    dated: bool
    """Whether rows tell when their command was created."""

    crowd: list[float]
    """When so many commands for another device are made that they fill more than a page of the list."""

    outage: float
    """How long the list can't be read."""

    limit: RateLimit | None
    before_post: float
    """How long what is done before a POST takes, where anything is."""

    jump: tuple[float, float] | None
    """When the machine is suspended, and for how long."""


COURSES = st.builds(
    Course,
    calls=st.lists(
        st.builds(
            Call,
            how=st.sampled_from(["create", "hasty create", "create_many", "create_many and stop", "campaign"]),
            registration=st.sampled_from([None, None, None, 0, 1, 2]),
            begins=TIMES,
            leaves=st.one_of(st.none(), st.none(), st.none(), TIMES),
        ),
        min_size=2,
        max_size=9,
    ),
    posts=st.lists(st.one_of(st.just("lost"), st.just("lost"), st.sampled_from([*POSTS])), min_size=2, max_size=14),
    lists=st.lists(st.sampled_from([*LISTS]), max_size=10),
    registrations=st.sampled_from([1, 1, 2, 3]),
    list_lag=st.sampled_from([0.0, 3.0, 50.0]),
    dated=st.booleans(),
    crowd=st.lists(TIMES, max_size=2),
    outage=st.sampled_from([0.0, 20.0, 20.0, 60.0]),
    limit=st.sampled_from([None, RateLimit(requests=80, seconds=300.0)]),
    before_post=st.sampled_from([0.0, 1.0, 8.0]),
    jump=st.one_of(st.none(), st.tuples(TIMES, st.sampled_from([3.0, 60.0, 200.0]))),
)


class Together:
    """Calls by one client for one device, and what they were told."""

    def __init__(self, rig: Rig, course: Course, devices: Sequence[SandboxDevice]) -> None:
        self._rig = rig
        self._course = course
        self._devices = devices
        self._journal: set[str] = set()
        self.told: list[Outcome | None] = []
        """None where nothing is told."""

    def _request(self, registration: int | None) -> CommandRequest:
        device = self._devices[(registration or 0) % len(self._devices)]
        named = None if registration is None else device.registration_id
        return CommandRequest(
            device_id=device.device_id, user_email=device.user_email, args=Pcap(), registration_id=named
        )

    async def call(self, call: Call) -> None:
        clock = self._rig.clock
        await clock.sleep(call.begins)
        how = {"create": self._create, "hasty create": partial(self._create, retry=HASTY), "campaign": self._campaign}
        if call.how in how:
            await self._until(call.leaves, how[call.how](self._request(call.registration)))
        else:
            await self._create_many(call)

    async def _until(self, leaves: float | None, doing: Awaitable[object]) -> None:
        """Await something, and cancel it after so many seconds."""
        task = asyncio.ensure_future(doing)
        if leaves is not None:
            await self._rig.clock.sleep(leaves)
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def _create(self, request: CommandRequest, retry: RetryPolicy | None = None) -> None:
        dex = self._rig.dex if retry is None else self._rig.dex.with_retry(retry)
        number = len(self.told)
        self.told.append(None)
        try:
            [made] = await dex.commands.create([request])
        except DexError as error:
            self.told[number] = getattr(error, "outcomes", [Outcome(request, "rejected", error=error)])[0]
        else:
            self.told[number] = Outcome.made(request, "created", made)

    async def _create_many(self, call: Call) -> None:
        numbers = [None] if call.registration is None else range(len(self._devices))
        bulk = self._rig.dex.commands.create_many(map(self._request, numbers))
        if call.how == "create_many":
            await self._until(call.leaves, bulk)
        else:
            doing = asyncio.ensure_future(bulk)
            await self._rig.clock.sleep(call.leaves or 0.0)
            bulk.stop()
            await doing
        self.told += bulk.result.outcomes

    async def _campaign(self, request: CommandRequest) -> None:
        """Create as a campaign does: with something to do before each POST, and a journal of what it has."""
        told = [Outcome(request, "not_attempted", reason="cancelled")]

        async def note(outcomes: Sequence[Outcome]) -> None:
            await self._rig.clock.sleep(0.05)
            self._journal.update(outcome.command_id for outcome in outcomes if outcome.command_id is not None)

        async def known(ids: Collection[str]) -> Collection[str]:
            await self._rig.clock.sleep(0.1)
            return self._journal.intersection(ids)

        async def before_post(*_: object) -> None:
            await self._rig.clock.sleep(self._course.before_post)

        creation = Creation(
            self._rig.dex.session,
            self._rig.dex.commands.created,
            told.append,
            on_outcomes=note,
            before_post=before_post,
            known=known,
        )
        try:
            await creation.run([(request,)])
        finally:
            self.told.append(told[-1])


def strike(rig: Rig, operation: Operation, faults: Sequence[Fault | None]) -> None:
    """Have the requests of an operation be struck, each by its own."""
    arrived: list[RecordedRequest] = []

    def is_number(number: int, request: RecordedRequest) -> bool:
        if request not in arrived:
            arrived.append(request)
        return arrived.index(request) == number

    for number, fault in enumerate(faults):
        if fault is not None:
            rig.sandbox.faults.add(fault, on=operation, where=partial(is_number, number))


def assert_none_doubled(rig: Rig, told: Sequence[Outcome | None]) -> None:
    device = rig.sandbox.state.devices[0].device_id
    ours = [command.id for command in rig.sandbox.state.commands.values() if command.device.device_id == device]
    made = [outcome.command_id for outcome in told if outcome is not None and outcome.command is not None]
    untold = [outcome for outcome in told if outcome is None or outcome.state == "unknown"]
    assert len(made) == len(set(made))
    assert set(made) <= set(ours)
    assert len(ours) <= len(made) + len(untold)


def assert_at_rest(rig: Rig) -> None:
    created = rig.dex.commands.created
    assert not created.sought()
    assert not created._noted
    assert not +created._under_way
    assert all(not searches._joined and searches._over is None for searches in rig.dex._searches.values())


@settings(max_examples=60)
@given(COURSES)
def test_none_is_doubled(course: Course) -> None:
    async def run() -> None:
        clock = ManualClock()
        rig = Rig(clock)
        device, another = make_devices(2, multi_user_share=0, ineligible_share=0, disconnected_share=0)
        devices = [attrs.evolve(device, registration_id=str(number)) for number in range(course.registrations)]
        behaviour = Behaviour.instant(
            list_lag=course.list_lag,
            registration_required=False,
            null_fields=set() if course.dated else {"created_date"},
        )
        await rig.start([*devices, another], behaviour=behaviour, rate_limit=course.limit)
        rig.sandbox.faults.add(
            Fault.error(500), on="list_commands", times=None, where=lambda _: clock.monotonic() < course.outage
        )
        strike(rig, "list_commands", [LISTS[name] for name in course.lists])
        strike(rig, "create_commands", [POSTS[name] for name in course.posts])
        together = Together(rig, course, devices)

        async def jump(at: float, seconds: float) -> None:
            await clock.sleep(at)
            clock.advance(seconds)

        async def crowd(at: float) -> None:
            await clock.sleep(at)
            for _ in range(60):
                rig.sandbox.state.create(NewCommand(another, "pcap"))

        try:
            with anyio.fail_after(60):
                jumps = [] if course.jump is None else [jump(*course.jump)]
                await asyncio.gather(*map(together.call, course.calls), *map(crowd, course.crowd), *jumps)
            assert_none_doubled(rig, together.told)
            assert_at_rest(rig)
        finally:
            await rig.close()

    anyio.run(run)
