"""A limit in time, fair to what came while nobody could look."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["time_limit"]


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncGenerator[None]:
    """Cancel the block after so many seconds and raise `TimeoutError`.

    `asyncio.timeout` does so even if what is waited for has just come, as it is where something else has held the
    event loop up: an answer that is there would then be a lost one.  So whoever is woken gets to run first.  The
    limit of anyio does that too, and its import takes a fifth of what that of aiohttp does.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as timeout:
        timer = loop.call_later(seconds, lambda: timeout.reschedule(loop.time()))
        try:
            yield
        finally:
            timer.cancel()
