"""Waiting for something to change, or for a time to come, whichever is first."""

import anyio

from dexcmd.clock import Clock

__all__ = ["Pulse", "sleep"]

SLICE_SECONDS = 60.0
"""Long sleeps are cut: the event loop's clock stands still while the machine is suspended, ours does not."""


async def sleep(clock: Clock, seconds: float) -> None:
    """Return after `seconds` of the clock, however many they are."""
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        await clock.sleep(min(left, SLICE_SECONDS))


class Pulse:
    """Wakes whoever waits when it is touched.  What was touched before one waits is not lost: `version` tells."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = anyio.Event()
        self.version: int = 0
        """How often it was touched."""

    def touch(self) -> None:
        """Wake all that wait."""
        self.version += 1
        self._event.set()
        self._event = anyio.Event()

    async def wait(self, version: int, seconds: float | None = None) -> None:
        """Return when it has been touched since it had that version, or after `seconds` of the clock."""
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
