"""The limits on the duration and slowness of a download.  Pure."""

import attrs

from dexcmd.validators import above_zero

__all__ = ["DownloadLimits", "StallMeter"]


@attrs.frozen(kw_only=True)
class DownloadLimits:
    """The limits of one download, over all of its attempts.

    `RetryPolicy` limits the number of attempts, of which only those that bring no progress count.
    Raises `ConfigurationError` for an invalid value.
    """

    total_seconds: float = attrs.field(default=21_600.0, validator=above_zero)
    """The time from the first request to the complete file, not counting waits for a slot in `save_many`.

    Checks that remain once all bytes have arrived are not cut off; they take a bounded time anyway.
    """

    stall_seconds: float = attrs.field(default=30.0, validator=above_zero)
    """If a connection is slower than `stall_bytes_per_second` for this long, the download resumes on a new one.

    If it receives nothing at all, before the response or after it, `RetryPolicy.attempt_seconds` applies if less.
    """

    stall_bytes_per_second: float = attrs.field(default=1_000.0, validator=above_zero)


class StallMeter:
    """Detects that bytes arrive too slowly.

    Only time spent waiting for them counts: a slow disk or our own throttling is not the connection's fault.
    """

    def __init__(self, limits: DownloadLimits) -> None:
        self._limits = limits
        self._seconds = 0.0
        self._bytes = 0

    def stalled(self, seconds: float, size: int) -> bool:
        """Record that `size` bytes arrived after `seconds`, and tell whether the connection has become too slow."""
        limits = self._limits
        self._seconds += seconds
        self._bytes += size
        if self._seconds < limits.stall_seconds:
            return False
        stalled = self._bytes < limits.stall_bytes_per_second * self._seconds
        self._seconds, self._bytes = 0.0, 0
        return stalled
