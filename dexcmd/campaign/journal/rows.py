"""Rows of the journal's tables as records: the columns to select, and what to build from them.  Pure."""

import json
from typing import Any

from dexcmd.campaign.journal.codec import decode
from dexcmd.campaign.journal.times import moment, moment_or_none
from dexcmd.campaign.records import (
    AccountRecord,
    ArtifactRecord,
    CampaignRecord,
    CommandRecord,
    IntentRecord,
    Recorded,
    TargetRecord,
)

__all__ = [
    "ACCOUNT",
    "ARTIFACT",
    "CAMPAIGN",
    "COMMAND",
    "EVENT",
    "INTENT",
    "TARGET",
    "Values",
    "account_record",
    "artifact_record",
    "campaign_record",
    "command_record",
    "intent_record",
    "recorded",
    "target_record",
]

Values = tuple[Any, ...]
"""A row."""

CAMPAIGN = "name, spec, fingerprint, type, control, planned_at, first_run_at, ended"

ACCOUNT = """
    name, account_id, wave, stopped, reason, left_running, quota, usage, reset_time, waits_until,
    surplus, foreign_commands, audited_at, posts, commands, size, last_lost_at, first_since, settle_seconds, aborted,
    audit_error
"""

TARGET = """
    target.number, account.name, target.wave, device.device_id, device.registration_id, device.user_email,
    device.device_name, device.platform, device.version, device.skip, device.detail, target.state, target.failure,
    target.error, target.reason, target.changed_at, target.not_before, target.command_id,
    (SELECT json_group_object(failure, n) FROM retry WHERE retry.target = target.id)
"""

COMMAND = """
    command.command_id, target.number, account.name, command.provenance, command.known_at, command.created_date,
    command.not_before, command.status, command.completed_date, command.filename
"""

ARTIFACT = "artifact.command_id, artifact.location, artifact.size, artifact.sha256, artifact.saved_at"

INTENT = """
    target.number, intent.post, intent.attempt, intent.since, intent.settled_at, intent.outcome, intent.opened_at,
    intent.closed_at
"""

EVENT = "event.seq, event.kind, event.at, account.name, event.target, event.data"


def campaign_record(row: Values) -> CampaignRecord:
    """Build a record from the columns of `CAMPAIGN`."""
    name, spec, fingerprint, type_, control, planned_at, first_run_at, ended = row
    return CampaignRecord(
        name=name,
        spec=spec,
        fingerprint=fingerprint,
        type=type_,
        control=control,
        planned_at=moment(planned_at),
        first_run_at=moment_or_none(first_run_at),
        ended=ended,
    )


def account_record(row: Values) -> AccountRecord:
    """Build a record from the columns of `ACCOUNT`."""
    return AccountRecord(
        name=row[0],
        account_id=row[1],
        wave=row[2],
        stopped=row[3],
        reason=row[4],
        left_running=row[5],
        quota=row[6],
        usage=row[7],
        reset_time=moment_or_none(row[8]),
        waits_until=moment_or_none(row[9]),
        surplus=row[10],
        foreign=row[11],
        audited_at=moment_or_none(row[12]),
        posts=row[13],
        commands=row[14],
        size=row[15],
        last_lost_at=moment_or_none(row[16]),
        first_since=moment_or_none(row[17]),
        settle_seconds=row[18],
        aborted=row[19],
        audit_error=row[20],
    )


def target_record(row: Values) -> TargetRecord:
    """Build a record from the columns of `TARGET`."""
    return TargetRecord(
        number=row[0],
        account=row[1],
        wave=row[2],
        device_id=row[3],
        registration_id=row[4],
        user_email=row[5],
        device_name=row[6],
        platform=row[7],
        version=row[8],
        skip=row[9],
        detail=row[10],
        state=row[11],
        failure=row[12],
        error=row[13],
        reason=row[14],
        changed_at=moment(row[15]),
        not_before=moment_or_none(row[16]),
        command_id=row[17],
        tries=json.loads(row[18]),
    )


def command_record(row: Values) -> CommandRecord:
    """Build a record from the columns of `COMMAND`."""
    return CommandRecord(
        command_id=row[0],
        target=row[1],
        account=row[2],
        provenance=row[3],
        known_at=moment(row[4]),
        created_date=moment_or_none(row[5]),
        not_before=moment_or_none(row[6]),
        status=row[7],
        completed_date=moment_or_none(row[8]),
        filename=row[9],
    )


def artifact_record(row: Values) -> ArtifactRecord:
    """Build a record from the columns of `ARTIFACT`."""
    command_id, location, size, sha256, saved_at = row
    return ArtifactRecord(command_id=command_id, location=location, size=size, sha256=sha256, saved_at=moment(saved_at))


def intent_record(row: Values) -> IntentRecord:
    """Build a record from the columns of `INTENT`."""
    target, post, attempt, since, settled_at, outcome, opened_at, closed_at = row
    return IntentRecord(
        target=target,
        post=post,
        attempt=attempt,
        since=moment(since),
        settled_at=moment(settled_at),
        outcome=outcome,
        opened_at=moment(opened_at),
        closed_at=moment_or_none(closed_at),
    )


def recorded(campaign: str, row: Values) -> Recorded:
    """Build an event from the columns of `EVENT`.  Raises `CampaignError` if it can't be read."""
    seq, kind, at, account, target, data = row
    return Recorded(seq=seq, campaign=campaign, event=decode(kind, moment(at), account, target, data))
