"""A client that is closed on the event loop that used it, whoever runs that."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from dexcmd.client import DexClient
from dexcmd.events import Event

__all__ = ["ClosedWithItsLoop"]


class ClosedWithItsLoop:
    """Closes a client in the loop of its first request: when that ends, or before, by `close` from outside of it.

    A fixture that is a plain function has no loop of its own, and can't tell whether that of the test ends before it
    does or after.
    """

    client: DexClient

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guard: AsyncGenerator[None] | None = None

    def on_event(self, _: Event) -> None:
        """Notice the loop, at the first event."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            # Every runner of loops ends their asynchronous generators before it closes them; this one is begun now.
            self._guard = self._wait()
            with suppress(StopIteration):
                self._guard.__anext__().__await__().__next__()

    def close(self) -> None:
        """Close the client, if that did not happen already."""
        if self._loop is None or self._loop.is_closed():
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self.client.close())
        elif self._loop.is_running():
            # In another thread, as that of an application's test client does.
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
