"""How long a download may take, and how slow it may be.  Pure."""

import attrs

from dexcmd.validators import above_zero

__all__ = ["DownloadLimits", "StallMeter"]


@attrs.frozen(kw_only=True)
class DownloadLimits:
    """Bounds of one download, over all of its attempts.

    How often it is tried is the `RetryPolicy`'s: attempts count only while they bring nothing.
    Raises `ConfigurationError` for a value that can't be right.
    """

    total_seconds: float = attrs.field(default=21_600.0, validator=above_zero)
    """From the first request to the whole file; waits for a place among those of `save_many` don't count.

    What is left to check when all bytes have come is not cut off: it is bounded by itself.
    """

    stall_seconds: float = attrs.field(default=30.0, validator=above_zero)
    """A connection that was slower than `stall_bytes_per_second` for so long is given up, and another one goes on.

    One on which nothing comes is so after `RetryPolicy.attempt_seconds` where that is less.
    """

    stall_bytes_per_second: float = attrs.field(default=1_000.0, validator=above_zero)


class StallMeter:
    """Finds out whether bytes come too slowly.

    Only time spent on waiting for them counts: a slow disk, or a limit of ours, is not the connection's fault.
    """

    def __init__(self, limits: DownloadLimits) -> None:
        self._limits = limits
        self._seconds = 0.0
        self._bytes = 0

    def stalled(self, seconds: float, size: int) -> bool:
        """Take in that `size` bytes came after `seconds`, and tell whether it has become too slow."""
        limits = self._limits
        self._seconds += seconds
        self._bytes += size
        if self._seconds < limits.stall_seconds:
            return False
        stalled = self._bytes < limits.stall_bytes_per_second * self._seconds
        self._seconds, self._bytes = 0.0, 0
        return stalled
