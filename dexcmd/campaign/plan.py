"""What a campaign would do: its plan, and what a journal begins with."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from dexcmd.campaign.events import AccountStopped, CampaignEvent, CampaignPlanned, SkipReason, TargetPlanned
from dexcmd.campaign.forecast import QuotaForecast, Requests, SizeForecast
from dexcmd.campaign.layout import fingerprint, spec_to_json
from dexcmd.campaign.spec import AccountSpec, CampaignSpec
from dexcmd.errors import DexError

__all__ = ["AccountPlan", "Plan", "campaign_planned", "nothing_to_do"]


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
    """In the order of the spec.  One that was not looked at is not there, see `Campaign.plan`."""

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
        yield campaign_planned(self.spec, self.planned_at)
        for account in self.accounts:
            if account.error is None and not account.targets and not account.skipped:
                yield nothing_to_do(account.account, self.planned_at)
        yield from self.target_events()

    def target_events(self) -> Iterator[TargetPlanned]:
        """Give the targets of all accounts and what is skipped, in the order of their numbers."""
        for account in self.accounts:
            yield from account.targets
            yield from account.skipped


def campaign_planned(spec: CampaignSpec, at: datetime) -> CampaignPlanned:
    """Return the event with which the journal of a campaign begins."""
    return CampaignPlanned(
        at=at,
        spec=spec_to_json(spec),
        fingerprint=fingerprint(spec),
        type=spec.command.type,
        accounts=tuple((account.name, account.account_id) for account in spec.accounts),
    )


def nothing_to_do(account: AccountSpec, at: datetime) -> AccountStopped:
    """Return the end of an account of which no device matches."""
    reason = "no device of it matched when it was planned"
    return AccountStopped(at=at, account=account.name, kind="finished", reason=reason)
