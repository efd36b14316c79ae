"""A queue of bytes from the event loop to a thread, with a bounded number of bytes in it."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from dexcmd.threads import starting

__all__ = ["HIGH_WATER", "QueueThread"]

HIGH_WATER = 9 * 256 * 1024
LOW_WATER = 7 * 256 * 1024
"""In bytes: above the high-water mark `put` waits, until the queue is down to the low-water mark.  Full queues are much
of the memory that a large download takes, and longer ones are not faster.
"""

GATHER = 1024 * 1024
"""In bytes: the thread wakes up once that many are queued, and takes chunks until it has that many.

Few large batches are cheaper: each system call or hash update releases the GIL, and must then wait to get it back from
the busy event loop.
"""


class QueueThread:
    """Passes chunks to `consume`, in order and many at once, in a thread of its own.

    The constructor raises `OSError` if no thread can be started.  `end` and `drop` block until the thread has ended, so
    they are called from other threads than the event loop's.
    """

    def __init__(self, consume: Callable[[list[bytes]], None], name: str) -> None:
        self._consume = consume
        self._queue: deque[bytes] = deque()
        self._queued = 0
        """Bytes that were put in and not consumed yet."""

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
        """Queue bytes, then wait while the queue is full.  Raises what `consume` has raised."""
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
        """Wait until all queued bytes are consumed, and end the thread.  Raises what `consume` has raised."""
        self._stop()
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Discard what is queued, and end the thread."""
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
        except BaseException as error:  # noqa: BLE001 - whatever ends the thread, `put` must not wait forever
            with self._changed:
                self._error = error
                self._make_room()

    def _next(self) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._queued >= GATHER or self._closing)
            chunks: list[bytes] = []
            size = 0
            while self._queue and size < GATHER:
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
