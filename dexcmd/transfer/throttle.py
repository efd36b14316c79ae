"""A limit on bytes per second, shared by concurrent downloads."""

import math

from dexcmd.clock import Clock

__all__ = ["Throttle"]

BURST_SECONDS = 0.25
"""Unused capacity of this long may be used at once, since sockets deliver in bursts."""


class Throttle:
    """Makes each download wait after it has received bytes, until the limit allows for them.

    Meanwhile it doesn't read from its socket, so TCP flow control slows the service down.
    """

    def __init__(self, bytes_per_second: float, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._free_at = clock.monotonic()

    async def take(self, size: int, *, until: float = math.inf) -> None:
        """Wait until the limit allows for `size` more bytes, or until the time `until`; they count in either case."""
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now - BURST_SECONDS) + size / self._rate
        if (end := min(self._free_at, until)) > now:
            await self._clock.sleep(end - now)
