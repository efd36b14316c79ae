"""Folders to save in, where what one contender leaves doesn't slow down the next.

For minutes after many files were removed, ext4 takes longer to create others: it passes over each inode that was
freed lately.  So files are emptied when they are no longer needed, and removed when the benchmarks end.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["case_folder", "empty_files"]


@contextmanager
def case_folder() -> Iterator[Path]:
    """Give a folder, the files in which are emptied at the end and removed at the exit of this process."""
    folder = Path(tempfile.mkdtemp(prefix="dexcmd-benchmarks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        yield folder
    finally:
        empty_files(folder)


def empty_files(folder: Path) -> None:
    """Give back the space of all files in a folder and below it."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)
