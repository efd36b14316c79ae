"""Lists, quota, creating and following, against the sandbox."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import attrs
import pytest

from dexcmd import (
    BadRequestError,
    Command,
    CommandRequest,
    Pcap,
    QuotaExceededError,
    RateLimitError,
    ResponseDecodeError,
    RetryPolicy,
    SpeedTest,
    WaitTimeoutError,
    WarpDiag,
)
from dexcmd.clock import ManualClock
from dexcmd.events import CommandCreated, CommandFinished, RequestFinished, RequestSent
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.sandbox.state import NewCommand
from tests.conftest import Rig

pytestmark = pytest.mark.anyio


def fill(rig: Rig, count: int) -> list[str]:
    """Let the service have `count` commands, and return their ids."""
    device = rig.sandbox.state.devices[0]
    return [rig.sandbox.state.create(NewCommand(device, "speed-test")).id for _ in range(count)]


async def test_quota(rig: Rig) -> None:
    await rig.start(quota=100)
    fill(rig, 30)
    quota = await rig.dex.quota.get()
    assert (quota.quota, quota.quota_usage, quota.remaining) == (100, 30, 70)
    assert quota.reset_time == datetime(2026, 1, 2, tzinfo=UTC)


async def test_devices_come_row_by_row_page_by_page_and_as_a_list(rig: Rig) -> None:
    await rig.start(120)
    rows = [device async for device in rig.dex.devices.list()]
    pages = [len(page) async for page in rig.dex.devices.list().pages()]
    assert rows == await rig.dex.devices.list()
    assert pages == [50, 50, 20]
    assert [row.registration_id for row in rows] == [row.registration_id for row in rig.sandbox.state.devices]
    first = rig.sandbox.state.devices[0]
    assert (rows[0].device_name, rows[0].person_email, rows[0].platform) == (
        first.name,
        first.user_email,
        first.platform,
    )
    assert len({row.device_id for row in rows}) < len(rows), "a shared device has several rows"
    assert {request.query["per_page"] for request in rig.sandbox.requests} == {"50"}


async def test_devices_are_searched_by_the_service(rig: Rig) -> None:
    await rig.start(60)
    name = rig.sandbox.state.devices[7].name
    [device] = await rig.dex.devices.list(search=name)
    assert device.device_name == name
    assert rig.sandbox.requests[0].query["search"] == name


async def test_an_iteration_that_is_left_early_fetches_no_more(rig: Rig) -> None:
    await rig.start(200)
    async for device in rig.dex.devices.list():
        assert device.device_id == rig.sandbox.state.devices[0].device_id
        break
    assert rig.made("list_devices") == 1


def batches(rig: Rig) -> list[int]:
    """Return how many requests were made each time before nothing was on its way any more."""
    sizes, sent, under_way = list[int](), 0, 0
    for event in rig.events:
        sent += isinstance(event, RequestSent)
        under_way += isinstance(event, RequestSent) - isinstance(event, RequestFinished)
        if not under_way:
            sizes.append(sent)
            sent = 0
    return sizes


async def test_pages_are_asked_for_at_once_as_far_as_they_are_there(rig: Rig) -> None:
    await rig.start(980)
    walk = rig.dex.devices.list().pages()
    assert [len(page) async for page in walk] == [*[50] * 19, 30]
    assert walk.fetched == 20
    assert batches(rig) == [1, 2, 4, 8, 5]
    assert sorted(int(request.query["page"]) for request in rig.sandbox.requests) == list(range(1, 21))


async def test_a_walk_that_is_left_has_asked_for_less_than_twice_what_was_used(rig: Rig) -> None:
    await rig.start(980)
    used = 0
    async for _ in rig.dex.devices.list():
        used += 1
        if used > 3 * 50:
            break
    assert batches(rig) == [1, 2, 4]


async def test_the_rows_before_a_page_that_fails_come_and_it_can_be_asked_for_again(rig: Rig) -> None:
    await rig.start(280)
    refusal = Fault.error(400, message="no such page")
    rig.sandbox.faults.add(refusal, on="list_devices", where=lambda request: request.query["page"] == "3")
    rows = aiter(rig.dex.devices.list())
    seen = [await anext(rows) for _ in range(100)]
    with pytest.raises(BadRequestError, match="no such page"):
        await anext(rows)
    seen += [row async for row in rows]
    assert [row.registration_id for row in seen] == [row.registration_id for row in rig.sandbox.state.devices]
    # Pages 1, 2 and 3, 3 on its own, 4 and 5, 6.
    assert batches(rig) == [1, 2, 1, 2, 1]


async def test_a_walk_goes_on_with_the_page_that_failed_although_those_behind_it_came(rig: Rig) -> None:
    await rig.start(280)
    refusal = Fault.error(400, message="no such page")
    rig.sandbox.faults.add(refusal, on="list_devices", where=lambda request: request.query["page"] == "2")
    rows = aiter(rig.dex.devices.list())
    seen = [await anext(rows) for _ in range(50)]
    with pytest.raises(BadRequestError, match="no such page"):
        await anext(rows)
    seen += [row async for row in rows]
    assert [row.registration_id for row in seen] == [row.registration_id for row in rig.sandbox.state.devices]


async def test_a_walk_that_is_cancelled_leaves_no_request_on_its_way(rig: Rig) -> None:
    await rig.start(280)
    walk = rig.dex.devices.list().pages()
    seen = await anext(walk)
    silence = rig.sandbox.faults.add(Fault.silence(), on="list_devices", times=2)
    task = asyncio.ensure_future(anext(walk))
    while silence.hits < 2:
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # What was on its way has ended with it, and the walk goes on where it stood.
    assert batches(rig) == [1, 2]
    async for page in walk:
        seen += page
    assert len(seen) == 280


async def test_a_list_can_be_iterated_twice(rig: Rig) -> None:
    await rig.start()
    listing = rig.dex.devices.list()
    assert [row async for row in listing] == [row async for row in listing]


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 149])
@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.instant(),
        Behaviour.instant(result_info="missing"),
        Behaviour.instant(result_info="wrong"),
        Behaviour.instant(result_info="without-total-pages"),
        Behaviour.instant(repeat_last_page=True),
        Behaviour.instant(repeat_last_page=True, result_info="missing"),
        Behaviour.instant(repeat_last_page=True, result_info="wrong"),
        Behaviour.instant(total_count_ignores_filters=False),
    ],
    ids=lambda value: f"{value.result_info}{'-repeating' if value.repeat_last_page else ''}",
)
async def test_a_walk_gives_every_row_once_and_ends(rig: Rig, behaviour: Behaviour, count: int) -> None:
    await rig.start(behaviour=behaviour)
    ids = fill(rig, count)
    rows = await rig.dex.commands.list()
    assert sorted(row.id or "" for row in rows) == sorted(ids)
    # One page more than the rows fill tells the end where nothing else does, two where the last one repeats.
    assert rig.made("list_commands") <= count // 50 + 3


async def test_a_walk_is_as_short_as_the_numbers_allow(rig: Rig) -> None:
    await rig.start()
    fill(rig, 120)
    await rig.dex.commands.list()
    assert rig.made("list_commands") == 3


async def test_rows_made_during_a_walk_move_nothing(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    ids = fill(rig, 120)
    clock.advance(5)
    walk = rig.dex.commands.list().pages()
    seen = [row.id for row in await anext(walk)]
    clock.advance(5)
    fill(rig, 70)
    async for page in walk:
        seen += [row.id for row in page]
    assert sorted(seen) == sorted(ids)
    first, *later = (request.query for request in rig.sandbox.requests)
    # The first page's own time, by the service's clock, and a second for the fraction that `Date` has not.
    assert "to" not in first
    assert {query["to"] for query in later} == {"2026-01-01T12:00:06Z"}


async def test_a_callers_own_bounds_are_kept(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    old = fill(rig, 60)
    clock.advance(100)
    fill(rig, 5)
    until = clock.now() - timedelta(seconds=50)
    rows = await rig.dex.commands.list(since=until - timedelta(days=1), until=until)
    assert sorted(row.id or "" for row in rows) == sorted(old)
    assert {request.query["to"] for request in rig.sandbox.requests} == {"2026-01-01T12:00:50Z"}
    assert {request.query["from"] for request in rig.sandbox.requests} == {"2025-12-31T12:00:50Z"}


async def test_devices_that_move_between_pages_come_once(rig: Rig) -> None:
    # This list has no bound: a device that connects during the walk pushes the others on.
    await rig.start(75)
    walk = rig.dex.devices.list().pages()
    seen = [row.registration_id for row in await anext(walk)]
    rows = rig.sandbox.state.devices
    rig.sandbox.state.devices = (attrs.evolve(rows[0], device_id="new", registration_id="new"), *rows)
    async for page in walk:
        seen += [row.registration_id for row in page]
    assert len(seen) == len(set(seen))
    assert set(seen) >= {row.registration_id for row in rows}


async def test_commands_are_filtered_by_the_service(rig: Rig) -> None:
    await rig.start()
    made = await rig.dex.commands.create([*rig.requests(3), *rig.requests(2, WarpDiag())])
    diags = await rig.dex.commands.list(
        command_type="warp-diag",
        status="SUCCESS",
        device_id=made[3].device_id,
        user_email=rig.sandbox.state.devices[0].user_email,
    )
    assert [row.id for row in diags] == [made[3].id]


async def test_a_row_of_the_list_is_whole(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    [made] = await rig.dex.commands.create(rig.requests(1, Pcap(time_limit_min=2)))
    [row] = await rig.dex.commands.list()
    device = rig.sandbox.state.devices[0]
    assert row == Command(
        id=made.id,
        type="pcap",
        status="SUCCESS",
        device_id=device.device_id,
        registration_id=device.registration_id,
        user_email=device.user_email,
        created_date=clock.now(),
        completed_date=clock.now(),
        filename=f"{made.id}.zip",
    )
    assert made.args == {"time-limit-min": "2"}
    assert row.ended
    assert row.succeeded


@pytest.mark.parametrize("fields", [{"null_fields"}, {"omit_fields"}])
async def test_rows_without_any_value_are_survived(rig: Rig, fields: set[str]) -> None:
    names = {"type", "status", "device_id", "registration_id", "user_email", "created_date", "completed_date"}
    await rig.start(behaviour=Behaviour.instant(unknown_fields=True, **dict.fromkeys(fields, names)))
    [command_id] = fill(rig, 1)
    [row] = await rig.dex.commands.list()
    assert row == Command(id=command_id, filename=f"{command_id}.zip")


async def test_a_wrong_type_is_told_with_its_path(rig: Rig) -> None:
    await rig.start()
    fill(rig, 5)
    rig.sandbox.faults.add(Fault.wrong_types("result.commands.3.created_date", "yesterday"), on="list_commands")
    with pytest.raises(ResponseDecodeError) as caught:
        await rig.dex.commands.list()
    assert caught.value.path == "$.result.commands[3].created_date"
    assert "'yesterday'" in str(caught.value)


@pytest.mark.parametrize("args", [Pcap(), WarpDiag(test_all_routes=False), SpeedTest(interfaces=["default"])])
async def test_every_kind_of_command_is_created(rig: Rig, args: Pcap | WarpDiag | SpeedTest) -> None:
    await rig.start()
    made = await rig.dex.commands.create(rig.requests(3, args))
    assert [command.id for command in made] == list(rig.sandbox.state.commands)
    assert {command.type for command in made} == {args.type}
    assert [event.command_id for event in rig.events if isinstance(event, CommandCreated)] == [c.id for c in made]


async def test_created_commands_come_in_the_order_of_the_requests(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(create_rows=("reordered", "duplicated", "foreign")))
    requests = rig.requests(7)
    made = await rig.dex.commands.create(requests)
    assert [command.device_id for command in made] == [request.device_id for request in requests]
    assert {command.id for command in made} == set(rig.sandbox.state.commands)


async def test_registrations_of_one_device_are_told_apart(rig: Rig) -> None:
    await rig.start(60)
    shared = [
        device
        for device in rig.sandbox.state.devices
        if len(rig.sandbox.state.registrations(device.device_id)) == 2 and device.eligible
    ][:2]
    assert shared[0].device_id == shared[1].device_id
    rig.sandbox.faults.add(Fault.rows("reordered"), on="create_commands")
    made = await rig.dex.commands.create(
        CommandRequest(
            device_id=device.device_id,
            registration_id=device.registration_id,
            user_email=device.user_email,
            args=SpeedTest(),
        )
        for device in shared
    )
    assert [command.registration_id for command in made] == [device.registration_id for device in shared]


@pytest.mark.parametrize("status", [400, 403, 409, 422])
async def test_a_refusal_for_quota_is_told_whatever_its_status(rig: Rig, status: int) -> None:
    await rig.start(behaviour=Behaviour.instant(quota_status=status), quota=2)
    with pytest.raises(QuotaExceededError) as caught:
        await rig.dex.commands.create(rig.requests(3))
    assert caught.value.status == status
    assert len(rig.sandbox.state.commands) == 0


async def test_a_command_is_followed_to_its_end(rig: Rig, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour())
    [made] = await rig.dex.commands.create(rig.requests(1))
    ended = await rig.dex.commands.wait(made)
    assert (ended.id, ended.status, ended.filename) == (made.id, "SUCCESS", f"{made.id}.zip")
    assert 4.0 <= clock.monotonic() <= 60.0
    assert [event.status for event in rig.events if isinstance(event, CommandFinished)] == ["SUCCESS"]


async def test_a_failed_command_is_an_end_too(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour(failure_rate=1.0))
    [made] = await rig.dex.commands.create(rig.requests(1))
    assert (await rig.dex.commands.wait(made.id or "")).status == "FAILED"


async def test_commands_are_given_once_as_they_end_with_one_shared_poll(rig: Rig) -> None:
    await rig.start(150, behaviour=Behaviour(run_seconds=(1.0, 200.0)))
    requests = rig.requests(100)
    bulk = await rig.dex.commands.create_many(requests)
    polls_before = rig.made("list_commands")
    async with rig.dex.commands.follow(bulk.commands) as ended:
        seen = [command async for command in ended]
    assert sorted(c.id or "" for c in seen) == sorted(rig.sandbox.state.commands)
    completed = [command.completed_date for command in seen]
    assert completed[0] is not None
    assert completed[-1] is not None
    assert completed[0] < completed[-1]
    # Pages, not commands: two pages hold them all, and a poll of two pages comes every 2 s at the most.
    assert rig.made("list_commands") - polls_before <= 2 * 220 / 2


async def test_polls_come_more_rarely_while_nothing_changes(rig: Rig, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(300.0, 300.0)))
    [made] = await rig.dex.commands.create(rig.requests(1))
    await rig.dex.commands.wait(made, poll_interval=2.0)
    waits = clock.slept
    assert waits[:6] == [2.0, 3.0, 4.5, 6.75, 10.0, 10.0]
    assert rig.made("list_commands") <= 300 / 10 + 8


async def test_polling_leaves_most_of_the_rate_limit_to_others(rig: Rig, clock: ManualClock) -> None:
    await rig.start(300, behaviour=Behaviour(run_seconds=(500.0, 500.0)))
    bulk = await rig.dex.commands.create_many(rig.requests(280))
    made, start = rig.made("list_commands"), clock.monotonic()
    async with rig.dex.commands.follow(bulk.commands) as ended:
        assert len([command async for command in ended]) == 280
    share = (rig.made("list_commands") - made) / ((clock.monotonic() - start) * 1200 / 300)
    assert share <= 0.26


async def test_the_end_of_the_time_names_what_is_pending(rig: Rig, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(1.0, 1.0)))
    [quick] = await rig.dex.commands.create(rig.requests(1))
    rig.sandbox.behaviour = Behaviour(run_seconds=(5000.0, 5000.0))
    [slow] = await rig.dex.commands.create(rig.requests(2)[1:])
    start = clock.monotonic()
    seen = []
    async with rig.dex.commands.follow([quick, slow], timeout=60) as ended:
        with pytest.raises(WaitTimeoutError) as caught:
            async for command in ended:
                seen.append(command.id)
    assert seen == [quick.id]
    assert caught.value.pending == (slow.id,)
    assert clock.monotonic() - start == pytest.approx(60.0)


async def test_the_end_of_the_time_names_what_the_list_never_showed(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(5000.0, 5000.0)))
    made = await rig.dex.commands.create(rig.requests(2))
    with pytest.raises(WaitTimeoutError, match=r"^1 command has not ended after 60 s; x was never in the list$") as one:
        await rig.dex.commands.wait("x", timeout=60)
    assert one.value.unlisted == one.value.pending == ("x",)
    ids = [f"x{number}" for number in range(7)]
    assert one.value.last_seen == ()
    seen = "last seen: 2 in PENDING_EXEC"
    message = f"9 commands have not ended after 60 s; {seen}; x0, x1, x2, x3, x4 and 2 more were never in the list"
    async with rig.dex.commands.follow([*made, *ids], timeout=60) as ended:
        with pytest.raises(WaitTimeoutError, match=f"^{message}$") as all_of_them:
            await anext(ended)
    assert all_of_them.value.unlisted == tuple(ids)
    assert [command.id for command in all_of_them.value.last_seen] == [command.id for command in made]
    message = "1 command has not ended after 60 s; last seen: 1 in PENDING_EXEC"
    with pytest.raises(WaitTimeoutError, match=f"^{message}$") as listed:
        await rig.dex.commands.wait(made[0], timeout=60)
    assert listed.value.unlisted == ()
    [seen_last] = listed.value.last_seen
    assert (seen_last.id, seen_last.status) == (made[0].id, "PENDING_EXEC")


async def test_the_end_of_the_time_counts_what_was_seen_last_by_status(rig: Rig, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(1.0, 1.0), upload_seconds=(5000.0, 5000.0)))
    made = await rig.dex.commands.create(rig.requests(2))
    await clock.sleep(30.0)
    rig.sandbox.behaviour = Behaviour(run_seconds=(5000.0, 5000.0))
    made += await rig.dex.commands.create(rig.requests(3)[2:])
    async with rig.dex.commands.follow(made, timeout=60) as ended:
        with pytest.raises(WaitTimeoutError, match=r"; last seen: 1 in PENDING_EXEC, 2 in PENDING_UPLOAD$"):
            await anext(ended)


async def test_no_request_of_a_short_wait_is_tried_for_minutes(rig: Rig, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(5000.0, 5000.0)))
    [made] = await rig.dex.commands.create(rig.requests(1))
    start = clock.monotonic()
    rig.sandbox.faults.add(Fault.rate_limited(retry_after=90), on="list_commands")
    with pytest.raises(RateLimitError):
        await rig.dex.commands.wait(made, timeout=60)
    assert clock.monotonic() == start
    # What fits is waited for.
    with pytest.raises(WaitTimeoutError):
        await rig.dex.commands.wait(made, timeout=100)
    assert clock.monotonic() - start == pytest.approx(100.0)


async def test_a_wait_of_no_time_looks_once(rig: Rig) -> None:
    await rig.start()
    [made] = await rig.dex.commands.create(rig.requests(1))
    rig.sandbox.faults.add(Fault.error(503), on="list_commands")
    assert (await rig.dex.commands.wait(made, timeout=0.001)).succeeded


async def test_a_new_command_is_found_where_its_date_is_of_another_clock(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    # What answers need not have quite the time of what notes creations, which may lie some seconds before it.
    ahead = format_datetime(clock.now() + timedelta(seconds=4), usegmt=True)
    rig.sandbox.faults.add(Fault.headers({"Date": ahead}), on="create_commands")
    [made] = await rig.dex.commands.create(rig.requests(1))
    assert (await rig.dex.commands.wait(made, timeout=60)).succeeded


async def test_a_command_that_the_list_shows_late_is_followed(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour(list_lag=30.0))
    [made] = await rig.dex.commands.create(rig.requests(1))
    assert (await rig.dex.commands.wait(made)).succeeded


async def test_an_id_from_elsewhere_is_looked_for_once_in_all_of_the_list(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    fill(rig, 200)
    clock.advance(3600)
    other = rig.client()
    async with other.commands.follow(["11111111-2222-3333-4444-555555555555"], timeout=30) as ended:
        with pytest.raises(WaitTimeoutError):
            await anext(ended)
    # The whole walk is 5 pages; after that it can only be a new command, so the rest are short looks.
    assert rig.made("list_commands") - 5 <= 12


async def test_following_nothing_ends_at_once(rig: Rig) -> None:
    await rig.start()
    async with rig.dex.commands.follow([]) as ended:
        assert [command async for command in ended] == []
    assert rig.sandbox.requests == []


async def test_following_can_be_left_early(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(1.0, 100.0)))
    bulk = await rig.dex.commands.create_many(rig.requests(12))
    async with rig.dex.commands.follow(bulk.commands) as ended:
        async for _ in ended:
            break
    polls = rig.made("list_commands")
    await asyncio.sleep(0.02)
    assert rig.made("list_commands") == polls


async def test_a_status_that_nobody_knows_is_not_an_end(rig: Rig) -> None:
    await rig.start()
    [made] = await rig.dex.commands.create(rig.requests(1))
    rig.sandbox.faults.add(Fault.wrong_types("result.commands.0.status", "PAUSED"), on="list_commands", times=2)
    ended = await rig.dex.commands.wait(made)
    assert ended.status == "SUCCESS"
    assert rig.made("list_commands") == 3


async def test_a_page_that_fails_loses_no_command_that_has_ended(rig: Rig) -> None:
    await rig.start(100, retry=RetryPolicy(attempts=1))
    bulk = await rig.dex.commands.create_many(rig.requests(70))
    rig.sandbox.faults.add(Fault.error(400), on="list_commands", where=lambda request: request.query["page"] == "2")
    async with rig.dex.commands.follow(bulk.commands) as ended:
        seen = [command async for command in ended]
    assert len({command.id for command in seen}) == 70


async def test_a_busy_iterator_is_not_told_that_time_is_over(rig: Rig, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(1.0, 300.0)))
    bulk = await rig.dex.commands.create_many(rig.requests(10))
    async with rig.dex.commands.follow(bulk.commands, timeout=400) as ended:
        seen = []
        async for command in ended:
            seen.append(command.id)
            clock.advance(500)
    assert len(seen) == 10


async def test_following_without_a_block_is_told(rig: Rig) -> None:
    await rig.start()
    with pytest.raises(RuntimeError, match="enter it with `async with`"):
        await anext(rig.dex.commands.follow(["id"]))


async def test_a_list_without_rows_may_have_a_null_result(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(null_when_empty=True))
    assert await rig.dex.devices.list(search="nobody") == []
    assert await rig.dex.commands.list() == []
    rig.sandbox.faults.add(Fault.drop(), on="create_commands")
    assert len(await rig.dex.commands.create(rig.requests(2))) == 2


async def test_a_bad_target_is_not_called_a_used_up_quota(rig: Rig) -> None:
    await rig.start(quota=2)
    requests = rig.requests(3)
    requests[0] = attrs.evolve(requests[0], device_id="00000000-0000-0000-0000-000000000000")
    with pytest.raises(BadRequestError):
        await rig.dex.commands.create(requests)
