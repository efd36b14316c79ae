"""A file that is written from the event loop without ever blocking it."""

import asyncio
import errno
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import TypeVar

from dexcmd.errors import DownloadError, InsufficientSpaceError
from dexcmd.threads import run_to_the_end

__all__ = ["FileWriter"]

T = TypeVar("T")

SMALL = 1024 * 1024
"""Up to so many bytes are kept in memory and written in one go: a thread would cost more than it gives."""

HIGH_WATER = 8 * 1024 * 1024
LOW_WATER = 2 * 1024 * 1024
"""The queue stops the download at the first mark and lets it go on at the second."""

BUFFER_SIZE = 256 * 1024
"""Smaller pieces are gathered up to this; larger ones are written as they are."""

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class FileWriter:
    """Writes a new private file through one thread, and hashes it on the way.

    The queue is counted in bytes and bounded.  A hop to a thread costs more than writing 64 KiB does, so there is none
    per chunk: the thread starts once there are more than `SMALL` bytes, and stays.  What ends its work (`finish`,
    `restart`, `abort`) is not left before it is done, whatever is cancelled meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """Bytes handed in so far."""

        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._loop = asyncio.get_running_loop()
        self._sha256 = hashlib.sha256()
        self._file: BufferedWriter | None = None

    async def write(self, chunk: bytes) -> None:
        """Queue bytes, waiting while the queue is full.

        Raises `InsufficientSpaceError` where the disk is full, `DownloadError` where it fails otherwise.
        """
        with self._changed:
            self._check()
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

    async def finish(self, complete: Callable[[], T]) -> tuple[str, T]:
        """Write and sync all, call `complete` in a thread; return the sha256, in hex, and what that gave.

        Raises as `write` does, and what `complete` raises.
        """

        def end() -> T:
            self._stop()
            self._check()
            file = self._open()
            while pieces := self._take():
                self._write(pieces)
            file.flush()
            os.fsync(file.fileno())
            self._close()
            return complete()

        try:
            result = await run_to_the_end(end)
        except OSError as error:
            raise _told(error, self.path) from error
        return self._sha256.hexdigest(), result

    async def restart(self) -> None:
        """Forget what was written: the download starts over."""
        await run_to_the_end(self._discard)
        self._sha256 = hashlib.sha256()
        self.size = self._queued = 0
        self._closing = False
        self._error = None
        self._room.set()

    async def abort(self) -> None:
        """Remove the file."""
        await run_to_the_end(self._discard)

    def _check(self) -> None:
        if isinstance(self._error, OSError):
            raise _told(self._error, self.path) from self._error
        if self._error is not None:
            raise DownloadError(f"can't write {self.path}: {self._error!r}") from self._error

    # From here on in a thread.

    def _write_queue(self) -> None:
        try:
            while pieces := self._next():
                self._write(pieces)
        except BaseException as error:  # noqa: BLE001 - whatever ends the thread, nobody must wait for it for ever
            with self._changed:
                self._error = error
                self._make_room()

    def _next(self) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            return self._take()

    def _take(self) -> list[bytes]:
        pieces = list(self._queue)
        self._queue.clear()
        return pieces

    def _write(self, pieces: list[bytes]) -> None:
        file = self._open()
        for piece in pieces:
            file.write(piece)
            self._sha256.update(piece)
        with self._changed:
            self._queued -= sum(map(len, pieces))
            if self._queued <= LOW_WATER:
                self._make_room()

    def _make_room(self) -> None:
        self._loop.call_soon_threadsafe(self._room.set)

    def _open(self) -> BufferedWriter:
        if self._file is None:
            # Exclusive, so that no link that somebody put there is followed.
            self._file = BufferedWriter(FileIO(self.path, "x", opener=_private), BUFFER_SIZE)
        return self._file

    def _stop(self, *, drop: bool = False) -> None:
        with self._changed:
            if drop:
                self._queue.clear()
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _discard(self) -> None:
        self._stop(drop=True)
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                # What is still buffered can't be written, which has been told already, or does not matter any more.
                file.raw.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _told(error: OSError, path: Path) -> DownloadError:
    if error.errno in _FULL:
        return InsufficientSpaceError(f"no space left for {path}")
    return DownloadError(f"can't write {path}: {error.strerror or error}")
