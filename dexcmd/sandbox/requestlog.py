"""The record of each request that the sandbox receives."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = ["OPERATIONS", "Operation", "RecordedRequest"]

Operation = Literal["list_commands", "create_commands", "list_devices", "get_quota", "download", "storage", "unknown"]
"""The operation a request asks for; `storage` is a download from the storage origin, after a redirect."""

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
    """A request as it arrived, and its outcome."""

    at: float
    """Time of arrival, in monotonic seconds of the sandbox's clock."""
    operation: Operation
    method: str
    path: str
    """As sent, percent-encoded, without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str] = attrs.field(repr=False)
    """As sent, including the token; lookups ignore case."""
    body: Any = None
    """Parsed JSON, or bytes if the body isn't JSON; None if it is empty."""
    status: int | None = None
    """HTTP status of the response; None while there is none, or if the connection was dropped instead."""
    processed: bool = False
    """Whether the service did the work: commands created, rows looked up, artifact found."""
    fault: str | None = None
    """Kind of the fault that struck it, such as `drop`; None if none did."""
    created: tuple[str, ...] = ()
    """Ids of the commands created by the request."""
    params: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Parameters in the path: `account_id`, `command_id`, `filename`."""
    origin: str = ""
    """Scheme, host and port it was sent to: those of `Sandbox.base_url`, or `Sandbox.storage_origin`."""
