"""Typed events about what a client does, for metrics, traces and progress displays.

Pass `on_event=` to `DexClient`.  It is called on the event loop, so it must not block.  Exceptions it raises are
logged and otherwise ignored.  No event contains the token.
"""

import attrs

__all__ = [
    "CommandAdopted",
    "CommandCreated",
    "CommandFinished",
    "Event",
    "Paced",
    "RequestFinished",
    "RequestSent",
    "Retrying",
]


@attrs.frozen
class RequestSent:
    """An attempt at a request starts."""

    method: str
    path: str
    attempt: int
    """From 1."""


@attrs.frozen
class RequestFinished:
    """An attempt at a request ended, successfully or not."""

    method: str
    path: str
    attempt: int
    status: int | None
    """None if there was no response."""

    seconds: float
    ray_id: str | None


@attrs.frozen
class Retrying:
    """A request will be retried."""

    method: str
    path: str
    attempt: int
    """The attempt that failed, from 1."""

    wait: float
    """Seconds until the next attempt."""

    error: str


@attrs.frozen
class Paced:
    """A request is delayed to stay under the rate limit."""

    method: str
    path: str
    wait: float
    """Seconds."""


@attrs.frozen
class CommandCreated:
    """The service confirmed a command."""

    command_id: str
    device_id: str
    registration_id: str | None
    type: str


@attrs.frozen
class CommandAdopted(CommandCreated):
    """A command whose create response was lost was found in the list."""


@attrs.frozen
class CommandFinished:
    """A followed command reached SUCCESS or FAILED."""

    command_id: str
    status: str


Event = RequestSent | RequestFinished | Retrying | Paced | CommandCreated | CommandAdopted | CommandFinished
"""Any event that `on_event` may be called with."""
