"""The events of a campaign: the facts in its journal, from which everything else follows.

Each is written once and never changed.  `dexcmd.campaign.state` says which state each one puts its target in.
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
"""Why the plan does not capture a device."""

IntentOutcome = Literal["created", "adopted", "rejected", "not_processed", "absent", "unknown", "surplus"]
"""The outcome of an intent.

- `created`: the response confirms the command;
- `adopted`: the response was lost, and the list shows the command;
- `rejected`: the service refused this command;
- `not_processed`: the POST certainly had no effect, and the target is due again;
- `absent`: the response was lost, and the list did not show the command after the settling time; it may be resent once;
- `unknown`: that happened twice, or the command is not to be resent;
- `surplus`: it was `absent` or `unknown` before, and an audit found its command, which the target does not need.
"""

Provenance = Literal["response", "adopted", "foreign"]
"""How a command became known: from the response to its POST, from the list, or as somebody else's."""

StopKind = Literal["finished", "aborted", "refused", "cancelled"]
"""Why work on an account ended: everything is decided, an abort rule, a refusal by the service, or the operator."""

DropReason = Literal["deadline", "cancelled", "aborted", "refused"]
"""Why a target is not, or no longer, attempted."""

Control = Literal["run", "pause", "cancel_keep", "cancel_drop"]
"""What the operator wants: to run, to pause creating, or to end it for good and either keep or drop collecting."""


@attrs.frozen(kw_only=True)
class CampaignEvent:
    """The base class of all events."""

    at: datetime
    """When it was recorded, by this machine's clock."""


@attrs.frozen(kw_only=True)
class AccountEvent(CampaignEvent):
    """The base class of events of one account."""

    account: str
    """The account's name in the campaign."""


@attrs.frozen(kw_only=True)
class TargetEvent(AccountEvent):
    """The base class of events of one target."""

    target: int
    """The target's number in the campaign, from 1 in the order of the plan."""


# --- the campaign


@attrs.frozen(kw_only=True)
class CampaignPlanned(CampaignEvent):
    """The campaign is set up.  Always its first event; its targets follow."""

    spec: str
    """The `CampaignSpec`, as JSON, without any token."""

    fingerprint: str
    """A hash of the spec, to tell whether a campaign file has changed."""

    type: str
    """The type of its commands: `pcap`, `speed-test` or `warp-diag`."""

    accounts: tuple[tuple[str, str], ...]
    """The name and the id of each account, in the order of the spec."""


@attrs.frozen(kw_only=True)
class RunStarted(CampaignEvent):
    """A process starts to run the campaign, including accounts that the service refused before."""


@attrs.frozen(kw_only=True)
class RunEnded(CampaignEvent):
    """A process has stopped running the campaign.  One that is killed leaves no such event."""

    reason: Literal["finished", "interrupted", "failed"]


@attrs.frozen(kw_only=True)
class ControlRequested(CampaignEvent):
    """The operator asks to pause, resume or cancel the campaign.

    A cancellation stands, whatever is asked for afterwards: only another one changes whether what runs is collected.
    """

    control: Control


# --- accounts


@attrs.frozen(kw_only=True)
class AccountStarted(AccountEvent):
    """A run has started on the account."""

    settle_seconds: float
    """How long its client is set to look for a lost command; corrected by how soon other commands are listed."""


@attrs.frozen(kw_only=True)
class CreatingAborted(AccountEvent):
    """A rule has ended creating for good; existing commands are still followed and their artifacts fetched."""

    reason: str
    """In words, for people."""


@attrs.frozen(kw_only=True)
class WaveOpened(AccountEvent):
    """A wave begins; waves count from 1."""

    wave: int


@attrs.frozen(kw_only=True)
class QuotaSeen(AccountEvent):
    """What the service said about the day's quota."""

    quota: int | None
    usage: int | None
    reset_time: datetime | None


@attrs.frozen(kw_only=True)
class QuotaWaited(AccountEvent):
    """The account has used up its quota for now and waits."""

    until: datetime
    """By this machine's clock."""


@attrs.frozen(kw_only=True)
class AccountStopped(AccountEvent):
    """Nothing more is done for the account."""

    kind: StopKind
    reason: str | None = None
    """In words, for people."""

    running: int = 0
    """Commands that are still running: the service can't cancel them."""


@attrs.frozen(kw_only=True)
class SurplusFound(AccountEvent):
    """The audit found a command that one of our POSTs made and that no target needs."""

    command_id: str
    target: int
    """The target of which it is a second command."""

    device_id: str | None
    created_date: datetime | None


@attrs.frozen(kw_only=True)
class ForeignFound(AccountEvent):
    """The audit found somebody else's command from the time of the campaign."""

    command_id: str
    device_id: str | None
    type: str | None
    created_date: datetime | None


@attrs.frozen(kw_only=True)
class Audited(AccountEvent):
    """The list was read from the account's first POST on."""

    since: datetime
    """By the service's clock."""

    commands: int
    """Rows read."""

    surplus: int
    foreign: int


@attrs.frozen(kw_only=True)
class AuditFailed(AccountEvent):
    """The list could not be read, even after retries; the next run tries again."""

    error: str
    """The last attempt's error, in one line."""


# --- targets


@attrs.frozen(kw_only=True)
class TargetPlanned(TargetEvent):
    """A device in the plan, to be captured or skipped."""

    device_id: str | None
    user_email: str | None
    registration_id: str | None = None
    device_name: str | None = None
    platform: str | None = None
    version: str | None = None
    wave: int = 0
    """From 1; 0 if the device is skipped."""

    skip: SkipReason | None = None
    detail: str | None = None
    """More about why, in words: what the service says, or the id of the running command."""


@attrs.frozen(kw_only=True)
class IntentOpened(TargetEvent):
    """A POST for the target is about to be sent.  Durable before a byte of the POST is written.

    An intent reserves one command of the quota until it is closed.
    """

    post: str
    """An id shared by the intents of one POST."""

    attempt: int
    """From 1; 2 if an earlier POST may have had an effect that the list did not show."""

    since: datetime
    """The earliest its command can have been created, counting from the first attempt, by the service's clock."""

    settled_at: datetime
    """When the list can be believed about it, by the service's clock."""


@attrs.frozen(kw_only=True)
class IntentClosed(TargetEvent):
    """The outcome of the POST is known, as far as it can be."""

    post: str
    outcome: IntentOutcome
    error: str | None = None
    """One line; never set for `created` and `adopted`."""


@attrs.frozen(kw_only=True)
class CommandKnown(TargetEvent):
    """The target's command is known to exist."""

    command_id: str
    provenance: Provenance
    created_date: datetime | None = None
    """As the list shows it."""

    not_before: datetime | None = None
    """A time, by the service's clock, before which it did not exist; known before `created_date` is."""


@attrs.frozen(kw_only=True)
class CommandEnded(TargetEvent):
    """The list shows the command in SUCCESS or FAILED."""

    command_id: str
    status: str
    created_date: datetime | None = None
    completed_date: datetime | None = None
    filename: str | None = None
    listed_after: float | None = None
    """Seconds between its creation and the first poll that showed it: the list lags by no more than that."""


@attrs.frozen(kw_only=True)
class CommandOverdue(TargetEvent):
    """The command did not end in time and is abandoned; it may still be running."""

    command_id: str


@attrs.frozen(kw_only=True)
class ArtifactSaved(TargetEvent):
    """The artifact is complete at its destination."""

    command_id: str
    location: str
    """Its path, or its key in the object store."""

    size: int
    sha256: str
    resumed_from: int = 0
    skipped: bool = False
    """Whether it was already there."""


@attrs.frozen(kw_only=True)
class ArtifactFailed(TargetEvent):
    """The artifact could not be fetched, for now or for good."""

    command_id: str
    error: str


@attrs.frozen(kw_only=True)
class TargetRetried(TargetEvent):
    """A failed target is to be retried, with another command or another download."""

    failure: FailureClass
    not_before: datetime


@attrs.frozen(kw_only=True)
class TargetDropped(TargetEvent):
    """The target is not, or no longer, attempted."""

    reason: DropReason
