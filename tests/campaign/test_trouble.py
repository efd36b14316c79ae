"""Campaigns in trouble: processes that end, answers that get lost, journals and operators that interfere."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from dexcmd.campaign.events import CampaignEvent, CommandKnown, IntentClosed, IntentOpened
from dexcmd.campaign.spec import CampaignSpec, Retries
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from tests.campaign.conftest import CampaignRig

pytestmark = pytest.mark.anyio

HEALTHY: dict[str, Any] = {"multi_user_share": 0, "ineligible_share": 0, "disconnected_share": 0}


def behaviour(**changes: Any) -> Behaviour:
    return Behaviour(**{**HEALTHY, **changes})


def commands_by_target(sandbox: Sandbox) -> Counter[tuple[str, str | None]]:
    return Counter(
        (command.device.device_id, command.device.registration_id) for command in sandbox.state.commands.values()
    )


class Crash(BaseException):
    """The end of a process: nothing of ours may catch it and go on."""


async def run_until(
    campaigns: CampaignRig, spec: CampaignSpec | str, kind: type[CampaignEvent], count: int = 1, **options: Any
) -> None:
    """Run a campaign in a process that ends as soon as so many events of a kind are durable."""
    left = count

    def note(event: CampaignEvent) -> None:
        nonlocal left
        campaigns.events.append(event)
        left -= isinstance(event, kind)
        if not left:
            raise Crash

    with pytest.raises(Crash):
        async with campaigns.campaign(spec, **options) as campaign:
            await campaign.run(on_event=note)


# --- commands that the journal knows


async def test_a_lost_answer_is_not_answered_by_a_command_of_another_campaign(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=4)
    async with campaigns.campaign(campaigns.spec(name="two")) as two:
        plan = await two.plan()
        # The clock stands still after that, so those commands are as young as can be.
        await run_until(campaigns, campaigns.spec(), CommandKnown, 4)
        sandbox.faults.add(Fault.drop(processed=False), on="create_commands", times=1)
        campaigns.events.clear()
        status = await two.run(plan, on_event=campaigns.events.append)
    assert status.count("saved", "failed") == 4
    assert Counter(event.outcome for event in campaigns.of(IntentClosed)) == {"absent": 4, "created": 4}
    assert (await campaigns.run("one")).count("saved", "failed") == 4
    assert set(commands_by_target(sandbox).values()) == {2}


async def test_an_open_intent_is_not_answered_by_an_earlier_command_of_its_target(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=4, behaviour=Behaviour.instant(**HEALTHY, failure_rate=1.0))
    spec = campaigns.spec(retries=Retries(device=1, wait=timedelta(0)))
    # The second command of each is about to be created when the process ends.
    await run_until(campaigns, spec, IntentOpened, 8)
    assert set(commands_by_target(sandbox).values()) == {1}
    campaigns.events.clear()
    status = await campaigns.run("one")
    assert status.accounts[0].failures["device"] == 4
    assert Counter(event.outcome for event in campaigns.of(IntentClosed)) == {"absent": 4, "created": 4}
    assert set(commands_by_target(sandbox).values()) == {2}


async def test_an_answer_that_names_a_command_of_another_campaign_counts_as_lost(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=4)
    async with campaigns.campaign(campaigns.spec(name="two")) as two:
        plan = await two.plan()
        await run_until(campaigns, campaigns.spec(), CommandKnown, 4)
        create = sandbox.state.create

        def same(new: Any) -> Any:
            # A service may hold that what runs already is what was asked for.
            return next(c for c in sandbox.state.commands.values() if c.device == new.device) or create(new)

        sandbox.state.create = same  # type: ignore[method-assign]
        status = await two.run(plan)
    assert status.accounts[0].failures["unknown"] == 4
