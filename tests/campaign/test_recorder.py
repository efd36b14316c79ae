"""Artifacts that are in place are written down together, and none is forgotten."""

from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from dexcmd.campaign.events import ArtifactSaved, CampaignEvent
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.recorder import TOGETHER_SECONDS
from dexcmd.campaign.spec import Pace
from dexcmd.campaign.store import Store
from dexcmd.clock import ManualClock
from dexcmd.sandbox import Fault
from tests.campaign.conftest import CampaignRig

pytestmark = pytest.mark.anyio


class HeldClock(ManualClock):
    """A clock on which what was saved waits for others until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = anyio.Event()
        self.goes = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        """Sleep, or wait to be let go."""
        if seconds != TOGETHER_SECONDS:
            await super().sleep(seconds)
            return
        self.waits.set()
        await self.goes.wait()


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


class CountingStore:
    """A journal that counts how many artifacts each of its appends tells of."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.saved: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        await self._store.append(campaign, events)
        if saved := sum(isinstance(event, ArtifactSaved) for event in events):
            self.saved.append(saved)


async def test_what_is_saved_within_a_moment_is_one_commit(campaigns: CampaignRig, clock: HeldClock) -> None:
    await campaigns.account(devices=12)
    async with open_journal(campaigns.journal) as journal:
        store = CountingStore(journal)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: campaigns.run(campaigns.spec(), journal=store))
                while len(list(campaigns.captures.rglob("*.zip"))) < 12:
                    await anyio.sleep(0.001)
                assert store.saved == []
                clock.goes.set()
        assert sum(store.saved) == 12
        # The last may come into place while the others are written down.
        assert len(store.saved) <= 2
    assert len(campaigns.of(ArtifactSaved)) == 12


async def test_what_waits_is_written_down_when_the_account_is_refused(campaigns: CampaignRig, clock: HeldClock) -> None:
    sandbox = await campaigns.account(devices=2)
    sandbox.faults.add(Fault.error(403), on="download", skip=1)
    # That the account is, and not the artifact alone, is told by this; a plan and a run have asked before.
    sandbox.faults.add(Fault.error(403), on="get_quota", skip=2)
    spec = campaigns.spec(pace=Pace(downloads=1))
    with anyio.fail_after(60):
        status = await campaigns.run(spec)
    assert clock.waits.is_set()
    assert status.accounts[0].stopped == "refused"
    assert status.count("saved") == 1
    assert len(campaigns.of(ArtifactSaved)) == 1
    clock.goes.set()
    status = await campaigns.run("one")
    assert status.count("saved") == 2
    # The one that was refused was asked for again, the other was not.
    assert campaigns.asked("download") == 3


class StoppingStore(CountingStore):
    """A journal that takes its time to write down artifacts, while its campaign is told to stop."""

    campaign_to_stop: Any = None

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        if any(isinstance(event, ArtifactSaved) for event in events):
            self.campaign_to_stop.stop()
            # What it takes to end whatever does not wait.
            for _ in range(1000):
                await anyio.lowlevel.checkpoint()
        await super().append(campaign, events)


async def test_a_stop_waits_for_what_is_being_written_down(campaigns: CampaignRig, clock: HeldClock) -> None:
    await campaigns.account(devices=3)
    clock.goes.set()
    async with open_journal(campaigns.journal) as journal:
        store = StoppingStore(journal)
        with anyio.fail_after(60):
            async with campaigns.campaign(campaigns.spec(), journal=store) as campaign:
                store.campaign_to_stop = campaign
                await campaign.run(on_event=campaigns.events.append)
                status = await campaign.status()
    # Each that is in its place is told of, for no later run would.
    assert status.count("saved") == len(campaigns.of(ArtifactSaved)) == len(campaigns.files()) > 0
