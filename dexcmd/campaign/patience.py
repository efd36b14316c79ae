"""How often and how long to retry planning an account.  Pure."""

from datetime import timedelta

import attrs

from dexcmd.errors import APIError, DexError, RateLimitError
from dexcmd.wire.retrying import ACCOUNT_ERRORS

__all__ = ["Patience"]

FIRST_WAIT = timedelta(seconds=15)
"""Doubled for each wait that follows, up to `LONGEST_WAIT`."""

LONGEST_WAIT = timedelta(minutes=5)

GIVEN_UP_AFTER = timedelta(hours=1)
"""How long an account may keep failing: nothing of it has been started by then, and a run has to end some time."""


@attrs.define(eq=False)
class Patience:
    """The patience left with one account."""

    _waits: int = attrs.field(default=0, init=False)
    _failing_since: float | None = attrs.field(default=None, init=False)

    def wait(self, error: DexError, now: float) -> float | None:
        """Return how many seconds to wait before retrying, or None to stop retrying.

        `now` is a monotonic time.  A refusal of the whole account is not retried.  A rate limit is waited out however
        long it takes: it says when it ends, and may be used up by other accounts of the same token.
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
        # Bounded, as the service may say anything.
        return max(wait, min(told or 0.0, GIVEN_UP_AFTER.total_seconds()))
