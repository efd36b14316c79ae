"""Creating is never doubled, whatever becomes of an answer, and each outcome is the truth."""

import asyncio
from collections import Counter
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web

from dexcmd import (
    AmbiguousCreateError,
    BadRequestError,
    BulkResult,
    Outcome,
    Pcap,
    QuotaExceededError,
    RetryPolicy,
    SpeedTest,
)
from dexcmd.clock import ManualClock
from dexcmd.events import CommandAdopted, CommandCreated, RequestSent, Retrying
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.sandbox.state import NewCommand
from tests.between import in_capitals, of_uuids, passed_on
from tests.conftest import Rig
from tests.service import Service

pytestmark = pytest.mark.anyio

LOST = [
    Fault.error(500, processed=True),
    Fault.error(502, processed=True, form="html"),
    Fault.error(524, processed=True, form="problem"),
    Fault.error(408, processed=True),
    Fault.drop(processed=True),
    Fault.silence(processed=True),
    Fault.cut(0.5),
    Fault.garbage(),
    Fault.html(processed=True),
    Fault.unsuccessful(processed=True),
    Fault.null_result(),
    Fault.wrong_types("result.commands", 7),
    Fault.rows("partial"),
]
NOT_PROCESSED = [
    Fault.error(500),
    Fault.error(502, form="html"),
    Fault.drop(),
    Fault.silence(),
    Fault.html(),
    Fault.unsuccessful(),
]
QUICK = RetryPolicy(attempt_seconds=0.5)


def named(fault: Any) -> str | None:
    if not isinstance(fault, Fault):
        return None
    return f"{fault.kind}-{fault.status}" if fault.kind == "error" else fault.kind


def tally(result: BulkResult) -> dict[str, int]:
    return dict(Counter(outcome.state for outcome in result.outcomes))


def check_truth(rig: Rig, outcomes: tuple[Outcome, ...]) -> None:
    """Compare what is told with what the service holds: `created` and `adopted` exactly, and no target twice."""
    told = {outcome.command_id for outcome in outcomes if outcome.state in ("created", "adopted")}
    held = rig.sandbox.state.commands
    unknown = {outcome.request.target for outcome in outcomes if outcome.state == "unknown"}
    known = {
        command_id
        for command_id, command in held.items()
        if (command.device.device_id, command.device.registration_id, command.type) not in unknown
    }
    assert told == known
    targets = Counter((c.device.device_id, c.device.registration_id, c.type) for c in held.values())
    assert not [target for target, count in targets.items() if count > 1], "a target was captured twice"


@pytest.mark.parametrize("fault", LOST, ids=named)
async def test_a_lost_answer_is_found_in_the_list(rig: Rig, fault: Fault) -> None:
    await rig.start(retry=QUICK)
    rig.sandbox.faults.add(fault, on="create_commands")
    requests = rig.requests(6)
    made = await rig.dex.commands.create(requests)
    assert [command.device_id for command in made] == [request.device_id for request in requests]
    assert {command.id for command in made} == set(rig.sandbox.state.commands)
    assert rig.made("create_commands") == 1
    adopted = [event.command_id for event in rig.events if isinstance(event, CommandAdopted)]
    assert len(adopted) == (3 if fault.kind == "rows" else 6)


@pytest.mark.parametrize("fault", NOT_PROCESSED, ids=named)
async def test_what_the_list_does_not_show_is_sent_again_after_settling(
    rig: Rig, clock: ManualClock, fault: Fault
) -> None:
    await rig.start(retry=QUICK, settle_seconds=90.0)
    rig.sandbox.faults.add(fault, on="create_commands")
    made = await rig.dex.commands.create(rig.requests(4))
    assert {command.id for command in made} == set(rig.sandbox.state.commands)
    assert len(rig.sandbox.state.commands) == 4
    first, second = (request.at for request in rig.sandbox.requests if request.operation == "create_commands")
    assert 90.0 <= second - first < 100.0


@pytest.mark.parametrize("field", ["id", "device_id", "type"])
async def test_what_the_list_may_show_without_saying_so_is_unknown_and_not_sent_again(rig: Rig, field: str) -> None:
    await rig.start(behaviour=Behaviour.instant(null_fields={field}))
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    with pytest.raises(AmbiguousCreateError, match="without its id, device or type") as caught:
        await rig.dex.commands.create(rig.requests(2))
    assert [outcome.reason for outcome in caught.value.outcomes] == ["not_listed", "not_listed"]
    assert len(rig.sandbox.state.commands) == 2


@pytest.mark.parametrize("fault", [*NOT_PROCESSED, Fault.drop(processed=True)], ids=named)
async def test_what_is_lost_twice_is_unknown_and_not_sent_a_third_time(rig: Rig, fault: Fault) -> None:
    # Nothing shows up in the list for an hour, so the second POST is lost as well, whether processed or not.
    await rig.start(behaviour=Behaviour.instant(list_lag=3600.0), retry=QUICK)
    rig.sandbox.faults.add(fault, on="create_commands", times=None)
    with pytest.raises(AmbiguousCreateError) as caught:
        await rig.dex.commands.create(rig.requests(2))
    assert rig.made("create_commands") == 2
    assert caught.value.created == []
    assert "the responses to two POSTs were lost" in str(caught.value)
    assert caught.value.cause is not None


async def test_a_list_that_lags_is_waited_for(rig: Rig, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour.instant(list_lag=100.0))
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    made = await rig.dex.commands.create(rig.requests(5))
    assert {command.id for command in made} == set(rig.sandbox.state.commands)
    assert rig.made("create_commands") == 1
    assert clock.monotonic() >= 100.0


@pytest.mark.parametrize("skew", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("fresh", [True, False], ids=["first call", "later call"])
async def test_the_services_clock_counts_and_not_this_machines(rig: Rig, skew: float, fresh: bool) -> None:
    await rig.start(behaviour=Behaviour.instant(clock_skew=skew))
    old = [rig.sandbox.state.create(NewCommand(device, "pcap")) for device in rig.sandbox.state.devices[:3]]
    rig.clock.advance(30)  # type: ignore[attr-defined]
    if not fresh:
        await rig.dex.quota.get()
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    made = await rig.dex.commands.create(rig.requests(3))
    assert rig.made("create_commands") == 1
    assert {command.id for command in made} == set(rig.sandbox.state.commands) - {command.id for command in old}


async def test_a_command_that_this_client_knows_is_not_adopted(rig: Rig) -> None:
    await rig.start()
    [first] = await rig.dex.commands.create(rig.requests(1))
    rig.sandbox.faults.add(Fault.drop(), on="create_commands")
    [second] = await rig.dex.commands.create(rig.requests(1))
    assert first.id != second.id
    assert set(rig.sandbox.state.commands) == {first.id, second.id}


async def test_two_lost_posts_for_one_target_do_not_adopt_one_command_twice(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    made = await asyncio.gather(*(rig.dex.commands.create(rig.requests(2)) for _ in range(2)))
    ids = [command.id for commands in made for command in commands]
    assert len(set(ids)) == 4
    assert set(ids) == set(rig.sandbox.state.commands)


async def test_only_what_is_absent_is_sent_again(rig: Rig) -> None:
    await rig.start(quota=3, behaviour=Behaviour.instant(quota_acceptance="partial"))
    requests = rig.requests(5)

    def raise_quota(_: object) -> bool:
        # Three were taken, two were not: by the time they are sent again there is room.
        rig.sandbox.state.quota.limit = 800 if rig.made("create_commands") > 1 else 3
        return False

    rig.sandbox.faults.add(Fault.drop(), on="create_commands", where=raise_quota, times=None)
    made = await rig.dex.commands.create(requests)
    assert len(rig.sandbox.state.commands) == 5
    posts = [r.body["commands"] for r in rig.sandbox.requests if r.operation == "create_commands"]
    assert [len(post) for post in posts] == [5, 2]
    assert [command.device_id for command in made] == [request.device_id for request in requests]


async def test_a_list_that_can_not_be_read_leaves_it_unknown(rig: Rig) -> None:
    await rig.start(retry=RetryPolicy(attempts=1), settle_seconds=30.0)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=None)
    rig.sandbox.faults.add(Fault.error(500), on="list_commands", times=None)
    bulk = await rig.dex.commands.create_many(rig.requests(12))
    assert tally(bulk) == {"unknown": 12}
    assert rig.made("create_commands") == 2
    assert all("the list can't be read" in str(outcome.error) for outcome in bulk.outcomes)


async def test_a_list_that_is_forbidden_leaves_it_unknown_at_once(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    rig.sandbox.faults.add(Fault.error(403), on="list_commands", times=None)
    bulk = await rig.dex.commands.create_many(rig.requests(3))
    assert tally(bulk) == {"unknown": 3}
    assert clock.monotonic() < 5


async def test_other_batches_go_on_while_one_settles(rig: Rig, clock: ManualClock) -> None:
    await rig.start(100)
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    bulk = await rig.dex.commands.create_many(rig.requests(80), concurrency=1)
    assert tally(bulk) == {"created": 80}
    at = [request.at for request in rig.sandbox.requests if request.operation == "create_commands"]
    assert at[7] < 60, "the eighth POST did not wait for the first to settle"
    assert at[8] >= 120, "and the ninth is the first, sent again"
    check_truth(rig, bulk.outcomes)


@pytest.mark.parametrize("pointers", [True, False], ids=["pointed at", "to be found"])
@pytest.mark.parametrize("bad", [[0], [9], [3, 4], [0, 5, 9], list(range(10))], ids=str)
async def test_a_bad_target_does_not_take_the_good_ones_down(rig: Rig, bad: list[int], pointers: bool) -> None:
    await rig.start(behaviour=Behaviour.instant(error_pointers=pointers, every_error=pointers))
    requests = rig.requests(10)
    for index in bad:
        requests[index] = attrs.evolve(requests[index], device_id=f"00000000-0000-0000-0000-{index:012d}")
    bulk = await rig.dex.commands.create_many(requests)
    assert [i for i, outcome in enumerate(bulk.outcomes) if outcome.state == "rejected"] == bad
    assert all(isinstance(outcome.error, BadRequestError) for outcome in bulk.in_state("rejected"))
    assert tally(bulk).get("created", 0) == 10 - len(bad)
    check_truth(rig, bulk.outcomes)
    if pointers:
        assert rig.made("create_commands") == (1 if len(bad) == 10 else 2)
    else:
        assert rig.made("create_commands") <= 19


@pytest.mark.parametrize("status", [403, 404])
async def test_a_status_that_ends_all_else_does_not_where_it_names_a_bad_target(rig: Rig, status: int) -> None:
    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        said, body = await passed_on(rig, request)
        return web.Response(status=status if said == 400 else said, body=body, content_type="application/json")

    await rig.start()
    requests = rig.requests(3)
    requests[1] = attrs.evolve(requests[1], device_id="00000000-0000-0000-0000-000000000000")
    async with Service(forward) as service:
        dex = rig.client(base_url=f"{service.origin}/client/v4")
        bulk = await dex.commands.create_many(requests)
        await dex.close()
    assert [outcome.state for outcome in bulk.outcomes] == ["created", "rejected", "created"]
    check_truth(rig, bulk.outcomes)


async def test_a_post_that_is_taken_in_part_names_who_was_not(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(target_acceptance="partial"))
    requests = rig.requests(6)
    requests[2] = attrs.evolve(requests[2], device_id="00000000-0000-0000-0000-000000000000")
    bulk = await rig.dex.commands.create_many(requests)
    assert [outcome.state for outcome in bulk.outcomes].index("rejected") == 2
    assert tally(bulk) == {"created": 5, "rejected": 1}
    assert rig.made("create_commands") == 1
    check_truth(rig, bulk.outcomes)


async def test_create_itself_is_all_or_nothing_for_a_refusal(rig: Rig) -> None:
    await rig.start()
    requests = rig.requests(3)
    requests[1] = attrs.evolve(requests[1], user_email="somebody@example.net")
    with pytest.raises(BadRequestError):
        await rig.dex.commands.create(requests)
    assert rig.made("create_commands") == 1
    assert len(rig.sandbox.state.commands) == 0


async def test_create_loses_nothing_that_was_made_to_its_error(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(target_acceptance="partial"))
    requests = rig.requests(3)
    requests[1] = attrs.evolve(requests[1], device_id="00000000-0000-0000-0000-000000000000")
    with pytest.raises(AmbiguousCreateError, match="1 of 3 commands") as caught:
        await rig.dex.commands.create(requests)
    assert {command.id for command in caught.value.created} == set(rig.sandbox.state.commands)


async def test_what_is_left_of_a_refused_post_goes_before_what_comes_after_it(rig: Rig) -> None:
    await rig.start(60)
    requests = rig.requests(20)
    requests[0] = attrs.evolve(requests[0], device_id="00000000-0000-0000-0000-000000000000")

    def stop(event: object) -> None:
        if isinstance(event, RequestSent) and rig.made("create_commands") == 1:
            bulk.stop()

    bulk = rig.client(on_event=stop).commands.create_many(requests, concurrency=1)
    outcomes = (await bulk).outcomes
    assert [outcome.state for outcome in outcomes] == ["rejected"] + ["created"] * 9 + ["not_attempted"] * 10
    check_truth(rig, outcomes)


@pytest.mark.parametrize("acceptance", ["whole", "partial"])
@pytest.mark.parametrize("status", [400, 402, 403, 409, 422])
async def test_a_quota_that_others_use_is_survived(rig: Rig, status: int, acceptance: Any) -> None:
    behaviour = Behaviour.instant(quota_status=status, quota_acceptance=acceptance)
    await rig.start(60, quota=100, behaviour=behaviour)

    def take(_: object) -> bool:
        rig.sandbox.state.quota.usage = max(rig.sandbox.state.quota.usage, 76)
        return False

    rig.sandbox.faults.add(Fault.drop(), on="create_commands", where=take, skip=10**6)
    bulk = await rig.dex.commands.create_many(rig.requests(30), concurrency=1)
    assert tally(bulk) == {"created": 24, "not_attempted": 6}
    assert {outcome.reason for outcome in bulk.in_state("not_attempted")} == {"quota"}
    check_truth(rig, bulk.outcomes)


async def test_a_lost_answer_and_a_quota_that_is_used_up(rig: Rig) -> None:
    await rig.start(60, quota=30)
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)

    def take(_: object) -> bool:
        rig.sandbox.state.quota.usage = 30
        return False

    rig.sandbox.faults.add(Fault.drop(), on="create_commands", where=take, skip=10**6)
    bulk = await rig.dex.commands.create_many(rig.requests(20), concurrency=1)
    assert tally(bulk) == {"not_attempted": 20}
    assert all(isinstance(outcome.error, QuotaExceededError) for outcome in bulk.outcomes)
    # The second POST was refused; that the first one made nothing is no reason to try once more.
    assert rig.made("create_commands") == 2
    check_truth(rig, bulk.outcomes)


async def test_a_cancelled_bulk_tells_the_truth(rig: Rig) -> None:
    await rig.start(100, retry=RetryPolicy(attempt_seconds=60.0))
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    # Both workers end up with a POST that is done and never answered.
    rig.sandbox.faults.add(Fault.silence(processed=True), on="create_commands", skip=3, times=2)
    bulk = rig.dex.commands.create_many(rig.requests(80), concurrency=2)
    task = asyncio.ensure_future(bulk)
    while rig.made("create_commands") < 6:
        await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    outcomes = bulk.result.outcomes
    assert len(outcomes) == 80
    assert tally(bulk.result)["unknown"] >= 20
    assert tally(bulk.result)["not_attempted"] == 20
    assert {outcome.reason for outcome in outcomes if outcome.state == "not_attempted"} == {"cancelled"}
    check_truth(rig, outcomes)


async def test_a_cancellation_before_anything_was_sent_is_not_unknown(rig: Rig) -> None:
    class Hang(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(3600)

    await rig.start(60)
    dex = rig.client(clock=Hang())
    rig.sandbox.faults.add(Fault.error(503), on="get_quota", times=None)
    bulk = dex.commands.create_many(rig.requests(30))
    task = asyncio.ensure_future(bulk)
    while rig.made("get_quota") < 1:
        await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tally(bulk.result) == {"not_attempted": 30}


async def test_commands_without_a_registration_are_matched_by_device(rig: Rig) -> None:
    await rig.start()
    requests = [attrs.evolve(request, registration_id=None) for request in rig.requests(3)]
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    made = await rig.dex.commands.create(requests)
    assert [command.device_id for command in made] == [request.device_id for request in requests]
    assert rig.made("create_commands") == 1


async def test_another_kind_of_command_is_not_adopted(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    lost = asyncio.ensure_future(rig.dex.commands.create(rig.requests(1, Pcap())))
    await asyncio.sleep(0)
    for device in rig.sandbox.state.devices[:1]:
        rig.sandbox.state.create(NewCommand(device, "speed-test"))
    [made] = await lost
    assert made.type == "pcap"
    assert Counter(command.type for command in rig.sandbox.state.commands.values()) == {"pcap": 1, "speed-test": 1}


async def test_rows_without_dates_are_taken_by_the_word_of_the_filter(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(null_fields={"created_date"}))
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    assert len(await rig.dex.commands.create(rig.requests(3, SpeedTest()))) == 3
    assert rig.made("create_commands") == 1


async def test_a_storm_on_a_small_scale(rig: Rig) -> None:
    await rig.start(300, retry=QUICK, rate_limit=None)
    mix = [fault for fault in (*LOST, *NOT_PROCESSED, Fault.rate_limited(3)) if fault.kind != "silence"]
    rig.sandbox.faults.add_random(rate=0.3, mix=mix, seed=3, on="create_commands")
    rig.sandbox.faults.add_random(rate=0.2, mix=[Fault.error(503), Fault.drop()], seed=4, on="list_commands")
    bulk = await rig.dex.commands.create_many(rig.requests(280), concurrency=4)
    check_truth(rig, bulk.outcomes)
    assert tally(bulk).get("not_attempted", 0) == 0
    assert tally(bulk)["created"] + tally(bulk)["adopted"] >= 240


async def test_anothers_command_from_before_a_silent_answer_is_not_adopted(rig: Rig, clock: ManualClock) -> None:
    # Headers, then silence: the `Date` is of the headers, and the attempt ends much later.
    await rig.start(retry=QUICK)
    theirs = rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap"))
    clock.advance(20)
    rig.sandbox.faults.add(Fault.silence(headers=True), on="create_commands")

    async def pass_time() -> None:
        while rig.made("create_commands") < 1:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.03)
        clock.advance(30)

    passing = asyncio.ensure_future(pass_time())
    [made] = await rig.dex.commands.create(rig.requests(1))
    await passing
    assert made.id != theirs.id
    assert len(rig.sandbox.state.commands) == 2


async def test_a_look_that_began_before_the_list_is_to_be_believed_is_not(rig: Rig) -> None:
    # Looks begin at 0, 1, 3 and 7 s.  The last one shows nothing yet, and is answered when the settling time is over.
    await rig.start(behaviour=Behaviour.instant(list_lag=9.0), settle_seconds=10.0)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    slow = rig.sandbox.faults.add(Fault.slow(5.0), on="list_commands", skip=3, times=1)
    [made] = await rig.dex.commands.create(rig.requests(1))
    assert slow.hits == 1
    assert set(rig.sandbox.state.commands) == {made.id}


async def test_what_another_post_is_making_is_not_adopted(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.slow(0.2, processed=True, real_time=True), on="create_commands", times=1)
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    slow = asyncio.ensure_future(rig.dex.commands.create(rig.requests(1)))
    while not rig.sandbox.state.commands:
        await asyncio.sleep(0.001)
    lost = asyncio.ensure_future(rig.dex.commands.create(rig.requests(1)))
    [one], [other] = await asyncio.gather(slow, lost)
    assert one.id != other.id
    assert set(rig.sandbox.state.commands) == {one.id, other.id}
    # Nor is the list asked for what it can't tell.
    answered = next(n for n, event in enumerate(rig.events) if isinstance(event, CommandCreated))
    asked = [event for event in rig.events[:answered] if isinstance(event, RequestSent)]
    assert ("GET", "/dex/commands") not in [(event.method, event.path) for event in asked]


async def test_what_a_post_makes_that_began_during_a_look_is_not_adopted(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    rig.sandbox.faults.add(Fault.slow(0.6, processed=True, real_time=True), on="create_commands", times=1)
    # The list is read only when the second POST has made its command, and answered before that is.
    rig.sandbox.faults.add(Fault.slow(0.3, processed=False, real_time=True), on="list_commands", times=1)
    lost = asyncio.ensure_future(rig.dex.commands.create(rig.requests(1)))
    while rig.made("list_commands") < 1:
        await asyncio.sleep(0.001)
    [one] = await rig.dex.commands.create(rig.requests(1))
    assert set(rig.sandbox.state.commands) == {one.id}
    assert not [event for event in rig.events if isinstance(event, CommandAdopted)]
    [other] = await lost
    assert set(rig.sandbox.state.commands) == {one.id, other.id}


async def test_what_a_post_made_that_got_lost_during_a_look_is_not_adopted(rig: Rig, clock: ManualClock) -> None:
    # The list is read only when the second POST has made its command: long after the first, which has made one as well.
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    rig.sandbox.faults.add(Fault.slow(0.3, processed=False, real_time=True), on="list_commands", times=1)
    lost = asyncio.ensure_future(rig.dex.commands.create(rig.requests(1)))
    while rig.made("list_commands") < 1:
        await asyncio.sleep(0.001)
    clock.advance(20.0)
    [later] = await rig.dex.commands.create(rig.requests(1))
    [earlier] = await lost
    assert [earlier.id, later.id] == list(rig.sandbox.state.commands)


async def test_anothers_command_from_before_a_post_that_had_to_wait_is_not_adopted(
    rig: Rig, clock: ManualClock
) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.rate_limited(60), on="create_commands", times=1)
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    bulk = asyncio.ensure_future(rig.dex.commands.create_many(rig.requests(1)))
    await clock.sleep(30)
    theirs = rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap"))
    [made] = (await bulk).commands
    assert made.id != theirs.id
    assert set(rig.sandbox.state.commands) == {made.id, theirs.id}


async def test_a_late_row_of_the_first_post_is_found_after_the_second(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(list_lag=25.0), settle_seconds=20.0)
    rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    rig.sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    [made] = await rig.dex.commands.create(rig.requests(1))
    assert set(rig.sandbox.state.commands) == {made.id}


async def test_fewer_rows_say_so(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(list_lag=3600.0))
    rig.sandbox.faults.add(Fault.rows("partial"), on="create_commands", times=None)
    bulk = await rig.dex.commands.create_many(rig.requests(1))
    assert "fewer rows than the request has commands" in str(bulk.outcomes[0].error)


async def test_create_tells_what_is_known_of_each_request(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(list_lag=3600.0))
    rig.sandbox.faults.add(Fault.rows("partial"), on="create_commands", times=None)
    with pytest.raises(AmbiguousCreateError) as caught:
        await rig.dex.commands.create(rig.requests(4))
    # Two of four are told, one of the two that are sent again, and none of the one... which is then unknown.
    assert [outcome.state for outcome in caught.value.outcomes] == ["created", "created", "created", "unknown"]


async def test_a_bulk_is_taken_by_create_task(rig: Rig) -> None:
    await rig.start(60)
    result = await asyncio.create_task(rig.dex.commands.create_many(rig.requests(30)))
    assert tally(result) == {"created": 30}
    bulk = rig.dex.commands.create_many(rig.requests(20, SpeedTest()))
    rig.sandbox.faults.add(Fault.silence(), on="create_commands")
    task = asyncio.create_task(bulk)
    while rig.made("create_commands") < 5 or sum(isinstance(event, CommandCreated) for event in rig.events) < 40:
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tally(bulk.result) == {"created": 10, "unknown": 10}
    with pytest.raises(RuntimeError, match="its `result` has"):
        await bulk
    bulk.close()


async def test_a_bulk_that_was_never_awaited_is_closed_quietly(rig: Rig) -> None:
    await rig.start()
    rig.dex.commands.create_many(rig.requests(3)).close()
    assert rig.sandbox.requests == []


@pytest.mark.parametrize("skew", [-300.0, 300.0])
async def test_the_quotas_reset_is_by_the_services_clock(rig: Rig, clock: ManualClock, skew: float) -> None:
    await rig.start(60, quota=10, behaviour=Behaviour.instant(clock_skew=skew))
    bulk = await rig.dex.commands.create_many(rig.requests(20), on_quota="wait")
    assert tally(bulk) == {"created": 20}
    assert rig.made("get_quota") <= 4
    assert clock.monotonic() == pytest.approx(12 * 3600 - skew, abs=5)


@pytest.mark.parametrize("is_lost", [False, True])
async def test_ids_in_other_letters_than_the_service_lists_double_nothing(rig: Rig, is_lost: bool) -> None:
    await rig.start()
    requests = [in_capitals(one) for one in rig.requests(12)]
    async with Service(of_uuids(rig, lose=is_lost)) as service:
        dex = rig.client(base_url=f"{service.origin}/client/v4")
        bulk = await dex.commands.create_many(requests)
        await dex.close()
    assert tally(bulk) == {"adopted" if is_lost else "created": 12}
    assert [outcome.request for outcome in bulk.outcomes] == requests
    assert len(rig.sandbox.state.commands) == 12


@pytest.mark.parametrize(
    ("lost", "others"), [(60.0, 0.0), (3.0, 3.0)], ids=["a wrong clock", "one that is a bit ahead"]
)
async def test_a_lost_answer_with_a_wrong_date_doubles_nothing(
    rig: Rig, clock: ManualClock, lost: float, others: float
) -> None:
    # Something on the way answers for the service, with a clock of its own.
    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        _, body = await passed_on(rig, request)
        ahead = timedelta(seconds=lost if request.method == "POST" else others)
        headers = {"Date": format_datetime(clock.now() + ahead, usegmt=True)}
        if request.method == "POST":
            return web.Response(status=502, text="<html>", headers=headers)
        return web.Response(body=body, headers=headers)

    await rig.start()
    async with Service(forward) as service:
        dex = rig.client(base_url=f"{service.origin}/client/v4")
        bulk = await dex.commands.create_many(rig.requests(2))
        await dex.close()
    assert tally(bulk) == {"adopted": 2}
    assert rig.made("create_commands") == 1


async def test_a_quota_refusal_that_says_when_to_come_back_is_one_all_the_same(rig: Rig) -> None:
    await rig.start(quota=100)

    def take(_: object) -> bool:
        rig.sandbox.state.quota.usage = 100
        return True

    rig.sandbox.faults.add(Fault.rate_limited(20), on="create_commands", where=take, times=None)
    bulk = await rig.dex.commands.create_many(rig.requests(3))
    assert {outcome.reason for outcome in bulk.outcomes} == {"quota"}


async def test_a_cancellation_during_a_refusals_wait_is_not_unknown(rig: Rig) -> None:
    class Hang(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(3600)

    await rig.start()
    dex = rig.client(clock=Hang())
    rig.sandbox.faults.add(Fault.rate_limited(300), on="create_commands")
    bulk = dex.commands.create_many(rig.requests(3))
    task = asyncio.create_task(bulk)
    while not any(isinstance(event, Retrying) for event in rig.events):
        await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tally(bulk.result) == {"not_attempted": 3}


async def test_a_connection_that_never_came_about_is_no_lost_answer(rig: Rig, tmp_path: Path) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        await rig.start(session=session, artifact_size=4_000_000, retry=RetryPolicy(attempts=2, attempt_seconds=0.8))
        [made] = await rig.dex.commands.create(rig.requests(1))
        async with rig.dex.downloads.open(made) as artifact:
            await anext(artifact)
            bulk = await rig.dex.commands.create_many(rig.requests(2, SpeedTest()))
        assert tally(bulk) == {"not_attempted": 2}
        assert rig.made("create_commands") == 1
        await rig.dex.close()


async def test_a_bulk_that_has_ended_can_be_run_again_for_its_outcomes(rig: Rig) -> None:
    await rig.start()
    bulk = rig.dex.commands.create_many(rig.requests(3))
    first = await asyncio.create_task(bulk)
    assert await asyncio.create_task(bulk) == first == await asyncio.wait_for(bulk, 5) == await bulk
    assert len(rig.sandbox.state.commands) == 3
