"""The status of a campaign, for people and programs."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, get_args

import attrs

from dexcmd.campaign.decide import deadline_of
from dexcmd.campaign.events import Control, StopKind
from dexcmd.campaign.records import AccountRecord, CampaignRecord, Count
from dexcmd.campaign.spec import CampaignSpec, FailureClass
from dexcmd.campaign.state import DECIDED, TargetState

__all__ = ["AccountStatus", "CampaignState", "CampaignStatus", "Settling", "is_between_waves", "status_of"]

CampaignState = Literal[
    "planned", "running", "waiting", "paused", "interrupted", "finished", "aborted", "refused", "cancelled"
]
"""The state of a campaign.

- `planned`: it was never run, and no process is about to run it;
- `running`: a process runs it; `waiting`: likewise, but it can only wait, for the quota or for the next wave;
- `paused`: the operator paused it, whether or not a process runs it;
- `interrupted`: no process runs it, and there is work left;
- `refused`: all work left is for accounts that the service refused; the next run tries them once more;
- `finished`: everything is decided; `aborted`, `cancelled`: likewise, but an account ended that way (if both,
  `aborted`).
"""

_WORST_FIRST: tuple[StopKind, ...] = ("refused", "aborted", "cancelled", "finished")
_UNDER_WAY: tuple[TargetState, ...] = tuple(
    state for state in get_args(TargetState) if state not in DECIDED and state != "pending"
)


@attrs.frozen(kw_only=True)
class Settling:
    """How long a lost command is looked for before the list is believed, and what that is based on."""

    seconds: float
    n: int
    """Commands whose POST was answered and whose arrival in the list was observed."""

    longest: float
    """The longest that one of those can have taken, in seconds."""


@attrs.frozen(kw_only=True)
class AccountStatus:
    """The status of one account of a campaign."""

    name: str
    account_id: str
    token_env: str
    """The environment variable that holds its token."""

    wave: int
    """The open wave, from 1; 0 before the first."""

    waves: int
    """How many waves there are."""

    states: Mapping[TargetState, int]
    """How many targets are in each state; every state is present."""

    failures: Mapping[FailureClass, int]
    """How many of the failed targets are in each class; every class is present."""

    commands: int
    """Commands known to have been created for the targets."""

    posts: int
    surplus: int
    foreign: int
    audited_at: datetime | None
    audit_error: str | None
    """Why the last run could not audit it (the next run tries again); None if that did not happen."""

    quota: int | None
    usage: int | None
    reset_time: datetime | None
    waits_until: datetime | None
    """Until when it waits for the quota; None if it does not."""

    next_wave_at: datetime | None
    """When the `soak` after the open wave ends, once its targets are decided and another wave follows; otherwise None.
    """

    audit_at: datetime | None = None
    """When the audit starts, while only that is left and it waits for what POSTs without a response may yet create.

    Otherwise None.
    """

    settling: Settling
    stopped: StopKind | None
    reason: str | None
    left_running: int
    """Commands that were still running when it was stopped: the service can't cancel them."""


@attrs.frozen(kw_only=True)
class CampaignStatus:
    """The status of a campaign."""

    name: str
    state: CampaignState
    control: Control
    """What the operator wants.  `state` may differ until a process that runs the campaign has acted on it."""

    running_elsewhere: bool
    """Whether another process is running it right now."""

    planned_at: datetime
    deadline: datetime | None
    accounts: tuple[AccountStatus, ...]
    size: int
    """Total size of the saved artifacts, in bytes."""

    into: str
    """The folder or URL below which they are saved."""

    def count(self, *states: TargetState) -> int:
        """Return how many targets are in any of the given states; without arguments, how many are not skipped."""
        return sum(
            n
            for account in self.accounts
            for state, n in account.states.items()
            if (state in states if states else state != "skipped")
        )


def is_between_waves(account: AccountRecord, counts: Iterable[Count]) -> bool:
    """Return whether all targets of an account's open wave are decided and another wave is to come."""
    if account.wave == 0 or account.stopped is not None or account.aborted is not None:
        return False
    own = [count for count in counts if count.account == account.name and count.n]
    return any(count.wave > account.wave for count in own) and all(
        count.state in DECIDED for count in own if count.wave == account.wave
    )


def status_of(
    campaign: CampaignRecord,
    spec: CampaignSpec,
    accounts: Sequence[AccountRecord],
    counts: Sequence[Count],
    settling: Mapping[str, Settling],
    waves_ended: Mapping[str, datetime],
    *,
    held: bool,
    here: bool = False,
) -> CampaignStatus:
    """Return a campaign's status from what its journal says.

    `settling` and `waves_ended` are by account name; the latter is when the open wave was decided, for accounts that
    are between waves.  `held` is whether a process runs the campaign, `here` whether that is this one.
    """
    next_waves = {name: ended + spec.waves.soak for name, ended in waves_ended.items() if spec.waves.soak}
    token_envs = {one.name: one.token_env for one in spec.accounts}
    statuses = tuple(
        _account(
            one,
            token_envs[one.name],
            [count for count in counts if count.account == one.name],
            settling,
            next_waves.get(one.name),
            None if campaign.control.startswith("cancel") else spec.audit_after,
        )
        for one in accounts
    )
    return CampaignStatus(
        name=campaign.name,
        state=_state(campaign, statuses, held=held),
        control=campaign.control,
        running_elsewhere=held and not here,
        planned_at=campaign.planned_at,
        deadline=deadline_of(spec, campaign.first_run_at),
        accounts=statuses,
        size=sum(account.size for account in accounts),
        into=spec.artifacts.into,
    )


def _account(
    account: AccountRecord,
    token_env: str,
    counts: Sequence[Count],
    settling: Mapping[str, Settling],
    next_wave_at: datetime | None,
    audit_after: timedelta | None,
) -> AccountStatus:
    states: dict[TargetState, int] = dict.fromkeys(get_args(TargetState), 0)
    failures: dict[FailureClass, int] = dict.fromkeys(get_args(FailureClass), 0)
    for count in counts:
        states[count.state] += count.n
        if count.failure is not None:
            failures[count.failure] += count.n
    audit_at = None
    over = account.stopped is not None or account.audit_error is not None
    if not over and account.last_lost_at is not None and audit_after is not None and _all_decided(states):
        audit_at = account.last_lost_at + audit_after
    return AccountStatus(
        name=account.name,
        account_id=account.account_id,
        token_env=token_env,
        wave=account.wave,
        # Targets get their waves when they are planned.
        waves=max((count.wave for count in counts), default=0),
        states=states,
        failures=failures,
        commands=account.commands,
        posts=account.posts,
        surplus=account.surplus,
        foreign=account.foreign,
        audited_at=account.audited_at,
        audit_error=account.audit_error,
        quota=account.quota,
        usage=account.usage,
        reset_time=account.reset_time,
        waits_until=account.waits_until,
        next_wave_at=next_wave_at,
        audit_at=audit_at,
        settling=settling[account.name],
        stopped=account.stopped,
        reason=account.reason,
        left_running=account.left_running,
    )


def _all_decided(states: Mapping[TargetState, int]) -> bool:
    return not any(n for state, n in states.items() if state not in DECIDED)


def _state(campaign: CampaignRecord, accounts: Sequence[AccountStatus], *, held: bool) -> CampaignState:
    going_on = [account for account in accounts if account.stopped is None]
    if not going_on:
        ends = {account.stopped for account in accounts}
        return next(end for end in _WORST_FIRST if end in ends)
    if campaign.control == "pause":
        return "paused"
    if not held:
        return "planned" if campaign.first_run_at is None else "interrupted"
    waits = all(
        (account.waits_until is not None or account.next_wave_at is not None)
        and not any(account.states[state] for state in _UNDER_WAY)
        for account in going_on
    )
    return "waiting" if waits else "running"
