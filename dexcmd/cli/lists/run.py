"""Writes quota, devices and commands as rows."""

import sys
from datetime import UTC, datetime

import attrs

from dexcmd.cli.calling import call
from dexcmd.cli.common import Common
from dexcmd.cli.documents import command_document, device_document, quota_document, time_document
from dexcmd.cli.exits import OK
from dexcmd.cli.moments import age_text, duration_text, time_text
from dexcmd.cli.rows import Column, RowWriter
from dexcmd.cli.selection import Selection, selected_devices
from dexcmd.client import DexClient
from dexcmd.errors import ConfigurationError
from dexcmd.resources.command import Command
from dexcmd.resources.devices import Device
from dexcmd.resources.quota import Quota

__all__ = ["COMMANDS", "DEVICES", "DEVICES_TABLE", "QUOTA", "Wanted", "run_commands", "run_devices", "run_quota"]


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def _resets(quota: Quota) -> str | None:
    if quota.reset_time is None:
        return None
    left = (quota.reset_time - datetime.now(UTC)).total_seconds()
    return f"{time_text(quota.reset_time)} (in {duration_text(left)})"


def _age(moment: datetime | None) -> str | None:
    return None if moment is None else age_text(moment, datetime.now(UTC))


def _seen(device: Device) -> str | None:
    seen = device.timestamp
    return time_document(seen) if isinstance(seen, datetime) else seen


def _eligible(device: Device) -> str | None:
    return None if device.eligible is None else "yes" if device.eligible else "no"


def _eligible_or_why(device: Device) -> str | None:
    return ": ".join(filter(None, (_eligible(device), device.ineligible_reason)))


QUOTA = (
    Column[Quota](title="quota", text=lambda row: _number(row.quota)),
    Column[Quota](title="used", text=lambda row: _number(row.quota_usage)),
    Column[Quota](title="remaining", text=lambda row: _number(row.remaining)),
    Column[Quota](title="resets", text=lambda row: time_document(row.reset_time), shown=_resets, folds_at=16),
)

DEVICES = (
    Column[Device](title="device", text=lambda row: row.device_id),
    Column[Device](title="registration", text=lambda row: row.registration_id, optional=6),
    Column[Device](title="name", text=lambda row: row.device_name, folds_at=12),
    Column[Device](title="user", text=lambda row: row.person_email, folds_at=12),
    Column[Device](title="platform", text=lambda row: row.platform, optional=2),
    Column[Device](title="version", text=lambda row: row.version, optional=4),
    Column[Device](title="status", text=lambda row: row.status, optional=5),
    Column[Device](title="eligible", text=_eligible, styles={"yes": "green", "no": "red"}),
    Column[Device](title="reason", text=lambda row: row.ineligible_reason),
    Column[Device](
        title="seen",
        text=_seen,
        shown=lambda row: _age(row.timestamp) if isinstance(row.timestamp, datetime) else row.timestamp,
        optional=3,
    ),
)

DEVICES_TABLE = tuple(
    attrs.evolve(column, shown=_eligible_or_why, folds_at=12) if column.title == "eligible" else column
    for column in DEVICES
    if column.title != "reason"
)
"""A table shows the reason next to the "no", where it fits into eighty columns."""

COMMANDS = (
    Column[Command](title="command", text=lambda row: row.id),
    Column[Command](title="type", text=lambda row: row.type),
    Column[Command](title="status", text=lambda row: row.status, styles={"SUCCESS": "green", "FAILED": "red"}),
    Column[Command](
        title="created",
        text=lambda row: time_document(row.created_date),
        shown=lambda row: _age(row.created_date),
    ),
    Column[Command](title="user", text=lambda row: row.user_email, folds_at=16, optional=1),
    Column[Command](title="device", text=lambda row: row.device_id, optional=2),
    Column[Command](title="registration", text=lambda row: row.registration_id, optional=5),
    Column[Command](
        title="completed",
        text=lambda row: time_document(row.completed_date),
        shown=lambda row: _age(row.completed_date),
        optional=3,
    ),
    Column[Command](title="file", text=lambda row: row.filename, folds_at=16, optional=4),
)


def run_quota(common: Common) -> int:
    """Write the quota.  Raises `DexError`."""
    writer = RowWriter(QUOTA, quota_document, as_json=common.json)
    writer.add(call(common, lambda dex: dex.quota.get()))
    writer.finish("")
    return OK


def run_devices(common: Common, selection: Selection) -> int:
    """Write the devices.  Raises `DexError`."""
    columns = DEVICES_TABLE if sys.stdout.isatty() else DEVICES
    writer = RowWriter(columns, device_document, as_json=common.json)

    async def work(dex: DexClient) -> None:
        async for device in selected_devices(dex, selection):
            writer.add(device)

    call(common, work)
    writer.finish("no matching devices were connected within the last hour")
    return OK


@attrs.frozen(kw_only=True)
class Wanted:
    """The filters for commands."""

    status: str | None
    command_type: str | None
    device_id: str | None
    user_email: str | None
    since: datetime | None
    until: datetime | None
    limit: int | None


def run_commands(common: Common, wanted: Wanted) -> int:
    """Write the commands.  Raises `DexError`."""
    if wanted.since is not None and wanted.until is not None and wanted.since > wanted.until:
        raise ConfigurationError("--since is later than --until: nothing can be between them")
    writer = RowWriter(COMMANDS, command_document, as_json=common.json)

    async def work(dex: DexClient) -> None:
        filters = attrs.asdict(wanted, filter=attrs.filters.exclude("limit"))
        async for command in dex.commands.list(**filters):
            writer.add(command)
            if writer.count == wanted.limit:
                return

    call(common, work)
    writer.finish("no matching commands")
    return OK
