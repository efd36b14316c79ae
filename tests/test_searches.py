"""Calls of one client that have lost answers: they look at the list together, and none depends on another."""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from functools import partial

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd import (
    AmbiguousCreateError,
    BadRequestError,
    CampaignError,
    Command,
    DexClient,
    PermissionDeniedError,
    RateLimit,
    RetryPolicy,
    TransportError,
)
from dexcmd.clock import ManualClock
from dexcmd.created import CreatedLog
from dexcmd.events import CommandAdopted, Event
from dexcmd.fanout import BulkCreate
from dexcmd.lost import LostCommands
from dexcmd.sandbox import Behaviour, Fault, SandboxDevice, make_devices
from dexcmd.sandbox.requestlog import RecordedRequest
from dexcmd.sandbox.state import NewCommand
from dexcmd.searches import Searches
from tests.conftest import Rig

pytestmark = pytest.mark.anyio

HASTY = RetryPolicy(attempt_seconds=1.0)
"""Where a request that is never answered is waited for, in real time."""


def healthy(count: int) -> list[SandboxDevice]:
    return make_devices(count, multi_user_share=0, ineligible_share=0, disconnected_share=0)


def create(rig: Rig, number: int, dex: DexClient | None = None) -> asyncio.Task[Command]:
    """Begin a call that creates a command for one device."""

    async def call() -> Command:
        [made] = await (dex or rig.dex).commands.create([rig.requests(number + 1)[number]])
        return made

    return asyncio.ensure_future(call())


async def outcomes(*calls: Awaitable[Command]) -> Sequence[Command | BaseException]:
    with anyio.fail_after(60):
        return await asyncio.gather(*calls, return_exceptions=True)


def assert_own(rig: Rig, found: Sequence[Command | BaseException]) -> None:
    """Assert that each call has the command of its device, and that there are no others."""
    commands = [each for each in found if isinstance(each, Command)]
    assert commands == found
    assert [each.device_id for each in commands] == [request.device_id for request in rig.requests(len(found))]
    assert {each.id for each in commands} == set(rig.sandbox.state.commands)


def assert_at_rest(rig: Rig) -> None:
    searches = rig.dex.commands._searches
    assert not searches._joined
    assert searches._over is None
    assert not rig.dex.commands.created._noted
    assert not rig.dex.commands.created.sought()


async def tick(clock: ManualClock) -> None:
    """Have time go slower than what is under way on sockets, until cancelled."""
    while True:
        await clock.sleep(0.05)


async def until_looked(rig: Rig, looks: int = 1) -> None:
    with anyio.fail_after(30):
        while rig.made("list_commands") < looks:
            await asyncio.sleep(0.001)


# --- What it costs


@pytest.mark.parametrize("limit", [RateLimit(), None])
@pytest.mark.parametrize("outage", [0.0, 60.0])
@pytest.mark.parametrize("processed", [True, False])
async def test_forty_calls_look_as_often_as_one(processed: bool, outage: float, limit: RateLimit | None) -> None:
    async def looks(calls: int) -> int:
        one = Rig(ManualClock())
        await one.start(healthy(calls), rate_limit=limit)
        one.sandbox.faults.add(Fault.drop(processed=processed), on="create_commands", times=calls)
        one.sandbox.faults.add(
            Fault.error(500), on="list_commands", times=None, where=lambda _: one.clock.monotonic() < outage
        )
        assert_own(one, await outcomes(*[create(one, number) for number in range(calls)]))
        assert_at_rest(one)
        made = one.made("list_commands")
        await one.close()
        return made

    alone, together = await looks(1), await looks(40)
    # Those whose time to be believed comes in between have a look each; answers got lost at the same moment here.  It
    # can be fewer as well: the share of the rate limit counts from the first that is lost on, and looks shift by it.
    assert 0 < together <= alone + 2


async def test_who_lost_an_answer_while_another_looks_has_a_look_of_its_own(rig: Rig) -> None:
    await rig.start(rate_limit=None)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    rig.sandbox.faults.add(Fault.slow(0.3, processed=True, real_time=True), on="list_commands", times=1)
    first = create(rig, 0)
    await until_looked(rig)
    assert_own(rig, await outcomes(first, create(rig, 1)))
    assert rig.made("list_commands") == 2


async def test_what_the_look_of_another_shows_is_told_at_once(rig: Rig, clock: ManualClock) -> None:
    # The first has looked at 0, 1, 3, 7 and 15 s, and would look next at 23 s.
    await rig.start(behaviour=Behaviour.instant(list_lag=16.0), rate_limit=None)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    told: list[float] = []

    async def first() -> Command:
        made = await create(rig, 0)
        told.append(clock.monotonic() - began)
        return made

    async def second() -> Command:
        await clock.sleep(18.0)
        return await create(rig, 1)

    ticking = asyncio.ensure_future(tick(clock))
    began = clock.monotonic()
    assert_own(rig, await outcomes(first(), second()))
    ticking.cancel()
    assert 18.0 <= told[0] < 22.0


async def test_who_was_told_does_not_wait_for_the_look_of_who_was_not(rig: Rig, clock: ManualClock) -> None:
    # The first has looked at 0, 1, 3, 7 and 15 s, and is due at 23 s, while the second looks for both.  The third has
    # been waiting for longer then, and was told nothing: its own look is never answered.
    await rig.start(behaviour=Behaviour.instant(list_lag=16.0), rate_limit=None, retry=HASTY)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=3)
    for fault, look in ((Fault.slow(0.5, real_time=True), 6), (Fault.silence(), 7)):
        rig.sandbox.faults.add(
            fault, on="list_commands", times=None, where=lambda _, look=look: rig.made("list_commands") == look
        )
    ticking = asyncio.ensure_future(tick(clock))
    first = create(rig, 0)
    await clock.sleep(17.0)
    second = create(rig, 1)
    await until_looked(rig, 6)
    third = create(rig, 2)
    found = await outcomes(first)
    assert not third.done()
    assert_own(rig, [*found, *await outcomes(second, third)])
    ticking.cancel()


async def test_who_begins_while_another_looks_keeps_to_the_share_of_the_rate_limit(
    rig: Rig, clock: ManualClock
) -> None:
    # A request a minute: a quarter of 20 in five minutes.
    await rig.start(rate_limit=RateLimit(requests=20, seconds=300.0))
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    rig.sandbox.faults.add(Fault.slow(0.3, real_time=True), on="list_commands", times=1)
    first = create(rig, 0)
    await until_looked(rig)
    assert_own(rig, await outcomes(first, create(rig, 1)))
    assert clock.monotonic() == pytest.approx(60.0, abs=1.0)


# --- What becomes of one does not matter to the others


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_who_is_cancelled_while_it_looks_for_all(rig: Rig, left: int) -> None:
    await rig.start(rate_limit=None, retry=HASTY)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=3)
    rig.sandbox.faults.add(Fault.silence(headers=False), on="list_commands", times=1)
    calls = [create(rig, number) for number in range(3)]
    await until_looked(rig)
    # The one that looks is among them, but for one of the three cases.
    for number in {0, 1, 2} - {left}:
        calls[number].cancel()
    found = (await outcomes(*calls))[left]
    assert isinstance(found, Command)
    assert found.device_id == rig.requests(3)[left].device_id
    assert_at_rest(rig)


async def test_what_is_found_for_one_that_was_cancelled_meanwhile_is_nobodys(rig: Rig) -> None:
    await rig.start(rate_limit=None)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    rig.sandbox.faults.add(Fault.error(500), on="list_commands", times=1)
    rig.sandbox.faults.add(Fault.slow(0.3, processed=True, real_time=True), on="list_commands", times=None)
    calls = [create(rig, number) for number in range(2)]
    await until_looked(rig, 2)
    calls[1].cancel()
    found, cancelled = await outcomes(*calls)
    assert isinstance(found, Command)
    assert isinstance(cancelled, asyncio.CancelledError)
    adopted = [event.command_id for event in rig.events if isinstance(event, CommandAdopted)]
    assert adopted == [found.id]
    [other] = set(rig.sandbox.state.commands) - {found.id}
    assert other not in rig.dex.commands.created
    assert_at_rest(rig)


async def test_what_was_told_just_before_a_cancellation_is_in_the_result(rig: Rig) -> None:
    # Both are cancelled within the look that finds the commands of both.
    scopes = [anyio.CancelScope(), anyio.CancelScope()]

    def leave(event: Event) -> None:
        if isinstance(event, CommandAdopted):
            for scope in scopes:
                scope.cancel()

    await rig.start(rate_limit=None, on_event=leave)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    bulks = [rig.dex.commands.create_many([request]) for request in rig.requests(2)]

    async def run(scope: anyio.CancelScope, bulk: BulkCreate) -> None:
        with scope:
            await bulk

    await asyncio.gather(*map(run, scopes, bulks))
    outcomes = [outcome for bulk in bulks for outcome in bulk.result.outcomes]
    assert [outcome.state for outcome in outcomes] == ["adopted", "adopted"]
    assert {outcome.command_id for outcome in outcomes} == set(rig.sandbox.state.commands)
    assert_at_rest(rig)


async def test_who_needs_the_first_page_does_not_need_those_that_others_do(rig: Rig) -> None:
    # One that is not there has the list walked to its end, and that can't be read.
    await rig.start(retry=RetryPolicy(attempts=1), settle_seconds=30.0)
    for _ in range(60):
        rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[-1], "pcap"))
    for processed in (False, True):
        rig.sandbox.faults.add(Fault.drop(processed=processed), on="create_commands", times=1)
    rig.sandbox.faults.add(
        Fault.error(500), on="list_commands", times=None, where=lambda request: request.query["page"] == "2"
    )
    absent = create(rig, 0)
    await until_looked(rig)
    there, unknown = await outcomes(create(rig, 1), absent)
    assert isinstance(there, Command)
    assert there.id == next(reversed(rig.sandbox.state.commands))
    assert isinstance(unknown, AmbiguousCreateError)
    assert unknown.outcomes[0].reason == "unreadable"


async def test_a_hook_that_raises_does_so_for_each_that_looks(rig: Rig) -> None:
    await rig.start(rate_limit=None)
    session, created = rig.dex.commands._session, CreatedLog()
    asked: list[Collection[str]] = []

    async def known(ids: Collection[str]) -> Collection[str]:
        asked.append(ids)
        raise CampaignError("the journal is gone")

    searches = Searches(session, created, known)
    some = [LostCommands(session, created, searches, lambda: 120.0, again=True) for _ in range(2)]
    for commands, request, device in zip(some, rig.requests(2), rig.sandbox.state.devices[:2], strict=True):
        commands.lose([request], TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())
        rig.sandbox.state.create(NewCommand(device, "pcap"))
    found = await asyncio.gather(*[commands.look() for commands in some], return_exceptions=True)
    assert [str(each) for each in found if isinstance(each, CampaignError)] == ["the journal is gone"] * 2
    assert len(asked) == 2
    assert not searches._joined
    assert searches._over is None


async def test_a_list_that_may_not_be_read_is_so_for_all(rig: Rig) -> None:
    await rig.start(rate_limit=None)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=3)
    rig.sandbox.faults.add(Fault.error(403), on="list_commands", times=1)
    found = await outcomes(*[create(rig, number) for number in range(3)])
    for each in found:
        assert isinstance(each, AmbiguousCreateError)
        [outcome] = each.outcomes
        assert outcome.reason == "unreadable"
    assert rig.made("list_commands") == 1
    assert PermissionDeniedError.__name__ not in str(found[0])


async def test_a_client_with_another_retry_policy_looks_for_itself(rig: Rig) -> None:
    # What one with less patience could not read says nothing to one with more.
    await rig.start(rate_limit=None)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    hasty = rig.dex.with_retry(RetryPolicy(attempts=1))
    assert_own(rig, await outcomes(create(rig, 0), create(rig, 1, hasty)))
    assert rig.made("list_commands") == 2


async def test_clients_with_equal_retry_policies_look_together(rig: Rig) -> None:
    await rig.start(healthy(10), rate_limit=None)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=10)
    assert_own(
        rig,
        await outcomes(*[create(rig, number, rig.dex.with_retry(RetryPolicy(attempts=2))) for number in range(10)]),
    )
    # Those that lost their answers a moment later look once more.
    assert rig.made("list_commands") <= 3


async def test_all_retry_policies_together_look_within_a_quarter_of_the_rate_limit(rig: Rig) -> None:
    await rig.start(healthy(30), rate_limit=RateLimit(requests=400, seconds=100.0))
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=30)
    clients = [rig.dex.with_retry(RetryPolicy(total_seconds=100.0 + number)) for number in range(30)]
    creating = outcomes(*[create(rig, number, dex) for number, dex in enumerate(clients)])
    assert_own(rig, await creating)
    # One a second, and for each another one when its time to be believed comes.
    settles = rig.clock.monotonic()
    assert rig.made("list_commands") <= settles + 30 + 2


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("between", [0, 60], ids=["on one page", "on two pages"])
@pytest.mark.parametrize("without", [set[str](), {"created_date"}], ids=["dated", "undated"])
async def test_none_takes_what_another_policys_call_has_lost(
    rig: Rig, first: bool, between: int, without: set[str]
) -> None:
    # The list can't be read before both have lost their answers, and shows the newer command above the older one.
    await rig.start(behaviour=Behaviour.instant(null_fields=without), rate_limit=None)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    rig.sandbox.faults.add(
        Fault.error(500), on="list_commands", times=None, where=lambda _: rig.clock.monotonic() < 20.0
    )
    other = rig.dex.with_retry(RetryPolicy(attempts=2))
    earlier = create(rig, 0, rig.dex if first else other)
    while not rig.sandbox.state.commands:
        await asyncio.sleep(0)
    await rig.clock.sleep(8.0)
    somebodys = {rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[1], "pcap")).id for _ in range(between)}
    found = await outcomes(earlier, create(rig, 0, other if first else rig.dex))
    ours = [each for each in rig.sandbox.state.commands if each not in somebodys]
    assert [each.id for each in found if isinstance(each, Command)] == ours
    assert len(found) == 2
    assert_at_rest(rig)


def is_for(device_id: str, request: RecordedRequest) -> bool:
    return any(command["device_id"] == device_id for command in request.body["commands"])


COURSES = st.lists(
    st.tuples(
        st.floats(0.0, 200.0),
        st.sampled_from(["ok", "lost", "lost", "not made", "not made", "refused"]),
        st.one_of(st.none(), st.none(), st.floats(0.0, 200.0)),
    ),
    min_size=2,
    max_size=12,
)
FAULTS = st.lists(st.sampled_from(["ok", "ok", "500", "drop", "400"]), max_size=12)
POSTS = {"lost": Fault.drop(processed=True), "not made": Fault.drop(processed=False), "refused": Fault.error(400)}
LIMIT = RateLimit(requests=80, seconds=300.0)


@settings(max_examples=40)
@given(COURSES, FAULTS, st.sampled_from([0.0, 3.0, 50.0]), st.sampled_from([None, LIMIT]))
def test_whatever_becomes_of_some_the_others_have_their_own(
    courses: list[tuple[float, str, float | None]], faults: list[str], lag: float, limit: RateLimit | None
) -> None:
    async def run() -> None:
        clock = ManualClock()
        rig = Rig(clock)
        await rig.start(healthy(len(courses)), behaviour=Behaviour.instant(list_lag=lag), rate_limit=limit)
        requests = rig.requests(len(courses))
        for fault in faults:
            if fault == "drop":
                rig.sandbox.faults.add(Fault.drop(), on="list_commands", times=1)
            elif fault != "ok":
                rig.sandbox.faults.add(Fault.error(int(fault)), on="list_commands", times=1)
        for request, (_, course, _) in zip(requests, courses, strict=True):
            if course in POSTS:
                rig.sandbox.faults.add(
                    POSTS[course], on="create_commands", times=1, where=partial(is_for, request.device_id)
                )
        made: dict[int, str | None] = {}

        async def call(number: int) -> None:
            starts, course, leaves = courses[number]
            await clock.sleep(starts)
            creating = create(rig, number)
            if leaves is not None:
                await clock.sleep(leaves)
                creating.cancel()
            try:
                command = await creating
            except asyncio.CancelledError:
                assert leaves is not None
                made[number] = None
            except AmbiguousCreateError:
                assert course != "ok"
                made[number] = None
            except BadRequestError:
                assert course == "refused"
            else:
                assert command.device_id == requests[number].device_id
                made[number] = command.id

        try:
            with anyio.fail_after(60):
                await asyncio.gather(*map(call, range(len(courses))))
            assert_at_rest(rig)
            for command in rig.sandbox.state.commands.values():
                [number] = [n for n, request in enumerate(requests) if request.device_id == command.device.device_id]
                # Nothing exists twice, and nothing that its call was not told of, unless it was told so.
                assert made[number] in (command.id, None)
            known = [one for one in made.values() if one is not None]
            assert len(known) == len(set(known))
            assert set(known) <= set(rig.sandbox.state.commands)
        finally:
            await rig.close()

    anyio.run(run)
