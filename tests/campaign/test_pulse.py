"""Who waits for something to change is woken by it, also where it has changed just before, and by the time."""

import anyio
import pytest

from dexcmd.campaign.pulse import Pulse
from dexcmd.clock import ManualClock

pytestmark = pytest.mark.anyio


async def test_what_was_touched_before_one_waits_is_not_lost(clock: ManualClock) -> None:
    pulse, began = Pulse(clock), clock.monotonic()
    version = pulse.version
    pulse.touch()
    with anyio.fail_after(10):
        await pulse.wait(version)
        await pulse.wait(version, 3600.0)
    assert clock.monotonic() == began


async def test_what_was_touched_before_is_not_waited_for_again(clock: ManualClock) -> None:
    pulse = Pulse(clock)
    pulse.touch()
    began = clock.monotonic()
    with anyio.fail_after(10):
        await pulse.wait(pulse.version, 90.0)
    assert clock.monotonic() - began >= 90.0
