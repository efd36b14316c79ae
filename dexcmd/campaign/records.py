"""Records that a journal returns: rows of its tables, as attrs classes."""

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
    """A campaign in the journal."""

    name: str
    spec: str
    """The `CampaignSpec`, as JSON."""

    fingerprint: str
    type: str
    """The type of its commands."""

    control: Control
    planned_at: datetime
    first_run_at: datetime | None
    """When it was first run; a deadline given as a duration counts from here."""

    ended: Literal["finished", "interrupted", "failed"] | None
    """How the last run ended; None before the first, during one, and after one that was killed."""


@attrs.frozen(kw_only=True)
class AccountRecord:
    """An account of a campaign."""

    name: str
    account_id: str
    wave: int
    """The open wave, from 1; 0 before the first."""

    settle_seconds: float | None
    """The `settle_seconds` of its client in the last run; None before the first."""

    aborted: str | None
    """The rule that ended creating, in words; None if none did."""

    stopped: StopKind | None
    reason: str | None
    quota: int | None
    usage: int | None
    reset_time: datetime | None
    waits_until: datetime | None
    """Until when it waits for the quota; None if it does not.  Cleared by the next `QuotaSeen`, not by an intent."""

    left_running: int
    """Commands that were still running when it was stopped."""

    surplus: int
    """Surplus commands that audits found, each counted once."""

    foreign: int
    """Foreign commands that audits found, each counted once."""

    audited_at: datetime | None
    audit_error: str | None
    """Why the last run could not audit it; None if it could, or did not get that far."""

    posts: int
    """POSTs for which an intent was opened."""

    commands: int
    """Known commands of its targets."""

    size: int
    """Total size of the saved artifacts, in bytes."""

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
    """More about why it is skipped, in words."""

    state: TargetState
    failure: FailureClass | None
    error: str | None
    """What went wrong with its last POST, command or artifact, in one line; None if nothing did or no reason is known.
    A retry or a drop leaves it unchanged.
    """

    reason: DropReason | None
    """Why it is `not_attempted`."""

    changed_at: datetime
    """When it entered its state, by this machine's clock."""

    tries: Mapping[FailureClass, int] = attrs.field(hash=False)
    """How often it was retried (`TargetRetried`), by failure class; a missing class means 0."""

    not_before: datetime | None
    """When it is due after a `TargetRetried`; None if it is due at once, or its state has changed since."""

    command_id: str | None
    """Its latest command."""


@attrs.frozen(kw_only=True)
class IntentRecord:
    """An intent to create one target's command with one POST."""

    target: int
    post: str
    attempt: int
    since: datetime
    settled_at: datetime
    outcome: IntentOutcome | None
    """None while the intent is open."""

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
    """The status that ended it; None while it runs, as far as is known."""

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
    """The number of targets with one combination of account, wave, state and failure class."""

    account: str
    wave: int
    state: TargetState
    failure: FailureClass | None
    n: int


@attrs.frozen(kw_only=True)
class Lags:
    """How late commands whose POST was answered showed up in the list."""

    n: int
    longest: float
    """Seconds; 0 if `n` is 0."""


@attrs.frozen(kw_only=True)
class Recorded:
    """An event with its place in the journal."""

    seq: int
    """Increases with each event in the journal."""

    campaign: str
    event: CampaignEvent
