"""What the watches of one client hand on to one another, step by step: whose poll tells of what, and who goes on."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import anyio
import attrs
import pytest

from dexcmd import RateLimit, RetryPolicy, ServerError, WaitTimeoutError
from dexcmd.clock import ManualClock
from dexcmd.events import CommandFinished, Event
from dexcmd.polling import peers
from dexcmd.polling.peers import Peers
from dexcmd.polling.watch import Watch
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.sandbox.state import StoredCommand
from tests.conftest import Rig
from tests.test_peers import assert_at_rest, lists, outcomes, start

pytestmark = pytest.mark.anyio

ONE_REQUEST_AT_A_TIME = RateLimit(requests=4, seconds=300.0)


def watch(rig: Rig, *followed: StoredCommand, **retry: int) -> Watch:
    """Return a watch of commands of which only the ids are known."""
    session = rig.dex.commands._session
    if retry:
        session = session.with_retry(attrs.evolve(session.settings.retry, **retry))
    found = Watch(session, peers=rig.dex.commands.peers)
    for command in followed:
        found.add(command.id)
    return found


def let_run_on(rig: Rig, *commands: StoredCommand) -> None:
    """Let commands that are done at once not end."""
    later = rig.clock.now().timestamp() + 1e6
    for command in commands:
        command.timeline = attrs.evolve(command.timeline, executed=later, finished=later)


@asynccontextmanager
async def resting(*watches: Watch) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Have watches rest meanwhile, and all of them at rest before."""
    tasks = [asyncio.ensure_future(each.rest()) for each in watches]
    while not all(each._nap.ends > -math.inf for each in watches):
        await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def waiting_for(rig: Rig, one: Watch, *others: Watch) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Have others rest that are due, as they do while somebody asks, and `one` not asking yet."""
    with rig.dex.commands.peers.ask(one):
        async with resting(*others) as tasks:
            rig.dex.commands.peers._asking = None
            yield tasks


async def ended(one: Watch) -> list[str | None]:
    """Go on until a watch has something to deliver."""
    with anyio.fail_after(5):
        while True:
            if found := one.take_ended():
                return [command.id for command in found]
            await one.rest()
            await one.poll()


# --- One has something to do before it asks on


async def test_who_gives_up_a_command_leaves_what_it_was_to_ask_for_to_its_peers(rig: Rig) -> None:
    made = await start(rig, 160, rate_limit=ONE_REQUEST_AT_A_TIME)
    let_run_on(rig, made[-1])
    one, other = watch(rig, made[-1], made[1]), watch(rig, made[0])
    async with waiting_for(rig, one, other) as [rest]:
        await one.poll()
        assert other.next_poll_at == math.inf, "the poll of the one is to tell, once it is its turn"
        # Its result may have to wait for whoever takes it.
        one.drop(made[-1].id)
        with anyio.fail_after(5):
            await rest
    assert await ended(other) == [made[0].id]
    # Its own part of the poll is not lost.
    assert await ended(one) == [made[1].id]
    one.leave()
    assert_at_rest(rig)


async def test_who_is_told_by_another_leaves_what_it_was_to_ask_for_to_its_peers(rig: Rig, clock: ManualClock) -> None:
    made = await start(rig, 160, rate_limit=ONE_REQUEST_AT_A_TIME)
    one, other, third = watch(rig, made[55], made[1]), watch(rig, made[0]), watch(rig)
    async with waiting_for(rig, one, other) as [rest]:
        await one.poll()
        for command in (made[60], made[52]):
            third.add(command.id, command.created)
        clock.advance(300.0)
        async with waiting_for(rig, third, one):
            await third.poll()
        assert not rest.done()
        assert [command.id for command in one.take_ended()] == [made[55].id]
        with anyio.fail_after(5):
            await rest
    assert await ended(other) == [made[0].id]


async def test_who_has_to_go_on_with_a_poll_does_not_come_by_another_one(rig: Rig, clock: ManualClock) -> None:
    made = await start(rig, 160, rate_limit=ONE_REQUEST_AT_A_TIME)
    let_run_on(rig, made[40])
    one, other, third = watch(rig, made[40]), watch(rig, made[5]), watch(rig)
    async with waiting_for(rig, one, other):
        await one.poll()
        # What the one has to look for by now is looked for by the third, which has what it wants on the first page.
        third.add(made[70].id, made[70].created)
        one.add(made[10].id, made[10].created)
        clock.advance(300.0)
        async with waiting_for(rig, third, one):
            await third.poll()
        assert [command.id for command in third.take_ended()] == [made[70].id]
    async with anyio.create_task_group() as group:
        found: list[list[str | None]] = []
        for each in (one, other):
            group.start_soon(lambda each=each: collect(each, found))
    assert sorted(found) == sorted([[made[5].id], [made[10].id]])


async def collect(one: Watch, found: list[list[str | None]]) -> None:
    found.append(await ended(one))


async def test_who_leaves_hands_on_what_it_was_to_ask_for_others(rig: Rig) -> None:
    made = await start(rig, 160, rate_limit=ONE_REQUEST_AT_A_TIME)
    one, new, other = watch(rig, made[1]), watch(rig), watch(rig, made[0])
    new.add(made[2].id, is_new=True)
    async with waiting_for(rig, one, new, other) as [_, rest]:
        await one.poll()
        one.leave()
        # Not to one that does not wait for it.
        assert [each.is_due(-math.inf) for each in (one, new, other)] == [False, False, True]
        with anyio.fail_after(5):
            await rest
    assert await ended(other) == [made[0].id]
    assert [request.query["page"] for request in lists(rig)] == ["1", "2", "3", "4"]
    new.leave()
    assert_at_rest(rig)


async def test_who_gets_something_to_ask_for_at_once_does_not_rest_any_longer(rig: Rig, clock: ManualClock) -> None:
    made = await start(rig, 2)
    one = watch(rig)
    one.add(made[0].id, is_new=True)
    now = clock.monotonic()
    async with resting(one) as [rest]:
        one.add(made[1].id)
        await rest
    assert clock.monotonic() == now


async def test_a_poll_that_has_failed_begins_anew(rig: Rig) -> None:
    made = await start(rig, 160, retry=RetryPolicy(attempts=1))
    rig.sandbox.faults.add(
        Fault.error(500), on="list_commands", times=1, where=lambda request: request.query["page"] == "2"
    )
    one = watch(rig, made[0])
    with pytest.raises(ServerError):
        await one.poll()
    one.add(made[-1].id)
    # What came to be followed meanwhile is on the first page.
    assert made[-1].id in await ended(one)
    assert [request.query["page"] for request in lists(rig)][:3] == ["1", "2", "1"]


# --- One that asks for others


async def test_who_asks_for_others_does_not_meet_what_only_they_ask_for(rig: Rig) -> None:
    made = await start(rig, 160, retry=RetryPolicy(attempts=1))
    let_run_on(rig, made[-1])
    rig.sandbox.faults.add(Fault.error(500), on="list_commands", where=lambda request: request.query["page"] == "2")
    one, other = watch(rig, made[-1]), watch(rig, made[0])
    async with waiting_for(rig, one, other) as [rest]:
        await one.poll()
        assert len(lists(rig)) == 1
        with anyio.fail_after(5):
            await rest
    with pytest.raises(ServerError):
        await other.poll()
    assert await ended(other) == [made[0].id]
    one.leave()
    assert_at_rest(rig)


async def test_who_asks_for_others_asks_for_its_own_first(rig: Rig) -> None:
    made = await start(rig, 160)
    let_run_on(rig, made[3])
    one, other = watch(rig), watch(rig)
    one.add(made[3].id, made[3].created)
    other.add(made[100].id, not_before=made[99].created)
    async with waiting_for(rig, one, other):
        await one.poll()
    assert len(lists(rig)) == 1
    assert lists(rig)[0].query["to"] < made[9].created.isoformat()


async def test_who_goes_on_with_a_poll_tries_as_often_as_in_one_of_its_own(rig: Rig) -> None:
    made = await start(rig, 160)
    rig.sandbox.faults.add(Fault.error(500), on="list_commands", where=lambda request: request.query["page"] == "2")
    one, other = watch(rig, made[-1], attempts=1), watch(rig, made[0])
    async with waiting_for(rig, one, other):
        await one.poll()
    assert await ended(other) == [made[0].id]
    # The first page once, the second twice.
    assert [request.query["page"] for request in lists(rig)] == ["1", "2", "2", "3", "4"]


async def test_who_was_to_be_told_at_the_end_of_its_time_asks_once_where_that_fails(rig: Rig) -> None:
    made = await start(rig, 2, retry=RetryPolicy(attempts=1))
    rig.sandbox.faults.add(Fault.error(500), on="list_commands")
    one, other = watch(rig, made[0]), watch(rig, made[1])
    other.give_until(rig.clock.monotonic())
    async with waiting_for(rig, one, other):
        with pytest.raises(ServerError):
            await one.poll()
    assert not other.out_of_time()
    assert await ended(other) == [made[1].id]


async def test_who_is_told_nothing_is_not_waited_for_for_long_after_its_turn_either(
    rig: Rig, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PATIENCE", 0.05)
    made = await start(rig, 160, rate_limit=ONE_REQUEST_AT_A_TIME)
    one, other = watch(rig, made[1]), watch(rig, made[0])
    async with waiting_for(rig, one, other) as [rest]:
        await one.poll()
        await rest
    async with resting(other) as [rest]:
        clock.advance(300.0)
        rig.sandbox.faults.add(Fault.silence(headers=False), on="list_commands")
        stuck = asyncio.ensure_future(one.poll())
        with anyio.fail_after(3):
            await rest
            while other.next_poll_at == math.inf:
                await other.rest()
                await other.poll()
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)


async def test_who_was_given_up_has_no_part_in_how_long_the_next_is_waited_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(rig, 1)
    shared = rig.dex.commands.peers
    stuck, one, other = watch(rig), watch(rig), watch(rig)
    with ExitStack() as asking:
        with shared.ask(stuck):
            monkeypatch.setattr(peers, "PATIENCE", 0.0)
            shared.note_progress(stuck)
            assert shared.wait_for_asker(other) is None
            monkeypatch.setattr(peers, "PATIENCE", 60.0)
            # A page of it, late.
            shared.note_progress(stuck)
            assert shared.wait_for_asker(other) is None
            asking.enter_context(shared.ask(one))
            until = shared._until
            shared.note_progress(stuck)
            assert shared._until == until
        assert shared.wait_for_asker(other) is not None
    assert shared.wait_for_asker(other) is None


async def test_who_is_due_while_another_asks_goes_on_as_soon_as_that_waits_for_its_turn(rig: Rig) -> None:
    made = await start(rig, 160, rate_limit=ONE_REQUEST_AT_A_TIME)
    one, other = watch(rig, made[1]), watch(rig)
    rig.sandbox.faults.add(Fault.slow(0.1, real_time=True), on="list_commands")
    poll = asyncio.ensure_future(one.poll())
    while not lists(rig):
        await asyncio.sleep(0.001)
    # Too late to be asked for.
    other.add(made[0].id)
    async with resting(other) as [rest]:
        await poll
        with anyio.fail_after(5):
            await rest


# --- One that is told by others


async def test_who_is_told_before_a_poll_is_over_and_comes_back_later_goes_on(rig: Rig, clock: ManualClock) -> None:
    made = await start(rig, 160)
    let_run_on(rig, made[-2])
    one, other = watch(rig, made[0]), watch(rig, made[-1], made[-2])
    async with waiting_for(rig, one, other) as [rest]:
        rig.sandbox.faults.add(Fault.slow(0.05, real_time=True), on="list_commands", skip=1)
        poll = asyncio.ensure_future(one.poll())
        await rest
        assert not poll.done()
        await poll
    assert [command.id for command in other.take_ended()] == [made[-1].id]
    # When the other one comes for more, the poll is over, and what it told of the second one holds.
    async with resting(other):
        assert clock.monotonic() + 1.0 <= other.next_poll_at <= clock.monotonic() + 2.0


async def test_one_that_is_not_there_is_looked_for_once_for_all_that_wait_for_it(rig: Rig) -> None:
    await start(rig, 3)
    nobody = "00000000-0000-4000-8000-000000000000"
    found = await outcomes(*[rig.dex.commands.wait(nobody, timeout=60.0) for _ in range(5)])
    assert [type(each) for each in found] == [WaitTimeoutError] * 5
    together = len(lists(rig))
    await outcomes(rig.dex.commands.wait(nobody, timeout=60.0))
    # Polls come ever more rarely by the rhythm of whoever asks, so not quite as rarely as for one; five times as many
    # is what each by itself would make.
    assert together < 2 * (len(lists(rig)) - together)
    assert_at_rest(rig)


async def test_what_another_was_told_has_its_result_although_the_capture_is_stopped(rig: Rig, tmp_path: object) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, CommandFinished):
            for capture in captures:
                capture.stop()

    await rig.start(2, behaviour=Behaviour(run_seconds=(20.0, 20.0), upload_seconds=(1.0, 1.0)), on_event=stop)
    captures = [rig.dex.capture([request], into=f"{tmp_path}") for request in rig.requests(2)]

    async def states(number: int) -> list[tuple[str, str | None]]:
        async with captures[number] as results:
            return [(result.state, result.reason) async for result in results]

    with anyio.fail_after(10):
        assert await asyncio.gather(states(0), states(1)) == [[("created", "cancelled")]] * 2
    assert_at_rest(rig)


# --- One that leaves while its poll is under way


async def test_who_leaves_while_another_task_asks_for_it(rig: Rig) -> None:
    made = await start(rig, 160)
    rig.sandbox.faults.add(Fault.slow(0.05, real_time=True), on="list_commands", times=None)
    commands = rig.dex.commands.follow([made[0].id])
    async with commands:
        asking = asyncio.ensure_future(anext(commands))
        while not lists(rig):
            await asyncio.sleep(0.001)
    with anyio.fail_after(5):
        assert (await asking).id == made[0].id


# --- Many


async def test_who_leaves_and_has_nothing_to_hand_on_does_not_go_through_all_others(rig: Rig) -> None:
    class Counted(Peers):
        lists = 0

        def resting(self, watch: Watch) -> list[Watch]:
            self.lists += 1
            return super().resting(watch)

    made = await start(rig, 50)
    shared = Counted()
    one, *others = [Watch(rig.dex.commands._session, peers=shared) for _ in made]
    for each, command in zip((one, *others), made, strict=True):
        each.add(command.id)
    with shared.ask(one):
        tasks = [asyncio.ensure_future(each.rest()) for each in others]
        while len(shared._resting) < len(others):
            await asyncio.sleep(0)
        shared._asking = None
        await one.poll()
    await asyncio.gather(*tasks)
    before = shared.lists
    for each in (one, *others):
        assert each.take_ended()
        each.leave()
    assert shared.lists == before
