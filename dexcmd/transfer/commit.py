"""Finished files made durable and given their names, many at a time.

A sync costs mostly one commit of the file system's journal, whether that holds one file or a hundred.  So files that
are finished while others are being synced wait for these, and are then synced together, as databases do it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from dexcmd.threads import wait_to_the_end
from dexcmd.transfer.system import sync_folder

__all__ = ["FinishedFile", "GroupCommit"]


class FinishedFile(Protocol):
    """A file whose bytes have all come.  Its methods are called in a thread, in this order."""

    @property
    def folder(self) -> Path:
        """Where it gets its name."""
        ...

    def write_rest(self) -> None:
        """Write and check what is not yet."""
        ...

    def start_writeback(self) -> None:
        """Have the system begin to write it to disk."""
        ...

    def sync(self) -> None:
        """Return when it is on disk."""
        ...

    def put_in_place(self) -> None:
        """Give it its final name."""
        ...


class GroupCommit:
    """Commits files from one event loop through one thread, which is there until it is closed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[FinishedFile, asyncio.Future[None]]] = []
        self._closing = False
        self._thread: threading.Thread | None = None
        self._loop = asyncio.get_running_loop()

    async def commit(self, file: FinishedFile) -> None:
        """Return when the file is durable under its final name; raises what its methods do.

        Seen through to its end, whatever is cancelled meanwhile.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        with self._changed:
            self._waiting.append((file, done))
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dexcmd-commit", daemon=True)
            self._thread.start()
        await wait_to_the_end(done)

    def close(self) -> None:
        """End the thread, once all commits have come to their ends."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    # From here on in the thread.

    def _run(self) -> None:
        while batch := self._next():
            failed = _commit([file for file, _ in batch])
            self._loop.call_soon_threadsafe(_tell, [(done, failed.get(id(file))) for file, done in batch])

    def _next(self) -> list[tuple[FinishedFile, "asyncio.Future[None]"]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            batch, self._waiting = self._waiting, []
            return batch


def _commit(files: list[FinishedFile]) -> dict[int, Exception]:
    """Commit files together, and return what went wrong with which, by its id."""
    failed: dict[int, Exception] = {}

    def each(step: Callable[[FinishedFile], None], files: Iterable[FinishedFile]) -> None:
        for file in files:
            try:
                if id(file) not in failed:
                    step(file)
            except Exception as error:  # noqa: BLE001 - it is the file's, and must not keep the others
                failed[id(file)] = error

    each(lambda file: file.write_rest(), files)
    each(lambda file: file.start_writeback(), files)
    each(lambda file: file.sync(), files)
    each(lambda file: file.put_in_place(), files)
    # The names are durable with their folder: once for all that lie in it.
    for folder in {file.folder for file in files}:
        try:
            sync_folder(folder)
        except OSError as error:
            failed.update({id(file): error for file in files if file.folder == folder})
    return failed


def _tell(results: list[tuple["asyncio.Future[None]", Exception | None]]) -> None:
    for done, error in results:
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
