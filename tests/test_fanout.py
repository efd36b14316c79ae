"""`create_many`: any number of targets, and an outcome for each."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from dexcmd import (
    BadRequestError,
    CommandRequest,
    ConfigurationError,
    Outcome,
    Pcap,
    PermissionDeniedError,
    QuotaExceededError,
    RetryPolicy,
    TransportError,
)
from dexcmd.clock import ManualClock
from dexcmd.events import RequestFinished, RequestSent, Retrying
from dexcmd.sandbox import Behaviour, Fault, RecordedRequest, Sandbox
from tests.conftest import Rig

pytestmark = pytest.mark.anyio


def states(outcomes: tuple[Outcome, ...]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def reasons(outcomes: tuple[Outcome, ...]) -> list[str | None]:
    return [outcome.reason for outcome in outcomes]


async def test_many_targets_go_out_in_posts_of_at_most_ten(rig: Rig) -> None:
    await rig.start(60)
    requests = rig.requests(43)
    bulk = await rig.dex.commands.create_many(requests)
    assert states(bulk.outcomes) == ["created"] * 43
    assert [outcome.request for outcome in bulk.outcomes] == requests
    assert [c.device_id for c in bulk.commands] == [request.device_id for request in requests]
    assert {outcome.command_id for outcome in bulk.outcomes} == set(rig.sandbox.state.commands)
    posts = [r.body["commands"] for r in rig.sandbox.requests if r.operation == "create_commands"]
    assert sorted(map(len, posts)) == [3, 10, 10, 10, 10]


async def test_no_targets_are_no_requests(rig: Rig) -> None:
    await rig.start()
    assert (await rig.dex.commands.create_many([])).outcomes == ()
    assert rig.sandbox.requests == []


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_posts_at_a_time_are_bounded(rig: Rig, concurrency: int) -> None:
    await rig.start(100)
    rig.sandbox.faults.add(Fault.slow(0.02, real_time=True), on="create_commands", times=None)
    under_way = most = 0

    def count(event: object) -> None:
        nonlocal under_way, most
        if getattr(event, "method", "") == "POST":
            under_way += {"RequestSent": 1, "RequestFinished": -1}.get(type(event).__name__, 0)
            most = max(most, under_way)

    dex = rig.client(on_event=count)
    await dex.commands.create_many(rig.requests(80), concurrency=concurrency)
    assert most == concurrency


async def test_what_exceeds_the_quota_is_not_attempted(rig: Rig) -> None:
    await rig.start(60, quota=17)
    bulk = await rig.dex.commands.create_many(rig.requests(40))
    assert states(bulk.outcomes) == ["created"] * 17 + ["not_attempted"] * 23
    assert {outcome.reason for outcome in bulk.in_state("not_attempted")} == {"quota"}
    assert rig.sandbox.state.quota.usage == 17
    assert rig.made("create_commands") == 2


async def test_a_quota_that_somebody_else_uses_up_meanwhile_stops_the_rest(rig: Rig) -> None:
    await rig.start(60, quota=100)

    def take(_: object) -> bool:
        rig.sandbox.state.quota.usage = 100
        return False

    rig.sandbox.faults.add(Fault.drop(), on="create_commands", where=take)
    bulk = await rig.dex.commands.create_many(rig.requests(30), concurrency=1)
    assert states(bulk.outcomes) == ["not_attempted"] * 30
    assert all(isinstance(outcome.error, QuotaExceededError) for outcome in bulk.outcomes)
    assert rig.made("create_commands") == 1


async def test_waiting_for_the_quota(rig: Rig, clock: ManualClock) -> None:
    await rig.start(60, quota=20)
    start = clock.now()
    bulk = await rig.dex.commands.create_many(rig.requests(45), on_quota="wait", quota_wait_seconds=3 * 86400)
    assert states(bulk.outcomes) == ["created"] * 45
    assert timedelta(days=1) < clock.now() - start < timedelta(days=2)
    # Half a day to the first reset, a day to the next, and no polling meanwhile.
    assert rig.made("get_quota") <= 5


async def test_waiting_for_the_quota_is_bounded(rig: Rig, clock: ManualClock) -> None:
    await rig.start(60, quota=20)
    bulk = await rig.dex.commands.create_many(rig.requests(25), on_quota="wait", quota_wait_seconds=3600)
    assert states(bulk.outcomes) == ["created"] * 20 + ["not_attempted"] * 5
    assert clock.slept == []


async def test_all_waits_for_the_quota_together_are_bounded(rig: Rig) -> None:
    await rig.start(60, quota=20)
    # Half a day to the first reset, and a day to the next.
    bulk = await rig.dex.commands.create_many(rig.requests(45), on_quota="wait", quota_wait_seconds=100_000)
    assert states(bulk.outcomes) == ["created"] * 40 + ["not_attempted"] * 5


async def test_a_reset_that_does_not_show_is_asked_for_less_and_less_often(rig: Rig) -> None:
    await rig.start(quota=1)
    past = Fault.wrong_types("result.reset_time", "2026-01-01T00:00:00Z")
    rig.sandbox.faults.add(past, on="get_quota", times=None)
    bulk = await rig.dex.commands.create_many(rig.requests(2), on_quota="wait", quota_wait_seconds=1500)
    assert states(bulk.outcomes) == ["created", "not_attempted"]
    asked = [request.at for request in rig.sandbox.requests if request.operation == "get_quota"]
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert waits == pytest.approx([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300], abs=0.1)


async def test_a_clock_that_goes_a_bit_fast_costs_no_question_before_the_reset(rig: Rig) -> None:
    class Drift(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            rig.sandbox.behaviour = Behaviour.instant(clock_skew=-0.9)

    rig.clock = Drift()
    await rig.start(quota=2)
    bulk = await rig.dex.commands.create_many(rig.requests(4), on_quota="wait")
    assert states(bulk.outcomes) == ["created"] * 4
    # At the start, when the quota is used up, and after the reset.
    assert rig.made("get_quota") == 3


async def test_a_reset_that_is_not_told_is_not_waited_for(rig: Rig, clock: ManualClock) -> None:
    await rig.start(quota=2)
    rig.sandbox.faults.add(Fault.wrong_types("result.reset_time", None), on="get_quota", times=None)
    bulk = await rig.dex.commands.create_many(rig.requests(3), on_quota="wait")
    assert reasons(bulk.outcomes) == [None, None, "quota"]
    assert clock.slept == []


async def test_a_quota_that_can_not_be_told_stops_nothing(rig: Rig) -> None:
    await rig.start(retry=RetryPolicy(attempts=1))
    rig.sandbox.faults.add(Fault.error(500), on="get_quota", times=None)
    bulk = await rig.dex.commands.create_many(rig.requests(12))
    assert states(bulk.outcomes) == ["created"] * 12


async def test_a_refusal_is_told_for_each_request_of_its_post(rig: Rig) -> None:
    await rig.start(30)
    rig.sandbox.faults.add(Fault.error(400, code=1001, message="no such thing"), on="create_commands", times=None)
    bulk = await rig.dex.commands.create_many(rig.requests(3))
    assert states(bulk.outcomes) == ["rejected"] * 3
    assert all(isinstance(outcome.error, BadRequestError) for outcome in bulk.outcomes)


async def test_a_token_that_may_not_write_ends_it_with_the_first_post(rig: Rig) -> None:
    await rig.start(60, behaviour=Behaviour.instant(read_only_token=True))
    bulk = await rig.dex.commands.create_many(rig.requests(50), concurrency=1)
    assert states(bulk.outcomes) == ["not_attempted"] * 50
    assert {outcome.reason for outcome in bulk.outcomes} == {"abort"}
    assert all(isinstance(outcome.error, PermissionDeniedError) for outcome in bulk.outcomes)
    assert rig.made("create_commands") == 1


async def test_what_ends_it_is_told_of_what_the_quota_had_no_room_for_as_well(rig: Rig) -> None:
    await rig.start(60, quota=17, behaviour=Behaviour.instant(read_only_token=True))
    bulk = await rig.dex.commands.create_many(rig.requests(40))
    assert reasons(bulk.outcomes) == ["abort"] * 40
    assert all(isinstance(outcome.error, PermissionDeniedError) for outcome in bulk.outcomes)


async def test_a_service_that_can_not_be_reached_ends_it_after_one_call(rig: Rig) -> None:
    await rig.start(60)
    async with Sandbox(1) as gone:
        base_url = gone.base_url
    dex = rig.client(base_url=base_url, retry=RetryPolicy(attempts=2))
    bulk = await dex.commands.create_many(rig.requests(30), concurrency=1)
    assert states(bulk.outcomes) == ["not_attempted"] * 30
    assert all(isinstance(outcome.error, TransportError) for outcome in bulk.outcomes)


async def test_a_closed_client_is_told_at_once(rig: Rig) -> None:
    await rig.start()
    await rig.dex.close()
    with pytest.raises(ConfigurationError, match="closed"):
        rig.dex.commands.create_many(rig.requests(3))


async def test_awaiting_twice_creates_once(rig: Rig) -> None:
    await rig.start()
    bulk = rig.dex.commands.create_many(rig.requests(3))
    assert await bulk == await bulk
    assert len(rig.sandbox.state.commands) == 3


async def test_a_cancellation_half_way_loses_nothing_that_was_made(rig: Rig) -> None:
    await rig.start(60)
    rig.sandbox.faults.add(Fault.silence(), on="create_commands", skip=2)
    bulk = rig.dex.commands.create_many(rig.requests(50), concurrency=1)
    task = asyncio.ensure_future(bulk)
    while rig.made("create_commands") < 3:
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert states(bulk.result.outcomes) == ["created"] * 20 + ["unknown"] * 10 + ["not_attempted"] * 20
    assert {outcome.command_id for outcome in bulk.result.in_state("created")} == set(rig.sandbox.state.commands)
    assert {outcome.reason for outcome in bulk.result.in_state("not_attempted")} == {"cancelled"}


async def test_closing_ends_a_wait_for_the_quota(rig: Rig) -> None:
    class Close(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            await dex.close()

    await rig.start(quota=2)
    clock = Close()
    dex = rig.client(clock=clock)
    bulk = await dex.commands.create_many(rig.requests(3), on_quota="wait", quota_wait_seconds=1e6)
    assert reasons(bulk.outcomes) == [None, None, "quota"]
    assert rig.made("get_quota") <= 2
    assert clock.monotonic() <= 60


async def test_stopped_before_it_began_it_sends_nothing(rig: Rig) -> None:
    await rig.start()
    bulk = rig.dex.commands.create_many(rig.requests(3))
    bulk.stop()
    assert reasons((await bulk).outcomes) == ["cancelled"] * 3
    assert rig.sandbox.requests == []


async def test_stop_lets_what_was_sent_come_to_its_end(rig: Rig) -> None:
    await rig.start(60)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", skip=1)

    def stop(event: object) -> None:
        if isinstance(event, RequestSent) and rig.made("create_commands") == 1:
            bulk.stop()

    bulk = rig.client(on_event=stop).commands.create_many(rig.requests(50), concurrency=1)
    result = await bulk
    assert states(result.outcomes) == ["created"] * 10 + ["adopted"] * 10 + ["not_attempted"] * 30
    assert {outcome.reason for outcome in result.in_state("not_attempted")} == {"cancelled"}
    assert {outcome.command_id for outcome in result.outcomes[:20]} == set(rig.sandbox.state.commands)


async def test_stop_lets_a_post_that_is_under_way_have_its_answer(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.slow(0.1, real_time=True), on="create_commands")
    bulk = rig.dex.commands.create_many(rig.requests(3))
    task = asyncio.create_task(bulk)
    while not rig.sandbox.state.commands:
        await asyncio.sleep(0.001)
    bulk.stop()
    assert states((await task).outcomes) == ["created"] * 3
    # Nothing had to be looked for.
    assert rig.made("list_commands") == 0


async def test_stop_sends_nothing_that_waits_to_be_sent_again(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.rate_limited(retry_after=300), on="create_commands")
    bulk = rig.client(on_event=lambda event: isinstance(event, Retrying) and bulk.stop()).commands.create_many(
        rig.requests(3)
    )
    assert reasons((await bulk).outcomes) == ["cancelled"] * 3
    assert rig.clock.monotonic() < 60
    assert not rig.sandbox.state.commands


async def test_a_stop_in_the_moment_of_a_post_looks_for_what_it_made(rig: Rig) -> None:
    class Stop(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            bulk.stop()

    await rig.start()
    rig.sandbox.faults.add(Fault.rate_limited(retry_after=1), on="create_commands")
    bulk = rig.client(clock=Stop()).commands.create_many(rig.requests(3))
    result = await bulk
    # Whether it still got out is the connection's business.
    assert {command.id for command in result.commands} == set(rig.sandbox.state.commands)
    assert {outcome.state for outcome in result.outcomes} <= {"adopted", "not_attempted"}


async def test_stop_ends_a_wait_for_the_quota(rig: Rig) -> None:
    class Stop(ManualClock):
        async def sleep(self, seconds: float) -> None:
            bulk.stop()
            await super().sleep(seconds)

    await rig.start(quota=2)
    clock = Stop()
    bulk = rig.client(clock=clock).commands.create_many(rig.requests(3), on_quota="wait", quota_wait_seconds=1e6)
    assert reasons((await bulk).outcomes) == [None, None, "cancelled"]
    assert clock.monotonic() == 0


async def test_a_stop_while_the_quota_is_asked_is_the_reason_whatever_it_says(rig: Rig) -> None:
    await rig.start(quota=0)
    bulk = rig.client(on_event=lambda event: isinstance(event, RequestFinished) and bulk.stop()).commands.create_many(
        rig.requests(3)
    )
    assert reasons((await bulk).outcomes) == ["cancelled"] * 3


async def test_stop_sends_nothing_again_that_the_list_does_not_show(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(), on="create_commands")

    def stop(event: object) -> None:
        if isinstance(event, RequestFinished) and event.method == "POST":
            bulk.stop()

    bulk = rig.client(on_event=stop).commands.create_many(rig.requests(3))
    assert reasons((await bulk).outcomes) == ["cancelled"] * 3
    assert rig.made("create_commands") == 1
    assert rig.clock.monotonic() > 100


async def test_what_a_refusal_leaves_of_a_post_is_not_sent_after_an_abort(rig: Rig) -> None:
    await rig.start(30)
    requests = rig.requests(20)
    unknown = CommandRequest(device_id="0" * 36, user_email="nobody@example.com", args=Pcap())
    first = [unknown, *requests[1:10]]

    def has_the_unknown(request: RecordedRequest) -> bool:
        return len(request.body["commands"]) == 10 and request.body["commands"][0]["device_id"] == unknown.device_id

    # While one POST is being refused for one of its devices, the other one is told that the token may not write.
    rig.sandbox.faults.add(Fault.slow(0.1, real_time=True), on="create_commands", where=has_the_unknown)
    rig.sandbox.faults.add(
        Fault.error(403, form="envelope", code=10000), on="create_commands", where=lambda r: not has_the_unknown(r)
    )
    bulk = await rig.dex.commands.create_many([*first, *requests[10:]], concurrency=2)
    assert reasons(bulk.outcomes) == [None] + ["abort"] * 19
    assert bulk.outcomes[0].state == "rejected"
    assert rig.made("create_commands") == 2
