"""A file of its own for what can't be verified while it passes: blocking, so for threads."""

import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dexcmd.transfer.system import explain, write_all

__all__ = ["Spool"]

READ_SIZE = 1024 * 1024


class Spool:
    """A file in the system's folder for such, private to the user, and gone after `remove`.

    Each method raises `InsufficientSpaceError`, or `DownloadError`, where the system fails.
    """

    def __init__(self) -> None:
        with _explained(Path(tempfile.gettempdir())):
            self._descriptor, name = tempfile.mkstemp(prefix="dexcmd-")
        self.path: Path = Path(name)

    def write(self, pieces: Sequence[bytes]) -> None:
        """Write the next bytes."""
        with _explained(self.path):
            write_all(self._descriptor, pieces)

    def pieces(self) -> Generator[bytes]:
        """Return all bytes."""
        with _explained(self.path), self.path.open("rb") as file:
            while piece := file.read(READ_SIZE):
                yield piece

    def remove(self) -> None:
        """Close it, and remove it."""
        os.close(self._descriptor)
        with suppress(OSError):
            self.path.unlink()


@contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error
