"""The sandbox's rate limit: a fixed window."""

import math

import attrs

from dexcmd.sandbox.behaviour import Behaviour

__all__ = ["RateLimiter", "Standing"]


@attrs.frozen
class Standing:
    """The state of the current window."""

    limit: int
    remaining: int
    reset_after: float
    """Seconds until the window ends."""

    def headers(self, window: float) -> dict[str, str]:
        """Return the `Ratelimit` and `Ratelimit-Policy` headers for this state."""
        return {
            "Ratelimit": f'"default";r={self.remaining};t={math.ceil(self.reset_after)}',
            "Ratelimit-Policy": f'"default";q={self.limit};w={math.ceil(window)}',
        }


class RateLimiter:
    """Counts requests.  All times are monotonic seconds of one clock."""

    def __init__(self) -> None:
        self._began = -math.inf
        self._used = 0

    def consume(self, requests: int, now: float, behaviour: Behaviour) -> None:
        """Count that many requests of another user."""
        self._roll(now, behaviour)
        self._used += requests

    def admit(self, now: float, behaviour: Behaviour) -> bool:
        """Count one request and return True, or return False without counting it if the limit is reached."""
        standing = self.standing(now, behaviour)
        if standing is None:
            return True
        if standing.remaining == 0:
            return False
        self._used += 1
        return True

    def standing(self, now: float, behaviour: Behaviour) -> Standing | None:
        """Return the state of the current window, None if there is no limit."""
        limit = behaviour.rate_limit
        if limit is None:
            return None
        self._roll(now, behaviour)
        others = math.floor((now - self._began) * behaviour.other_users_rate)
        return Standing(limit, max(limit - self._used - others, 0), self._began + behaviour.rate_window - now)

    def _roll(self, now: float, behaviour: Behaviour) -> None:
        if now - self._began >= behaviour.rate_window:
            self._began = now
            self._used = 0
