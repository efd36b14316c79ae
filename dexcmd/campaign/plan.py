"""The plan of a campaign: what a run would do, and the events that its journal starts with."""

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
    """Why the account can't be read; of the fields below only `requests` is set then."""

    targets: Sequence[TargetPlanned] = ()
    """The devices to capture, one command each, in the order of their waves.

    If the quota leaves some of them for after the deadline (`quota.late`), those commands are not created.
    """

    skipped: Sequence[TargetPlanned] = ()
    """The devices that are not captured, each with its reason (`skip`)."""

    waves: tuple[int, ...] = ()
    """How many targets each wave has.  Empty waves are left out."""

    quota: QuotaForecast | None = None
    requests: Requests = attrs.field(factory=Requests)

    @property
    def late(self) -> int:
        """Return how many targets would miss the deadline, as far as the quota says."""
        return 0 if self.quota is None else self.quota.late

    @property
    def commands(self) -> int:
        """Return how many commands would be created."""
        return len(self.targets) - self.late

    @property
    def skips(self) -> Mapping[SkipReason, int]:
        """Return how many devices are skipped, by reason."""
        return Counter(target.skip for target in self.skipped if target.skip is not None)


@attrs.frozen(kw_only=True)
class Plan:
    """What a campaign would do if it were run now."""

    spec: CampaignSpec
    planned_at: datetime
    """By this machine's clock."""

    deadline: datetime | None
    """When it would stop creating; None for never."""

    accounts: tuple[AccountPlan, ...]
    """In the order of the spec, without accounts that were not surveyed; see `Campaign.plan`."""

    size: SizeForecast
    least_seconds: float
    """The least time for all requests under the rate limit of 1200 in 5 minutes, which accounts of one token share.

    Captures, waits for the quota and pauses between waves come on top.
    """

    @property
    def commands(self) -> int:
        """Return how many commands would be created."""
        return sum(account.commands for account in self.accounts)

    @property
    def late(self) -> int:
        """Return how many targets would miss the deadline, as far as the quota says."""
        return sum(account.late for account in self.accounts)

    @property
    def skips(self) -> Mapping[SkipReason, int]:
        """Return how many devices are skipped, by reason."""
        return sum((Counter(account.skips) for account in self.accounts), Counter[SkipReason]())

    @property
    def requests(self) -> Requests:
        """Return the requests of all accounts."""
        return sum((account.requests for account in self.accounts), Requests())

    @property
    def errors(self) -> Mapping[str, DexError]:
        """Return why accounts can't be read, by account name."""
        return {account.account.name: account.error for account in self.accounts if account.error is not None}

    def events(self) -> Iterator[CampaignEvent]:
        """Yield the events that a journal starts with: the campaign, the accounts without a device, then the targets.

        Accounts without a device end there: a device that joins later was never shown to anyone.
        """
        yield campaign_planned(self.spec, self.planned_at)
        for account in self.accounts:
            if account.error is None and not account.targets and not account.skipped:
                yield nothing_to_do(account.account, self.planned_at)
        yield from self.target_events()

    def target_events(self) -> Iterator[TargetPlanned]:
        """Yield the targets of all accounts, skipped ones included, in the order of their numbers."""
        for account in self.accounts:
            yield from account.targets
            yield from account.skipped


def campaign_planned(spec: CampaignSpec, at: datetime) -> CampaignPlanned:
    """Return the event that a campaign's journal starts with."""
    return CampaignPlanned(
        at=at,
        spec=spec_to_json(spec),
        fingerprint=fingerprint(spec),
        type=spec.command.type,
        accounts=tuple((account.name, account.account_id) for account in spec.accounts),
    )


def nothing_to_do(account: AccountSpec, at: datetime) -> AccountStopped:
    """Return the event that ends an account without a matching device."""
    reason = "no device of this account matched when the campaign was planned"
    return AccountStopped(at=at, account=account.name, kind="finished", reason=reason)
