"""What the middlewares of one call share."""

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
    """Called with True when an attempt is about to go out, for it may have an effect from then on, and with False once
    it surely had none."""

    on_retry: Callable[[], None] | None = None
    """Called for each attempt that has failed and is followed by another one."""

    begun: bool = False
    """Whether it has come as far as the middlewares: what aiohttp refuses before was never sent."""

    attempt: int = 1
    unreadable: int = 0
    """How many answers could not be read."""

    waited: float = 0.0
    """Seconds spent on waits between and before attempts."""

    headers: CIMultiDictProxy[str] | None = None
    """Those of the last attempt's answer, if there was one."""

    answered_at: float = 0.0
    """When those headers came, by `clock.monotonic()`: a body may take long after them."""

    envelope: Envelope = attrs.field(init=False)
    """What the good answer held, where the call is for JSON; set by the attempt that succeeds."""

    @property
    def seconds_left(self) -> float:
        """Return what remains of the budget; negative once it is overdrawn."""
        return self.deadline - self.clock.monotonic()
