"""What campaigns cost: requests, and how little accounts have to do with one another."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from dexcmd.campaign.events import AccountStopped, CampaignEvent, IntentOpened
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.store import Store
from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Fault
from tests.campaign.conftest import HEALTHY, CampaignRig

pytestmark = pytest.mark.anyio


MOST_REQUESTS = 1.25
"""For each artifact of a campaign of 1,000: a tenth to create it, one to fetch it, the rest is all else."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    # The journal's commits and the files take real time, in which this clock must not run ahead.
    monkeypatch.setattr(ManualClock, "SETTLE_SECONDS", 0.006)
    return ManualClock()


@pytest.mark.parametrize("seconds", [(2.0, 20.0), (60.0, 120.0)], ids=["quick", "minutes"])
async def test_requests_for_each_artifact(campaigns: CampaignRig, seconds: tuple[float, float]) -> None:
    await campaigns.account(devices=1000, quota=2000, behaviour=Behaviour(**HEALTHY, run_seconds=seconds))
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 1000
    asked = Counter(request.operation for request in campaigns.sandbox.requests)
    assert asked["create_commands"] == 100
    assert asked["download"] == 1000
    assert sum(asked.values()) <= MOST_REQUESTS * 1000, asked


class GatedStore:
    """A journal in which one account gets no further than its first POST until others have ended."""

    def __init__(self, store: Store, account: str, others: int) -> None:
        self._store, self._account, self._others = store, account, others
        self._gate = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        if any(isinstance(event, IntentOpened) and event.account == self._account for event in events):
            await self._gate.wait()
        await self._store.append(campaign, events)
        self._others -= sum(isinstance(event, AccountStopped) for event in events)
        if self._others == 0:
            self._gate.set()


async def test_an_account_that_fails_and_one_that_is_slow_hold_up_no_other(campaigns: CampaignRig) -> None:
    for number in range(10):
        await campaigns.account(f"good-{number}", devices=4)
    await campaigns.account("slow", devices=4)
    bad = await campaigns.account("bad", devices=4)
    async with open_journal(campaigns.journal) as store:
        # Were the others to wait for the slow one in any way, this would never end.
        gated = GatedStore(store, "slow", others=11)
        async with campaigns.campaign(campaigns.spec(), journal=gated) as campaign:
            plan = await campaign.plan()
            bad.faults.add(Fault.error(403, form="envelope", code=10000), times=None)
            with anyio.fail_after(60):
                status = await campaign.run(plan)
    stopped = {account.name: account.stopped for account in status.accounts}
    assert Counter(stopped.values()) == {"finished": 11, "refused": 1}
    assert stopped["bad"] == "refused"
    assert status.count("saved") == 44
