"""Accounts of one campaign have nothing to do with one another: by a clock on which work takes no time, none ends later
because of what becomes of others.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dexcmd.campaign.events import AccountStopped, RunStarted
from dexcmd.sandbox import Behaviour, Fault
from tests.campaign.conftest import CampaignRig
from tests.faults.loops import LoopClock, StillLoop, wait_for_threads

pytestmark = pytest.mark.anyio

HEALTHY: dict[str, Any] = {"multi_user_share": 0, "ineligible_share": 0, "disconnected_share": 0}
GOOD = 46
NO_LATER = 1.05
"""Times as long as without the others, at most."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": StillLoop}


@pytest.fixture
async def clock() -> LoopClock:
    wait_for_threads()
    return LoopClock(datetime(2026, 1, 1, 12, tzinfo=UTC))


@pytest.fixture
async def alone(tmp_path: Path, clock: Any) -> AsyncIterator[CampaignRig]:
    """A second rig, for a campaign without the accounts that are in trouble."""
    async with AsyncExitStack() as stack:
        yield CampaignRig(tmp_path / "alone", clock, stack)


TROUBLES = {
    "refused": Fault.error(403, form="envelope", code=10000),
    "broken": Fault.error(503),
    "silent": Fault.silence(headers=False),
    "slow": Fault.slow(15.0),
}
"""What becomes of each request of an account."""

DEVICES = 3


async def seconds_of(rig: CampaignRig, troubles: Mapping[str, Fault]) -> dict[str, float]:
    """Run a campaign of accounts, the last ones in trouble from the plan on, and return how long each took."""
    for number in range(GOOD):
        await rig.account(f"good-{number}", devices=DEVICES, behaviour=Behaviour(**HEALTHY))
    for name, fault in troubles.items():
        sandbox = await rig.account(name, devices=DEVICES, behaviour=Behaviour(**HEALTHY))
        sandbox.faults.add(fault, times=None)
    status = await rig.run(rig.spec())
    assert status.count("saved") == DEVICES * (GOOD + ("slow" in troubles))
    [started] = rig.of(RunStarted)
    return {event.account: (event.at - started.at).total_seconds() for event in rig.of(AccountStopped)}


async def test_of_50_accounts_those_that_fail_and_one_that_is_slow_hold_up_no_other(
    campaigns: CampaignRig, alone: CampaignRig
) -> None:
    took = await seconds_of(campaigns, TROUBLES)
    took_alone = await seconds_of(alone, {})
    assert len(took) == 50
    assert took.keys() - took_alone.keys() == TROUBLES.keys()
    # It is slow, and it takes a while until it is given up.
    assert min(took["slow"], took["silent"]) > 2 * max(took_alone.values())
    late = {name: (took[name], seconds) for name, seconds in took_alone.items() if took[name] > NO_LATER * seconds}
    assert not late
