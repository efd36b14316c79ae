"""How late an event loop is: the longest that something else kept it from what was due."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Lateness", "watching"]

TICK_SECONDS = 0.002


class Lateness:
    """The longest that a sleep was late."""

    def __init__(self) -> None:
        self.longest = 0.0

    @property
    def milliseconds(self) -> float:
        """Return it in milliseconds."""
        return self.longest * 1000

    async def watch(self) -> None:
        """Sleep again and again until cancelled."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            self.longest = max(self.longest, time.perf_counter() - began - TICK_SECONDS)


@asynccontextmanager
async def watching() -> AsyncIterator[Lateness]:
    """Watch the event loop inside the block."""
    late = Lateness()
    task = asyncio.create_task(late.watch())
    try:
        yield late
    finally:
        task.cancel()
