"""What an account may create now: when its quota is asked for, and what counts as used; by a clock on which work takes
no time.
"""

from collections import Counter
from datetime import timedelta

import pytest

from dexcmd import WarpDiag
from dexcmd.campaign.events import CampaignEvent, IntentOpened, QuotaWaited
from dexcmd.campaign.spec import Pace
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from dexcmd.sandbox.requestlog import Operation, RecordedRequest
from tests.campaign.conftest import HEALTHY, CampaignRig
from tests.campaign.still.conftest import EPOCH

pytestmark = pytest.mark.anyio


@pytest.fixture
def campaigns(campaigns: CampaignRig) -> CampaignRig:
    # They wait for hours, and nobody steers.
    campaigns.control_interval = 3600.0
    return campaigns


class Crash(BaseException):
    """The end of a process: nothing of ours may catch it and go on."""


def times_of(sandbox: Sandbox, operation: Operation) -> list[float]:
    """Return when requests of an operation have arrived, in seconds from the start."""
    return [request.at for request in sandbox.requests if request.operation == operation]


def a_day(sandbox: Sandbox) -> list[int]:
    """Return how many commands were created on each day."""
    return [*Counter(command.created.date() for command in sandbox.state.commands.values()).values()]


async def test_what_is_rejected_costs_nothing_of_the_quota(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=12, quota=10, behaviour=Behaviour(**HEALTHY))
    culprit = sandbox.state.devices[0].device_id

    def names_it(request: RecordedRequest) -> bool:
        return any(command["device_id"] == culprit for command in request.body["commands"])

    rejects = Fault.error(400, form="envelope", message="no such device")
    sandbox.faults.add(rejects, on="create_commands", times=None, where=names_it)
    status = await campaigns.run(campaigns.spec())
    assert (status.count("saved"), status.count("failed")) == (11, 1)
    # Another one has its place on the first day.
    assert a_day(sandbox) == [10, 1]


async def test_nothing_is_asked_before_the_service_says(
    campaigns: CampaignRig, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY))
    sandbox.faults.add(Fault.rate_limited(3600), on="create_commands")
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 3
    refused, created = times_of(sandbox, "create_commands")
    assert 3600 <= created - refused < 3610
    assert not [request.at for request in sandbox.requests if refused < request.at < refused + 3600]
    # Nor does it try to, and tell of each time that it has no room.
    assert "can't be told" not in caplog.text


async def test_a_quota_that_is_not_told_is_asked_for_less_and_less_often_but_in_five_minutes(
    campaigns: CampaignRig,
) -> None:
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY))
    untold = timedelta(hours=3).total_seconds()
    # After the plan has asked for it.
    sandbox.faults.add(Fault.error(418), on="get_quota", skip=1, times=None, where=lambda request: request.at < untold)
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 3
    asked = times_of(sandbox, "get_quota")
    assert len(asked) < 50
    assert untold < asked[-1] < untold + 301
    assert times_of(sandbox, "create_commands")[0] - asked[-1] < 5
    assert campaigns.of(QuotaWaited) == []


async def test_a_quota_that_is_used_up_is_asked_for_less_and_less_often_where_its_reset_is_not_told(
    campaigns: CampaignRig,
) -> None:
    sandbox = await campaigns.account(devices=4, quota=2, behaviour=Behaviour(**HEALTHY))
    reset = timedelta(hours=1)
    sandbox.state.quota.reset_time = EPOCH + reset
    # Told in the end, for whoever asks without a pause, and would do so for ever.
    sandbox.faults.add(Fault.wrong_types("result.reset_time", None), on="get_quota", times=100)
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 4
    assert len(times_of(sandbox, "get_quota")) < 30
    *_, again = times_of(sandbox, "create_commands")
    assert reset.total_seconds() < again < reset.total_seconds() + 305


async def test_a_quota_that_was_not_told_for_long_is_soon_asked_for_again_once_commands_were_created(
    campaigns: CampaignRig,
) -> None:
    sandbox = await campaigns.account(devices=4, quota=2, behaviour=Behaviour(**HEALTHY))
    untold, reset = 3600.0, 12 * 3600.0
    sandbox.faults.add(Fault.error(418), on="get_quota", skip=1, times=None, where=lambda request: request.at < untold)
    sandbox.faults.add(Fault.error(418), on="get_quota", where=lambda request: request.at > reset)
    status = await campaigns.run(campaigns.spec())
    assert (status.count("saved"), a_day(sandbox)) == (4, [2, 2])
    in_vain, again = times_of(sandbox, "get_quota")[-2:]
    assert reset < in_vain < again < in_vain + 5


async def test_a_quota_that_is_used_up_is_waited_for_whatever_others_have_reserved(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5, quota=20, behaviour=Behaviour(**HEALTHY))

    def end(event: CampaignEvent) -> None:
        if isinstance(event, IntentOpened):
            raise Crash

    # Its POST was never sent, and nobody knows.
    async with campaigns.campaign(campaigns.spec(name="dead", command=WarpDiag())) as dead:
        with pytest.raises(Crash):
            await dead.run(on_event=end)
    sandbox.state.quota.usage = 20
    asked = len(times_of(sandbox, "get_quota"))
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 5
    # By the plan, by the run, and after the reset: what they have reserved would not leave any more.
    assert len(times_of(sandbox, "get_quota")) - asked <= 3


async def test_waits_for_the_quota_are_told_once_each(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=25, quota=10, behaviour=Behaviour(**HEALTHY, run_seconds=(100.0, 900.0)))
    # Those of the first POST end one by one, and each looks whether there is more by now.
    status = await campaigns.run(campaigns.spec(pace=Pace(creates=1)))
    assert status.count("saved") == 25
    assert len(campaigns.of(QuotaWaited)) == 2
