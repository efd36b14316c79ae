"""A temporary file for artifacts that can't be verified while they stream.  Blocking, so called from threads."""

import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dexcmd.transfer.system import explain, write_all

__all__ = ["Spool"]

READ_SIZE = 1024 * 1024


class Spool:
    """A file in the system's temporary folder, private to the user, deleted by `remove`.

    The constructor, `write` and `pieces` raise `InsufficientSpaceError` if the disk is full, `DownloadError` for other
    failures.
    """

    def __init__(self) -> None:
        with _explained(Path(tempfile.gettempdir())):
            self._descriptor, name = tempfile.mkstemp(prefix="dexcmd-")
        self.path: Path = Path(name)

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append bytes."""
        with _explained(self.path):
            write_all(self._descriptor, pieces)

    def pieces(self) -> Generator[bytes]:
        """Yield all bytes, in pieces."""
        with _explained(self.path), self.path.open("rb") as file:
            while piece := file.read(READ_SIZE):
                yield piece

    def remove(self) -> None:
        """Close and delete the file."""
        os.close(self._descriptor)
        with suppress(OSError):
            self.path.unlink()


@contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error
