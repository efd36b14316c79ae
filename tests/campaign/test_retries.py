"""How often campaigns try a target again, by the class of its failure, and when."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import attrs
import pytest

from dexcmd import WarpDiag
from dexcmd.campaign.events import CampaignEvent, TargetRetried
from dexcmd.campaign.spec import CampaignSpec, FailureClass, Pace, Retries
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from dexcmd.sandbox.requestlog import Operation, RecordedRequest
from tests.campaign.conftest import HEALTHY, CampaignRig

pytestmark = pytest.mark.anyio

EPOCH = datetime(2026, 1, 1, 12, tzinfo=UTC)
FAILURES: tuple[FailureClass, ...] = get_args(FailureClass)

Trouble = Callable[[Sandbox, "int | None"], None]
"""Has the first tries fail, so many of them; all for None."""


def devices_that(**changes: Any) -> Trouble:
    """Return trouble with what the device makes of a command, as the service decides when it creates it."""

    def begin(sandbox: Sandbox, tries: int | None) -> None:
        def decide(_: RecordedRequest) -> bool:
            failing = tries is None or len(sandbox.state.commands) < tries
            sandbox.behaviour = Behaviour(**HEALTHY, **(changes if failing else {}))
            return False

        sandbox.faults.add(Fault.drop(), on="create_commands", times=None, where=decide)

    return begin


def requests_that(fault: Fault, on: Operation) -> Trouble:
    """Return trouble with a request."""

    def begin(sandbox: Sandbox, tries: int | None) -> None:
        sandbox.faults.add(fault, on=on, times=tries)

    return begin


TROUBLES: dict[FailureClass, Trouble] = {
    "device": devices_that(failure_rate=1.0),
    "timeout": devices_that(run_seconds=(4000.0, 4000.0)),
    "rejected": requests_that(Fault.error(400, form="envelope", message="no such device"), "create_commands"),
    "unknown": requests_that(Fault.drop(), "create_commands"),
    "download": requests_that(Fault.error(404), "download"),
}


def spec_of(campaigns: CampaignRig, retries: Retries) -> CampaignSpec:
    return campaigns.spec(
        # A second capture on a Windows device fails while the first still runs.
        command=WarpDiag(),
        retries=retries,
        pace=Pace(timeout=timedelta(minutes=10)),
        # What got lost is looked for and not sent again, so that each try is one POST.
        lost_answers="give_up",
    )


def tries_of(campaigns: CampaignRig, failure: FailureClass) -> list[datetime]:
    """Return when each try began: that of a download is another download, and of all else another POST."""
    on = "download" if failure == "download" else "create_commands"
    return [EPOCH + timedelta(seconds=one.at) for one in campaigns.sandbox.requests if one.operation == on]


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_is_tried_again_as_often_as_its_class_allows(
    campaigns: CampaignRig, failure: FailureClass
) -> None:
    sandbox = await campaigns.account(devices=1)
    TROUBLES[failure](sandbox, 2)
    retries = Retries(**{**dict.fromkeys(FAILURES, 0), failure: 2}, wait=timedelta(minutes=20))
    status = await campaigns.run(spec_of(campaigns, retries))
    assert (status.state, status.count("saved")) == ("finished", 1)
    tries, again = tries_of(campaigns, failure), campaigns.of(TargetRetried)
    assert len(tries) == 3
    assert [event.failure for event in again] == [failure] * 2
    # Twice as long each time.
    assert [event.not_before - event.at for event in again] == [timedelta(minutes=20), timedelta(minutes=40)]
    for began, event in zip(tries[1:], again, strict=True):
        assert timedelta(0) <= began - event.not_before < timedelta(minutes=1)


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_whose_class_allows_no_more_is_final(campaigns: CampaignRig, failure: FailureClass) -> None:
    sandbox = await campaigns.account(devices=1)
    TROUBLES[failure](sandbox, None)
    retries = attrs.evolve(Retries(**dict.fromkeys(FAILURES, 5)), **{failure: 1})
    status = await campaigns.run(spec_of(campaigns, retries))
    assert (status.state, status.count("failed")) == ("finished", 1)
    assert status.accounts[0].failures == {**dict.fromkeys(FAILURES, 0), failure: 1}
    assert len(tries_of(campaigns, failure)) == 2
    assert [event.failure for event in campaigns.of(TargetRetried)] == [failure]


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_wait_for_the_next_try_goes_on_in_another_process(
    campaigns: CampaignRig, failure: FailureClass
) -> None:
    sandbox = await campaigns.account(devices=1)
    TROUBLES[failure](sandbox, 1)
    retries = Retries(**{**dict.fromkeys(FAILURES, 0), failure: 1}, wait=timedelta(minutes=20))
    async with campaigns.campaign(spec_of(campaigns, retries)) as campaign:

        def stop(event: CampaignEvent) -> None:
            campaigns.events.append(event)
            if isinstance(event, TargetRetried):
                campaign.stop()

        status = await campaign.run(on_event=stop)
    assert status.state == "interrupted"
    status = await campaigns.run("one")
    assert (status.state, status.count("saved")) == ("finished", 1)
    _, again = tries_of(campaigns, failure)
    [event] = campaigns.of(TargetRetried)
    assert timedelta(0) <= again - event.not_before < timedelta(minutes=1)
