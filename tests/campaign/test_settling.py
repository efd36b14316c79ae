"""How long a lost command is looked for: as the list has shown others, in this process or an earlier one."""

import pytest

from dexcmd.campaign.events import ArtifactSaved, CampaignEvent
from dexcmd.campaign.settling import SettlingTime
from dexcmd.campaign.spec import Share, Waves
from dexcmd.campaign.status import Settling
from dexcmd.sandbox import Behaviour, Fault
from tests.campaign.conftest import HEALTHY, CampaignRig

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("n", "longest", "seconds"),
    [
        (0, 0.0, 120.0),
        (1, 0.5, 120.0),
        # Three times as long as the list took is enough where it is known well, but not less than half.
        (49, 1.0, 120.0),
        (50, 1.0, 60.0),
        (50, 20.0, 60.0),
        (50, 21.0, 63.0),
        (50, 39.0, 117.0),
        (5000, 39.0, 117.0),
        (50, 40.0, 120.0),
        # One that came late is enough to look for longer.
        (1, 40.0, 120.0),
        (1, 41.0, 123.0),
        (50, 41.0, 123.0),
        (1, 300.0, 900.0),
    ],
)
def test_of_120_seconds_it_makes(n: int, longest: float, seconds: float) -> None:
    settling = SettlingTime(120.0, n=n, longest=longest)
    assert settling.seconds == seconds
    assert settling.told() == Settling(seconds=seconds, n=n, longest=longest)


def test_each_sighting_counts() -> None:
    settling = SettlingTime(120.0, n=48, longest=2.0)
    told: list[Settling] = []
    for seconds in (1.0, 25.0, 3.0, 50.0):
        settling.sight(seconds)
        told.append(settling.told())
    assert told == [
        Settling(seconds=120.0, n=49, longest=2.0),
        Settling(seconds=75.0, n=50, longest=25.0),
        Settling(seconds=75.0, n=51, longest=25.0),
        Settling(seconds=150.0, n=52, longest=50.0),
    ]


@pytest.mark.parametrize("in_between", [False, True], ids=["at once", "interrupted"])
async def test_a_lost_post_is_looked_for_as_long_as_the_list_has_been_late(
    campaigns: CampaignRig, in_between: bool
) -> None:
    sandbox = await campaigns.account(devices=6, behaviour=Behaviour(**HEALTHY, list_lag=15.0))
    # Less than the list lags.
    campaigns.client_options["settle_seconds"] = 10.0
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", where=lambda _: bool(sandbox.state.commands))
    async with campaigns.campaign(campaigns.spec(waves=Waves(sizes=(Share(count=3),)))) as campaign:

        def note(event: CampaignEvent) -> None:
            campaigns.events.append(event)
            if in_between and len(campaigns.of(ArtifactSaved)) == 3:
                campaign.stop()

        status = await campaign.run(on_event=note)
    assert status.count("saved") == (3 if in_between else 6)
    status = await campaigns.run("one")
    assert (status.state, status.count("saved")) == ("finished", 6)
    # Whoever looks for 10 seconds sends the second POST again.
    assert (campaigns.asked("create_commands"), len(sandbox.state.commands)) == (2, 6)
    assert status.accounts[0].settling.seconds >= 45.0
