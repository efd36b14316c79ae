"""The result for each target, as rows.  Pure."""

from datetime import datetime

import attrs

from dexcmd.amounts import size_text
from dexcmd.capture import CaptureResult
from dexcmd.cli.capture.choice import Left
from dexcmd.cli.documents import Document, capture_document
from dexcmd.cli.failure import explain
from dexcmd.cli.rows import Column
from dexcmd.errors import CommandFailedError
from dexcmd.outcome import Outcome
from dexcmd.resources.devices import Device
from dexcmd.transfer.saved import SavedArtifact

__all__ = ["CREATED", "LINES", "MADE", "TABLE", "Row", "row_document"]

MADE = ("created", "adopted")

REASONS = {"quota": "the day's quota is used up", "cancelled": "interrupted", "abort": "stopped after another error"}


@attrs.frozen(kw_only=True)
class Row:
    """The result for one target."""

    device: Device
    type: str
    state: str
    command_id: str | None = None
    status: str | None = None
    """SUCCESS or FAILED, once known."""

    created: datetime | None = None
    """When the service created the command, once known."""

    artifact: SavedArtifact | None = None
    reason: str | None = None
    error: Exception | None = None
    text: str | None = None
    """Why there is no artifact, if not because of an error."""

    @classmethod
    def of_result(cls, device: Device, result: CaptureResult[SavedArtifact]) -> "Row":
        """Return the row of a capture."""
        command = result.command
        return cls(
            device=device,
            type=result.request.type,
            state=result.state,
            command_id=None if command is None else command.id,
            status=command.status if command is not None and command.ended else None,
            created=None if command is None else command.created_date,
            artifact=result.artifact,
            reason=result.reason,
            error=result.error,
        )

    @classmethod
    def of_outcome(cls, device: Device, outcome: Outcome, *, no_wait: bool) -> "Row":
        """Return the row of a target without a result; unless `no_wait`, a created command means an interruption."""
        return cls(
            device=device,
            type=outcome.request.type,
            state=outcome.state,
            command_id=outcome.command_id,
            created=None if outcome.command is None else outcome.command.created_date,
            reason="cancelled" if outcome.state in MADE and not no_wait else outcome.reason,
            error=outcome.error,
        )

    @classmethod
    def of_left(cls, left: Left, command_type: str) -> "Row":
        """Return the row of a device that was named but is not captured."""
        return cls(device=left.device, type=command_type, state="not_attempted", reason=left.reason, text=left.text)

    @property
    def goes_on(self) -> bool:
        """Return whether there may still be an artifact to fetch."""
        return self.command_id is not None and self.artifact is None and not isinstance(self.error, CommandFailedError)

    @property
    def why(self) -> str | None:
        """Return why there is no artifact, and what to do about it."""
        if self.error is not None:
            return str(explain(self.error, created=True))
        if self.text is None and self.command_id is not None and self.reason == "cancelled":
            return "interrupted; it keeps running"
        return self.text or REASONS.get(self.reason or "", self.reason)

    @property
    def short_why(self) -> str | None:
        """Return the reason for a table, which already shows the command's id."""
        return f"the device reports {self.status}" if isinstance(self.error, CommandFailedError) else self.why


def _path(row: Row) -> str | None:
    return None if row.artifact is None else str(row.artifact.path)


LINES = (
    Column[Row](title="command", text=lambda row: row.command_id),
    Column[Row](title="state", text=lambda row: row.state),
    Column[Row](title="device", text=lambda row: row.device.device_id),
    Column[Row](title="registration", text=lambda row: row.device.registration_id),
    Column[Row](title="name", text=lambda row: row.device.device_name),
    Column[Row](title="user", text=lambda row: row.device.person_email),
    Column[Row](title="path", text=_path),
    Column[Row](title="size", text=lambda row: None if row.artifact is None else str(row.artifact.size)),
    Column[Row](title="sha256", text=lambda row: None if row.artifact is None else row.artifact.sha256),
    Column[Row](title="why", text=lambda row: row.why),
)

TABLE = (
    Column[Row](title="device", text=lambda row: row.device.device_name or row.device.device_id, folds_at=12),
    Column[Row](title="user", text=lambda row: row.device.person_email, folds_at=16, optional=2),
    Column[Row](
        title="state",
        text=lambda row: row.state.replace("_", " "),
        styles={"saved": "green", "created": "green", "adopted": "green", "failed": "red", "rejected": "red"},
    ),
    Column[Row](
        # Without an artifact, the command's id must not get lost.
        title="file, or command",
        text=lambda row: row.command_id if row.artifact is None else row.artifact.path.name,
        folds_at=40,
    ),
    Column[Row](
        title="size",
        text=lambda row: None if row.artifact is None else size_text(row.artifact.size),
        only_if_any=True,
        optional=1,
    ),
    Column[Row](title="why", text=lambda row: row.short_why, folds_at=16, only_if_any=True),
)

CREATED = (
    Column[Row](title="command", text=lambda row: row.command_id),
    *TABLE[:3],
    TABLE[5],
)
"""The table with `--no-wait`."""


def row_document(row: Row) -> Document:
    """Return a line of JSON."""
    return capture_document(
        row.device,
        row.type,
        row.state,
        command_id=row.command_id,
        status=row.status,
        artifact=row.artifact,
        reason=row.reason,
        error=row.why,
    )
