"""Group commit: finished files are synced and given their names, many at once.

A sync mostly costs one commit of the file system's journal, for one file or a hundred.  So files that are finished
while others are being synced wait for them, and are then synced together, as databases do.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from dexcmd.threads import GroupThread
from dexcmd.transfer.system import sync_folder

__all__ = ["FinishedFile", "GroupCommit"]


class FinishedFile(Protocol):
    """A file whose bytes have all arrived.  Its methods are called in a thread, in this order."""

    @property
    def folder(self) -> Path:
        """The folder of its final name."""
        ...

    def write_rest(self) -> None:
        """Write and check the rest."""
        ...

    def start_writeback(self) -> None:
        """Have the system start writing it to disk, without waiting for it."""
        ...

    def sync(self) -> None:
        """Wait until it is on disk (fsync)."""
        ...

    def put_in_place(self) -> None:
        """Give it its final name."""
        ...


class GroupCommit:
    """Commits the files of one event loop in one thread, which runs until closed."""

    def __init__(self) -> None:
        self._thread = GroupThread[FinishedFile](_commit, "dexcmd-commit")

    async def commit(self, file: FinishedFile) -> None:
        """Wait until the file is durable under its final name; raises whatever its methods raise.

        A cancellation is delayed until then.
        """
        await self._thread.do(file)

    def close(self) -> None:
        """End the thread once all commits are done."""
        self._thread.close()


def _commit(files: list[FinishedFile]) -> list[Exception | None]:
    """Commit files together, and return the error of each, or None."""
    failed: dict[int, Exception] = {}

    def each(step: Callable[[FinishedFile], None], files: Iterable[FinishedFile]) -> None:
        for file in files:
            try:
                if id(file) not in failed:
                    step(file)
            except Exception as error:  # noqa: BLE001 - this file's error must not stop the others
                failed[id(file)] = error

    each(lambda file: file.write_rest(), files)
    each(lambda file: file.start_writeback(), files)
    each(lambda file: file.sync(), files)
    each(lambda file: file.put_in_place(), files)
    # Syncing a folder makes the names in it durable: once for all files there.
    for folder in {file.folder for file in files}:
        try:
            sync_folder(folder)
        except OSError as error:
            failed.update({id(file): error for file in files if file.folder == folder})
    return [failed.get(id(file)) for file in files]
