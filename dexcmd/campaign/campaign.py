"""The `Campaign` class: plan a campaign, run it, inspect it and steer it."""

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
    """Return a client for an account.  Raises `ConfigurationError` if the environment has no token for it."""
    token = os.environ.get(account.token_env)
    if not token:
        raise ConfigurationError(f"no token for the account {account.name}: set {account.token_env}")
    return DexClient(api_token=token, account_id=account.account_id)


@asynccontextmanager
async def journal_of(journal: "str | os.PathLike[str] | Store") -> AsyncGenerator[Store]:
    """Open a journal given as a path; yield one that is already open, and leave it open."""
    if isinstance(journal, str | os.PathLike):
        async with open_journal(Path(journal)) as store:
            yield store
    else:
        yield journal


class Campaign(AsyncOnlyContext):
    """A bulk capture that is planned, journaled, and resumable after any interruption.

        async with Campaign(read_campaign_file("london.toml"), journal="journal.db") as campaign:
            plan = await campaign.plan()            # spends nothing, writes nothing
            status = await campaign.run(plan)       # never repeats what was done before

    However the process ends (`kill -9` and power cuts included), running the campaign again creates no second command
    and fetches no file that is already in place.
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
        """Take a campaign by its spec, or by name if the journal already has it.

        `journal` is a path, created if missing, or an open journal; with None the campaign can only be planned.
        `client` makes the client for an account; the default takes the token from the environment variable that the
        account names.  `control_interval` is the longest, in seconds, that a `pause`, `resume` or `cancel` from another
        process goes unnoticed.  `clock` is for tests.

        Raises `ConfigurationError` if `control_interval` is not above 0.
        """
        number_above_zero("control_interval", control_interval)
        self._spec = None if isinstance(campaign, str) else campaign
        self.name: str = campaign if isinstance(campaign, str) else campaign.name
        """The campaign's name in the journal."""

        self._journal = journal
        self._client = client
        self._clock = default_clock() if clock is None else clock
        self._interval = control_interval
        self._stack = AsyncExitStack()
        self._opened: Store | None = None
        self._steering: Steering | None = None

    async def __aenter__(self) -> Self:
        """Open the journal.

        Raises `CampaignError` if that fails, and `CampaignNotFoundError` for a campaign given by name that it does not
        have.
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
        """Return the campaign's spec."""
        if self._spec is None:
            raise RuntimeError("Campaign: enter it with `async with` first")
        return self._spec

    @property
    def store(self) -> Store:
        """Return the journal."""
        if self._opened is None:
            raise RuntimeError("Campaign: give it a journal, and enter it with `async with` first")
        return self._opened

    # --- before and while it runs

    async def plan(self, *, first: bool = False) -> Plan:
        """Survey the accounts and return exactly what a run would do.  Spends no quota and writes nothing.

        An account that can't be read has its `error` in the plan.  Raises `DexError`.

        With `first`, planning ends with the first account that has something to capture, and the plan leaves out those
        that have not answered by then: `run` plans each of them on its own, so a slow or silent one holds up no other.
        If devices are named that may be in any of several accounts, all accounts are surveyed regardless.
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
        """Run until everything is decided or `stop` is called, and return the campaign's status.

        What the journal already has resumes where it left off; the rest is taken from `plan`, or else planned.  Several
        accounts are then planned and run independently, so a slow one holds up no other, unless devices are named that
        may be in any of them.

        `on_event` is called on the event loop with each event of the run once it is durable, from `RunStarted` on,
        except `TargetPlanned` (there may be 100,000) and `ControlRequested`; `events` yields all of them.  If it
        raises, the run ends as if by `stop`, `on_event` is not called again, and the exception is raised at the end.

        Raises `ConfigurationError` if `plan` is for another campaign, `CampaignExistsError` if the journal has a
        different campaign of that name, `CampaignBusyError` if the campaign is already being run, and `DexError` for
        what affects all accounts, such as a full disk.  What the service refuses to one account stops only that one,
        and the status says so.
        """
        if plan is not None and fingerprint(plan.spec) != fingerprint(self.spec):
            raise ConfigurationError(f"the plan belongs to another campaign, not to {self.name!r}")
        steering = Steering(self.store, self.name, self._interval)
        if self._steering is None:
            # Set before anything else, so that a `stop` during planning counts.
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
            # It may belong to another run of this object, because of which this one was refused.
            if self._steering is steering:
                self._steering = None
        return await self.status()

    def stop(self) -> None:
        """Make `run` return soon: it creates nothing more, waits for answers, and finishes downloads in progress.

        This does not end the campaign: the next `run` resumes it.  Does nothing unless this object is running the
        campaign.
        """
        if self._steering is not None:
            self._steering.stop()

    async def known(self) -> bool:
        """Return whether the journal has this campaign, so that `run` would resume it.

        Raises `CampaignExistsError` if the journal has a different campaign of that name.
        """
        record = await self.store.campaign(self.name)
        if record is not None and record.fingerprint != fingerprint(self.spec):
            raise CampaignExistsError(
                f"the journal has a campaign {self.name!r} with a different plan: "
                "resume that one by its name, or choose another name"
            )
        return record is not None

    async def _set_up(self, plan: Plan | None, planner: AccountPlanner, steering: Steering) -> None:
        """Add the campaign to the journal, with whatever has to be planned as a whole, unless stopped meanwhile."""
        if await self.known():
            return

        async def plan_all() -> None:
            nonlocal plan
            plan = await self.plan()

        if plan is None and (len(self.spec.accounts) == 1 or (await planner.names()).anywhere):
            # Several are planned as a whole if a named device may be in any: it is missing only if none shows it.
            await steering.run_unless_ending(plan_all)
        events = [campaign_planned(self.spec, self._clock.now())] if plan is None else [*plan.events()]
        await self.store.append(self.name, events)

    # --- from anywhere

    async def status(self) -> CampaignStatus:
        """Return the campaign's status, whoever runs it.  Raises `CampaignNotFoundError` if the journal lacks it."""
        await self._known()
        return await read_status(self.store, self.spec, here=self._steering is not None)

    async def events(self, *, after: int = 0) -> AsyncGenerator[Recorded]:
        """Yield the events with a `seq` above `after`, in order."""
        while events := await self.store.events(self.name, after, EVENTS_AT_ONCE):
            for event in events:
                yield event
            after = events[-1].seq

    async def pause(self) -> None:
        """Stop creating for now; what runs is still followed, and its artifacts fetched.  Raises `CampaignError`."""
        await self._control("pause")

    async def resume(self) -> None:
        """Start creating again.  Raises `CampaignError`."""
        await self._control("run")

    async def cancel(self, *, collect: Literal["keep", "drop"] = "keep") -> int:
        """Stop creating for good, and return how many commands still run: the service can't cancel them.

        With `collect="keep"` they are followed and their artifacts fetched, by the process that runs the campaign or by
        the next `run`; with `"drop"` they are not.  Raises `CampaignError`, and `ConfigurationError` for any other
        `collect`.
        """
        if collect not in ("keep", "drop"):
            raise ConfigurationError(f"collect must be one of keep, drop, not {collect!r}")
        await self._control("cancel_keep" if collect == "keep" else "cancel_drop")
        return (await self.status()).count("running", "creating")

    async def _control(self, control: Control) -> None:
        await self._check_open_for(control)
        await self.store.append(self.name, [ControlRequested(at=self._clock.now(), control=control)])
        if control in ("run", "pause"):
            # In between, another process may have cancelled it, and then nothing came of this.
            await self._check_open_for(control)

    async def _check_open_for(self, control: Control) -> None:
        record = await self._known()
        if record.control in ("cancel_keep", "cancel_drop") and control in ("run", "pause"):
            raise CampaignError(f"the campaign {self.name!r} is cancelled")
        if record.ended == "finished":
            raise CampaignError(f"the campaign {self.name!r} has ended")

    async def _known(self) -> CampaignRecord:
        record = await self.store.campaign(self.name)
        if record is None:
            raise CampaignNotFoundError(f"the journal has no campaign {self.name!r}")
        return record


async def list_campaigns(journal: "str | os.PathLike[str] | Store") -> list[CampaignStatus]:
    """Return the status of every campaign in a journal, oldest first.  Raises `CampaignError`."""
    async with journal_of(journal) as store:
        return [await read_status(store, spec_from_json(record.spec)) for record in await store.campaigns()]
