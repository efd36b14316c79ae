"""What this machine's clock tells, however wrong, doubles nothing, gives up nothing, and prolongs no wait."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from dexcmd import RetryPolicy
from dexcmd.campaign.events import (
    AccountStopped,
    ArtifactSaved,
    CampaignEvent,
    CommandKnown,
    CommandOverdue,
    IntentClosed,
    TargetRetried,
)
from dexcmd.campaign.spec import CampaignSpec, Retries, Share, Waves
from dexcmd.campaign.status import CampaignStatus
from dexcmd.clock import Clock
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from tests.campaign.conftest import HEALTHY, CampaignRig
from tests.campaign.still.conftest import EPOCH

pytestmark = pytest.mark.anyio


class WrongClock:
    """A machine's clock that goes wrong by some hours; the service's does not."""

    def __init__(self, right: Clock) -> None:
        self._right = right
        self.ahead = timedelta(0)

    def monotonic(self) -> float:
        return self._right.monotonic()

    def now(self) -> datetime:
        return self._right.now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        await self._right.sleep(seconds)


@pytest.fixture
def wrong(campaigns: CampaignRig) -> WrongClock:
    """Return what the campaigns take for the clock of their machine."""
    return WrongClock(campaigns.clock)


async def account(campaigns: CampaignRig, wrong: WrongClock, **changes: Any) -> Sandbox:
    """Start a sandbox, whose clock is right, for campaigns whose clock is wrong."""
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY, **changes))
    campaigns.clock = wrong  # type: ignore[assignment]
    return sandbox


@pytest.mark.parametrize("hours", [0, 1, -1])
async def test_what_got_lost_is_looked_for_as_long_where_the_service_does_not_tell_its_time(
    campaigns: CampaignRig, wrong: WrongClock, hours: int
) -> None:
    sandbox = await account(campaigns, wrong, list_lag=60.0)
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        with anyio.CancelScope() as process:

            async def end_once_created() -> None:
                while not sandbox.state.commands:
                    await wrong.sleep(0.1)
                process.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(end_once_created)
                await campaign.run()
    wrong.ahead = timedelta(hours=hours)
    again = wrong.monotonic() + 20
    sandbox.faults.add(Fault.drop(), on="get_quota", times=None, where=lambda _: wrong.monotonic() < again)
    campaigns.client_options["retry"] = RetryPolicy(attempts=2, attempt_seconds=20.0)
    status = await campaigns.run("one")
    assert (status.count("saved"), len(sandbox.state.commands)) == (3, 3)


@pytest.mark.parametrize(
    ("hours", "is_told", "minutes"), [(0, True, 30), (10, True, 30), (-10, True, 30), (0, False, 30), (-10, False, 40)]
)
async def test_a_command_has_its_time_whatever_becomes_of_the_clock_between_two_runs(
    campaigns: CampaignRig, wrong: WrongClock, hours: int, is_told: bool, minutes: int
) -> None:
    sandbox = await account(campaigns, wrong, run_seconds=(1e6, 1e6))
    async with campaigns.campaign(campaigns.spec()) as campaign:

        def note(event: CampaignEvent) -> None:
            if isinstance(event, CommandKnown):
                campaign.stop()

        await campaign.run(on_event=note)
    # What goes by while no process runs is of its time, too.
    await wrong.sleep(600.0)
    wrong.ahead = timedelta(hours=hours)
    if not is_told:
        # Then this machine does, but that the command was created later than now is not believed.
        again = wrong.monotonic() + 20
        sandbox.faults.add(Fault.drop(), on="get_quota", times=None, where=lambda _: wrong.monotonic() < again)
        campaigns.client_options["retry"] = RetryPolicy(attempts=2, attempt_seconds=20.0)
    status = await campaigns.run("one")
    assert (status.count("failed"), len(sandbox.state.commands)) == (3, 3)
    late = [event.at - wrong.ahead - EPOCH for event in campaigns.of(CommandOverdue)]
    assert timedelta(minutes=minutes - 1) < min(late) <= max(late) < timedelta(minutes=minutes + 1)


async def run_until_set_back(
    campaigns: CampaignRig,
    wrong: WrongClock,
    spec: CampaignSpec,
    when: Callable[[CampaignEvent], bool],
    *,
    after: float,
) -> tuple[CampaignStatus, timedelta]:
    """Run a campaign whose clock is set back some seconds after an event; return its status, and how long it took."""
    event = anyio.Event()

    async def set_back() -> None:
        await event.wait()
        if after:
            await wrong.sleep(after)
        wrong.ahead = -timedelta(hours=3)

    def note(told: CampaignEvent) -> None:
        campaigns.events.append(told)
        if when(told) and not event.is_set():
            event.set()
            if not after:
                wrong.ahead = -timedelta(hours=3)

    async with campaigns.campaign(spec) as campaign, anyio.create_task_group() as group:
        group.start_soon(set_back)
        status = await campaign.run(on_event=note)
    [stopped] = campaigns.of(AccountStopped)
    return status, stopped.at - wrong.ahead - EPOCH


@pytest.mark.parametrize("after", [0.0, 400.0], ids=["before the wait", "during it"])
async def test_an_audit_is_not_waited_for_any_longer_where_the_clock_is_set_back(
    campaigns: CampaignRig, wrong: WrongClock, after: float
) -> None:
    sandbox = await account(campaigns, wrong)
    sandbox.faults.add(Fault.drop(), on="create_commands", times=1)

    def is_lost(event: CampaignEvent) -> bool:
        return isinstance(event, IntentClosed) and event.outcome == "absent"

    status, took = await run_until_set_back(campaigns, wrong, campaigns.spec(), is_lost, after=after)
    assert status.count("saved") == 3
    assert took < timedelta(minutes=20)


@pytest.mark.parametrize("after", [0.0, 300.0], ids=["before the wait", "during it"])
async def test_a_pause_between_waves_is_no_longer_where_the_clock_is_set_back(
    campaigns: CampaignRig, wrong: WrongClock, after: float
) -> None:
    await account(campaigns, wrong)
    spec = campaigns.spec(waves=Waves(sizes=(Share(count=1),), soak=timedelta(minutes=10)))
    status, took = await run_until_set_back(
        campaigns, wrong, spec, lambda event: isinstance(event, ArtifactSaved), after=after
    )
    assert status.count("saved") == 3
    assert timedelta(minutes=10) < took < timedelta(minutes=20)


async def test_a_pause_between_waves_is_no_longer_where_the_clock_is_set_back_between_two_runs(
    campaigns: CampaignRig, wrong: WrongClock
) -> None:
    await account(campaigns, wrong)
    spec = campaigns.spec(waves=Waves(sizes=(Share(count=1),), soak=timedelta(minutes=10)))
    async with campaigns.campaign(spec) as campaign:

        def note(event: CampaignEvent) -> None:
            if isinstance(event, ArtifactSaved):
                campaign.stop()

        await campaign.run(on_event=note)
    wrong.ahead = -timedelta(hours=3)
    status = await campaigns.run("one")
    assert status.count("saved") == 3
    [stopped] = campaigns.of(AccountStopped)
    assert timedelta(minutes=10) < stopped.at - wrong.ahead - EPOCH < timedelta(minutes=20)


@pytest.mark.parametrize("after", [0.0, 30.0], ids=["before the wait", "during it"])
async def test_an_artifact_is_tried_again_no_later_where_the_clock_is_set_back(
    campaigns: CampaignRig, wrong: WrongClock, after: float
) -> None:
    sandbox = await account(campaigns, wrong)
    sandbox.faults.add(Fault.error(404), on="download", times=3)
    status, took = await run_until_set_back(
        campaigns, wrong, campaigns.spec(), lambda event: isinstance(event, TargetRetried), after=after
    )
    assert status.count("saved") == 3
    assert took < timedelta(minutes=10)


async def test_an_artifact_is_tried_again_no_later_where_the_clock_is_set_back_between_two_runs(
    campaigns: CampaignRig, wrong: WrongClock
) -> None:
    sandbox = await account(campaigns, wrong)
    sandbox.faults.add(Fault.error(404), on="download", times=3)
    async with campaigns.campaign(campaigns.spec()) as campaign:

        def note(event: CampaignEvent) -> None:
            if isinstance(event, TargetRetried):
                campaign.stop()

        await campaign.run(on_event=note)
    wrong.ahead = -timedelta(hours=3)
    status = await campaigns.run("one")
    assert status.count("saved") == 3
    [stopped] = campaigns.of(AccountStopped)
    assert stopped.at - wrong.ahead - EPOCH < timedelta(minutes=10)


@pytest.mark.parametrize("after", [0.0, 30.0], ids=["before the wait", "during it"])
async def test_a_command_is_tried_again_no_later_where_the_clock_is_set_back(
    campaigns: CampaignRig, wrong: WrongClock, after: float
) -> None:
    sandbox = await account(campaigns, wrong, failure_rate=1.0)
    spec = campaigns.spec(retries=Retries(device=1))
    _, took = await run_until_set_back(
        campaigns, wrong, spec, lambda event: isinstance(event, TargetRetried), after=after
    )
    assert len(sandbox.state.commands) == 6
    assert took < timedelta(minutes=20)


async def test_a_command_is_tried_again_no_later_where_the_clock_is_set_back_between_two_runs(
    campaigns: CampaignRig, wrong: WrongClock
) -> None:
    sandbox = await account(campaigns, wrong, failure_rate=1.0)
    async with campaigns.campaign(campaigns.spec(retries=Retries(device=1))) as campaign:

        def note(event: CampaignEvent) -> None:
            if isinstance(event, TargetRetried):
                campaign.stop()

        await campaign.run(on_event=note)
    wrong.ahead = -timedelta(hours=3)
    await campaigns.run("one")
    assert len(sandbox.state.commands) == 6
    [stopped] = campaigns.of(AccountStopped)
    assert stopped.at - wrong.ahead - EPOCH < timedelta(minutes=20)
