"""In which order artifacts are fetched, and what becomes of those under way when a process is to end; by a clock on
which work takes no time.
"""

from datetime import timedelta
from itertools import groupby

import pytest

from dexcmd.campaign.events import ArtifactSaved, CommandEnded
from dexcmd.campaign.spec import Pace, Retries
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from dexcmd.sandbox.requestlog import Operation, RecordedRequest
from tests.campaign.conftest import HEALTHY, CampaignRig

pytestmark = pytest.mark.anyio

SPREAD = Behaviour.instant(**HEALTHY, run_seconds=(0.0, 4.0))
"""They end one by one, all before the first poll, so that it shows all of them."""


def fetched(sandbox: Sandbox) -> list[str]:
    """Return the commands whose artifacts were asked for, in that order."""
    return [request.params["command_id"] for request in sandbox.requests if request.operation == "download"]


def by_end(sandbox: Sandbox) -> list[str]:
    """Return the commands in the order in which they ended."""
    return sorted(sandbox.state.commands, key=lambda one: sandbox.state.commands[one].timeline.finished)


async def test_what_is_gone_soonest_is_fetched_first(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=8, behaviour=SPREAD)
    status = await campaigns.run(campaigns.spec(pace=Pace(downloads=1)))
    assert status.count("saved") == 8
    assert fetched(sandbox) == by_end(sandbox) != list(sandbox.state.commands)


async def test_where_it_is_not_told_when_they_ended_the_oldest_is_fetched_first(campaigns: CampaignRig) -> None:
    ends_untold = Behaviour(**HEALTHY, run_seconds=(300.0, 300.0), null_fields=frozenset({"completed_date"}))
    sandbox = await campaigns.account(devices=30, behaviour=ends_untold)
    sandbox.faults.add(Fault.slow(10.0), on="create_commands", times=None)
    status = await campaigns.run(campaigns.spec(pace=Pace(creates=1, downloads=1)))
    assert status.count("saved") == 30
    created = [sandbox.state.commands[one].created for one in fetched(sandbox)]
    assert created == sorted(created)
    assert created[0] < created[-1]


async def test_what_is_tried_again_goes_before_what_is_gone_later(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=4, behaviour=SPREAD)
    sandbox.faults.add(Fault.error(404), on="download", times=2)
    status = await campaigns.run(campaigns.spec(pace=Pace(downloads=1), retries=Retries(wait=timedelta(0))))
    assert status.count("saved") == 4
    first, *others = by_end(sandbox)
    assert fetched(sandbox) == [first, first, first, *others]


async def test_what_is_known_later_and_gone_sooner_goes_before_what_waits(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=14, behaviour=Behaviour.instant(**HEALTHY))
    # The first POST is worked off at once, and answered when artifacts of the second one are being fetched.
    sandbox.faults.add(Fault.slow(15.0), on="create_commands")

    def last_longer(_: RecordedRequest) -> bool:
        sandbox.behaviour = Behaviour.instant(**HEALTHY, run_seconds=(3.0, 3.0))
        return False

    sandbox.faults.add(Fault.drop(), on="create_commands", where=last_longer)
    sandbox.faults.add(Fault.slow(10.0), on="download", times=None)
    status = await campaigns.run(campaigns.spec(pace=Pace(downloads=1)))
    assert status.count("saved") == 14
    [early, late] = [request.created for request in sandbox.requests if request.operation == "create_commands"]
    assert len(early) == 10
    assert len(late) == 4
    runs = [(is_early, len([*group])) for is_early, group in groupby(fetched(sandbox), early.__contains__)]
    assert runs == [(False, 2), (True, 10), (False, 2)]


async def test_what_an_earlier_process_left_is_fetched_in_the_same_order(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=8, behaviour=SPREAD)
    spec = campaigns.spec(pace=Pace(downloads=1))
    async with campaigns.campaign(spec) as campaign:

        def stop(event: object) -> None:
            if isinstance(event, CommandEnded):
                campaign.stop()

        status = await campaign.run(on_event=stop)
    assert (status.state, status.count("collecting")) == ("interrupted", 8)
    status = await campaigns.run("one")
    assert status.count("saved") == 8
    assert fetched(sandbox) == by_end(sandbox) != list(sandbox.state.commands)


async def test_what_is_being_fetched_when_it_is_stopped_comes_to_its_end(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5)
    async with campaigns.campaign(campaigns.spec(pace=Pace(downloads=2))) as campaign:

        def stop(_: RecordedRequest) -> bool:
            if campaigns.asked("download") == 2:
                campaign.stop()
            return True

        sandbox.faults.add(Fault.slow(10.0), on="download", times=2, where=stop)
        status = await campaign.run()
    assert (status.state, status.count("saved")) == ("interrupted", 2)
    assert campaigns.asked("download") == len(campaigns.files()) == 2
    status = await campaigns.run("one")
    assert (status.state, status.count("saved")) == ("finished", 5)
    assert campaigns.asked("download") == 5


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("where", ["download", "storage"])
async def test_an_artifact_that_is_refused_holds_up_no_other(
    campaigns: CampaignRig, where: Operation, status: int
) -> None:
    redirect = 307 if where == "storage" else None
    sandbox = await campaigns.account(devices=5, behaviour=Behaviour(**HEALTHY, download_redirect=redirect))
    refused: list[str] = []

    def is_first(request: RecordedRequest) -> bool:
        refused[:] = refused or [request.params["command_id"]]
        return request.params["command_id"] in refused

    sandbox.faults.add(Fault.error(status), on=where, times=None, where=is_first)
    ended = await campaigns.run(campaigns.spec(pace=Pace(downloads=1)))
    assert (ended.state, ended.count("saved"), ended.accounts[0].failures["download"]) == ("finished", 4, 1)


async def test_no_artifact_is_given_up_for_a_token_that_is_refused(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5, behaviour=Behaviour(**HEALTHY))
    revoked = Fault.error(403, form="envelope", code=10000)

    def is_revoked(_: RecordedRequest) -> bool:
        return bool(campaigns.of(ArtifactSaved))

    sandbox.faults.add(revoked, times=None, where=is_revoked)
    spec = campaigns.spec(pace=Pace(downloads=1), retries=Retries(download=0))
    status = await campaigns.run(spec)
    assert (status.state, status.count("failed")) == ("refused", 0)
    sandbox.faults.clear()
    assert (await campaigns.run("one")).count("saved") == len(campaigns.files()) == 5
