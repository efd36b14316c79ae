"""A queue of bytes from the event loop to a thread, counted in bytes and bounded."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from dexcmd.threads import starting

__all__ = ["HIGH_WATER", "QueueThread"]

HIGH_WATER = 3 * 1024 * 1024
LOW_WATER = 9 * 256 * 1024
"""The queue stops the download at the first mark and lets it go on at the second."""

GATHER = 1024 * 1024
MOST_AT_ONCE = 2 * 1024 * 1024
"""The thread wakes up for so many bytes, and takes up to so many at once.

Each call into the system or a hash gives the interpreter away, and waits for the busy event loop to get it back: that
adds up.
"""


class QueueThread:
    """Calls `consume` in a thread of its own with the chunks that are put in, in order and many at once.

    It raises `OSError` where there is no thread for it.  `end` and `drop` are blocking and for another thread; after
    either, nothing of it is left.
    """

    def __init__(self, consume: Callable[[list[bytes]], None], name: str) -> None:
        self._consume = consume
        self._queue: deque[bytes] = deque()
        self._queued = 0
        """Bytes that were put in and are not consumed yet."""

        self._changed = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        with starting():
            self._thread.start()

    async def put(self, chunk: bytes) -> None:
        """Queue bytes, waiting while the queue is full.  Raises what `consume` has raised."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._queue.append(chunk)
            self._queued += len(chunk)
            if self._queued >= GATHER:
                self._changed.notify()
            if self._queued > HIGH_WATER:
                self._room.clear()
        if not self._room.is_set():
            await self._room.wait()

    def end(self) -> None:
        """Have what is queued consumed, and end the thread.  Raises what `consume` has raised."""
        self._stop()
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Forget what is queued and end the thread."""
        with self._changed:
            self._queued -= sum(map(len, self._queue))
            self._queue.clear()
        self._stop()

    def _stop(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # From here on in the thread.

    def _run(self) -> None:
        try:
            while chunks := self._next():
                self._consume(chunks)
                self._done(sum(map(len, chunks)))
        except BaseException as error:  # noqa: BLE001 - whatever ends the thread, nobody must wait for it for ever
            with self._changed:
                self._error = error
                self._make_room()

    def _next(self) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._queued >= GATHER or self._closing)
            chunks: list[bytes] = []
            size = 0
            while self._queue and size < MOST_AT_ONCE:
                chunks.append(self._queue.popleft())
                size += len(chunks[-1])
            return chunks

    def _done(self, size: int) -> None:
        with self._changed:
            self._queued -= size
            if self._queued <= LOW_WATER:
                self._make_room()

    def _make_room(self) -> None:
        if not self._room.is_set():
            self._loop.call_soon_threadsafe(self._room.set)
