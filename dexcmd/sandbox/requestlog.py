"""What the sandbox remembers of each request."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = ["OPERATIONS", "Operation", "RecordedRequest"]

Operation = Literal["list_commands", "create_commands", "list_devices", "get_quota", "download", "storage", "unknown"]
"""What a request asks for; `storage` is a download from the storage origin that `download` redirected to."""

OPERATIONS: tuple[Operation, ...] = (
    "list_commands",
    "create_commands",
    "list_devices",
    "get_quota",
    "download",
    "storage",
    "unknown",
)


@attrs.define(eq=False)
class RecordedRequest:
    """A request as it arrived, and what became of it."""

    at: float
    """When it arrived: monotonic seconds of the sandbox's clock."""
    operation: Operation
    method: str
    path: str
    """As sent, percent-encoded, without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str] = attrs.field(repr=False)
    """As sent, token included; looked up without regard to case."""
    body: Any = None
    """Parsed JSON, or the bytes if they are none; None for an empty body."""
    status: int | None = None
    """HTTP status that was answered; None as long as none was, or when the connection was dropped instead."""
    processed: bool = False
    """Whether the service did what was asked: commands created, rows looked up, artifact found."""
    fault: str | None = None
    """The kind of the fault that struck it, as in `drop`; None if none did."""
    created: tuple[str, ...] = ()
    """Ids of the commands that it created."""
    params: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """What the path holds: `account_id`, `command_id`, `filename`."""
    origin: str = ""
    """Scheme, host and port that it came to: that of `Sandbox.base_url`, or `Sandbox.storage_origin`."""
