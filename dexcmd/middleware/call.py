"""The state shared by the middlewares of one call."""

from collections.abc import Callable

import attrs
from multidict import CIMultiDictProxy

from dexcmd.clock import Clock
from dexcmd.events import Event
from dexcmd.wire.envelope import Envelope
from dexcmd.wire.retrying import RetryPolicy

__all__ = ["Call"]


@attrs.define
class Call:
    """One call as it passes through the middlewares, over all of its attempts."""

    method: str
    path: str
    """Without the base URL and the query, for errors, logs and events."""

    idempotent: bool
    policy: RetryPolicy
    clock: Clock
    random: Callable[[], float]
    emit: Callable[[Event], None]
    deadline: float
    """When the budget of the call ends, by `clock.monotonic()`."""

    on_sent: Callable[[bool], None] | None
    """Called with True when an attempt is about to be sent, since it may have an effect from then on, and with False
    once it is certain that the attempt had no effect."""

    on_retry: Callable[[], None] | None = None
    """Called for each failed attempt that is followed by another one."""

    begun: bool = False
    """Whether the call has reached the middlewares.  If aiohttp refused it before that, it was never sent."""

    attempt: int = 1
    unreadable: int = 0
    """How many responses could not be parsed."""

    waited: float = 0.0
    """Seconds spent on waits between and before attempts."""

    headers: CIMultiDictProxy[str] | None = None
    """The headers of the last attempt's response, if there was one."""

    answered_at: float = 0.0
    """When those headers arrived, by `clock.monotonic()`; the body may take much longer."""

    envelope: Envelope = attrs.field(init=False)
    """The content of the good response, if the call is for JSON; set by the attempt that succeeds."""

    @property
    def seconds_left(self) -> float:
        """What remains of the budget; negative if exceeded."""
        return self.deadline - self.clock.monotonic()
