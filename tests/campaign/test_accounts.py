"""How little the accounts of a campaign have to do with one another."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from dexcmd.campaign.events import AccountStopped, CampaignEvent, IntentOpened
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.store import Store
from dexcmd.sandbox import Fault
from tests.campaign.conftest import CampaignRig

pytestmark = pytest.mark.anyio


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
