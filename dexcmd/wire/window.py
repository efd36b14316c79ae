"""How many requests fit into a period: the arithmetic of staying under a rate limit."""

import math
from bisect import bisect_left, insort

import attrs

from dexcmd.validators import above_zero, count
from dexcmd.wire.ratelimit import Allowance

__all__ = ["RateLimit", "ServiceView", "Window"]


@attrs.frozen(kw_only=True)
class RateLimit:
    """At most `requests` in any period of `seconds`, shared by all clients of one token in this process.

    The defaults are the service's limits for a user, over all tokens, and for an IP address:
    https://developers.cloudflare.com/fundamentals/api/reference/limits/.

    Raises `ConfigurationError` for an invalid value.
    """

    requests: int = attrs.field(default=1200, validator=count)
    seconds: float = attrs.field(default=300.0, validator=above_zero)
    per_second: int = attrs.field(default=200, validator=count)
    """The maximum in any one second to the same origin, over all tokens."""

    def seconds_for(self, requests: int, share: float) -> float:
        """Return over how many seconds to spread `requests` so that they use at most `share` (0 to 1) of the limit."""
        return requests * self.seconds / self.requests / share


class Window:
    """A sliding window over the times at which requests were sent or are planned to be sent.

    It is exact, whereas a token bucket would let through up to twice the limit in one period.
    """

    def __init__(self) -> None:
        self._sent: list[float] = []
        self._longest = 0.0
        self._planned: list[float] = []

    def earliest(self, now: float, requests: int, seconds: float) -> float:
        """Return the earliest time, not before `now`, at which one more stays within `requests` per `seconds`."""
        return _earliest(self._sent, now, requests, seconds)

    def plan(self, now: float, requests: int, seconds: float) -> float:
        """Return when one more may be sent after all that are planned."""
        return _earliest(sorted(self._sent + self._planned), now, requests, seconds)

    def reserve(self, time: float) -> None:
        """Plan a request at `time`."""
        insort(self._planned, time)

    def release(self, time: float) -> None:
        """Remove a plan, unless it has already been dropped."""
        at = bisect_left(self._planned, time)
        if self._planned[at : at + 1] == [time]:
            del self._planned[at]

    def send(self, now: float, seconds: float) -> None:
        """Record that a request is sent, and drop what is too old to matter."""
        # Clients that share a window may have limits with different periods.
        self._longest = max(self._longest, seconds)
        insort(self._sent, now)
        for times in (self._sent, self._planned):
            # Plans too: one may have been neither used nor released.
            del times[: bisect_left(times, now - self._longest)]


def _earliest(times: list[float], now: float, requests: int, seconds: float) -> float:
    return now if len(times) < requests else max(now, times[-requests] + seconds)


class ServiceView:
    """What the service itself says: the allowance in its headers, and the pause that a 429 asks for."""

    SPREAD_BELOW = 0.1
    """The share of the limit below which the remaining requests are spread over the remaining time, as others use the
    account as well.
    """

    def __init__(self) -> None:
        self._remaining = 0
        self._reset_at = -math.inf
        self._last_taken = -math.inf
        self._paused_until = -math.inf

    def pause(self, until: float) -> None:
        """Send nothing before `until`."""
        self._paused_until = max(self._paused_until, until)

    def learn(self, allowance: Allowance, now: float, in_flight: int) -> None:
        """Record the allowance of a response received at `now`, while `in_flight` other requests were in progress.

        The service may not have counted those yet, so they are subtracted.
        """
        self._remaining = max(0, allowance.remaining - in_flight)
        self._reset_at = now + allowance.reset_after

    def earliest(self, now: float, requests: int) -> float:
        """Return the earliest time for one more request, under a limit of `requests` in all."""
        earliest = max(now, self._paused_until)
        if earliest >= self._reset_at:
            return earliest
        if self._remaining <= 0:
            return self._reset_at
        if self._remaining < requests * self.SPREAD_BELOW:
            return max(earliest, self._spread())
        return earliest

    def take(self, time: float) -> None:
        """Count a request that is sent at `time`."""
        if time < self._reset_at and self._remaining > 0:
            self._remaining -= 1
            self._last_taken = time

    def _spread(self) -> float:
        """Return when the next one is due if the remaining ones are spread evenly until the reset."""
        if self._last_taken == -math.inf:
            return self._last_taken
        return self._last_taken + (self._reset_at - self._last_taken) / (self._remaining + 1)
