"""Whether a failed attempt is worth another, and when: decided without doing anything."""

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
"""525 and 526 are missing on purpose: they tell of a certificate, which does not mend itself.

https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
"""

ACCOUNT_ERRORS = (AuthenticationError, PermissionDeniedError, NotFoundError, ConfigurationError)
"""What the service says to a whole account: another request would meet it as well."""

RATE_LIMIT_BACKOFF = 10.0
"""First wait, in seconds, after a 429 without Retry-After.  The block lasts up to 5 minutes, and six attempts
of doubled waits cover that.
"""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often and how long a call is tried.  All times are seconds; both bounds hold at once.

    Raises `ConfigurationError` for a value that can't be right.
    """

    attempts: int = attrs.field(default=6, validator=count)
    """How many times a request is sent at most, the first time included."""

    total_seconds: float = attrs.field(default=330.0, validator=above_zero)
    """The whole budget of a call: attempts and waits, those for the rate limit included.  A wait that does
    not fit is not begun: the error comes at once.
    """

    attempt_seconds: float = attrs.field(default=30.0, validator=above_zero)
    """How long one attempt may take, and how long a download may go without a byte."""

    backoff_seconds: float = attrs.field(default=0.5, validator=above_zero)
    """The wait after the first failure; doubled with each further one, less a random part of up to half."""

    backoff_max_seconds: float = attrs.field(default=30.0, validator=above_zero)
    """What the doubling stops at."""

    @classmethod
    def none(cls) -> "RetryPolicy":
        """Return a policy that sends each request once."""
        return cls(attempts=1)

    def backoff(self, attempt: int, random: float) -> float:
        """Return the wait in seconds after failure number `attempt` (from 1); `random` is in [0, 1)."""
        return _doubled(self.backoff_seconds, attempt, self.backoff_max_seconds) * (1 - random / 2)


@attrs.frozen
class TryAgain:
    """Send the request again after `wait` seconds."""

    wait: float


@attrs.frozen
class GiveUp:
    """Don't send the request again; `reason` is for people."""

    reason: str
    wait: float | None = None
    """The seconds of waiting that did not fit the budget, where that is the reason."""


def surely_not_processed(error: DexError) -> bool:
    """Tell whether the request that ended in `error` surely had no effect.

    It was never sent, or refused by a 4xx.
    """
    if isinstance(error, TransportError):
        return not error.sent
    if isinstance(error, ConfigurationError):
        return True
    # 408 is the one 4xx that says nothing of whether the request had been read.
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
    """Decide on the failure of attempt number `attempt` (from 1).

    A request that is not idempotent is tried again only if it surely was not processed.  `unreadable` is how
    many earlier answers of the call could not be read, `seconds_left` what remains of its budget, and `random`,
    in [0, 1), spreads the waits of many clients.
    """
    if not _transient(error, unreadable):
        return GiveUp("not transient")
    if not idempotent and not surely_not_processed(error):
        return GiveUp("may have been processed")
    if attempt >= policy.attempts:
        return GiveUp(f"all {policy.attempts} attempts spent")
    wait = _wait(error, attempt, policy, random)
    if wait >= seconds_left:
        return GiveUp(f"a wait of {wait:.1f} s does not fit the {max(seconds_left, 0):.1f} s left", wait)
    return TryAgain(wait)


def _transient(error: DexError, unreadable: int) -> bool:
    if isinstance(error, APIError):
        return error.status == 429 or error.status in TRANSIENT_STATUSES
    if isinstance(error, TransportError):
        return not error.permanent
    # Garbage may be a proxy's hiccup, or a wrong base URL that stays wrong: one more try tells.
    return isinstance(error, ResponseDecodeError) and not unreadable


def _wait(error: DexError, attempt: int, policy: RetryPolicy, random: float) -> float:
    backoff = policy.backoff(attempt, random)
    if not isinstance(error, APIError):
        return backoff
    if error.status == 429:
        return max(rate_limit_wait(error, attempt), backoff)
    return max(error.retry_after or 0.0, backoff)


def rate_limit_wait(error: APIError, attempt: int) -> float:
    """Return for how many seconds a 429 holds back.

    Its Retry-After in full, or a guess that grows where it has none.
    """
    if error.retry_after is not None:
        return error.retry_after
    return _doubled(RATE_LIMIT_BACKOFF, attempt, 300.0)


def _doubled(first: float, attempt: int, most: float) -> float:
    # The exponent is bounded, for a policy may allow any number of attempts.
    return min(most, first * 2.0 ** min(attempt - 1, 60))
