"""A campaign in one process: its accounts in parallel, until everything is decided or the process is to stop."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from functools import partial
from typing import Any

import attrs

from dexcmd.campaign.collector import Collector
from dexcmd.campaign.decide import CANCELLED, deadline_of
from dexcmd.campaign.desk import Desk
from dexcmd.campaign.destination import Destination, sink_for
from dexcmd.campaign.events import AccountStopped, CampaignEvent, RunEnded, RunStarted
from dexcmd.campaign.ledger import Ledger, OnEvent
from dexcmd.campaign.pulse import Pulse
from dexcmd.campaign.records import AccountRecord
from dexcmd.campaign.settling import SettlingTime
from dexcmd.campaign.shard import Shard
from dexcmd.campaign.spec import AccountSpec, CampaignSpec
from dexcmd.campaign.steering import Steering
from dexcmd.campaign.store import Store
from dexcmd.client import DexClient
from dexcmd.clock import Clock
from dexcmd.errors import CampaignError, DexError
from dexcmd.tasks import run_beside, run_tasks
from dexcmd.transfer.saver import check_ready
from dexcmd.transfer.template import PlaceTemplate

__all__ = ["MakeClient", "Runner"]

logger: logging.Logger = logging.getLogger(__name__)

MakeClient = Callable[[AccountSpec], DexClient]


@attrs.define(eq=False)
class Runner:
    """Runs a journaled campaign.  Whoever creates it has to hold the campaign."""

    store: Store
    spec: CampaignSpec
    steering: Steering
    clock: Clock
    client: MakeClient
    plan: Callable[[AccountSpec], Awaitable[AccountStopped | None]]
    """Plans an account that is not planned yet, and returns the event that ends it if there is nothing to run."""

    on_event: OnEvent

    _untold: Exception | None = attrs.field(default=None, init=False)
    """The exception that `on_event` raised."""

    async def run(self) -> None:
        """Resume from the state in the journal.

        Raises `DexError` for what affects the campaign as a whole, and whatever `on_event` raises: it is not called
        again then, and the run ends as if told to stop.
        """
        started = self.clock.now()
        await self._note(RunStarted(at=started))
        try:
            await run_beside(partial(self._run_accounts, started), [self.steering.watch])
        except DexError:
            with suppress(CampaignError):
                # The journal itself may have failed, and the first error is the one to report.
                await self._note(RunEnded(at=self.clock.now(), reason="failed"))
            raise
        accounts = await self.store.accounts(self.spec.name)
        done = all(account.stopped not in (None, "refused") for account in accounts)
        await self._note(RunEnded(at=self.clock.now(), reason="finished" if done else "interrupted"))
        if self._untold is not None:
            raise self._untold

    async def _note(self, event: CampaignEvent) -> None:
        await self.store.append(self.spec.name, [event])
        self._tell(event)

    def _tell(self, event: CampaignEvent) -> None:
        if self._untold is not None:
            return
        try:
            self.on_event(event)
        except Exception as error:  # noqa: BLE001 - it is not ours, and is raised in the end
            logger.error("ending the run: on_event raised %r", error)
            self._untold = error
            self.steering.stop()

    async def _run_accounts(self, started: datetime) -> None:
        await self.steering.look()
        campaign = await self.store.campaign(self.spec.name)
        first_run_at = started if campaign is None or campaign.first_run_at is None else campaign.first_run_at
        deadline = deadline_of(self.spec, first_run_at)
        records = {account.name: account for account in await self.store.accounts(self.spec.name)}
        left = [account for account in self.spec.accounts if records[account.name].stopped is None]
        planned = {count.account for count in await self.store.counts(self.spec.name)}
        sink = sink_for(self.spec.artifacts)
        async with sink.open(self.clock) as destination:
            if left:
                await check_ready(sink)

            async def run(account: AccountSpec) -> None:
                # The others do not wait, however long this one takes to plan.
                if account.name in planned or await self._plan(account):
                    await self._run_account(account, records[account.name], destination, deadline)

            await run_tasks([partial(run, account) for account in left])

    async def _plan(self, account: AccountSpec) -> bool:
        """Plan an account, and return whether there is something to run, and time to run it."""
        end: AccountStopped | None = None

        async def plan() -> None:
            nonlocal end
            end = await self.plan(account)

        # Nothing of an unplanned account is started, so there is nothing to wind down.
        await self.steering.run_unless_ending(plan)
        if end is None and self.steering.stopping:
            return False
        if end is None and await self.store.counts(self.spec.name, account.name):
            return True
        if end is None:
            end = AccountStopped(at=self.clock.now(), account=account.name, kind="cancelled", reason=CANCELLED)
        await self._note(end)
        return False

    async def _run_account(
        self,
        account: AccountSpec,
        record: AccountRecord,
        destination: Any,
        deadline: datetime | None,
    ) -> None:
        async with AsyncExitStack() as stack:
            try:
                dex = await stack.enter_async_context(self.client(account))
            except DexError as error:
                # A missing token, say; the others may have theirs.
                stop = AccountStopped(at=self.clock.now(), account=account.name, kind="refused", reason=str(error))
                await self._note(stop)
            else:
                await (await self._shard(dex, account, record, destination, deadline)).run()

    async def _shard(
        self, dex: DexClient, account: AccountSpec, record: AccountRecord, destination: Any, deadline: datetime | None
    ) -> Shard:
        session = dex.session
        lags = await self.store.lags(self.spec.name, account.name)
        pulse = Pulse(self.clock)
        self.steering.attach(pulse)
        desk = Desk(
            spec=self.spec,
            account=account,
            session=session,
            ledger=Ledger(self.store, self.spec.name, account.name, self._tell),
            steering=self.steering,
            pulse=pulse,
            settling=SettlingTime(session.settings.settle_seconds, n=lags.n, longest=lags.longest),
            deadline=deadline,
        )
        template = PlaceTemplate.parse(self.spec.artifacts.name)
        fetch = Destination(session, destination, template, self.spec.name).fetch
        return Shard(desk, record, Collector(desk, fetch), dex.commands.created)
