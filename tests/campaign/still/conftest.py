"""Campaigns by a clock on which work takes no time: for tests of when things are done, and in which order."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.campaign.conftest import CampaignRig
from tests.faults.loops import LoopClock, StillLoop, wait_for_threads

EPOCH = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When each test begins."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": StillLoop}


@pytest.fixture
async def clock() -> LoopClock:
    wait_for_threads()
    return LoopClock(EPOCH)


@pytest.fixture
def campaigns(campaigns: CampaignRig) -> CampaignRig:
    # Here it is no person's time, and each look at the journal takes some.  Tests that steer have it shorter.
    campaigns.control_interval = 60.0
    return campaigns
