"""When campaigns do what, by a clock on which work takes no time: nothing while they wait for the quota, nothing of an
account later because of what becomes of others, no more of an account at a time than it may, polls within their share.
"""

import itertools
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from dexcmd import RateLimit
from dexcmd.campaign.events import AccountStopped, ArtifactSaved, IntentClosed, QuotaWaited, TargetDropped
from dexcmd.campaign.spec import Pace, Retries
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from dexcmd.sandbox.requestlog import Operation
from tests.campaign.conftest import HEALTHY, SWIFT, CampaignRig
from tests.campaign.still.conftest import EPOCH

pytestmark = pytest.mark.anyio

GOOD = 46
NO_LATER = 1.05
"""Times as long as without the others, at most."""


@pytest.fixture
async def rigs(clock: Any) -> AsyncIterator[Callable[[], Awaitable[CampaignRig]]]:
    """Make rigs, as many as are wanted."""
    async with AsyncExitStack() as stack:

        async def rig() -> CampaignRig:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=SWIFT))
            rig = CampaignRig(Path(folder), clock, await stack.enter_async_context(AsyncExitStack()))
            # Here it is no person's time.
            rig.control_interval = 60.0
            return rig

        yield rig


TROUBLES = {
    "refused": Fault.error(403, form="envelope", code=10000),
    "broken": Fault.error(503),
    "silent": Fault.silence(headers=False),
    "slow": Fault.slow(15.0),
}
"""What becomes of each request of an account."""

DEVICES = 3


async def seconds_of(rig: CampaignRig, troubles: Mapping[str, Fault]) -> dict[str, float]:
    """Run a campaign of accounts, the first ones in trouble, and return how long each took from its planning on."""
    for name, fault in troubles.items():
        sandbox = await rig.account(name, devices=DEVICES, behaviour=Behaviour(**HEALTHY), seed=name)
        sandbox.faults.add(fault, times=None)
    for number in range(GOOD):
        await rig.account(f"good-{number}", devices=DEVICES, behaviour=Behaviour(**HEALTHY), seed=number)
    started = rig.clock.now()
    status = await rig.run(rig.spec())
    assert status.count("saved") == DEVICES * (GOOD + ("slow" in troubles))
    return {event.account: (event.at - started).total_seconds() for event in rig.of(AccountStopped)}


async def test_of_50_accounts_those_that_fail_and_one_that_is_slow_hold_up_no_other(
    rigs: Callable[[], Awaitable[CampaignRig]],
) -> None:
    took = await seconds_of(await rigs(), TROUBLES)
    took_alone = await seconds_of(await rigs(), {})
    assert len(took) == 50
    assert took.keys() - took_alone.keys() == TROUBLES.keys()
    # It is slow, and it takes a while until it is given up.
    assert min(took["slow"], took["silent"]) > 2 * max(took_alone.values())
    # What may pass is waited out for an hour, and what does not is told at once.
    assert 3600 <= min(took["broken"], took["silent"]) <= max(took["broken"], took["silent"]) < 4200
    assert took["refused"] < 10
    late = {name: (took[name], seconds) for name, seconds in took_alone.items() if took[name] > NO_LATER * seconds}
    assert not late


async def test_no_request_is_made_while_the_quota_is_waited_for(
    rigs: Callable[[], Awaitable[CampaignRig]],
) -> None:
    rig = await rigs()
    sandbox = await rig.account(devices=60, quota=22, behaviour=Behaviour(**HEALTHY))
    status = await rig.run(rig.spec(leave_quota=2))
    assert status.count("saved") == 60
    days = Counter(command.created.date() for command in sandbox.state.commands.values())
    assert list(days.values()) == [20, 20, 20]
    waits = rig.of(QuotaWaited)
    assert len(waits) == 2
    saved = [event.at for event in rig.of(ArtifactSaved)]
    arrived = [EPOCH + timedelta(seconds=request.at) for request in sandbox.requests]
    for wait in waits:
        # What has been created before is still followed and fetched.
        done = max(at for at in saved if at < wait.until)
        assert wait.until - done > timedelta(hours=11)
        assert not [at for at in arrived if done < at < wait.until]
    # A quota for the plan, one for the run, one after each reset, and full POSTs only.
    assert rig.asked("get_quota") == 4
    assert rig.asked("create_commands") == 6
    assert rig.asked("download") == 60


DEADLINE = timedelta(hours=2)


async def test_what_waits_for_the_quota_is_given_up_at_the_deadline(
    rigs: Callable[[], Awaitable[CampaignRig]],
) -> None:
    rig = await rigs()
    await rig.account(devices=25, quota=10, behaviour=Behaviour(**HEALTHY))
    status = await rig.run(rig.spec(deadline=DEADLINE))
    assert (status.state, status.count("saved"), status.count("not_attempted")) == ("finished", 10, 15)
    [wait] = rig.of(QuotaWaited)
    assert wait.until - EPOCH > timedelta(hours=11)
    late = [event.at - EPOCH - DEADLINE for event in rig.of(TargetDropped)]
    assert timedelta(0) <= min(late) <= max(late) < timedelta(seconds=1)
    [stopped] = rig.of(AccountStopped)
    assert stopped.at - EPOCH < DEADLINE + timedelta(minutes=15)


@pytest.mark.parametrize("ends", ["deadline", "cancelled"])
async def test_what_runs_when_creating_ends_goes_on_and_is_not_tried_again(
    rigs: Callable[[], Awaitable[CampaignRig]], ends: str
) -> None:
    rig = await rigs()
    await rig.account(devices=25, quota=10, behaviour=Behaviour(**HEALTHY, run_seconds=(1e6, 1e6)))
    pace, retries = Pace(timeout=timedelta(hours=3)), Retries(timeout=1)
    spec = rig.spec(deadline=DEADLINE if ends == "deadline" else None, pace=pace, retries=retries)
    async with rig.campaign(spec) as campaign, anyio.create_task_group() as group:

        async def cancel() -> None:
            await rig.clock.sleep(DEADLINE.total_seconds())
            if ends == "cancelled":
                await campaign.cancel()

        group.start_soon(cancel)
        status = await campaign.run(on_event=rig.events.append)
    assert (status.count("failed"), status.count("not_attempted")) == (10, 15)
    dropped = rig.of(TargetDropped)
    assert {event.reason for event in dropped} == {ends}
    # All else is told as soon as that is known, not when what runs has ended.
    late = [event.at - EPOCH - DEADLINE for event in dropped]
    assert timedelta(0) <= min(late) <= max(late) <= timedelta(seconds=rig.control_interval)


async def test_what_waits_to_be_tried_again_is_given_up_at_the_deadline(
    rigs: Callable[[], Awaitable[CampaignRig]],
) -> None:
    rig = await rigs()
    await rig.account(devices=2, behaviour=Behaviour(**HEALTHY, failure_rate=1.0))
    retries = Retries(device=1, wait=timedelta(hours=5))
    status = await rig.run(rig.spec(deadline=DEADLINE, retries=retries))
    assert (status.state, status.count("failed", "not_attempted")) == ("finished", 2)
    late = [event.at - EPOCH - DEADLINE for event in rig.of(TargetDropped)]
    assert timedelta(0) <= min(late) <= max(late) < timedelta(seconds=1)


@pytest.mark.parametrize(("away", "least", "most"), [(0.0, 110.0, 130.0), (450.0, 1.0, 40.0), (3600.0, 0.0, 10.0)])
async def test_what_a_process_left_open_is_looked_for_until_the_list_is_to_be_believed(
    rigs: Callable[[], Awaitable[CampaignRig]], away: float, least: float, most: float
) -> None:
    rig = await rigs()
    sandbox = await rig.account(devices=2, behaviour=Behaviour(**HEALTHY))
    sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    async with rig.campaign(rig.spec()) as campaign:
        with anyio.CancelScope() as process:

            async def end_once_lost() -> None:
                while not rig.asked("create_commands"):
                    await rig.clock.sleep(0.1)
                process.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(end_once_lost)
                await campaign.run()
    await rig.clock.sleep(away)
    again = rig.clock.now()
    status = await rig.run("one")
    assert (status.count("saved"), len(sandbox.state.commands)) == (2, 2)
    absent = [event.at - again for event in rig.of(IntentClosed) if event.outcome == "absent"]
    assert timedelta(seconds=least) <= min(absent) <= max(absent) <= timedelta(seconds=most)


MAX_REQUESTS = 1.25
"""For each artifact of a campaign of 1,000: a tenth to create it, one to fetch it, the rest is all else."""


@pytest.mark.parametrize(
    ("run_seconds", "answer_seconds"),
    [
        ((2.0, 20.0), 0.0),
        ((60.0, 120.0), 0.3),
        ((5.0, 300.0), 0.3),
        ((60.0, 300.0), 0.0),
        ((290.0, 320.0), 0.3),
        ((120.0, 900.0), 0.0),
    ],
    ids=str,
)
async def test_requests_for_each_artifact(
    rigs: Callable[[], Awaitable[CampaignRig]], run_seconds: tuple[float, float], answer_seconds: float
) -> None:
    rig = await rigs()
    behaviour = Behaviour(**HEALTHY, run_seconds=run_seconds)
    sandbox = await rig.account(devices=1000, quota=2000, behaviour=behaviour, artifact_size=2000)
    if answer_seconds:
        sandbox.faults.add(Fault.slow(answer_seconds), times=None)
    status = await rig.run(rig.spec())
    assert status.count("saved") == 1000
    asked = Counter(request.operation for request in sandbox.requests)
    assert asked["create_commands"] == 100
    assert asked["download"] == 1000
    assert sum(asked.values()) <= MAX_REQUESTS * 1000, asked


SLOW_SECONDS = 10.0


def under_way(sandbox: Sandbox, operation: Operation) -> list[int]:
    """Return how many requests of an operation were under way as each came, where each takes `SLOW_SECONDS`."""
    # A timer of the loop may be early by what its clock can't tell.
    took = SLOW_SECONDS - 0.001
    came = [request.at for request in sandbox.requests if request.operation == operation]
    return [sum(at - other < took for other in came[: nth + 1]) for nth, at in enumerate(came)]


@pytest.mark.parametrize(
    ("operation", "pace", "devices", "most"),
    [
        ("create_commands", Pace(creates=1), 20, 1),
        ("create_commands", Pace(creates=3), 40, 3),
        ("create_commands", Pace(), 50, 4),
        ("download", Pace(downloads=1), 3, 1),
        ("download", Pace(downloads=3), 10, 3),
        ("download", Pace(), 20, 8),
    ],
)
async def test_of_each_account_so_many_requests_are_under_way_as_may_be(
    rigs: Callable[[], Awaitable[CampaignRig]], operation: Operation, pace: Pace, devices: int, most: int
) -> None:
    rig = await rigs()
    for name in ("one", "other"):
        sandbox = await rig.account(name, devices=devices, behaviour=Behaviour.instant(**HEALTHY))
        sandbox.faults.add(Fault.slow(SLOW_SECONDS), on=operation, times=None)
    status = await rig.run(rig.spec(pace=pace))
    assert status.count("saved") == 2 * devices
    for sandbox in rig.sandboxes.values():
        assert max(under_way(sandbox, operation)) == most


async def test_a_post_that_takes_long_leaves_the_room_of_all_others(rigs: Callable[[], Awaitable[CampaignRig]]) -> None:
    rig = await rigs()
    sandbox = await rig.account(devices=40, behaviour=Behaviour.instant(**HEALTHY))
    sandbox.faults.add(Fault.slow(15.0), on="create_commands", times=1)
    await rig.run(rig.spec(pace=Pace(in_flight=20)))
    posts = [request.at for request in sandbox.requests if request.operation == "create_commands"]
    # The second is answered at once, and what it made is saved while the first goes on.
    assert posts[2] < posts[0] + 15.0


async def test_polls_of_all_accounts_of_a_token_take_a_quarter_of_its_rate_limit(
    rigs: Callable[[], Awaitable[CampaignRig]],
) -> None:
    rig = await rigs()
    limit = RateLimit(requests=200, seconds=300.0)
    rig.client_options["rate_limit"] = limit
    accounts = 12
    for number in range(accounts):
        slow = Behaviour(**HEALTHY, run_seconds=(240.0, 600.0))
        await rig.account(f"one-{number}", devices=5, token="of-all", behaviour=slow)
    rig.share_origin()
    status = await rig.run(rig.spec())
    assert status.count("saved") == 5 * accounts
    polls: dict[str, list[float]] = {}
    for name, sandbox in rig.sandboxes.items():
        done = max((event.at - EPOCH).total_seconds() for event in rig.of(ArtifactSaved) if event.account == name)
        listed = (request for request in sandbox.requests if request.operation == "list_commands")
        # The plan asks for a type of commands, and what comes at the end is the audit.
        polls[name] = [each.at for each in listed if "command_type" not in each.query and each.at < done]
    times = [at for one in polls.values() for at in one]
    # All of it is needed, and used.
    assert max(sum(first <= at < first + limit.seconds for at in times) for first in times) == limit.requests / 4
    # And each account has its turns.
    waits = [later - earlier for one in polls.values() for earlier, later in itertools.pairwise(one)]
    assert max(waits) < limit.seconds


async def test_an_account_that_ends_leaves_its_turn_to_poll_to_the_others_of_its_token(
    rigs: Callable[[], Awaitable[CampaignRig]],
) -> None:
    rig = await rigs()
    # A poll in 300 seconds: whoever comes next queues up.
    rig.client_options["rate_limit"] = RateLimit(requests=4, seconds=300.0)
    rig.control_interval = 1.0
    await rig.account(devices=1, behaviour=Behaviour(**HEALTHY, run_seconds=(7200.0, 7200.0)))
    async with rig.client(rig.spec().accounts[0]) as other, rig.campaign(rig.spec()) as campaign:
        planned = other.session.polls._window._planned
        async with anyio.create_task_group() as group:

            async def stop_once_queued_up() -> None:
                while not planned:
                    await rig.clock.sleep(1.0)
                campaign.stop()

            group.start_soon(stop_once_queued_up)
            status = await campaign.run()
        assert (status.state, status.count("running")) == ("interrupted", 1)
        assert not planned
