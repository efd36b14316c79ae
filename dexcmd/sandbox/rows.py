"""Rows of the responses, as they appear on the wire."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from dexcmd.sandbox.behaviour import Behaviour, RowAlteration
from dexcmd.sandbox.devices import SandboxDevice
from dexcmd.sandbox.state import Quota, StoredCommand
from dexcmd.sandbox.timeline import Timeline

__all__ = ["alter_rows", "create_row", "device_row", "format_date", "list_row", "quota_result"]

Row = dict[str, Any]

_FOREIGN_DEVICE = "f0f0f0f0-0000-4000-8000-00000000f0f0"
_FOREIGN_REGISTRATION = "f0f0f0f0-0000-4000-8000-0000000000f0"
_FOREIGN_COMMAND = "f0f0f0f0-0000-4000-8000-000000000f0f"


def format_date(moment: datetime, behaviour: Behaviour) -> str:
    """Return a time in the service's format."""
    return _format_seconds(moment.timestamp(), behaviour.date_format)


# Polls return the same rows over and over, and times are the most expensive part of a row.
@lru_cache(maxsize=16384)
def _format_seconds(seconds: float, form: str) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    if form == "postgres":
        return moment.strftime("%Y-%m-%d %H:%M:%S+00")
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def list_row(
    command: StoredCommand, now: datetime, behaviour: Behaviour, artifact_url: Callable[[StoredCommand], str]
) -> Row:
    """Return the command as a row of the command list at `now`."""
    seconds = now.timestamp()
    timeline = command.timeline
    completed = filename = None
    if seconds >= timeline.finished:
        completed = _format_seconds(timeline.finished, behaviour.date_format)
        if timeline.uploaded and seconds >= timeline.finished + behaviour.filename_delay:
            filename = _filename(command, behaviour, artifact_url)
    return _finish(
        {
            "id": command.id,
            "type": command.type,
            "status": _status(timeline, seconds, behaviour),
            "device_id": command.device.device_id,
            "registration_id": command.device.registration_id,
            "user_email": command.device.user_email,
            "created_date": _format_seconds(timeline.created, behaviour.date_format),
            "completed_date": completed,
            "filename": filename,
        },
        behaviour,
    )


def create_row(command: StoredCommand, now: datetime, behaviour: Behaviour) -> Row:
    """Return the command as a row of the response to its creation."""
    return _finish(
        {
            "id": command.id,
            "args": {key: _echo(value) for key, value in command.args.items()},
            "device_id": command.device.device_id,
            "registration_id": command.device.registration_id,
            "status": _status(command.timeline, now.timestamp(), behaviour),
            "type": command.type,
        },
        behaviour,
    )


def device_row(device: SandboxDevice, seen: datetime, now: datetime, behaviour: Behaviour) -> Row:
    """Return the device as a row of the device list; `seen` is when it was last connected."""
    if behaviour.device_timestamp == "date":
        timestamp = format_date(seen, behaviour)
    else:
        timestamp = f"{int((now - seen).total_seconds()) // 60} minutes ago"
    return _finish(
        {
            "deviceId": device.device_id,
            "deviceName": device.name,
            "eligible": device.eligible,
            "ineligibleReason": device.ineligible_reason,
            "personEmail": device.user_email,
            "platform": device.platform,
            "registrationId": device.registration_id,
            "status": "connected" if device.connected else "disconnected",
            "timestamp": timestamp,
            "version": device.version,
        },
        behaviour,
    )


def quota_result(quota: Quota, behaviour: Behaviour) -> Row:
    """Return the quota as the result of a quota call."""
    return _finish(
        {
            "quota": quota.limit,
            "quota_usage": quota.usage,
            "reset_time": format_date(quota.reset_time, behaviour),
        },
        behaviour,
    )


def alter_rows(rows: Sequence[Row], alterations: Sequence[RowAlteration]) -> list[Row]:
    """Return the altered rows of a create response."""
    altered = list(rows)
    for alteration in alterations:
        match alteration:
            case "partial":
                altered = altered[: len(altered) // 2]
            case "reordered":
                altered = altered[::-1]
            case "duplicated":
                altered = [*altered, *altered[:1]]
            case "foreign":
                altered = [*altered, _foreign(rows)]
    return altered


def _foreign(rows: Sequence[Row]) -> Row:
    return {
        **(rows[0] if rows else {"status": "PENDING_EXEC", "type": "pcap", "args": {}}),
        "id": _FOREIGN_COMMAND,
        "device_id": _FOREIGN_DEVICE,
        "registration_id": _FOREIGN_REGISTRATION,
    }


def _status(timeline: Timeline, seconds: float, behaviour: Behaviour) -> str:
    status = timeline.status(seconds)
    return behaviour.status_names.get(status, status)


def _filename(command: StoredCommand, behaviour: Behaviour, artifact_url: Callable[[StoredCommand], str]) -> str | None:
    match behaviour.filename_style:
        case "name":
            return command.filename
        case "url":
            return artifact_url(command)
        case "null":
            return None


def _echo(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _finish(row: Row, behaviour: Behaviour) -> Row:
    """Apply the switches that concern all rows to a new row, and return it."""
    if behaviour.unknown_fields:
        row["sandbox_extra"] = {"version": 2, "tags": ["new", None]}
    if behaviour.null_fields:
        row.update(dict.fromkeys(behaviour.null_fields & row.keys()))
    if behaviour.omit_absent or behaviour.omit_fields:
        return {
            name: value
            for name, value in row.items()
            if name not in behaviour.omit_fields and not (behaviour.omit_absent and value is None)
        }
    return row
