"""A limit on bytes a second, shared by downloads that run side by side."""

import math

from dexcmd.clock import Clock

__all__ = ["Throttle"]

BURST_SECONDS = 0.25
"""What was not used for so long may be used at once: sockets deliver in bursts."""


class Throttle:
    """Makes whoever has received bytes wait until the limit allows for them.

    They are not read from the socket meanwhile, so the service slows down.
    """

    def __init__(self, bytes_per_second: float, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._free_at = clock.monotonic()

    async def take(self, size: int, *, until: float = math.inf) -> None:
        """Return when `size` more bytes fit, or at `until` by the clock: they count in either case."""
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now - BURST_SECONDS) + size / self._rate
        if (end := min(self._free_at, until)) > now:
            await self._clock.sleep(end - now)
