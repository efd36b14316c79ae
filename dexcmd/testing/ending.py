"""Closes a client on the event loop that used it, whoever runs that loop."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from dexcmd.client import DexClient
from dexcmd.events import Event

__all__ = ["ClosedWithItsLoop"]


class ClosedWithItsLoop:
    """Closes a client on the loop of its first request: when that loop ends, or earlier, by `close` from outside.

    A fixture that is a plain function has no loop of its own, and can't know whether the test's loop ends before or
    after the fixture does.
    """

    client: DexClient

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guard: AsyncGenerator[None] | None = None

    def on_event(self, _: Event) -> None:
        """Remember the loop at the first event."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            # Every loop runner finalizes asynchronous generators before it closes the loop; start one now.
            self._guard = self._wait()
            with suppress(StopIteration):
                self._guard.__anext__().__await__().__next__()

    def close(self) -> None:
        """Close the client, unless it is already closed."""
        if self._loop is None or self._loop.is_closed():
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self.client.close())
        elif self._loop.is_running():
            # In another thread, as with an application's test client.
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        else:
            self._loop.run_until_complete(self._close())

    async def _close(self) -> None:
        if self._guard is not None:
            await self._guard.aclose()

    async def _wait(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.client.close()
