"""A sleep that can be interrupted."""

import asyncio
import math

from dexcmd.clock import Clock

__all__ = ["Nap"]


class Nap:
    """The interruptible sleeps of one task, one at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limit: asyncio.Timeout | None = None
        """The timeout of the sleep in progress."""

        self.ends: float = -math.inf
        """When the sleep in progress ends by itself, by the monotonic clock; minus infinity if there is none."""

    async def sleep(self, seconds: float, patience: float | None = None) -> None:
        """Sleep for `seconds`, which may be infinite, or until `end` is called, but at most for `patience` seconds.

        `patience` is by the event loop's clock, which also runs while sockets are silent.
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
        """End the sleep in progress."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0.0)
