"""Planning a campaign: a look at its accounts that spends nothing, and what a run would do."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path

import anyio.to_thread
import attrs

from dexcmd.campaign.events import AccountStopped, CampaignEvent, CampaignPlanned, SkipReason, TargetPlanned
from dexcmd.campaign.forecast import (
    QuotaForecast,
    Requests,
    SizeForecast,
    least_seconds,
    quota_forecast,
    request_forecast,
    size_forecast,
)
from dexcmd.campaign.layout import fingerprint, spec_to_json
from dexcmd.campaign.named import Named, Names
from dexcmd.campaign.namescsv import read_csv
from dexcmd.campaign.spec import AccountSpec, CampaignSpec
from dexcmd.campaign.store import Store
from dexcmd.campaign.survey import Survey
from dexcmd.campaign.turns import wave_of
from dexcmd.client import DexClient
from dexcmd.clock import Clock
from dexcmd.errors import ConfigurationError, DexError
from dexcmd.tasks import run_tasks
from dexcmd.wire.window import RateLimit

__all__ = ["AccountPlan", "Plan", "make_plan"]

ACCOUNTS_AT_ONCE = 8

RATE_LIMIT = RateLimit()


@attrs.frozen(kw_only=True)
class AccountPlan:
    """What a run would do with one account."""

    account: AccountSpec
    error: DexError | None = None
    """Why the account can't be read; there is nothing else of it then."""

    targets: Sequence[TargetPlanned] = ()
    """The devices that are captured, a command each, in the order of their waves.

    Where the quota leaves some for after the deadline (`quota.late`), these are not created.
    """

    skipped: Sequence[TargetPlanned] = ()
    """The devices that match and are not captured, each with its reason (`skip`)."""

    waves: tuple[int, ...] = ()
    """How many targets each wave has.  Waves that would have none are left out."""

    quota: QuotaForecast | None = None
    requests: Requests = attrs.field(factory=Requests)

    @property
    def late(self) -> int:
        """Return how many targets come too late for the deadline, as far as the quota tells."""
        return 0 if self.quota is None else self.quota.late

    @property
    def commands(self) -> int:
        """Return how many commands would be created."""
        return len(self.targets) - self.late

    @property
    def skips(self) -> Mapping[SkipReason, int]:
        """Return how many devices are skipped for each reason that there is."""
        return Counter(target.skip for target in self.skipped if target.skip is not None)


@attrs.frozen(kw_only=True)
class Plan:
    """What a campaign would do if it was run now."""

    spec: CampaignSpec
    planned_at: datetime
    """By this machine's clock."""

    deadline: datetime | None
    """When it would stop creating."""

    accounts: tuple[AccountPlan, ...]
    """In the order of the spec."""

    size: SizeForecast
    least_seconds: float
    """The least time for all requests under the rate limit of 1200 in 5 minutes, where accounts of one token share one.

    Captures, quota and the pauses between waves come on top.
    """

    @property
    def commands(self) -> int:
        """Return how many commands would be created."""
        return sum(account.commands for account in self.accounts)

    @property
    def late(self) -> int:
        """Return how many targets come too late for the deadline, as far as the quota tells."""
        return sum(account.late for account in self.accounts)

    @property
    def skips(self) -> Mapping[SkipReason, int]:
        """Return how many devices are skipped for each reason that there is."""
        return sum((Counter(account.skips) for account in self.accounts), Counter[SkipReason]())

    @property
    def requests(self) -> Requests:
        """Return the requests of all accounts."""
        return sum((account.requests for account in self.accounts), Requests())

    @property
    def errors(self) -> Mapping[str, DexError]:
        """Return why accounts can't be read, by their names."""
        return {account.account.name: account.error for account in self.accounts if account.error is not None}

    def events(self) -> Iterator[CampaignEvent]:
        """Give what a journal begins with: the campaign, the accounts without a device, and then the targets.

        Those accounts have ended: a device that comes in later is one that nobody was shown.
        """
        yield CampaignPlanned(
            at=self.planned_at,
            spec=spec_to_json(self.spec),
            fingerprint=fingerprint(self.spec),
            type=self.spec.command.type,
            accounts=tuple((account.name, account.account_id) for account in self.spec.accounts),
        )
        for account in self.accounts:
            if account.error is None and not account.targets and not account.skipped:
                yield AccountStopped(
                    at=self.planned_at,
                    account=account.account.name,
                    kind="finished",
                    reason="no device of it matched when it was planned",
                )
        yield from self.target_events()

    def target_events(self) -> Iterator[TargetPlanned]:
        """Give the targets of all accounts and what is skipped, in the order of their numbers."""
        for account in self.accounts:
            yield from account.targets
            yield from account.skipped


async def make_plan(
    spec: CampaignSpec,
    clients: Mapping[str, DexClient | DexError],
    store: Store | None,
    clock: Clock,
    *,
    accounts: Sequence[AccountSpec] | None = None,
) -> Plan:
    """Look at the accounts of a campaign and return what a run would do; nothing is created, nothing is written.

    `clients` are by the names of the accounts; an error stands for one that there can't be.  An account that can't be
    read has its error in its plan, and the others are planned all the same; all wait for the slowest, for a device that
    is named is `not_found` only where none of them shows it.  `store` tells the size of artifacts that
    came before.  `accounts` are those to be planned where it is not all of them: the others were before.

    Raises `ConfigurationError` for an account without a client, and for a CSV that can't be read (any more), and
    `CampaignError` where the journal can't be.
    """
    chosen = spec.accounts if accounts is None else accounts
    if missing := [account.name for account in chosen if account.name not in clients]:
        raise ConfigurationError(f"no client for the accounts {', '.join(missing)}")
    names = Names(spec.targets, await _rows(spec))
    now = clock.now()
    surveys = [Survey(spec, account, names, now) for account in chosen]
    todo = iter(surveys)

    async def look() -> None:
        for survey in todo:
            client = clients[survey.account.name]
            if isinstance(client, DexError):
                survey.error = client
            else:
                await survey.take(client)

    await run_tasks([look] * min(ACCOUNTS_AT_ONCE, len(surveys)))
    _note_missing(surveys, names, of_all=len(chosen) == len(spec.accounts))
    deadline = now + spec.deadline if isinstance(spec.deadline, timedelta) else spec.deadline
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
        least_seconds=_least_seconds(plans),
    )


async def _rows(spec: CampaignSpec) -> list[Named]:
    path = spec.targets.csv
    if path is None:
        return []
    accounts = [account.name for account in spec.accounts]
    return await anyio.to_thread.run_sync(lambda: read_csv(Path(path), accounts))


def _note_missing(surveys: Sequence[Survey], names: Names, *, of_all: bool) -> None:
    """Give each named device that no account shows to its account, or else to the first that could be read.

    Where not all accounts were to be looked at, one of the others may have it.
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


def _account_plan(survey: Survey, first: int, deadline: datetime | None) -> AccountPlan:
    if survey.error is not None:
        return AccountPlan(account=survey.account, error=survey.error, requests=Requests(planning=survey.requests))
    targets, skipped, waves = survey.selection.numbered(first)
    spec = survey.spec
    quota = quota_forecast(len(targets), survey.quota, leave=spec.leave_quota, now=survey.now, deadline=deadline)
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


def _least_seconds(plans: Sequence[AccountPlan]) -> float:
    """Return the least time, in which accounts with tokens of their own don't wait for one another."""
    requests: Counter[str] = Counter()
    for plan in plans:
        requests[plan.account.token_env] += plan.requests.total
    return max((least_seconds(n, RATE_LIMIT) for n in requests.values()), default=0.0)
