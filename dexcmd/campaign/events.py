"""What happened in a campaign: the facts that its journal holds, and from which all else follows.

Each is written once and never changed.  `dexcmd.campaign.state` says what a target's state is after each of them.
"""

from datetime import datetime
from typing import Literal

import attrs

from dexcmd.campaign.spec import FailureClass

__all__ = [
    "AccountStarted",
    "AccountStopped",
    "ArtifactFailed",
    "ArtifactSaved",
    "AuditFailed",
    "Audited",
    "CampaignEvent",
    "CampaignPlanned",
    "CommandEnded",
    "CommandKnown",
    "CommandOverdue",
    "Control",
    "ControlRequested",
    "CreatingAborted",
    "DropReason",
    "ForeignFound",
    "IntentClosed",
    "IntentOpened",
    "IntentOutcome",
    "Provenance",
    "QuotaSeen",
    "QuotaWaited",
    "RunEnded",
    "RunStarted",
    "SkipReason",
    "StopKind",
    "SurplusFound",
    "TargetDropped",
    "TargetPlanned",
    "TargetRetried",
    "WaveOpened",
]

SkipReason = Literal[
    "not_eligible",
    "offline",
    "unsupported_version",
    "platform",
    "excluded",
    "already_running",
    "not_sampled",
    "not_found",
]
"""Why a device that was looked at is not captured."""

IntentOutcome = Literal["created", "adopted", "rejected", "not_processed", "absent", "unknown", "surplus"]
"""What became of an intent.

- `created`: the answer confirms it;
- `adopted`: the answer was lost, and the list shows it;
- `rejected`: the service refused this command;
- `not_processed`: it surely had no effect, and the target is due again;
- `absent`: its answer was lost, and the list did not show it after the settling time; it may be sent once more;
- `unknown`: that was so twice, or it is not to be sent again;
- `surplus`: it was `absent` or `unknown` before, and an audit found its command, which its target does not need.
"""

Provenance = Literal["response", "adopted", "foreign"]
"""How a command came to be known: by the answer to its POST, from the list, or as somebody else's."""

StopKind = Literal["finished", "aborted", "refused", "cancelled"]
"""Why nothing more is done for an account: all is decided, by an abort rule, by the service, by the operator."""

DropReason = Literal["deadline", "cancelled", "aborted", "refused"]
"""Why a target is not attempted (any more)."""

Control = Literal["run", "pause", "cancel_keep", "cancel_drop"]
"""What the operator wants: to go on, to create nothing for now, or never again, and then to keep or drop collecting."""


@attrs.frozen(kw_only=True)
class CampaignEvent:
    """One fact."""

    at: datetime
    """When it was noted, by this machine's clock."""


@attrs.frozen(kw_only=True)
class AccountEvent(CampaignEvent):
    """A fact about one of the campaign's accounts."""

    account: str
    """The account's name in the campaign."""


@attrs.frozen(kw_only=True)
class TargetEvent(AccountEvent):
    """A fact about one target."""

    target: int
    """The target's number in the campaign, from 1 in the order of the plan."""


# --- the campaign


@attrs.frozen(kw_only=True)
class CampaignPlanned(CampaignEvent):
    """The campaign is set up.  The first event of each; its targets follow."""

    spec: str
    """The `CampaignSpec`, as JSON; no token is in it."""

    fingerprint: str
    """A hash of the spec, to tell a changed file from the same."""

    type: str
    """Of its commands: `pcap`, `speed-test` or `warp-diag`."""

    accounts: tuple[tuple[str, str], ...]
    """The name and the id of each account, in the order of the spec."""


@attrs.frozen(kw_only=True)
class RunStarted(CampaignEvent):
    """A process begins to run it: also the accounts, once more, that the service had refused."""


@attrs.frozen(kw_only=True)
class RunEnded(CampaignEvent):
    """A process has stopped running it and knows it; one that is killed leaves none."""

    reason: Literal["finished", "interrupted", "failed"]


@attrs.frozen(kw_only=True)
class ControlRequested(CampaignEvent):
    """The operator wants it to pause, go on or end."""

    control: Control


# --- accounts


@attrs.frozen(kw_only=True)
class AccountStarted(AccountEvent):
    """A run has begun with the account."""

    settle_seconds: float
    """For how long its client is set to look for a lost command; how soon others are listed corrects that."""


@attrs.frozen(kw_only=True)
class CreatingAborted(AccountEvent):
    """A rule says that nothing more is to be created, ever; what is created is followed and fetched all the same."""

    reason: str
    """In words, for people."""


@attrs.frozen(kw_only=True)
class WaveOpened(AccountEvent):
    """A wave begins; from 1."""

    wave: int


@attrs.frozen(kw_only=True)
class QuotaSeen(AccountEvent):
    """What the service said of the day's quota."""

    quota: int | None
    usage: int | None
    reset_time: datetime | None


@attrs.frozen(kw_only=True)
class QuotaWaited(AccountEvent):
    """It has nothing left to spend today and waits."""

    until: datetime
    """By this machine's clock."""


@attrs.frozen(kw_only=True)
class AccountStopped(AccountEvent):
    """Nothing more is done for the account."""

    kind: StopKind
    reason: str | None = None
    """In words, for people."""

    running: int = 0
    """Commands that go on all the same, for the service can't cancel them."""


@attrs.frozen(kw_only=True)
class SurplusFound(AccountEvent):
    """The audit found a command that one of our POSTs made and that no target needs."""

    command_id: str
    target: int
    """Whose it is a second one of."""

    device_id: str | None
    created_date: datetime | None


@attrs.frozen(kw_only=True)
class ForeignFound(AccountEvent):
    """The audit found somebody else's command in the campaign's time."""

    command_id: str
    device_id: str | None
    type: str | None
    created_date: datetime | None


@attrs.frozen(kw_only=True)
class Audited(AccountEvent):
    """The list was looked through from the campaign's first POST on."""

    since: datetime
    """By the service's clock."""

    commands: int
    """Rows that were seen."""

    surplus: int
    foreign: int


@attrs.frozen(kw_only=True)
class AuditFailed(AccountEvent):
    """The list could not be looked through, however often it was tried: that is left to the next run."""

    error: str
    """One line, of the last try."""


# --- targets


@attrs.frozen(kw_only=True)
class TargetPlanned(TargetEvent):
    """A device that the plan has looked at, to be captured or skipped."""

    device_id: str | None
    user_email: str | None
    registration_id: str | None = None
    device_name: str | None = None
    platform: str | None = None
    version: str | None = None
    wave: int = 0
    """From 1; 0 for one that is skipped."""

    skip: SkipReason | None = None
    detail: str | None = None
    """More of why, in words: what the service says, or the id of the command that runs."""


@attrs.frozen(kw_only=True)
class IntentOpened(TargetEvent):
    """A POST for the target is about to be sent.  It is durable before a byte of it is written.

    It reserves one command of the quota until it is closed.
    """

    post: str
    """What the intents of one POST have in common."""

    attempt: int
    """From 1; 2 where an earlier POST may have had an effect that the list did not show."""

    since: datetime
    """The earliest that its command can have been created, by the service's clock; that of the first attempt."""

    settled_at: datetime
    """When the list is to be believed about it, by the service's clock."""


@attrs.frozen(kw_only=True)
class IntentClosed(TargetEvent):
    """What became of the POST is known, as far as it can be."""

    post: str
    outcome: IntentOutcome
    error: str | None = None
    """One line; for all but `created` and `adopted`."""


@attrs.frozen(kw_only=True)
class CommandKnown(TargetEvent):
    """The target's command exists."""

    command_id: str
    provenance: Provenance
    created_date: datetime | None = None
    """As the list has it."""

    not_before: datetime | None = None
    """A time of the service before which it was not; known before `created_date` is."""


@attrs.frozen(kw_only=True)
class CommandEnded(TargetEvent):
    """The list shows the command in SUCCESS or FAILED."""

    command_id: str
    status: str
    created_date: datetime | None = None
    completed_date: datetime | None = None
    filename: str | None = None
    listed_after: float | None = None
    """Seconds between its creation and the first poll that showed it: the list lags no more than that."""


@attrs.frozen(kw_only=True)
class CommandOverdue(TargetEvent):
    """The command has not ended in time and is given up; it may go on."""

    command_id: str


@attrs.frozen(kw_only=True)
class ArtifactSaved(TargetEvent):
    """The artifact is whole at its destination."""

    command_id: str
    location: str
    """Its path, or its key in the object store."""

    size: int
    sha256: str
    resumed_from: int = 0
    skipped: bool = False
    """Whether it was there already."""


@attrs.frozen(kw_only=True)
class ArtifactFailed(TargetEvent):
    """The artifact could not be had, for now or for good."""

    command_id: str
    error: str


@attrs.frozen(kw_only=True)
class TargetRetried(TargetEvent):
    """A target that failed is to be tried again: another command, or another download."""

    failure: FailureClass
    not_before: datetime


@attrs.frozen(kw_only=True)
class TargetDropped(TargetEvent):
    """The target is not attempted (any more)."""

    reason: DropReason
