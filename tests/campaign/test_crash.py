"""A campaign whose process ends at any write to the journal, just before or just after it, goes on as if nothing had
happened.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.spec import Pace, Share, Waves
from dexcmd.campaign.store import Store
from dexcmd.sandbox import Behaviour, Fault
from tests.campaign.conftest import CampaignRig

pytestmark = pytest.mark.anyio


class Crash(BaseException):
    """The end of a process: nothing of ours may catch it and go on."""


class CrashingStore:
    """A journal that ends the process at its nth write, and lets nothing of it write after that."""

    def __init__(self, store: Store, writes: int, *, after: bool) -> None:
        self._store, self._left, self._after = store, writes, after
        self.crashed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        # Others may be written meanwhile.
        self._left -= 1
        last = self._left == 0
        if self.crashed or (last and not self._after):
            self.crashed = True
            raise Crash
        await self._store.append(campaign, events)
        if last:
            self.crashed = True
            raise Crash


@asynccontextmanager
async def crashing(campaigns: CampaignRig, writes: int, *, after: bool) -> AsyncIterator[CrashingStore]:
    async with open_journal(campaigns.journal) as store:
        yield CrashingStore(store, writes, after=after)


async def run_until_crash(campaigns: CampaignRig, writes: int, *, after: bool) -> bool:
    """Run the campaign, and tell whether it got to its nth write."""
    spec = campaigns.spec(waves=Waves(sizes=(Share(count=3),)), pace=Pace(creates=2, in_flight=8))
    async with crashing(campaigns, writes, after=after) as store:
        try:
            async with campaigns.campaign(spec, journal=store) as campaign:
                await campaign.run(on_event=campaigns.events.append)
        except Crash:
            return True
    return False


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("lost", [False, True], ids=["", "lost"])
async def test_a_crash_at_any_write_loses_and_doubles_nothing(campaigns: CampaignRig, after: bool, lost: bool) -> None:
    sandbox = await campaigns.account(devices=14, behaviour=Behaviour.instant(multi_user_share=0, ineligible_share=0))
    if lost:
        sandbox.faults.add_random(
            rate=0.5, mix=[Fault.drop(processed=True), Fault.drop(processed=False)], on="create_commands", seed=3
        )
    writes = 0
    # Each process gets one write further than the one before: it crashes at every write of the campaign in turn.
    while await run_until_crash(campaigns, writes := writes + 1, after=after):
        assert writes < 200
    async with campaigns.campaign("one") as campaign:
        status = await campaign.status()
        targets = await campaign.store.targets("one", range(1, 15))
    assert status.state == "finished"
    made = Counter((c.device.device_id, c.device.registration_id) for c in sandbox.state.commands.values())
    assert set(made.values()) == {1}
    states = Counter((target.state, target.failure) for target in targets)
    if lost or after:
        # Two processes that end between the intent and the POST leave what two lost answers leave.
        assert states.keys() <= {("saved", None), ("failed", "unknown")}
        assert states["saved", None] == len(made)
    else:
        assert states == {("saved", None): 14}
        assert len(made) == 14
    assert len(campaigns.files()) == len(made)
    fetched = Counter(r.params["command_id"] for r in sandbox.requests if r.operation == "download" and r.status == 200)
    # A file that is in its place is not fetched again; one that was not there yet, when its process ended, is.
    assert sum(fetched.values()) <= len(made) + writes
