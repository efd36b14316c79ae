"""The face of campaigns: plan one, run it, look at it, steer it."""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from dexcmd.async_only import AsyncOnlyContext
from dexcmd.campaign.events import Control, ControlRequested
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.layout import fingerprint, spec_from_json
from dexcmd.campaign.ledger import OnEvent
from dexcmd.campaign.plan import Plan, campaign_planned
from dexcmd.campaign.planner import AccountPlanner, make_plan
from dexcmd.campaign.reading import read_status
from dexcmd.campaign.records import CampaignRecord, Recorded
from dexcmd.campaign.runner import MakeClient, Runner
from dexcmd.campaign.spec import AccountSpec, CampaignSpec
from dexcmd.campaign.status import CampaignStatus
from dexcmd.campaign.steering import Steering
from dexcmd.campaign.store import Store
from dexcmd.client import DexClient
from dexcmd.clock import Clock, default_clock
from dexcmd.errors import CampaignError, CampaignExistsError, CampaignNotFoundError, ConfigurationError, DexError
from dexcmd.validators import number_above_zero

__all__ = ["Campaign", "client_for", "list_campaigns"]

EVENTS_AT_ONCE = 1000


def client_for(account: AccountSpec) -> DexClient:
    """Return a client for an account.  Raises `ConfigurationError` where the environment has no token for it."""
    token = os.environ.get(account.token_env)
    if not token:
        raise ConfigurationError(f"no token for the account {account.name}: set {account.token_env}")
    return DexClient(api_token=token, account_id=account.account_id)


@asynccontextmanager
async def journal_of(journal: "str | os.PathLike[str] | Store") -> AsyncGenerator[Store]:
    """Open a journal that is a file; one that is open already is left so."""
    if isinstance(journal, str | os.PathLike):
        async with open_journal(Path(journal)) as store:
            yield store
    else:
        yield journal


class Campaign(AsyncOnlyContext):
    """A campaign: a bulk capture that is planned, journaled, and gone on with after any interruption.

        async with Campaign(read_campaign_file("london.toml"), journal="journal.db") as campaign:
            plan = await campaign.plan()            # spends nothing, writes nothing
            status = await campaign.run(plan)       # whatever was done before is not done again

    Whatever ends the process, `kill -9` and a power cut included: run again, it creates no second command and fetches
    no file again that is in its place.
    """

    def __init__(
        self,
        campaign: CampaignSpec | str,
        *,
        journal: "str | os.PathLike[str] | Store | None",
        client: MakeClient = client_for,
        clock: Clock | None = None,
        control_interval: float = 1.0,
    ) -> None:
        """Name the campaign: by its spec, or by its name where it is in the journal already.

        `journal` is a file, made where there is none; without one (None) it can be planned, and no more.  `client`
        makes the client of an account; by default with the token of the environment variable that the account names.
        `control_interval` is after how many seconds, at the latest, `pause` and the like of another process are
        noticed.  `clock` is for tests.

        Raises `ConfigurationError` for an interval that is not above 0.
        """
        number_above_zero("control_interval", control_interval)
        self._spec = None if isinstance(campaign, str) else campaign
        self.name: str = campaign if isinstance(campaign, str) else campaign.name
        """Its name in the journal."""

        self._journal = journal
        self._client = client
        self._clock = default_clock() if clock is None else clock
        self._interval = control_interval
        self._stack = AsyncExitStack()
        self._opened: Store | None = None
        self._steering: Steering | None = None

    async def __aenter__(self) -> Self:
        """Open the journal.

        Raises `CampaignError`, and `CampaignNotFoundError` where a campaign that is only named is not in it.
        """
        if self._journal is not None:
            self._opened = await self._stack.enter_async_context(journal_of(self._journal))
        try:
            if self._spec is None:
                self._spec = spec_from_json((await self._known()).spec)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the journal."""
        await self._stack.aclose()
        self._opened = None

    @property
    def spec(self) -> CampaignSpec:
        """Return what it is to do."""
        if self._spec is None:
            raise RuntimeError("Campaign: enter it with `async with` first")
        return self._spec

    @property
    def store(self) -> Store:
        """Return the journal."""
        if self._opened is None:
            raise RuntimeError("Campaign: it has no journal, or is to be entered with `async with` first")
        return self._opened

    # --- before and while it runs

    async def plan(self, *, first: bool = False) -> Plan:
        """Look at the accounts and return exactly what a run would do.  Spends no quota and writes nothing.

        What can't be read of an account is told in its part of the plan.  Raises `DexError`.

        With `first`, that ends with the first account that has something to capture, and the plan has no part for those
        that have not answered by then: `run` plans each of them by itself, so one that is slow or silent holds up no
        other.  Where devices are named that may be in any of several accounts, all are looked at nevertheless.
        """
        async with AsyncExitStack() as stack:
            clients: dict[str, DexClient | DexError] = {}
            for account in self.spec.accounts:
                try:
                    clients[account.name] = await stack.enter_async_context(self._client(account))
                except ConfigurationError as error:
                    clients[account.name] = error
            return await make_plan(self.spec, clients, self._opened, self._clock, first=first)

    async def run(self, plan: Plan | None = None, *, on_event: OnEvent | None = None) -> CampaignStatus:
        """Run it until all is decided, or `stop` is called, and return how it stands then.

        What is not in the journal yet is taken from `plan`, or else planned.  Of several accounts each is planned and
        run by itself then, so that one which answers slowly holds up no other, unless devices are named that may be in
        any of them.  What is in the journal goes on from where it stands.

        `on_event` is called with each event of the run, on the event loop, once it is durable: from `RunStarted` on,
        without `TargetPlanned`, of which there may be 100,000, and without what the operator asks for; `events` has
        all.  What it raises ends the run as `stop` does, and is raised in the end; it is not called again.

        Raises `ConfigurationError` for a plan of another campaign, `CampaignExistsError` where the journal has another
        campaign of that name, `CampaignBusyError` where another process runs it, and `DexError` for what concerns all
        accounts, such as a full disk.  What the service refuses to one account stops that one only, and the status
        tells.
        """
        if plan is not None and fingerprint(plan.spec) != fingerprint(self.spec):
            raise ConfigurationError(f"the plan is that of another campaign than {self.name!r}")
        steering = Steering(self.store, self.name, self._interval)
        if self._steering is None:
            # From the first moment on, so that a `stop` while it is being planned counts.
            self._steering = steering
        try:
            async with self.store.hold(self.name):
                planner = AccountPlanner(self.spec, self._client, self.store, self._clock, plan)
                await self._set_up(plan, planner, steering)
                if not steering.stopping:
                    runner = Runner(
                        store=self.store,
                        spec=self.spec,
                        steering=steering,
                        clock=self._clock,
                        client=self._client,
                        plan=planner.plan,
                        on_event=on_event or (lambda _: None),
                    )
                    await runner.run()
        finally:
            # That of another run of this object stays: this one was refused then.
            if self._steering is steering:
                self._steering = None
        return await self.status()

    def stop(self) -> None:
        """Have `run` return soon: it creates nothing more, waits for answers, and finishes what is being fetched.

        The campaign is not ended by that: the next `run` goes on.  Where it is not being run nothing happens.
        """
        if self._steering is not None:
            self._steering.stop()

    async def known(self) -> bool:
        """Tell whether the journal has it, so that `run` goes on with it.

        Raises `CampaignExistsError` where the journal has another campaign of that name.
        """
        record = await self.store.campaign(self.name)
        if record is not None and record.fingerprint != fingerprint(self.spec):
            raise CampaignExistsError(
                f"there is a campaign {self.name!r} in the journal that is to do something else: "
                "go on with it by its name, or give this one another"
            )
        return record is not None

    async def _set_up(self, plan: Plan | None, planner: AccountPlanner, steering: Steering) -> None:
        """Have the campaign in the journal, with what there is to plan as one, unless that was stopped."""
        if await self.known():
            return

        async def plan_all() -> None:
            nonlocal plan
            plan = await self.plan()

        if plan is None and (len(self.spec.accounts) == 1 or (await planner.names()).anywhere):
            # Of several, for a device that is named is missing only if none shows it.
            await steering.run_unless_ending(plan_all)
        events = [campaign_planned(self.spec, self._clock.now())] if plan is None else [*plan.events()]
        await self.store.append(self.name, events)

    # --- from anywhere

    async def status(self) -> CampaignStatus:
        """Return how it stands, whoever runs it.  Raises `CampaignNotFoundError` where the journal does not know it."""
        await self._known()
        return await read_status(self.store, self.spec, here=self._steering is not None)

    async def events(self, *, after: int = 0) -> AsyncGenerator[Recorded]:
        """Yield what has happened, in order, from the event with `seq` above `after` on."""
        while events := await self.store.events(self.name, after, EVENTS_AT_ONCE):
            for event in events:
                yield event
            after = events[-1].seq

    async def pause(self) -> None:
        """Create nothing for now; what runs is followed and fetched.  Raises `CampaignError`."""
        await self._control("pause")

    async def resume(self) -> None:
        """Create again.  Raises `CampaignError`."""
        await self._control("run")

    async def cancel(self, *, collect: Literal["keep", "drop"] = "keep") -> int:
        """Create nothing more, ever, and return how many commands still run: the service can't cancel them.

        They are followed and their artifacts fetched, or not, as `collect` says, by the process that runs the campaign
        or by the next `run`.  Raises `CampaignError`, and `ConfigurationError` for another word.
        """
        if collect not in ("keep", "drop"):
            raise ConfigurationError(f"collect must be one of keep, drop, not {collect!r}")
        await self._control("cancel_keep" if collect == "keep" else "cancel_drop")
        return (await self.status()).count("running", "creating")

    async def _control(self, control: Control) -> None:
        record = await self._known()
        if record.control in ("cancel_keep", "cancel_drop") and control in ("run", "pause"):
            raise CampaignError(f"the campaign {self.name!r} is cancelled")
        if record.ended == "finished":
            raise CampaignError(f"the campaign {self.name!r} has ended")
        await self.store.append(self.name, [ControlRequested(at=self._clock.now(), control=control)])

    async def _known(self) -> CampaignRecord:
        record = await self.store.campaign(self.name)
        if record is None:
            raise CampaignNotFoundError(f"there is no campaign {self.name!r} in the journal")
        return record


async def list_campaigns(journal: "str | os.PathLike[str] | Store") -> list[CampaignStatus]:
    """Return how all campaigns of a journal stand, the oldest first.  Raises `CampaignError`."""
    async with journal_of(journal) as store:
        return [await read_status(store, spec_from_json(record.spec)) for record in await store.campaigns()]
