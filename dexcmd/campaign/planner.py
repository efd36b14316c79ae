"""Planning a campaign: surveys its accounts, which spends nothing, and works out what a run would do."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from dexcmd.campaign.events import AccountStopped, TargetPlanned
from dexcmd.campaign.forecast import (
    QuotaForecast,
    Requests,
    least_seconds,
    quota_forecast,
    request_forecast,
    size_forecast,
)
from dexcmd.campaign.named import Named, Names
from dexcmd.campaign.namescsv import read_csv
from dexcmd.campaign.patience import Patience
from dexcmd.campaign.plan import AccountPlan, Plan, nothing_to_do
from dexcmd.campaign.pulse import sleep
from dexcmd.campaign.spec import AccountSpec, CampaignSpec
from dexcmd.campaign.store import Store
from dexcmd.campaign.survey import Survey
from dexcmd.campaign.turns import wave_of
from dexcmd.client import DexClient
from dexcmd.clock import Clock
from dexcmd.errors import CampaignError, ConfigurationError, DexError
from dexcmd.polling.share import PollShare
from dexcmd.resources.devices import Device
from dexcmd.tasks import run_tasks
from dexcmd.wire.window import RateLimit

__all__ = ["AccountPlanner", "make_plan", "read_names"]

logger: logging.Logger = logging.getLogger(__name__)

ACCOUNTS_AT_ONCE = 8
EVENTS_AT_ONCE = 1000

RATE_LIMIT = RateLimit()


async def read_names(spec: CampaignSpec) -> Names:
    """Return the devices that a campaign names.  Raises `ConfigurationError` if its CSV can't be read."""
    path, rows = spec.targets.csv, list[Named]()
    if path is not None:
        accounts = [account.name for account in spec.accounts]
        rows = await anyio.to_thread.run_sync(lambda: read_csv(Path(path), accounts))
    return Names(spec.targets, rows)


async def make_plan(
    spec: CampaignSpec,
    clients: Mapping[str, DexClient | DexError],
    store: Store | None,
    clock: Clock,
    *,
    first: bool = False,
) -> Plan:
    """Survey a campaign's accounts and return what a run would do, creating and writing nothing.

    `clients` are by account name, with an error in place of a client that can't be made.  An account that can't be read
    has its error in its plan, and the others are planned regardless; all wait for the slowest, as a named device is
    `not_found` only if no account shows it.  `store` supplies the size of earlier artifacts.  For `first` see
    `Campaign.plan`.

    Raises `ConfigurationError` for an account without a client and for a CSV that can't be read (any more), and
    `CampaignError` if the journal can't be.
    """
    if missing := [account.name for account in spec.accounts if account.name not in clients]:
        raise ConfigurationError(f"no client for the accounts {', '.join(missing)}")
    names = await read_names(spec)
    now = clock.now()
    deadline = now + spec.deadline if isinstance(spec.deadline, timedelta) else spec.deadline
    surveys = [Survey(spec, account, names, now) for account in spec.accounts]
    some = first and not names.anywhere
    surveys = await _look(surveys, clients, lambda survey: some and _captures(survey, deadline))
    _note_missing(surveys, names, of_all=len(surveys) == len(spec.accounts))
    plans: list[AccountPlan] = []
    number = 1
    for survey in surveys:
        plans.append(_account_plan(survey, number, deadline))
        number += len(plans[-1].targets) + len(plans[-1].skipped)
    known, mean = (0, 0.0) if store is None else await store.mean_artifact_size(spec.command.type)
    return Plan(
        spec=spec,
        planned_at=now,
        deadline=deadline,
        accounts=tuple(plans),
        size=size_forecast(spec.command, sum(plan.commands for plan in plans), known, mean),
        least_seconds=_least_seconds(plans, clients),
    )


async def _look(
    surveys: Sequence[Survey], clients: Mapping[str, DexClient | DexError], enough: Callable[[Survey], bool]
) -> list[Survey]:
    """Take the surveys, several at a time, until one is enough, and return those that are done."""
    todo, done = iter(surveys), set[Survey]()
    with anyio.CancelScope() as scope:

        async def look() -> None:
            for survey in todo:
                client = clients[survey.account.name]
                if isinstance(client, DexError):
                    survey.error = client
                else:
                    await survey.take(client)
                done.add(survey)
                if enough(survey):
                    scope.cancel()

        await run_tasks([look] * min(ACCOUNTS_AT_ONCE, len(surveys)))
    return [survey for survey in surveys if survey in done]


@attrs.define(eq=False)
class AccountPlanner:
    """Plans accounts of a campaign that is already in the journal, each on its own."""

    spec: CampaignSpec
    client: Callable[[AccountSpec], DexClient]
    store: Store
    clock: Clock
    given: Plan | None = None
    """A plan that may cover some of them already."""

    _names: Names | None = attrs.field(default=None, init=False)
    _read: set[str] = attrs.field(factory=set[str], init=False)
    """The accounts whose devices `_names` has taken into account, in this run or an earlier one."""

    _reading: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _numbering: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    async def names(self) -> Names:
        """Return the devices that the campaign names, read once.  Raises `ConfigurationError`; see `read_names`."""
        async with self._reading:
            if self._names is None:
                names = await read_names(self.spec)
                if names.anywhere:
                    await self._recall(names)
                self._names = names
        return self._names

    async def _recall(self, names: Names) -> None:
        """Restore from the journal which accounts earlier runs have read, and which named devices they found."""
        store, campaign = self.store, self.spec.name
        planned = {count.account for count in await store.counts(campaign)}
        for account in await store.accounts(campaign):
            # An account that ended without a target had no matching device.
            if account.name in planned or account.stopped == "finished":
                self._read.add(account.name)
        after = 0
        while events := await store.events(campaign, after, EVENTS_AT_ONCE, [TargetPlanned]):
            after = events[-1].seq
            for row in (recorded.event for recorded in events):
                if isinstance(row, TargetPlanned):
                    names.match(row.account, _device(row))

    async def plan(self, account: AccountSpec) -> AccountStopped | None:
        """Add an account's targets to the journal; if it has none, return the event that ends it instead.

        Failures that may pass are waited out; see `Patience`.  Raises `CampaignError` if the journal fails.
        """
        look = self._given(account) or await self._look(account)
        if isinstance(look, AccountStopped):
            return look
        if isinstance(look, Survey):
            self._read.add(account.name)
            _note_missing([look], look.names, of_all=len(self._read) == len(self.spec.accounts))
        async with self._numbering:
            first = 1 + sum(count.n for count in await self.store.counts(self.spec.name))
            rows = _numbered(look, first)
            if not rows:
                return nothing_to_do(account, self.clock.now())
            await self.store.append(self.spec.name, rows)
        return None

    def _given(self, account: AccountSpec) -> AccountPlan | None:
        plans = () if self.given is None else self.given.accounts
        return next((plan for plan in plans if plan.account.name == account.name and plan.error is None), None)

    async def _look(self, account: AccountSpec) -> Survey | AccountStopped:
        patience = Patience()
        while True:
            try:
                return await self._survey(account)
            except CampaignError:
                # Of the journal, which says nothing about the account.
                raise
            except DexError as error:
                wait = patience.wait(error, self.clock.monotonic())
                if wait is None:
                    return AccountStopped(at=self.clock.now(), account=account.name, kind="refused", reason=str(error))
                logger.warning("%s: planning failed, retrying in %g s: %s", account.name, wait, error)
            await sleep(self.clock, wait)

    async def _survey(self, account: AccountSpec) -> Survey:
        """Survey an account.  Raises `DexError` if the account, the CSV of devices or the journal can't be read."""
        survey = Survey(self.spec, account, await self.names(), self.clock.now())
        async with self.client(account) as client:
            await survey.take(client)
        if survey.error is not None:
            raise survey.error
        return survey


def _device(row: TargetPlanned) -> Device:
    return Device(device_id=row.device_id, registration_id=row.registration_id, person_email=row.user_email)


def _numbered(look: Survey | AccountPlan, first: int) -> list[TargetPlanned]:
    """Return an account's targets and then its skipped devices, numbered from `first`."""
    if isinstance(look, Survey):
        targets, skipped, _ = look.selection.numbered(first)
        return [*targets, *skipped]
    rows = (*look.targets, *look.skipped)
    return [attrs.evolve(row, target=number) for number, row in enumerate(rows, first)]


def _note_missing(surveys: Sequence[Survey], names: Names, *, of_all: bool) -> None:
    """Note each named device that no account shows, in its own account or else in the first that could be read.

    `of_all` is whether all accounts of the campaign have been surveyed; if not, another one may have the device.
    """
    seen = {survey.account.name: survey for survey in surveys if survey.error is None}
    unread = len(seen) < len(surveys)
    for named in names.missing():
        if named.account is not None:
            if named.account in seen:
                seen[named.account].selection.miss(named)
        elif of_all and seen:
            detail = "not all accounts could be read" if unread else None
            next(iter(seen.values())).selection.miss(named, detail)


def _quota_forecast(survey: Survey, deadline: datetime | None) -> QuotaForecast:
    leave = survey.spec.leave_quota
    return quota_forecast(len(survey.selection), survey.quota, leave=leave, now=survey.now, deadline=deadline)


def _captures(survey: Survey, deadline: datetime | None) -> bool:
    """Return whether an account has something to capture before the deadline."""
    return survey.error is None and len(survey.selection) > _quota_forecast(survey, deadline).late


def _account_plan(survey: Survey, first: int, deadline: datetime | None) -> AccountPlan:
    if survey.error is not None:
        return AccountPlan(account=survey.account, error=survey.error, requests=Requests(planning=survey.requests))
    targets, skipped, waves = survey.selection.numbered(first)
    spec = survey.spec
    quota = _quota_forecast(survey, deadline)
    ends = list(accumulate(waves, initial=0))
    parts = [wave_of(targets[start:end], spec.command.type) for start, end in pairwise(ends)]
    return AccountPlan(
        account=survey.account,
        targets=targets,
        skipped=skipped,
        waves=waves,
        quota=quota,
        requests=request_forecast(parts, quota, in_flight=spec.pace.in_flight, planning=survey.requests),
    )


def _least_seconds(plans: Sequence[AccountPlan], clients: Mapping[str, DexClient | DexError]) -> float:
    """Return the least time for all requests; accounts with separate rate limits don't wait for one another."""
    requests: Counter[PollShare] = Counter()
    for plan in plans:
        client = clients[plan.account.name]
        if not isinstance(client, DexError):
            # Not by the token's variable: two variables may hold the same token, or a client may have its own.
            requests[client.session.polls] += plan.requests.total
    return max((least_seconds(n, RATE_LIMIT) for n in requests.values()), default=0.0)
