"""A temporary file for artifacts that can't be verified while they stream.  Blocking, so called from threads."""

import os
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import BinaryIO

from dexcmd.transfer.system import explained, write_all

__all__ = ["Spool"]

READ_SIZE = 1024 * 1024


class Spool:
    """A file in the system's temporary folder that no one else can open, deleted by `remove`.

    It has no name, so that nothing is left if the process is killed; on Windows, where it must have one, the system
    deletes it with its last handle.  The constructor, `write`, `open` and `pieces` raise `InsufficientSpaceError` if
    the disk is full, `DownloadError` for other failures.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir())
        with explained(self._folder):
            self._file = tempfile.TemporaryFile(buffering=0, prefix="dexcmd-")  # noqa: SIM115 - `remove` closes it

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append bytes."""
        with explained(self._folder):
            write_all(self._file.fileno(), pieces)

    def open(self) -> BinaryIO:
        """Return a file to read all bytes from; nothing may be written meanwhile."""
        with explained(self._folder):
            self._file.seek(0)
            return os.fdopen(os.dup(self._file.fileno()), "rb")

    def pieces(self) -> Generator[bytes]:
        """Yield all bytes, in pieces."""
        with explained(self._folder), self.open() as file:
            while piece := file.read(READ_SIZE):
                yield piece

    def remove(self) -> None:
        """Close and delete the file."""
        self._file.close()
