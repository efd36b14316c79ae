"""A program that runs a campaign and can be killed, for `kill`."""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from dexcmd import Campaign, DexClient, RetryPolicy
from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.layout import spec_from_json
from dexcmd.campaign.spec import AccountSpec
from dexcmd.campaign.store import Store
from dexcmd.clock import ScaledClock
from tests.forking import run_each_task


class SharedClock(ScaledClock):
    """A `ScaledClock` that is the same in all processes: it started when one of them says."""

    def __init__(self, speed: float, started: float, epoch: datetime) -> None:
        super().__init__(speed)
        self._started, self._epoch = started, epoch


class Death:
    """A journal that kills this process just before, or just after, its nth events have become durable."""

    def __init__(self, store: Store, appends: int, *, after: bool) -> None:
        self._store, self._left, self._after = store, appends, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        # Others may be written meanwhile.
        self._left -= 1
        last = self._left == 0
        if last and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        await self._store.append(campaign, events)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)


@asynccontextmanager
async def journal(task: dict[str, Any]) -> AsyncIterator[Any]:
    async with open_journal(task["journal"]) as store:
        yield Death(store, task["appends"], after=task["after"]) if task.get("appends") else store


async def run(task: dict[str, Any]) -> None:
    clock = SharedClock(task["speed"], task["started"], datetime.fromisoformat(task["epoch"]))

    def client(account: AccountSpec) -> DexClient:
        return DexClient(
            api_token=task["token"],
            account_id=account.account_id,
            base_url=task["base_url"],
            clock=clock,
            retry=RetryPolicy(attempt_seconds=2.0),
            rate_limit=None,
            settle_seconds=task["settle_seconds"],
        )

    async with (
        journal(task) as store,
        Campaign(spec_from_json(task["spec"]), journal=store, client=client, clock=clock) as campaign,
    ):
        await campaign.run()


if __name__ == "__main__":
    run_each_task(run)
