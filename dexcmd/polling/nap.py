"""A sleep that can be ended from elsewhere."""

import asyncio
import math

from dexcmd.clock import Clock

__all__ = ["Nap"]


class Nap:
    """The sleeps of one task, one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limit: asyncio.Timeout | None = None
        """Of the sleep that is under way."""

        self.ends: float = -math.inf
        """When that is over by itself, by the monotonic clock; minus infinity where none is under way."""

    async def sleep(self, seconds: float, patience: float | None = None) -> None:
        """Sleep for `seconds`, which may be infinite, until `end`, and for `patience` seconds at the most.

        The latter are of the event loop's time, which goes on while sockets are silent.
        """
        self.ends = self._clock.monotonic() + seconds
        try:
            async with asyncio.timeout(patience) as self._limit:
                if math.isinf(seconds):
                    await asyncio.get_running_loop().create_future()
                await self._clock.sleep(seconds)
        except TimeoutError:
            pass
        finally:
            self._limit, self.ends = None, -math.inf

    def end(self) -> None:
        """End the sleep that is under way."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0.0)
