"""Builds rows from what is known about a campaign.  Pure."""

from dexcmd.campaign.events import ForeignFound, SurplusFound
from dexcmd.campaign.export.schema import ExportRow
from dexcmd.campaign.records import ArtifactRecord, CampaignRecord, CommandRecord, IntentRecord, TargetRecord

__all__ = ["foreign_row", "surplus_row", "target_row"]


def target_row(
    campaign: CampaignRecord,
    account_id: str,
    target: TargetRecord,
    command: CommandRecord | None,
    artifact: ArtifactRecord | None,
    intent: IntentRecord | None,
) -> ExportRow:
    """Return the row of a target, from what `Store.export` returns for it."""
    return ExportRow(
        campaign=campaign.name,
        account=target.account,
        account_id=account_id,
        target=target.number,
        wave=target.wave,
        device_id=target.device_id,
        registration_id=target.registration_id,
        user_email=target.user_email,
        device_name=target.device_name,
        platform=target.platform,
        version=target.version,
        outcome=target.state,
        reason=target.skip or target.failure or target.reason,
        detail=target.detail,
        error=target.error,
        tries=sum(target.tries.values()),
        changed_at=target.changed_at,
        due_at=target.not_before,
        posted_at=None if intent is None else intent.opened_at,
        answered_at=None if intent is None else intent.closed_at,
        type=campaign.type,
        command_id=None if command is None else command.command_id,
        provenance=None if command is None else command.provenance,
        known_at=None if command is None else command.known_at,
        created_at=None if command is None else command.created_date,
        completed_at=None if command is None else command.completed_date,
        status=None if command is None else command.status,
        filename=None if command is None else command.filename,
        path=None if artifact is None else artifact.location,
        size=None if artifact is None else artifact.size,
        sha256=None if artifact is None else artifact.sha256,
        saved_at=None if artifact is None else artifact.saved_at,
    )


def surplus_row(campaign: CampaignRecord, account_id: str, found: SurplusFound, target: TargetRecord) -> ExportRow:
    """Return the row of a second command of `target`, with the target's device and user."""
    return ExportRow(
        campaign=campaign.name,
        account=found.account,
        account_id=account_id,
        device_id=found.device_id or target.device_id,
        registration_id=target.registration_id,
        user_email=target.user_email,
        device_name=target.device_name,
        platform=target.platform,
        version=target.version,
        outcome="surplus",
        changed_at=found.at,
        type=campaign.type,
        command_id=found.command_id,
        provenance="adopted",
        known_at=found.at,
        created_at=found.created_date,
        surplus_of=found.target,
    )


def foreign_row(campaign: CampaignRecord, account_id: str, found: ForeignFound) -> ExportRow:
    """Return the row of somebody else's command."""
    return ExportRow(
        campaign=campaign.name,
        account=found.account,
        account_id=account_id,
        device_id=found.device_id,
        outcome="foreign",
        changed_at=found.at,
        type=found.type,
        command_id=found.command_id,
        provenance="foreign",
        known_at=found.at,
        created_at=found.created_date,
    )
