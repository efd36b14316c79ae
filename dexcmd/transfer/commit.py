"""Finished files made durable and given their names, many at a time.

A sync costs mostly one commit of the file system's journal, whether that holds one file or a hundred.  So files that
are finished while others are being synced wait for these, and are then synced together, as databases do it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from dexcmd.threads import GroupThread
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
        self._thread = GroupThread[FinishedFile](_commit, "dexcmd-commit")

    async def commit(self, file: FinishedFile) -> None:
        """Return when the file is durable under its final name; raises what its methods do.

        Seen through to its end, whatever is cancelled meanwhile.
        """
        await self._thread.do(file)

    def close(self) -> None:
        """End the thread, once all commits have come to their ends."""
        self._thread.close()


def _commit(files: list[FinishedFile]) -> list[Exception | None]:
    """Commit files together, and return for each what went wrong with it."""
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
    return [failed.get(id(file)) for file in files]
