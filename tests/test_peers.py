"""Followers of one client, each by itself: they share their polls, and none depends on another."""

import asyncio
import math
from collections.abc import Awaitable, Sequence
from datetime import timedelta

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd import Command, DexError, RateLimit, RateLimitError, RetryPolicy, ServerError, WaitTimeoutError
from dexcmd.clock import ManualClock
from dexcmd.polling import peers
from dexcmd.polling.peers import Peers
from dexcmd.polling.rhythm import MANY_FACTOR
from dexcmd.sandbox import Behaviour, Fault, make_devices
from dexcmd.sandbox.requestlog import RecordedRequest
from dexcmd.sandbox.state import NewCommand, StoredCommand
from tests.conftest import Rig

pytestmark = pytest.mark.anyio

FOREVER = Behaviour(run_seconds=(1e6, 1e6))


async def start(rig: Rig, devices: int, behaviour: Behaviour | None = None, **client: object) -> list[StoredCommand]:
    """Return a command for each device, created a second after the one before."""
    await rig.start(
        make_devices(devices, multi_user_share=0, ineligible_share=0, disconnected_share=0),
        behaviour=Behaviour.instant() if behaviour is None else behaviour,
        quota=10_000,
        **client,
    )
    # The service's time is known from any answer.
    await rig.dex.quota.get()
    return [make(rig, number) for number in range(devices)]


def make(rig: Rig, number: int) -> StoredCommand:
    rig.clock.advance(1.0)  # type: ignore[attr-defined]
    return rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[number], "pcap"))


def lists(rig: Rig) -> list[RecordedRequest]:
    return [request for request in rig.sandbox.requests if request.operation == "list_commands"]


def assert_at_rest(rig: Rig) -> None:
    """Assert that nothing is left of those that followed."""
    found: Peers = rig.dex.commands.peers
    assert found._asking is None
    assert not found._resting
    assert found.turn.time is None
    assert not any(one.asker for schedule in found.known.schedules for one in schedule.pending.values())
    assert not rig.dex.commands._session.polls._window._planned


async def outcomes(*waits: Awaitable[Command]) -> Sequence[Command | BaseException]:
    with anyio.fail_after(60):
        return await asyncio.gather(*waits, return_exceptions=True)


# --- What it costs


async def test_sixty_waits_cost_what_one_would_that_waits_for_all(rig: Rig, clock: ManualClock) -> None:
    made = await start(rig, 60, Behaviour())
    late: list[float] = []

    async def wait(command: StoredCommand) -> Command:
        found = await rig.dex.commands.wait(command.id)
        late.append(clock.now().timestamp() - max(began, command.timeline.finished))
        return found

    began = clock.now().timestamp()
    found = await outcomes(*map(wait, made))
    assert [isinstance(each, Command) and each.id for each in found] == [command.id for command in made]
    together = len(lists(rig))
    assert max(late) <= MANY_FACTOR * 2.0 + 1.0
    again = [make(rig, number) for number in range(60)]
    async with rig.dex.commands.follow([command.id for command in again]) as ended:
        assert len([command async for command in ended]) == 60
    assert together <= 3 * (len(lists(rig)) - together)
    assert_at_rest(rig)


async def test_nothing_is_kept_of_commands_that_nobody_follows_any_more(rig: Rig) -> None:
    for command in await start(rig, 10):
        await rig.dex.commands.wait(command.id)
    assert rig.dex.commands.peers.known.rows.ours(-math.inf, math.inf) <= 1


async def test_a_client_with_another_retry_policy_shares_them(rig: Rig) -> None:
    made = await start(rig, 10)
    other = rig.dex.with_retry(RetryPolicy(attempts=2))
    clients = [rig.dex, other]
    await outcomes(*[clients[number % 2].commands.wait(command.id) for number, command in enumerate(made)])
    assert len(lists(rig)) == 1
    assert_at_rest(rig)


async def test_captures_share_their_polls(rig: Rig, tmp_path: object) -> None:
    devices = make_devices(40, multi_user_share=0, ineligible_share=0, disconnected_share=0)
    await rig.start(devices, behaviour=Behaviour())

    async def capture(number: int) -> str:
        async with rig.dex.capture(rig.requests(number + 1)[number:], into=f"{tmp_path}/{number}") as results:
            [result] = [result async for result in results]
        return result.state

    with anyio.fail_after(60):
        assert set(await asyncio.gather(*map(capture, range(40)))) == {"saved"}
    assert len(lists(rig)) <= 25
    assert_at_rest(rig)


async def test_one_command_that_several_wait_for(rig: Rig) -> None:
    [made] = await start(rig, 1, Behaviour(run_seconds=(20.0, 20.0), upload_seconds=(1.0, 1.0)))
    found = await outcomes(*[rig.dex.commands.wait(made.id) for _ in range(5)])
    assert [isinstance(each, Command) and each.id for each in found] == [made.id] * 5
    alone = len(lists(rig))
    [again] = [make(rig, 0)]
    await rig.dex.commands.wait(again.id)
    assert alone <= len(lists(rig)) - alone + 1


async def test_who_has_what_it_waits_for_leaves_the_rest_to_the_others(rig: Rig) -> None:
    made = await start(rig, 130)
    # In the order of the list, so what the first waits for is on the first page, and it is told before the others are.
    asked: list[int] = []

    async def wait(command: StoredCommand) -> Command:
        found = await rig.dex.commands.wait(command.id)
        asked.append(len(lists(rig)))
        return found

    found = await outcomes(*[wait(command) for command in reversed(made)])
    assert all(isinstance(each, Command) for each in found)
    assert asked[0] == 1
    assert len(lists(rig)) == 4
    assert_at_rest(rig)


async def test_who_asks_rarely_is_not_asked_for_often(
    rig: Rig, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for an answer, or else the sleep of the one ends while the other is told.
    monkeypatch.setattr(clock, "SETTLE_SECONDS", 0.02)
    # Two pages lie between the two commands.
    first, *_, last = await start(rig, 160, FOREVER)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: rig.dex.commands.wait(last.id, poll_interval=1.0, timeout=900.0))
        with pytest.raises(WaitTimeoutError):
            await rig.dex.commands.wait(first.id, poll_interval=60.0, timeout=600.0)
        group.cancel_scope.cancel()
    until = first.created + timedelta(seconds=20)
    rare = [request for request in lists(rig) if request.query.get("to", "9") < until.isoformat()]
    often = len(lists(rig)) - len(rare)
    assert 4 <= len(rare) <= 15
    assert often >= 100


async def test_who_is_not_iterated_is_not_asked_for(rig: Rig) -> None:
    made = await start(rig, 3)
    async with rig.dex.commands.follow([made[0].id, made[1].id]) as slow:
        first = await anext(slow)
        asked = len(lists(rig))
        assert (await rig.dex.commands.wait(made[2].id)).id == made[2].id
        assert len(lists(rig)) == asked + 1
        assert {first.id, (await anext(slow)).id} == {made[0].id, made[1].id}


# --- What becomes of one does not matter to the others


async def test_who_is_cancelled_while_it_asks_for_all(rig: Rig) -> None:
    made = await start(rig, 5)
    rig.sandbox.faults.add(Fault.silence(headers=False), on="list_commands", times=1)
    waits = [asyncio.ensure_future(rig.dex.commands.wait(command.id)) for command in made]
    with anyio.fail_after(60):
        while not lists(rig):
            await asyncio.sleep(0.001)
        waits[0].cancel()
        cancelled, *found = await asyncio.gather(*waits, return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [isinstance(each, Command) and each.id for each in found] == [command.id for command in made[1:]]
    # The next of them has asked for all that were left.
    assert len(lists(rig)) == 2
    assert_at_rest(rig)


async def test_who_fails_while_it_asks_for_all(rig: Rig) -> None:
    made = await start(rig, 5, retry=RetryPolicy(attempts=1))
    rig.sandbox.faults.add(Fault.error(500), on="list_commands", times=1)
    failed, *found = await outcomes(*[rig.dex.commands.wait(command.id) for command in made])
    assert isinstance(failed, ServerError)
    assert [isinstance(each, Command) and each.id for each in found] == [command.id for command in made[1:]]
    assert len(lists(rig)) == 2
    assert_at_rest(rig)


async def test_who_is_told_nothing_is_not_waited_for_for_long(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.05)
    made = await start(rig, 5)
    rig.sandbox.faults.add(Fault.silence(headers=False), on="list_commands", times=1)
    waits = [asyncio.ensure_future(rig.dex.commands.wait(command.id)) for command in made]
    found = await outcomes(*waits[1:])
    assert [isinstance(each, Command) and each.id for each in found] == [command.id for command in made[1:]]
    assert not waits[0].done()
    assert len(lists(rig)) == 2
    assert (await waits[0]).id == made[0].id
    assert_at_rest(rig)


async def test_who_would_be_held_back_as_well_asks_nothing(
    rig: Rig, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody's patience lasts as long as the service holds the token back.
    monkeypatch.setattr(peers, "PATIENCE", 0.1)
    monkeypatch.setattr(clock, "SETTLE_SECONDS", 0.5)
    made = await start(rig, 8)
    rig.sandbox.faults.add(Fault.rate_limited(retry_after=120), on="list_commands", times=1)
    found = await outcomes(*[rig.dex.commands.wait(command.id) for command in made])
    assert [isinstance(each, Command) and each.id for each in found] == [command.id for command in made]
    # Once it may ask, the one may still be given up a moment too soon.
    assert len(lists(rig)) <= 3
    assert_at_rest(rig)


async def test_who_has_no_time_for_that_is_not_kept_by_one_that_is_held_back(
    rig: Rig, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.02)
    monkeypatch.setattr(clock, "SETTLE_SECONDS", 0.3)
    first, second = await start(rig, 2)
    rig.sandbox.faults.add(Fault.rate_limited(retry_after=120), on="list_commands", times=1)
    began, patient = clock.monotonic(), asyncio.ensure_future(rig.dex.commands.wait(first.id))
    with anyio.fail_after(60):
        while not lists(rig):
            await asyncio.sleep(0.001)
        with pytest.raises(RateLimitError):
            await rig.dex.commands.wait(second.id, timeout=60.0)
        assert clock.monotonic() - began < 60.0
        assert (await patient).id == first.id
    assert_at_rest(rig)


async def test_who_comes_while_another_asks_waits_for_that(rig: Rig) -> None:
    made = await start(rig, 2)
    rig.sandbox.faults.add(Fault.slow(0.1, real_time=True), on="list_commands", times=1)
    first = asyncio.ensure_future(rig.dex.commands.wait(made[0].id))
    with anyio.fail_after(60):
        while not lists(rig):
            await asyncio.sleep(0.001)
    second = asyncio.ensure_future(rig.dex.commands.wait(made[1].id))
    await asyncio.sleep(0.02)
    assert len(lists(rig)) == 1
    # That shows both.
    assert [(await each).id for each in (first, second)] == [command.id for command in made]
    assert len(lists(rig)) == 1
    assert_at_rest(rig)


async def test_the_time_of_each_is_its_own(rig: Rig, clock: ManualClock) -> None:
    made = await start(rig, 4, FOREVER)
    began, over = clock.monotonic(), list[tuple[int, float]]()

    async def wait(number: int) -> Command:
        try:
            return await rig.dex.commands.wait(made[number].id, timeout=30.0 * (number + 1))
        finally:
            over.append((number, clock.monotonic() - began))

    found = await outcomes(*map(wait, range(4)))
    assert [type(each) for each in found] == [WaitTimeoutError] * 4
    assert [number for number, _ in over] == [0, 1, 2, 3]
    for number, seconds in over:
        # The clock may jump to the end of another's sleep while the last poll is under way.
        assert 30.0 * (number + 1) <= seconds <= 30.0 * (number + 1) + 15.0
    assert_at_rest(rig)


async def test_they_have_one_turn_where_there_is_no_room(rig: Rig, clock: ManualClock) -> None:
    made = await start(rig, 10, rate_limit=RateLimit(requests=4, seconds=300.0))
    # The share is one request, and this is it.
    assert (await rig.dex.commands.wait(made[0].id)).id == made[0].id
    began = clock.monotonic()
    waits = [asyncio.ensure_future(rig.dex.commands.wait(command.id)) for command in made[1:]]
    while len(rig.dex.commands.peers._resting) < 9:
        await asyncio.sleep(0)
    assert len(rig.dex.commands._session.polls._window._planned) == 1
    # Whoever has queued up may leave, and the turn is that of the others.
    waits[0].cancel()
    cancelled, *found = await outcomes(*waits)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [isinstance(each, Command) and each.id for each in found] == [command.id for command in made[2:]]
    assert len(lists(rig)) == 2
    assert clock.monotonic() - began <= 301.0
    assert_at_rest(rig)


async def test_a_long_look_goes_on_turn_by_turn_for_all(rig: Rig) -> None:
    made = await start(rig, 140, rate_limit=RateLimit(requests=4, seconds=300.0))
    found = await outcomes(*[rig.dex.commands.wait(command.id, timeout=3000.0) for command in made])
    assert [isinstance(each, Command) and each.id for each in found] == [command.id for command in made]
    assert len(lists(rig)) <= 5
    assert_at_rest(rig)


COURSES = st.lists(
    st.tuples(
        st.floats(0.0, 40.0),
        st.sampled_from([20.0, 900.0, 900.0, 900.0]),
        st.sampled_from([1.0, 2.0, 10.0]),
        st.one_of(st.none(), st.none(), st.floats(0.0, 60.0)),
    ),
    min_size=2,
    max_size=12,
)
FAULTS = st.lists(st.sampled_from(["ok", "ok", "ok", "500", "drop", "400"]), max_size=12)


@settings(max_examples=40)
@given(COURSES, FAULTS, st.sampled_from([None, RateLimit(requests=80, seconds=300.0)]))
def test_whatever_becomes_of_some_the_others_are_told(
    courses: list[tuple[float, float, float, float | None]], faults: list[str], limit: RateLimit | None
) -> None:
    async def run() -> None:
        clock = ManualClock()
        rig = Rig(clock)
        made = await start(rig, len(courses), Behaviour(run_seconds=(1.0, 60.0)), rate_limit=limit)
        for fault in faults:
            if fault == "drop":
                rig.sandbox.faults.add(Fault.drop(), on="list_commands", times=1)
            elif fault != "ok":
                rig.sandbox.faults.add(Fault.error(int(fault)), on="list_commands", times=1)

        async def follow(number: int) -> None:
            starts, timeout, interval, leaves = courses[number]
            await clock.sleep(starts)
            wait = asyncio.ensure_future(
                rig.dex.commands.wait(made[number].id, timeout=timeout, poll_interval=interval)
            )
            if leaves is not None:
                await clock.sleep(leaves)
                wait.cancel()
            try:
                command = await wait
            except asyncio.CancelledError:
                assert leaves is not None
            except WaitTimeoutError:
                assert timeout == 20.0
            except DexError:
                assert faults
            else:
                assert command.id == made[number].id
                assert command.ended

        try:
            with anyio.fail_after(60):
                await asyncio.gather(*map(follow, range(len(courses))))
            assert_at_rest(rig)
        finally:
            await rig.close()

    anyio.run(run)
