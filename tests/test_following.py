"""Following many commands: few requests, and each end noticed soon, whatever the list does."""

import asyncio
import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from dexcmd import BadRequestError, Pcap, RateLimit, RetryPolicy, ServerError, WaitTimeoutError
from dexcmd.clock import ManualClock
from dexcmd.polling.rhythm import MANY_FACTOR, PROMPT
from dexcmd.polling.share import POLL_SHARE
from dexcmd.polling.watch import Watch
from dexcmd.sandbox import Behaviour, Fault, SandboxDevice, make_devices
from dexcmd.sandbox.requestlog import RecordedRequest
from dexcmd.sandbox.state import NewCommand, StoredCommand
from dexcmd.wire.service_clock import ServiceClock
from tests.conftest import Rig

pytestmark = pytest.mark.anyio

MANY = 1000
SOON = MANY_FACTOR * 2.0
"""Seconds within which an end is to be noticed, or half of the command's own duration if that is longer."""

STUCK = 20
"""Of `MANY`, those on devices that never answer."""


def fleet(count: int = MANY) -> list[SandboxDevice]:
    """Return devices of which a fiftieth never answers, here and there among the others."""
    devices = make_devices(count, multi_user_share=0, ineligible_share=0, disconnected_share=0.02)
    random.Random(1).shuffle(devices)
    return devices


@attrs.define
class Follower:
    """Creates commands by itself and follows them, as a runner does."""

    rig: Rig
    watch: Watch
    polls: int = 0
    found: dict[str, float] = attrs.field(factory=dict[str, float])
    """When each end was noticed."""

    @property
    def lists(self) -> list[RecordedRequest]:
        return [request for request in self.rig.sandbox.requests if request.operation == "list_commands"]

    def create(self, devices: Sequence[SandboxDevice], *, is_new: bool = True) -> list[StoredCommand]:
        state = self.rig.sandbox.state
        made = [state.create(NewCommand(device, "pcap")) for device in devices]
        for command in made:
            self.watch.add(
                command.id,
                not_before=command.created - timedelta(seconds=1.5),
                command_type="pcap",
                device_id=command.device.device_id,
                is_new=is_new,
            )
        return made

    async def poll(self) -> None:
        self.polls += 1
        assert self.polls < 2000, "it goes round in circles"
        await self.watch.poll()
        now = self.rig.clock.monotonic()
        for command in self.watch.take_ended():
            assert command.id is not None
            assert command.id not in self.found, "each end is told once"
            assert command.ended
            self.found[command.id] = now

    async def until(self, time: float) -> None:
        """Poll whenever that is due, up to a time, or until nothing is pending."""
        clock = self.rig.clock
        while (due := self.watch.next_poll_at) <= time and not math.isinf(due):
            if due > clock.monotonic():
                await clock.sleep(due - clock.monotonic())
            await self.poll()
        if time > clock.monotonic() and not math.isinf(time):
            await clock.sleep(time - clock.monotonic())

    async def run(self, devices: Sequence[SandboxDevice], seconds: float) -> None:
        """Create commands, ten at a time, over so many seconds, and follow them to their ends."""
        posts = [devices[start : start + 10] for start in range(0, len(devices), 10)]
        for post in posts:
            self.create(post)
            await self.until(self.rig.clock.monotonic() + seconds / len(posts))
        await self.until(math.inf)

    def lateness(self) -> list[float]:
        """Return how much later than it should each end was noticed, in seconds; below 0 where it was not late."""
        state = self.rig.sandbox.state
        epoch = state.now().timestamp() - self.rig.clock.monotonic()
        late = []
        for command_id, noticed in self.found.items():
            timeline = state.commands[command_id].timeline
            allowed = max(SOON, PROMPT.patience * (timeline.finished - timeline.created))
            late.append(epoch + noticed - timeline.finished - allowed)
        return late

    def kinds(self) -> Counter[str]:
        return Counter(
            request.query.get("status", "device" if "device_id" in request.query else "walk") for request in self.lists
        )


@pytest.fixture
def follower(rig: Rig) -> Follower:
    return Follower(rig, None)  # type: ignore[arg-type]


async def start(follower: Follower, devices: int | Sequence[SandboxDevice], **options: Any) -> Follower:
    settings = {name: options.pop(name) for name in ("on_first_seen", "filename_grace") if name in options}
    await follower.rig.start(devices, quota=10_000, **{"behaviour": Behaviour(), **options})
    # The service's time is known from any answer.
    await follower.rig.dex.quota.get()
    follower.watch = Watch(follower.rig.dex.commands._session, **settings)
    return follower


@pytest.mark.parametrize(
    ("seconds", "requests"), [(0.0, 75), (8.0, 80), (30.0, 97), pytest.param(300.0, 145, id="as the rate limit lets")]
)
async def test_a_thousand_commands_cost_pages(follower: Follower, seconds: float, requests: int) -> None:
    await start(follower, fleet())
    await follower.run(follower.rig.sandbox.state.devices, seconds)
    assert len(follower.found) == MANY
    assert len(follower.lists) <= requests
    assert max(follower.lateness()) <= 3.0
    assert sum(late > 0 for late in follower.lateness()) <= MANY / 100


async def test_following_a_thousand_with_the_library(rig: Rig, clock: ManualClock) -> None:
    await rig.start(fleet(), behaviour=Behaviour(), quota=MANY)
    bulk = await rig.dex.commands.create_many(rig.requests(MANY))
    noticed: dict[str, float] = {}
    async with rig.dex.commands.follow(bulk.commands) as ended:
        async for command in ended:
            noticed[command.id or ""] = clock.now().timestamp()
    assert len(noticed) == MANY
    assert rig.made("list_commands") <= 80
    for command_id, time in noticed.items():
        timeline = rig.sandbox.state.commands[command_id].timeline
        assert time - timeline.finished <= max(SOON + 0.5, PROMPT.patience * (timeline.finished - timeline.created))


async def test_requests_per_captured_artifact(
    rig: Rig, tmp_path: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow machine, too, creates them within half a minute of this clock.
    monkeypatch.setattr(clock, "SETTLE_SECONDS", 0.006)
    await rig.start(fleet(), behaviour=Behaviour(), quota=MANY, artifact_size=2000)
    requests = [device.request(Pcap()) async for device in rig.dex.devices.list()]
    states: Counter[str] = Counter()
    async with rig.dex.capture(requests, into=tmp_path) as results:
        async for result in results:
            states[result.state] += 1
    assert states == {"saved": MANY - STUCK, "failed": STUCK}
    # What is left is for a late look at all of the list.
    audit = 22
    assert len(rig.sandbox.requests) + audit <= 1.25 * states["saved"]


async def test_the_ends_are_told_in_their_order(rig: Rig) -> None:
    await rig.start(150, behaviour=Behaviour())
    bulk = await rig.dex.commands.create_many(rig.requests(140))
    async with rig.dex.commands.follow(bulk.commands) as ended:
        dates = [command.completed_date async for command in ended]
    # Each poll tells of some, newest first in the list.
    assert sum(later < earlier for earlier, later in itertools.pairwise(dates)) <= 3  # type: ignore[operator]


# --- What the list may do


HOSTILE: dict[str, tuple[Behaviour, int]] = {
    "filters by status have no effect": (Behaviour(ignored_filters={"status"}), 300),
    "filters have no effect": (Behaviour(ignored_filters={"status", "device_id", "from", "to"}), 400),
    "bounds have no effect": (Behaviour(ignored_filters={"from", "to"}), 300),
    "statuses that nobody knows": (
        Behaviour(status_names={"PENDING_EXEC": "QUEUED", "PENDING_UPLOAD": "SENDING"}),
        100,
    ),
    "rows show up late": (Behaviour(list_lag=20.0), 110),
    "rows show up very late": (Behaviour(list_lag=100.0), 110),
    "the last page for ever": (Behaviour(repeat_last_page=True), 110),
    "no dates": (Behaviour(null_fields={"created_date", "completed_date"}), 110),
    "no creation dates": (Behaviour(omit_fields={"created_date"}), 110),
    "no types and devices": (Behaviour(null_fields={"type", "device_id"}), 110),
    "whole seconds": (Behaviour(date_format="postgres"), 110),
    "nothing about the pages": (Behaviour(result_info="missing"), 110),
    "wrong numbers of pages": (Behaviour(result_info="wrong"), 110),
    "null where nothing is": (Behaviour(null_when_empty=True), 110),
    "a clock of its own": (Behaviour(clock_skew=-300.0), 110),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_list_of_another_mind_is_dearer_at_most(follower: Follower, name: str) -> None:
    behaviour, requests = HOSTILE[name]
    await start(follower, fleet(), behaviour=behaviour)
    await follower.run(follower.rig.sandbox.state.devices, 8.0)
    assert len(follower.found) == MANY
    assert len(follower.lists) <= requests
    lag = max(behaviour.list_lag, 3.0)
    assert max(follower.lateness()) <= lag * (1 + PROMPT.patience)


async def test_it_is_known_where_those_lie_that_have_ended(follower: Follower) -> None:
    await start(follower, 6, behaviour=Behaviour(run_seconds=(5000.0, 5000.0)))
    devices = follower.rig.sandbox.state.devices
    follower.create(devices[:1])
    follower.rig.sandbox.behaviour = Behaviour.instant()
    follower.create(devices[1:])
    await follower.until(30.0)
    assert len(follower.found) == 5
    # Nothing is forgotten behind the first, which goes on.
    assert follower.watch.schedule.known.rows.ended(-math.inf, math.inf) == 5


@pytest.mark.parametrize("name", [None, *HOSTILE])
async def test_slow_commands_of_many_lengths_are_probed(follower: Follower, name: str | None) -> None:
    behaviour, most = HOSTILE.get(name or "", (Behaviour(), 0))
    await start(follower, fleet(), behaviour=attrs.evolve(behaviour, run_seconds=(60.0, 300.0)))
    await follower.run(follower.rig.sandbox.state.devices, 3.0)
    assert len(follower.found) == MANY
    # Where the service can be asked by status, that spares a quarter: walks alone took 130 and more.
    assert len(follower.lists) <= (115 if most <= 110 else 300)
    assert bool(name) or follower.kinds()["SUCCESS"] > 20
    assert max(follower.lateness()) <= 30.0


async def test_filters_that_let_through_the_wrong_rows_are_used_once(follower: Follower) -> None:
    await start(follower, fleet(), behaviour=Behaviour(ignored_filters={"status"}))
    await follower.run(follower.rig.sandbox.state.devices, 8.0)
    kinds = follower.kinds()
    assert kinds["PENDING_EXEC"] == 1
    assert set(kinds) == {"PENDING_EXEC", "walk"}


async def test_filters_that_are_refused_are_not_asked_for_again(follower: Follower) -> None:
    await start(follower, fleet())
    follower.rig.sandbox.faults.add(
        Fault.error(400), on="list_commands", times=None, where=lambda request: "status" in request.query
    )
    await follower.run(follower.rig.sandbox.state.devices, 8.0)
    assert len(follower.found) == MANY
    assert follower.kinds()["PENDING_EXEC"] == 1
    assert max(follower.lateness()) <= 3.0


async def test_filters_that_hold_rows_back_end_nothing_and_hide_nothing(follower: Follower) -> None:
    # All have ended before the first look, and a query for what has ended says that none has.
    await start(follower, fleet(), behaviour=Behaviour.instant())
    follower.rig.sandbox.faults.add(
        Fault.wrong_types("result.commands", []),
        on="list_commands",
        times=None,
        where=lambda request: "status" in request.query,
    )
    follower.create(follower.rig.sandbox.state.devices, is_new=False)
    await follower.until(math.inf)
    assert len(follower.found) == MANY
    # What is seen then, after two probes, shows that the service can't be asked.
    assert follower.kinds().keys() == {"SUCCESS", "FAILED", "walk"}
    assert (follower.kinds()["SUCCESS"], follower.kinds()["FAILED"]) == (2, 2)
    assert max(follower.lateness()) <= 30.0


async def test_what_ends_while_a_probe_is_under_way_is_no_mistake_of_the_service(follower: Follower) -> None:
    await start(follower, fleet(), behaviour=Behaviour(run_seconds=(60.0, 300.0)))
    # The list is slow to tell who failed, and meanwhile others succeed.
    follower.rig.sandbox.faults.add(
        Fault.error(503, retry_after=30),
        on="list_commands",
        times=3,
        where=lambda request: request.query.get("status") == "FAILED" and follower.kinds()["SUCCESS"] > 5,
    )
    await follower.run(follower.rig.sandbox.state.devices, 3.0)
    assert len(follower.found) == MANY
    assert follower.watch.schedule.filters
    assert len(follower.lists) <= 125


async def test_slow_commands_are_probed_until_it_is_known_how_slow_they_are(follower: Follower) -> None:
    await start(follower, fleet(), behaviour=Behaviour(run_seconds=(300.0, 320.0)))
    devices = follower.rig.sandbox.state.devices
    await follower.run(devices, 8.0)
    assert len(follower.lists) <= 110
    assert follower.kinds()["SUCCESS"] >= 4
    assert max(follower.lateness()) <= 0.0
    # Now it is known: the next ones are looked for when most have ended, and those that are stuck after that.
    before = len(follower.lists)
    await follower.run(devices, 8.0)
    assert len(follower.lists) - before <= 70
    assert max(follower.lateness()) <= 0.0


async def test_what_others_create_is_passed(follower: Follower) -> None:
    await start(follower, fleet(200))
    state = follower.rig.sandbox.state
    for device in state.devices:
        follower.create([device])
        for _ in range(5):
            state.create(NewCommand(state.devices[0], "speed-test"))
        await follower.until(follower.rig.clock.monotonic() + 0.05)
    await follower.until(math.inf)
    assert max(follower.lateness()) <= 1.0
    # A walk is 24 pages.  Those that are stuck are too many pages apart for it.
    assert len(follower.lists) <= 5 * 24 + 30


async def test_what_one_look_shows_another_need_not(follower: Follower) -> None:
    await start(follower, 200, behaviour=Behaviour.instant())
    state = follower.rig.sandbox.state
    for device in [*state.devices[:100], *state.devices[:100]]:
        command = state.create(NewCommand(device, "speed-test"))
        follower.watch.add(command.id, command.created, device_id=device.device_id)
    device = state.devices[7].device_id
    for command in state.commands.values():
        if command.device.device_id != device:
            follower.watch.drop(command.id)
    # Two are left among four pages of others, on one device.
    await follower.until(20.0)
    assert len(follower.found) == 2
    assert follower.kinds() == {"device": 1}


# --- What a runner needs


async def test_there_is_nothing_to_wait_for_where_nothing_is_pending(follower: Follower) -> None:
    await start(follower, 2)
    assert follower.watch.next_poll_at == math.inf
    await follower.poll()
    [command] = follower.create(follower.rig.sandbox.state.devices[:1])
    assert follower.watch.next_poll_at == 2.0
    await follower.poll()
    assert follower.lists == [], "it is not due"
    follower.watch.add(command.id)
    assert follower.watch.ids == (command.id,), "adding it again changes nothing"
    assert follower.watch.drop(command.id) is None
    await follower.until(10.0)
    assert follower.watch.next_poll_at == math.inf
    assert follower.lists == []


async def test_thousands_of_commands_may_be_taken_up_again(follower: Follower, clock: ManualClock) -> None:
    await start(follower, fleet(3000))
    state = follower.rig.sandbox.state
    made = []
    for start_at in range(0, 3000, 10):
        made += [state.create(NewCommand(device, "pcap")) for device in state.devices[start_at : start_at + 10]]
        clock.advance(2.0)
    for command in made:
        follower.watch.add(command.id, command.created)
    assert follower.watch.next_poll_at <= clock.monotonic()
    await follower.poll()
    assert len(follower.lists) <= 61
    assert len(follower.found) > 2800
    await follower.until(math.inf)
    assert len(follower.lists) <= 135


async def test_the_share_of_the_rate_limit_is_kept_in_each_of_its_windows(
    follower: Follower, clock: ManualClock
) -> None:
    limit = RateLimit(requests=40, seconds=300.0)
    await start(follower, fleet(), behaviour=Behaviour.instant(), rate_limit=limit)
    follower.create(follower.rig.sandbox.state.devices)
    await follower.until(math.inf)
    assert len(follower.found) == MANY
    sent = [request.at for request in follower.lists]
    for first in sent:
        assert sum(first <= time < first + 299.0 for time in sent) <= limit.requests * POLL_SHARE
    # A walk of 20 pages takes more than two windows, and goes on where it stood.
    pages = [int(request.query["page"]) for request in follower.lists if "status" not in request.query]
    start_at = pages.index(1, 1)
    assert pages[start_at : start_at + 20] == list(range(1, 21))


@pytest.mark.parametrize("clients", ["one client", "two clients of a token"])
async def test_watches_share_the_share_and_take_turns(follower: Follower, clock: ManualClock, clients: str) -> None:
    limit = RateLimit(requests=16, seconds=300.0)
    await start(follower, fleet(), behaviour=Behaviour.instant(), rate_limit=limit)
    rig, devices = follower.rig, follower.rig.sandbox.state.devices
    dex = rig.dex if clients == "one client" else rig.client(rate_limit=limit)
    other = Follower(rig, Watch(dex.commands._session))
    # A walk of 20 pages, which takes five windows by itself, and one that is a page.
    follower.create(devices, is_new=False)
    while len(follower.lists) < 4:
        await follower.until(follower.watch.next_poll_at)
    began, full = follower.lists[0].at, clock.monotonic()
    [command] = other.create(devices[:1], is_new=False)
    followers = [follower, other]
    while any(len(one.watch) for one in followers):
        one = min(followers, key=lambda each: each.watch.next_poll_at)
        await clock.sleep(max(0.0, one.watch.next_poll_at - clock.monotonic()))
        await one.poll()
    assert len(follower.found) == MANY
    assert full < began + limit.seconds
    assert other.found[command.id] == pytest.approx(began + limit.seconds), "with the first that goes on"
    sent = [request.at for request in follower.lists]
    assert max(sum(first <= time < first + limit.seconds for time in sent) for first in sent) <= 4


async def queued_up(follower: Follower, *commands: StoredCommand) -> Watch:
    """Return a watch of its own for commands, which has found no room."""
    watch = Watch(follower.rig.dex.commands._session)
    for command in commands:
        watch.add(command.id, command.created)
    await watch.poll()
    return watch


async def start_with_no_room(follower: Follower) -> list[StoredCommand]:
    """Use up the share, which is one request, and return commands, each created a minute after the one before."""
    limit = RateLimit(requests=4, seconds=300.0)
    await start(follower, 12, behaviour=Behaviour.instant(), rate_limit=limit)
    state, made = follower.rig.sandbox.state, list[StoredCommand]()
    for device in state.devices[:3]:
        made.append(state.create(NewCommand(device, "pcap")))
        follower.rig.clock.advance(60.0)  # type: ignore[attr-defined]
    follower.create(state.devices[:1], is_new=False)
    await follower.poll()
    assert len(follower.lists) == 1
    return made


async def test_what_becomes_due_while_others_have_their_turns_is_looked_for_together(follower: Follower) -> None:
    made = await start_with_no_room(follower)
    watch = await queued_up(follower, made[0])
    watch.add(made[2].id, made[2].created)
    await follower.rig.clock.sleep(watch.next_poll_at - follower.rig.clock.monotonic())
    await watch.poll()
    assert {command.id for command in watch.take_ended()} == {made[0].id, made[2].id}
    assert len(follower.lists) == 2


async def test_a_turn_that_is_not_needed_any_more_is_left_to_others(follower: Follower) -> None:
    made = await start_with_no_room(follower)
    first = await queued_up(follower, made[0])
    assert first.next_poll_at == 480.0
    first.drop(made[0].id)
    second = await queued_up(follower, made[0], made[1])
    assert second.next_poll_at == 480.0


@pytest.mark.parametrize("what", ["follow", "capture"])
async def test_who_leaves_early_leaves_the_turn_to_others(
    follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    made = await start_with_no_room(follower)
    rig, clock = follower.rig, follower.rig.clock
    planned, sleep = rig.dex.session.polls._window._planned, clock.sleep

    async def leave_once_queued_up(seconds: float) -> None:
        if planned:
            raise ZeroDivisionError
        await sleep(seconds)

    monkeypatch.setattr(clock, "sleep", leave_once_queued_up)
    one: Any = rig.dex.commands.follow([made[0].id]) if what == "follow" else rig.dex.capture(rig.requests(1), tmp_path)
    with pytest.raises(ZeroDivisionError):
        async with one as results:
            await anext(results)
    assert (await queued_up(follower, made[1])).next_poll_at == 480.0


async def test_a_turn_is_left_to_others_where_the_rest_of_a_look_is_not_needed(follower: Follower) -> None:
    limit = RateLimit(requests=4, seconds=300.0)
    devices = make_devices(60, multi_user_share=0, ineligible_share=0, disconnected_share=0)
    await start(follower, devices, behaviour=Behaviour(run_seconds=(5000.0, 5000.0)), rate_limit=limit)
    made = follower.create(devices, is_new=False)
    while not follower.lists:
        await follower.until(follower.watch.next_poll_at)
    turn_at = follower.watch.next_poll_at
    # The walk waits for its second page.
    for command in made[:10]:
        assert follower.watch.drop(command.id) is None
    assert len(follower.watch) == 50
    await follower.rig.clock.sleep(turn_at - follower.rig.clock.monotonic())
    await follower.poll()
    assert len(follower.lists) == 1
    assert follower.rig.dex.commands._session.polls._window._planned == []


async def test_without_a_limit_polls_come_when_they_are_due(follower: Follower) -> None:
    await start(follower, fleet(), rate_limit=None)
    await follower.run(follower.rig.sandbox.state.devices, 8.0)
    assert len(follower.lists) <= 92


async def test_what_is_dropped_while_a_poll_is_under_way(follower: Follower) -> None:
    await start(follower, 5, behaviour=Behaviour(run_seconds=(5000.0, 5000.0)))
    made = follower.create(follower.rig.sandbox.state.devices, is_new=False)
    follower.rig.sandbox.faults.add(Fault.slow(0.1, real_time=True), on="list_commands", times=1)
    poll = asyncio.ensure_future(follower.watch.poll())
    while not follower.lists and not poll.done():
        await asyncio.sleep(0.001)
    for command in made:
        follower.watch.drop(command.id)
    await poll
    assert len(follower.lists) == 1
    assert follower.watch.next_poll_at == math.inf
    [again] = follower.create(follower.rig.sandbox.state.devices[:1], is_new=False)
    await follower.poll()
    assert len(follower.lists) == 2
    assert again.id in {*follower.watch.ids, *follower.found}


async def test_what_is_dropped_is_looked_for_no_more(follower: Follower) -> None:
    limit = RateLimit(requests=8, seconds=300.0)
    await start(follower, fleet(200), behaviour=Behaviour(run_seconds=(5000.0, 5000.0)), rate_limit=limit)
    made = follower.create(follower.rig.sandbox.state.devices)
    while follower.rig.clock.monotonic() < 20.0:
        await follower.until(follower.watch.next_poll_at)
    # The walk has shown two of four pages, newest first.
    assert [request.query["page"] for request in follower.lists][-1] in ("1", "2")
    dropped = [follower.watch.drop(command.id) for command in made]
    assert Counter(one is not None for one in dropped)[True] in range(50, 101)
    before = len(follower.lists)
    await follower.until(2000.0)
    await follower.poll()
    assert len(follower.lists) == before


async def test_what_is_overdue_was_looked_for_at_its_deadline(follower: Follower, clock: ManualClock) -> None:
    limit = RateLimit(requests=8, seconds=300.0)
    await start(follower, fleet(200), behaviour=Behaviour(run_seconds=(5000.0, 5000.0)), rate_limit=limit)
    made = follower.create(follower.rig.sandbox.state.devices)
    follower.watch.give_until(10.0)
    await follower.until(10.0)
    assert len(follower.lists) == 2, "a glance, and the first page of four"
    assert len(follower.watch.overdue()) == 50, "the look that tells of the others is still under way"
    await follower.until(550.0)
    assert len(follower.watch.overdue()) == 150, "three pages have come"
    await follower.until(700.0)
    assert set(follower.watch.overdue()) == {command.id for command in made}


async def test_time_may_be_over_before_the_first_look_is_due(rig: Rig, clock: ManualClock) -> None:
    await rig.start(100, behaviour=Behaviour(run_seconds=(5000.0, 5000.0)))
    bulk = await rig.dex.commands.create_many(rig.requests(80))
    start_at = clock.monotonic()
    async with rig.dex.commands.follow(bulk.commands, timeout=5.0) as ended:
        with pytest.raises(WaitTimeoutError) as caught:
            await anext(ended)
    assert len(caught.value.pending) == 80
    assert clock.monotonic() - start_at == 5.0
    # What the list shows at the deadline is what is said.
    assert rig.made("list_commands") == 2


async def test_a_poll_that_fails_is_made_again_a_little_later(follower: Follower, clock: ManualClock) -> None:
    await start(follower, 20, behaviour=Behaviour.instant(), retry=RetryPolicy.none())
    follower.create(follower.rig.sandbox.state.devices[:3])
    follower.rig.sandbox.faults.add(Fault.error(500), on="list_commands", times=2)
    await clock.sleep(2.0)
    for wait in (3.0, 4.5):
        now = clock.monotonic()
        with pytest.raises(ServerError):
            await follower.poll()
        assert follower.watch.next_poll_at == now + wait
        await follower.poll()
        await clock.sleep(wait)
    await follower.poll()
    assert len(follower.found) == 3


async def test_a_refusal_that_is_not_for_the_filters_is_told(follower: Follower, clock: ManualClock) -> None:
    await start(follower, 20)
    follower.create(follower.rig.sandbox.state.devices[:3], is_new=False)
    follower.rig.sandbox.faults.add(Fault.error(400), on="list_commands")
    with pytest.raises(BadRequestError):
        await follower.poll()


# --- How the list lags


@pytest.mark.parametrize(("lag", "bound"), [(0.0, 20.0), (6.0, 20.0), (45.0, 75.0)])
async def test_how_the_list_lags_is_told(follower: Follower, lag: float, bound: float) -> None:
    lags: dict[str, float] = {}
    await start(follower, fleet(), behaviour=Behaviour(list_lag=lag), on_first_seen=lags.__setitem__)
    await follower.run(follower.rig.sandbox.state.devices, 8.0)
    assert len(lags) >= 50
    assert lags.keys() <= follower.found.keys()
    assert lag <= min(lags.values())
    assert max(lags.values()) <= bound


async def test_a_first_look_that_comes_late_says_nothing_about_the_list(follower: Follower, clock: ManualClock) -> None:
    lags: dict[str, float] = {}
    await start(follower, 20, on_first_seen=lags.__setitem__)
    devices = follower.rig.sandbox.state.devices
    follower.create(devices[:1])
    follower.create(devices[1:2], is_new=False)
    clock.advance(100.0)
    late = follower.create(devices[2:3])
    await follower.until(103.0)
    assert list(lags) == [late[0].id]
    assert 1.0 <= lags[late[0].id] <= 4.0


async def test_where_no_time_is_told_commands_are_followed_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start(fleet(), behaviour=Behaviour())
    bulk = await rig.dex.commands.create_many(rig.requests(100))
    monkeypatch.setattr(ServiceClock, "learn", lambda *_: None)
    watch = Watch(rig.client().commands._session, on_first_seen=lambda *_: pytest.fail("it can't be told"))
    for command in bulk.commands:
        watch.add(command.id or "", is_new=True)
    ended = 0
    while len(watch):
        await rig.clock.sleep(max(0.0, watch.next_poll_at - rig.clock.monotonic()))
        await watch.poll()
        ended += len(watch.take_ended())
    assert ended == 100
    assert rig.made("list_commands") <= 40
