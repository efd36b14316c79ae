"""Whether and when to retry a failed attempt, as pure decisions."""

import attrs

from dexcmd.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    DexError,
    NotFoundError,
    PermissionDeniedError,
    ResponseDecodeError,
    TransportError,
)
from dexcmd.validators import above_zero, count

__all__ = ["ACCOUNT_ERRORS", "GiveUp", "RetryPolicy", "TryAgain", "decide", "rate_limit_wait", "surely_not_processed"]

TRANSIENT_STATUSES = frozenset({408, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""525 and 526 are missing on purpose: they report a bad certificate, which does not fix itself.

https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
"""

ACCOUNT_ERRORS = (AuthenticationError, PermissionDeniedError, NotFoundError, ConfigurationError)
"""Errors that concern a whole account: any other request would fail with them as well."""

RATE_LIMIT_BACKOFF = 10.0
"""The first wait, in seconds, after a 429 without Retry-After.  The block lasts up to 5 minutes, which six attempts
with doubling waits cover.
"""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How many times, and for how long, a request to the API is attempted.  Times are in seconds; both bounds apply.

    Raises `ConfigurationError` for an invalid value.
    """

    attempts: int = attrs.field(default=6, validator=count)
    """The maximum number of attempts, including the first."""

    total_seconds: float = attrs.field(default=330.0, validator=above_zero)
    """The time for one request: all attempts and waits, including waits for the rate limit.  If a wait does not fit,
    the error is raised at once.

    A call may take longer if it sends several requests: `create` may search the list for `settle_seconds` and then
    send a second POST.  The body of a download is bounded by `DownloadLimits` instead.
    """

    attempt_seconds: float = attrs.field(default=30.0, validator=above_zero)
    """How long one attempt may take, and how long a download may go without receiving a byte."""

    backoff_seconds: float = attrs.field(default=0.5, validator=above_zero)
    """The wait after the first failure, doubled after each further one, minus a random part of up to half."""

    backoff_max_seconds: float = attrs.field(default=30.0, validator=above_zero)
    """The maximum that the doubling stops at."""

    @classmethod
    def none(cls) -> "RetryPolicy":
        """Return a policy that sends each request once."""
        return cls(attempts=1)

    def backoff(self, attempt: int, random: float) -> float:
        """Return how many seconds to wait after failure number `attempt` (from 1); `random` is in [0, 1)."""
        return _doubled(self.backoff_seconds, attempt, self.backoff_max_seconds) * (1 - random / 2)


@attrs.frozen
class TryAgain:
    """Send the request again after `wait` seconds."""

    wait: float


@attrs.frozen
class GiveUp:
    """Don't send the request again; `reason` is human-readable."""

    reason: str
    wait: float | None = None
    """The wait in seconds that did not fit the budget, if that is the reason."""


def surely_not_processed(error: DexError) -> bool:
    """Tell whether the request that ended in `error` certainly had no effect.

    It was never sent, or was refused with a 4xx.
    """
    if isinstance(error, TransportError):
        return not error.sent
    if isinstance(error, ConfigurationError):
        return True
    # 408 is the one 4xx that does not say whether the request was read.
    return isinstance(error, APIError) and 400 <= error.status < 500 and error.status != 408


def decide(
    error: DexError,
    *,
    idempotent: bool,
    attempt: int,
    unreadable: int,
    seconds_left: float,
    policy: RetryPolicy,
    random: float,
) -> TryAgain | GiveUp:
    """Decide whether to retry after attempt number `attempt` (from 1) has failed.

    A request that is not idempotent is retried only if it certainly was not processed.  `unreadable` is how many
    earlier responses to the request could not be parsed, `seconds_left` the rest of its budget, and `random`, in
    [0, 1), spreads out the waits of many clients.
    """
    if not _transient(error, unreadable):
        return GiveUp("not transient")
    if not idempotent and not surely_not_processed(error):
        return GiveUp("may have been processed")
    if attempt >= policy.attempts:
        return GiveUp(f"all {policy.attempts} attempts used")
    wait = _wait(error, attempt, policy, random)
    if wait >= seconds_left:
        return GiveUp(f"a wait of {wait:.1f} s does not fit the {max(seconds_left, 0):.1f} s left", wait)
    return TryAgain(wait)


def _transient(error: DexError, unreadable: int) -> bool:
    if isinstance(error, APIError):
        return error.status == 429 or error.status in TRANSIENT_STATUSES
    if isinstance(error, TransportError):
        return not error.permanent
    # An unreadable response may be a proxy's hiccup or come from a wrong base URL: one retry shows which.
    return isinstance(error, ResponseDecodeError) and not unreadable


def _wait(error: DexError, attempt: int, policy: RetryPolicy, random: float) -> float:
    backoff = policy.backoff(attempt, random)
    if not isinstance(error, APIError):
        return backoff
    if error.status == 429:
        return max(rate_limit_wait(error, attempt), backoff)
    return max(error.retry_after or 0.0, backoff)


def rate_limit_wait(error: APIError, attempt: int) -> float:
    """Return how many seconds to wait after a 429.

    Its full Retry-After or, without one, a guess that doubles with each attempt.
    """
    if error.retry_after is not None:
        return error.retry_after
    return _doubled(RATE_LIMIT_BACKOFF, attempt, 300.0)


def _doubled(first: float, attempt: int, most: float) -> float:
    # The exponent is bounded because a policy may allow any number of attempts.
    return min(most, first * 2.0 ** min(attempt - 1, 60))
