"""Creating what is submitted as one goes, and several times for the same target, as a campaign does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from dexcmd import Outcome, TransportError
from dexcmd.batches import Batch
from dexcmd.created import CreatedLog
from dexcmd.creation import Creation
from dexcmd.events import Event, RequestSent
from dexcmd.sandbox import Fault
from dexcmd.sandbox.state import NewCommand
from tests.conftest import Rig

pytestmark = pytest.mark.anyio


class Handed(list[Outcome]):
    """What was handed on; with `held`, each time only once `taken` is released."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__()
        self._more = asyncio.Event()
        self._held = held
        self.taken = asyncio.Semaphore(0)

    async def take(self, outcomes: Sequence[Outcome]) -> None:
        self.extend(outcomes)
        self._more.set()
        if self._held:
            await self.taken.acquire()

    async def until(self, count: int) -> list[str]:
        """Return the states of all, once there are so many."""
        async with asyncio.timeout(30):
            while len(self) < count:
                self._more.clear()
                await self._more.wait()
        return [outcome.state for outcome in self]


def creation(rig: Rig, handed: Handed, **options: Any) -> Creation:
    return Creation(rig.dex.commands._session, CreatedLog(), lambda _: None, on_outcomes=handed.take, **options)


async def settle() -> None:
    """Let whoever was woken do what it does without waiting."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(made: Creation) -> AsyncIterator[None]:
    """Have it serve meanwhile, and be waiting for something to do before."""
    task = asyncio.ensure_future(made.serve())
    await settle()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_what_is_submitted_while_there_is_nothing_to_do_is_sent(rig: Rig) -> None:
    await rig.start()
    handed = Handed()
    made = creation(rig, handed)
    async with serving(made):
        made.submit(tuple(rig.requests(2)))
        assert await handed.until(2) == ["created", "created"]


async def test_what_is_to_be_looked_for_while_there_is_nothing_to_do_is(rig: Rig) -> None:
    await rig.start()
    handed = Handed()
    made = creation(rig, handed)
    rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap"))
    async with serving(made):
        made.look_for(rig.requests(1)[0], TransportError("it broke"), rig.clock.now(), 0.0, again=True)
        assert await handed.until(1) == ["adopted"]
    assert rig.made("create_commands") == 0


async def test_there_is_room_once_what_is_submitted_would_be_sent_at_once(rig: Rig) -> None:
    await rig.start()
    handed = Handed(held=True)
    made = creation(rig, handed, concurrency=2)

    async def submit() -> bool:
        for request in rig.requests(4):
            made.submit((request,))
        # None of them is begun.
        return await made.wait_for_room()

    async with serving(made):
        assert not await made.wait_for_room()
        waiting = asyncio.ensure_future(submit())
        # Two are busy until what they have made is taken, and then with the other two.
        for begun in (2, 3, 4):
            await handed.until(begun)
            await settle()
            assert not waiting.done()
            handed.taken.release()
        assert await waiting
        handed.taken.release()
        await made.wait_until_idle()


@pytest.mark.parametrize("again", [True, False])
async def test_what_the_list_does_not_show_is_sent_again_where_that_is_wanted(rig: Rig, again: bool) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    handed = Handed()
    await creation(rig, handed, again=again).run([tuple(rig.requests(1))])
    assert [(outcome.state, outcome.reason) for outcome in handed] == [
        ("created", None) if again else ("unknown", "not_listed")
    ]
    assert rig.made("create_commands") == (2 if again else 1)


async def test_a_target_that_has_its_command_has_two_tries_for_the_next(rig: Rig) -> None:
    await rig.start()
    handed = Handed()
    made = creation(rig, handed)
    for _ in range(2):
        rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
        await made.run([tuple(rig.requests(1))])
    assert [outcome.state for outcome in handed] == ["created", "created"]
    assert rig.made("create_commands") == 4


async def test_what_is_adopted_once_is_not_adopted_twice(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    handed = Handed()
    made = creation(rig, handed)
    for _ in range(2):
        await made.run([tuple(rig.requests(1))])
    assert [outcome.state for outcome in handed] == ["adopted", "created"]
    assert [outcome.command_id for outcome in handed] == list(rig.sandbox.state.commands)


@pytest.mark.parametrize("fault", [Fault.error(400), Fault.drop(), None], ids=["refused", "lost", "made"])
async def test_a_post_that_is_over_is_not_there_to_be_taken_back(rig: Rig, fault: Fault | None) -> None:
    await rig.start()
    if fault is not None:
        rig.sandbox.faults.add(fault, on="create_commands", times=1)
    made = creation(rig, Handed())
    await made.run([tuple(rig.requests(1))])
    assert not made._sending


async def test_what_is_taken_back_while_its_intent_is_written_is_not_sent(rig: Rig) -> None:
    await rig.start()
    handed = Handed()

    async def before_post(batch: Batch, since: datetime | None) -> str | None:
        if len(batch) == 1:
            made.take_back()
            await asyncio.sleep(0)
        return None

    made = creation(rig, handed, before_post=before_post)
    async with serving(made):
        made.submit(tuple(rig.requests(1)))
        assert await handed.until(1) == ["not_attempted"]
        assert handed[0].reason == "cancelled"
        # What is submitted afterwards is sent.
        made.submit(tuple(rig.requests(2)))
        assert await handed.until(3) == ["not_attempted", "created", "created"]
    assert rig.made("create_commands") == 1


async def test_what_is_taken_back_while_it_is_under_way_is_not_sent_again(rig: Rig) -> None:
    def on_event(event: Event) -> None:
        if isinstance(event, RequestSent) and event.method == "POST" and not taken_back.is_set():
            taken_back.set()
            made.take_back()

    taken_back, handed = asyncio.Event(), Handed()
    await rig.start(on_event=on_event)
    rig.sandbox.faults.add(Fault.rate_limited(20), on="create_commands", times=1)
    made = creation(rig, handed)
    async with serving(made):
        made.submit(tuple(rig.requests(1)))
        assert await handed.until(1) == ["not_attempted"]
        made.submit(tuple(rig.requests(2)))
        assert await handed.until(3) == ["not_attempted", "created", "created"]
    assert rig.made("create_commands") == 2
