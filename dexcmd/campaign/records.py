"""What a journal tells when it is asked: rows of its tables, as attrs classes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

from dexcmd.campaign.events import CampaignEvent, Control, DropReason, IntentOutcome, Provenance, SkipReason, StopKind
from dexcmd.campaign.spec import FailureClass
from dexcmd.campaign.state import TargetState

__all__ = [
    "AccountRecord",
    "ArtifactRecord",
    "CampaignRecord",
    "CommandRecord",
    "Count",
    "IntentRecord",
    "Lags",
    "Recorded",
    "TargetRecord",
]


@attrs.frozen(kw_only=True)
class CampaignRecord:
    """A campaign, as the journal has it."""

    name: str
    spec: str
    """JSON."""

    fingerprint: str
    type: str
    """Of its commands."""

    control: Control
    planned_at: datetime
    first_run_at: datetime | None
    """When it was first run; a deadline that is a duration counts from here."""

    ended: Literal["finished", "interrupted", "failed"] | None
    """How the last run ended; None while one lives, or after one that was killed."""


@attrs.frozen(kw_only=True)
class AccountRecord:
    """An account of a campaign."""

    name: str
    account_id: str
    wave: int
    """The wave that is open; 0 before the first."""

    settle_seconds: float | None
    """What the client of its last run was set to; None before the first."""

    aborted: str | None
    """Which rule ended creating, in words; None where none did."""

    stopped: StopKind | None
    reason: str | None
    quota: int | None
    usage: int | None
    reset_time: datetime | None
    waits_until: datetime | None
    """While it waits for the quota: until when.  The next `QuotaSeen` ends it, and no intent does."""

    left_running: int
    """Commands that went on when it was stopped."""

    surplus: int
    """Commands that audits found to be surplus; one that several found counts once."""

    foreign: int
    """Likewise."""

    audited_at: datetime | None
    audit_error: str | None
    """Why the last run could not audit it; None where it could, or has not come to that."""

    posts: int
    """POSTs that an intent was opened for."""

    commands: int
    """Commands that are known of its targets."""

    size: int
    """Bytes of the artifacts that are saved."""

    last_lost_at: datetime | None
    """When an intent was last closed as `absent` or `unknown`."""

    first_since: datetime | None
    """The earliest `since` of its intents, by the service's clock."""


@attrs.frozen(kw_only=True)
class TargetRecord:
    """A target."""

    number: int
    account: str
    wave: int
    device_id: str | None
    registration_id: str | None
    user_email: str | None
    device_name: str | None
    platform: str | None
    version: str | None
    skip: SkipReason | None
    detail: str | None
    """More on why it is skipped, for people."""

    state: TargetState
    failure: FailureClass | None
    error: str | None
    """What went wrong with its last POST, command or artifact, in one line; None where that went well, or nothing is
    said of it.  A retry and a drop leave it.
    """

    reason: DropReason | None
    """Why it is `not_attempted`."""

    changed_at: datetime
    """When it came to its state, by this machine's clock."""

    tries: Mapping[FailureClass, int] = attrs.field(hash=False)
    """How often it was tried again (`TargetRetried`), by the failure; what is missing is 0."""

    not_before: datetime | None
    """When it is due, after a `TargetRetried`; None for at once, and for one whose state has changed since."""

    command_id: str | None
    """Its latest command."""


@attrs.frozen(kw_only=True)
class IntentRecord:
    """An intent: what one POST is, or was, to create for one target."""

    target: int
    post: str
    attempt: int
    since: datetime
    settled_at: datetime
    outcome: IntentOutcome | None
    """None while it is open."""

    opened_at: datetime
    closed_at: datetime | None


@attrs.frozen(kw_only=True)
class CommandRecord:
    """A command of a target."""

    command_id: str
    target: int
    account: str
    provenance: Provenance
    known_at: datetime
    created_date: datetime | None
    not_before: datetime | None
    status: str | None
    """What ended it; None while it runs, as far as is known."""

    completed_date: datetime | None
    filename: str | None


@attrs.frozen(kw_only=True)
class ArtifactRecord:
    """A saved artifact."""

    command_id: str
    location: str
    size: int
    sha256: str
    saved_at: datetime


@attrs.frozen(kw_only=True)
class Count:
    """How many targets there are of one kind."""

    account: str
    wave: int
    state: TargetState
    failure: FailureClass | None
    n: int


@attrs.frozen(kw_only=True)
class Lags:
    """How soon commands whose POST was answered showed up in the list."""

    n: int
    longest: float
    """Seconds; 0 where n is 0."""


@attrs.frozen(kw_only=True)
class Recorded:
    """An event with its place in the journal."""

    seq: int
    """Grows with each event of the journal."""

    campaign: str
    event: CampaignEvent
