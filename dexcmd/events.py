"""What happens inside a client, as typed events for metrics, traces and progress views.

Pass `on_event=` to `DexClient`.  It is called on the event loop, so it must return at once.  What it raises
is logged and goes no further.  No event holds the token.
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
    """An attempt at a request begins."""

    method: str
    path: str
    attempt: int
    """From 1."""


@attrs.frozen
class RequestFinished:
    """One attempt at a request ended, well or badly."""

    method: str
    path: str
    attempt: int
    status: int | None
    """None where there was no answer."""

    seconds: float
    ray_id: str | None


@attrs.frozen
class Retrying:
    """A request is going to be sent again."""

    method: str
    path: str
    attempt: int
    """The attempt that failed, from 1."""

    wait: float
    """Seconds until the next attempt."""

    error: str


@attrs.frozen
class Paced:
    """A request is held back to stay under the rate limit."""

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
    """A command whose create answer was lost was found in the list."""


@attrs.frozen
class CommandFinished:
    """A followed command reached SUCCESS or FAILED."""

    command_id: str
    status: str


Event = RequestSent | RequestFinished | Retrying | Paced | CommandCreated | CommandAdopted | CommandFinished
"""Whatever `on_event` may be called with."""
