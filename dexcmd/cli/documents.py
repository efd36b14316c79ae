"""The JSON documents that `--json` writes, with stable fields.  Pure.

The `schema` of a document names its kind and version.  Within a version, fields are only ever added.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from dexcmd.resources.command import Command
from dexcmd.resources.devices import Device
from dexcmd.resources.quota import Quota
from dexcmd.transfer.saved import SavedArtifact

__all__ = [
    "CAPTURE_SCHEMA",
    "Document",
    "capture_document",
    "command_document",
    "device_document",
    "download_document",
    "plain",
    "quota_document",
    "time_document",
]

Document = Mapping[str, object]

CAPTURE_SCHEMA = "capture/1"


def time_document(moment: datetime | None) -> str | None:
    """Return a time as text, always in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(value: object) -> object:
    """Return a value for JSON: a time as text, anything else unchanged."""
    return time_document(value) if isinstance(value, datetime) else value


def quota_document(quota: Quota) -> Document:
    """Return the output of `quota`."""
    return {
        "schema": "quota/1",
        "quota": quota.quota,
        "used": quota.quota_usage,
        "remaining": quota.remaining,
        "reset_time": time_document(quota.reset_time),
    }


def device_document(device: Device) -> Document:
    """Return a line of `devices`."""
    seen = device.timestamp
    return {
        "schema": "device/1",
        "device_id": device.device_id,
        "registration_id": device.registration_id,
        "device_name": device.device_name,
        "user_email": device.person_email,
        "platform": device.platform,
        "version": device.version,
        "status": device.status,
        "eligible": device.eligible,
        "ineligible_reason": device.ineligible_reason,
        "last_seen": time_document(seen) if isinstance(seen, datetime) else seen,
    }


def command_document(command: Command) -> Document:
    """Return a line of `commands` and `follow`."""
    return {
        "schema": "command/1",
        "id": command.id,
        "type": command.type,
        "status": command.status,
        "device_id": command.device_id,
        "registration_id": command.registration_id,
        "user_email": command.user_email,
        "created_date": time_document(command.created_date),
        "completed_date": time_document(command.completed_date),
        "filename": command.filename,
    }


def download_document(command_id: str, state: str, artifact: SavedArtifact | None, error: str | None) -> Document:
    """Return a line of `download`."""
    return {
        "schema": "download/1",
        "id": command_id,
        "state": state,
        "path": None if artifact is None else str(artifact.path),
        "size": None if artifact is None else artifact.size,
        "sha256": None if artifact is None else artifact.sha256,
        "resumed_from": None if artifact is None else artifact.resumed_from,
        "error": error,
    }


def capture_document(
    device: Device,
    command_type: str,
    state: str,
    *,
    command_id: str | None,
    status: str | None,
    artifact: SavedArtifact | None,
    reason: str | None,
    error: str | None,
) -> Document:
    """Return a line of `capture`."""
    return {
        "schema": CAPTURE_SCHEMA,
        "id": command_id,
        "state": state,
        "type": command_type,
        "status": status,
        "device_id": device.device_id,
        "registration_id": device.registration_id,
        "device_name": device.device_name,
        "user_email": device.person_email,
        "platform": device.platform,
        "path": None if artifact is None else str(artifact.path),
        "size": None if artifact is None else artifact.size,
        "sha256": None if artifact is None else artifact.sha256,
        "resumed_from": None if artifact is None else artifact.resumed_from,
        "reason": reason,
        "error": error,
    }
