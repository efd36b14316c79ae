"""A file that is written from the event loop without ever blocking it."""

import asyncio
import errno
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from dexcmd.errors import DownloadError, InsufficientSpaceError

__all__ = ["FileWriter"]

T = TypeVar("T")

SMALL = 1024 * 1024
"""Up to so many bytes are kept in memory and written in one go: a thread would cost more than it gives."""

HIGH_WATER = 8 * 1024 * 1024
LOW_WATER = 2 * 1024 * 1024
"""The queue stops the download at the first mark and lets it go on at the second."""

MOST_PIECES = 512
"""Pieces gathered into one write; the system takes 1024."""


class FileWriter:
    """Writes a new private file through one thread, and hashes it on the way.

    The queue is counted in bytes and bounded; what is queued is written with one gathered call.  A hop to a
    thread costs more than writing 64 KiB does, so there is none per chunk: the thread starts with the first
    `SMALL` bytes and stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """Bytes handed in so far."""

        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._closing = False
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._loop = asyncio.get_running_loop()
        self._sha256 = hashlib.sha256()
        self._file: int | None = None

    async def write(self, chunk: bytes) -> None:
        """Queue bytes, waiting while the queue is full.

        Raises `InsufficientSpaceError` where the disk is full, `DownloadError` where it fails otherwise.
        """
        with self._changed:
            self._queue.append(chunk)
            self._queued += len(chunk)
            self.size += len(chunk)
            if self._queued > HIGH_WATER:
                self._room.clear()
            self._changed.notify()
        if self._thread is None and self.size > SMALL:
            self._thread = threading.Thread(target=self._write_queue, name="dexcmd-writer", daemon=True)
            self._thread.start()
        await self._room.wait()
        self._check()

    async def restart(self) -> None:
        """Forget what was written: the download starts over."""
        await self._stop(drop=True)
        await anyio.to_thread.run_sync(self._discard)
        self._sha256 = hashlib.sha256()
        self.size = 0
        self._closing = False
        self._error = None
        self._room.set()

    async def finish(self, complete: Callable[[], T]) -> tuple[str, T]:
        """Write and sync all, call `complete` in a thread; return the sha256, in hex, and what that gave."""
        await self._stop(drop=False)
        self._check()

        def end() -> T:
            file = self._open()
            while pieces := self._take():
                self._write(pieces)
            os.fsync(file)
            self._close()
            return complete()

        try:
            result = await anyio.to_thread.run_sync(end)
        except OSError as error:
            raise _told(error, self.path) from error
        return self._sha256.hexdigest(), result

    async def abort(self) -> None:
        """Remove the file."""
        await self._stop(drop=True)
        await anyio.to_thread.run_sync(self._discard)

    def _check(self) -> None:
        if self._error is not None:
            raise _told(self._error, self.path) from self._error

    async def _stop(self, *, drop: bool) -> None:
        with self._changed:
            if drop:
                self._queue.clear()
                self._queued = 0
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            await anyio.to_thread.run_sync(self._thread.join)
            self._thread = None

    # From here on in the thread.

    def _write_queue(self) -> None:
        try:
            while pieces := self._next():
                self._write(pieces)
        except OSError as error:
            self._error = error
            self._make_room()

    def _next(self) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            return self._take()

    def _take(self) -> list[bytes]:
        count = min(len(self._queue), MOST_PIECES)
        return [self._queue.popleft() for _ in range(count)]

    def _write(self, pieces: list[bytes]) -> None:
        file = self._open()
        size = sum(map(len, pieces))
        left: list[bytes | memoryview] = list(pieces)
        while left:
            written = os.writev(file, left)
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left and written:
                left[0] = memoryview(left[0])[written:]
        for piece in pieces:
            self._sha256.update(piece)
        with self._changed:
            self._queued -= size
            if self._queued <= LOW_WATER and not self._room.is_set():
                self._make_room()

    def _make_room(self) -> None:
        self._loop.call_soon_threadsafe(self._room.set)

    def _open(self) -> int:
        if self._file is None:
            # Exclusive, so that no link that somebody put there is followed.
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _discard(self) -> None:
        self._close()
        self.path.unlink(missing_ok=True)


def _told(error: OSError, path: Path) -> DownloadError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InsufficientSpaceError(f"no space left for {path}")
    return DownloadError(f"can't write {path}: {error.strerror or error}")
