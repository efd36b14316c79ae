"""Waiting for a change or a time, whichever comes first."""

import anyio

from dexcmd.clock import Clock

__all__ = ["Pulse", "sleep"]

SLICE_SECONDS = 60.0
"""Long sleeps are split: the event loop's clock stops while the machine is suspended, ours does not."""


async def sleep(clock: Clock, seconds: float) -> None:
    """Sleep for `seconds` of the clock, however long that is."""
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        await clock.sleep(min(left, SLICE_SECONDS))


class Pulse:
    """Wakes all waiters when touched.  `version` makes sure that a touch before the wait is not missed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = anyio.Event()
        self.version: int = 0
        """How often it has been touched."""

    def touch(self) -> None:
        """Wake all waiters."""
        self.version += 1
        self._event.set()
        self._event = anyio.Event()

    async def wait(self, version: int, seconds: float | None = None) -> None:
        """Wait until it has been touched since `version`, or for `seconds` of the clock."""
        if self.version != version:
            return
        if seconds is None:
            await self._event.wait()
            return
        async with anyio.create_task_group() as group:

            async def end() -> None:
                await sleep(self._clock, seconds)
                group.cancel_scope.cancel()

            group.start_soon(end)
            await self._event.wait()
            group.cancel_scope.cancel()
