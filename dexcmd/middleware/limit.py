"""A limit in time, fair to what came while nobody could look."""

import asyncio
from types import TracebackType

__all__ = ["TimeLimit"]


class TimeLimit:
    """Cancels its block after so many seconds and raises `TimeoutError`.

    `asyncio.timeout` does so even if what is waited for has just come, as it is where something else has held the
    event loop up: an answer that is there would then be a lost one.  So whoever is woken gets to run first.  The
    limit of anyio does that too, and its import takes a fifth of what that of aiohttp does.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        """Begin."""
        await self._timeout.__aenter__()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise `TimeoutError` where the time was over."""
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _end(self) -> None:
        self._timeout.reschedule(asyncio.get_running_loop().time())
