"""How often and how long it is tried to plan an account that can't be planned at once.  Pure."""

from datetime import timedelta

import attrs

from dexcmd.errors import APIError, DexError, RateLimitError
from dexcmd.wire.retrying import ACCOUNT_ERRORS

__all__ = ["Patience"]

FIRST_WAIT = timedelta(seconds=15)
"""Doubled for each that follows, up to `LONGEST_WAIT`."""

LONGEST_WAIT = timedelta(minutes=5)

GIVEN_UP_AFTER = timedelta(hours=1)
"""So long an account may fail: by then nothing of it is begun, and a run is to end some time."""


@attrs.define(eq=False)
class Patience:
    """What is left of it with one account."""

    _waits: int = attrs.field(default=0, init=False)
    _failing_since: float | None = attrs.field(default=None, init=False)

    def wait(self, error: DexError, now: float) -> float | None:
        """Return how many seconds to wait before the next try; None where there is to be none.

        `now` is of a monotonic clock.  What is refused to the whole account is tried no more.  A rate limit is waited
        for as long as it takes: it says when, and may be used up by the other accounts of the token.
        """
        if isinstance(error, ACCOUNT_ERRORS):
            return None
        if not isinstance(error, RateLimitError):
            if self._failing_since is None:
                self._failing_since = now
            if now - self._failing_since >= GIVEN_UP_AFTER.total_seconds():
                return None
        wait = min(FIRST_WAIT * 2.0 ** min(self._waits, 16), LONGEST_WAIT).total_seconds()
        self._waits += 1
        told = error.retry_after if isinstance(error, APIError) else None
        # The service may say anything.
        return max(wait, min(told or 0.0, GIVEN_UP_AFTER.total_seconds()))
