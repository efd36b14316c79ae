"""When the list is looked at for commands whose create answer got lost, and when it is believed."""

import asyncio
from itertools import pairwise

import pytest

from dexcmd import AmbiguousCreateError, CommandRequest, RateLimit, RetryPolicy, TransportError
from dexcmd.clock import ManualClock
from dexcmd.created import CreatedLog
from dexcmd.events import CommandAdopted, Event
from dexcmd.lost import LostCommands
from dexcmd.sandbox import Fault
from dexcmd.sandbox.state import NewCommand
from dexcmd.searches import Searches
from tests.conftest import Rig
from tests.test_searches import tick

pytestmark = pytest.mark.anyio


def lost_commands(rig: Rig, settle_seconds: float) -> tuple[LostCommands, Searches]:
    session, created = rig.dex.commands._session, CreatedLog()
    searches = Searches(session, created)
    return LostCommands(session, created, searches, lambda: settle_seconds, again=True), searches


def posts(rig: Rig) -> list[float]:
    """Return when POSTs arrived."""
    return [request.at for request in rig.sandbox.requests if request.operation == "create_commands"]


def looks(rig: Rig) -> list[float]:
    """Return when the list was looked at from its top."""
    return [
        request.at
        for request in rig.sandbox.requests
        if request.operation == "list_commands" and request.query["page"] == "1"
    ]


@pytest.mark.parametrize("earlier", [False, True], ids=["just now", "some time ago"])
async def test_what_is_lost_later_is_looked_for_as_soon_as_what_was_lost_first(rig: Rig, earlier: bool) -> None:
    await rig.start(rate_limit=None)
    commands, searches = lost_commands(rig, 120.0)
    first, second = rig.requests(2)
    cause = TransportError("it broke")

    async def intervals() -> list[float]:
        found = list[float]()
        with searches.join(commands):
            for _ in range(6):
                found.append(commands._seconds_to_next_look())
                await rig.clock.sleep(found[-1])
                await searches.look()
        return found

    commands.lose([first], cause, rig.clock.monotonic(), rig.clock.now())
    assert await intervals() == [0.0, 1.0, 2.0, 4.0, 8.0, 8.0]
    if earlier:
        commands.look_for(second, cause, rig.clock.now(), 120.0, again=True)
    else:
        commands.lose([second], cause, rig.clock.monotonic(), rig.clock.now())
    assert await intervals() == [0.0, 1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize("earlier", [False, True], ids=["just now", "some time ago"])
async def test_what_is_lost_between_two_looks_does_not_wait_for_the_next(rig: Rig, earlier: bool) -> None:
    await rig.start(rate_limit=None)
    commands, _ = lost_commands(rig, 120.0)
    first, second = rig.requests(2)
    cause = TransportError("it broke")
    commands.lose([first], cause, rig.clock.monotonic(), rig.clock.now())
    ticking = asyncio.ensure_future(tick(rig.clock))
    looking = asyncio.ensure_future(commands.look())
    # Looks are at 0, 1, 3, 7, 15 and 23 s.
    await rig.clock.sleep(17.0)
    made = rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[1], "pcap"))
    if earlier:
        commands.look_for(second, cause, rig.clock.now(), 120.0, again=True)
    else:
        commands.lose([second], cause, rig.clock.monotonic(), rig.clock.now())
    await looking
    ticking.cancel()
    [(request, outcome)] = commands.take_settled()
    assert outcome is not None
    assert (request, outcome.command_id) == (second, made.id)
    assert 17.0 <= rig.clock.monotonic() < 20.0


async def test_what_is_lost_between_two_looks_keeps_to_the_share_of_the_rate_limit(rig: Rig) -> None:
    # A request a minute: a quarter of 20 in five minutes.
    await rig.start(rate_limit=RateLimit(requests=20, seconds=300.0))
    commands, _ = lost_commands(rig, 120.0)
    first, second = rig.requests(2)
    commands.lose([first], TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())
    ticking = asyncio.ensure_future(tick(rig.clock))
    looking = asyncio.ensure_future(commands.look())
    await rig.clock.sleep(17.0)
    rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[1], "pcap"))
    commands.lose([second], TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())
    await looking
    ticking.cancel()
    assert looks(rig) == pytest.approx([0.0, 60.0], abs=1.0)


async def test_what_is_lost_during_a_look_is_looked_for_right_after_it(rig: Rig) -> None:
    await rig.start(rate_limit=None)
    commands, searches = lost_commands(rig, 120.0)
    first, second = rig.requests(2)
    commands.lose([first], TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())

    def lose(_: object) -> bool:
        commands.lose([second], TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())
        return False

    with searches.join(commands):
        rig.sandbox.faults.add(Fault.drop(), on="list_commands", where=lose, times=1)
        await searches.look()
        rig.sandbox.faults.clear()
        assert commands._seconds_to_next_look() == 0.0
        await searches.look()
        assert commands._seconds_to_next_look() == 1.0


async def test_the_next_look_is_so_long_after_the_end_of_the_last(rig: Rig, clock: ManualClock) -> None:
    await rig.start(rate_limit=None)
    commands, searches = lost_commands(rig, 120.0)
    commands.lose(rig.requests(1), TransportError("it broke"), clock.monotonic(), clock.now())
    rig.sandbox.faults.add(Fault.slow(30.0), on="list_commands", times=1)
    with searches.join(commands):
        await searches.look()
        assert clock.monotonic() >= 30.0
        assert commands._seconds_to_next_look() == 1.0


async def test_what_is_settled_does_not_wait_for_what_was_lost_just_then(rig: Rig) -> None:
    lost: list[CommandRequest] = []

    def lose(event: Event) -> None:
        if isinstance(event, CommandAdopted) and not lost:
            lost.append(rig.requests(2)[1])
            commands.lose(lost, TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())

    await rig.start(rate_limit=None, on_event=lose)
    commands, searches = lost_commands(rig, 120.0)
    commands.lose(rig.requests(1), TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())
    ticking = asyncio.ensure_future(tick(rig.clock))
    looking = asyncio.ensure_future(commands.look())
    # Between the looks at 15 and 23 s another one looks.
    await rig.clock.sleep(17.0)
    rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap"))
    await searches.look()
    made = rig.made("list_commands")
    await looking
    ticking.cancel()
    assert lost
    assert rig.made("list_commands") == made


@pytest.mark.parametrize("again", [True, False])
async def test_what_is_looked_for_anew_has_its_second_post_or_has_had_it(rig: Rig, again: bool) -> None:
    await rig.start()
    commands, _ = lost_commands(rig, 0.0)
    [request] = rig.requests(1)
    commands.lose([request], TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())
    await commands.look()
    # It is not done with what nobody has taken note of.
    assert commands
    assert commands.take_settled() == [(request, None)]
    assert not commands
    # It was not sent again, since something else stopped that.
    commands.look_for(request, TransportError("it broke"), rig.clock.now(), 0.0, again=again)
    await commands.look()
    [(_, outcome)] = commands.take_settled()
    assert (None if outcome is None else outcome.state) == (None if again else "unknown")


async def test_looks_take_a_share_of_the_rate_limit_and_the_last_is_when_it_has_settled(rig: Rig) -> None:
    await rig.start(settle_seconds=25.0)
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    # Commands of others, which take ten pages and one that is empty.
    for _ in range(500):
        rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[-1], "pcap"))
    await rig.dex.commands.create(rig.requests(1))
    first, second = posts(rig)
    begun = looks(rig)
    pages = rig.made("list_commands") / len(begun)
    assert pages >= 10
    # A quarter of 1200 in five minutes is one a second; but what has settled is not kept waiting for that.
    assert all(later - earlier >= pages - 1 for earlier, later in pairwise(begun[:-1]))
    assert begun[-1] == pytest.approx(25.0, abs=1.0)
    assert second - first == pytest.approx(25.0, abs=1.0)


async def test_a_list_that_can_not_be_read_has_a_second_settling_time_to_be_read_again(rig: Rig) -> None:
    await rig.start(retry=RetryPolicy(attempts=1), settle_seconds=30.0)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    rig.sandbox.faults.add(
        Fault.error(500), on="list_commands", times=None, where=lambda _: rig.clock.monotonic() < 45.0
    )
    [made] = await rig.dex.commands.create(rig.requests(1))
    assert set(rig.sandbox.state.commands) == {made.id}
    # At 0, 1, 3, 7, 15, 23, 30 s, and no more often because it has settled, 38 and 46 s.
    assert len(looks(rig)) == 9


@pytest.mark.parametrize("status", [500, 403])
async def test_what_was_seen_before_the_list_could_not_be_read_any_more_is_found(rig: Rig, status: int) -> None:
    await rig.start(retry=RetryPolicy(attempts=1))
    commands, _ = lost_commands(rig, 120.0)
    absent, there = rig.requests(2)
    commands.lose([absent, there], TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())
    devices = rig.sandbox.state.devices
    for device in (*[devices[-1]] * 60, devices[1]):
        rig.sandbox.state.create(NewCommand(device, "pcap"))
    rig.sandbox.faults.add(
        Fault.error(status), on="list_commands", times=None, where=lambda request: request.query["page"] == "2"
    )
    await commands.look()
    told = {request: outcome for request, outcome in commands.take_settled() if outcome is not None}
    assert told[there].state == "adopted"
    # The next look may fare better where the service was not quite well.
    assert (absent in told) == (status == 403)
    assert all(outcome.reason == "unreadable" for request, outcome in told.items() if request is absent)


async def test_a_walk_ends_with_the_page_that_shows_the_last_of_them(rig: Rig) -> None:
    await rig.start()
    commands, _ = lost_commands(rig, 120.0)
    commands.lose(rig.requests(1), TransportError("it broke"), rig.clock.monotonic(), rig.clock.now())
    devices = rig.sandbox.state.devices
    for device in (*[devices[-1]] * 60, devices[0]):
        rig.sandbox.state.create(NewCommand(device, "pcap"))
    await commands.look()
    assert rig.made("list_commands") == 1


async def test_a_service_that_tells_no_time_has_no_row_that_is_new(rig: Rig) -> None:
    await rig.start(settle_seconds=30.0)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    rig.sandbox.faults.add(Fault.headers({"Date": None}), on=("get_quota", "list_commands"), times=None)
    with pytest.raises(AmbiguousCreateError) as caught:
        await rig.dex.commands.create(rig.requests(1))
    assert caught.value.outcomes[0].reason == "unreadable"
    assert rig.made("create_commands") == 1


async def test_a_time_that_can_not_be_asked_for_yet_is_asked_for_again(rig: Rig) -> None:
    await rig.start(retry=RetryPolicy(attempts=1))
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    rig.sandbox.faults.add(Fault.error(500), on="get_quota", times=2)
    [made] = await rig.dex.commands.create(rig.requests(1))
    assert set(rig.sandbox.state.commands) == {made.id}
    assert rig.made("get_quota") == 3
    assert rig.made("create_commands") == 1


async def test_what_is_lost_while_the_services_time_is_asked_for_has_its_own_command(rig: Rig) -> None:
    # No answer has told the time when either is lost, and the question for it is tried for longer than is allowed for.
    await rig.start(rate_limit=None)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    rig.sandbox.faults.add(Fault.drop(), on="get_quota", times=None, where=lambda _: rig.clock.monotonic() < 10.0)
    [request] = rig.requests()
    first = asyncio.ensure_future(rig.dex.commands.create([request]))
    while not rig.made("get_quota"):
        await asyncio.sleep(0)
    await rig.clock.sleep(7.0)
    found = [each for made in await asyncio.gather(first, rig.dex.commands.create([request])) for each in made]
    assert {each.id for each in found} == set(rig.sandbox.state.commands)
    assert len(found) == 2
