"""A file that is whole under its name, or not there.  Blocking, so for threads."""

import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from dexcmd.campaign.export.schema import ExportRow
from dexcmd.campaign.journal.opening import is_journal
from dexcmd.errors import ConfigurationError
from dexcmd.transfer.system import private, put_in_place, sync_file, sync_folder

__all__ = ["NewFile", "RowFile"]


class RowFile(Protocol):
    """A file that rows are written into, one page after the other.  Blocking."""

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        ...

    def finish(self) -> None:
        """Write what is left."""
        ...

    def close(self) -> None:
        """Close the file, whole or not."""
        ...


class NewFile:
    """A file on its way to its name.  Raises `ConfigurationError` for a path that ends with none."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        if not path.name:
            raise ConfigurationError(f"{path} is a folder, not a file to write")
        # From the root on it begins like no URL, which some take a path for, and means the same wherever one goes.
        self._path = path.absolute()
        self._overwrite = overwrite
        self._part = self._path.with_name(f".export-{secrets.token_hex(8)}.part")
        self._made = False
        self._file: RowFile | None = None

    def open(self, opener: Callable[[Path], RowFile]) -> RowFile:
        """Return what to write into; raises `FileExistsError` where that would be in vain.

        Raises `ConfigurationError` for a name that no file can have, and for a journal.
        """
        if self._is_there():
            if is_journal(self._path):
                # All that keeps its campaigns from being done twice would be gone.
                raise ConfigurationError(f"{self._path} is a journal: name another file")
            if not self._overwrite:
                raise FileExistsError
        # It keeps its mode under its name.
        os.close(private(str(self._part), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        self._made = True
        self._file = opener(self._part)
        return self._file

    def _is_there(self) -> bool:
        try:
            self._path.lstat()
        except FileNotFoundError:
            return False
        except ValueError as error:
            raise ConfigurationError(f"no file can be called {str(self._path)!r}: {error}") from None
        return True

    def put_in_place(self, file: RowFile) -> None:
        """Make what `open` gave whole and durable under its name.

        Raises `FileExistsError` where something has come there meanwhile.
        """
        file.finish()
        file.close()
        descriptor = os.open(self._part, os.O_RDWR)
        try:
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        put_in_place(self._part, self._path, replace=self._overwrite)
        sync_folder(self._path.parent)

    def leave(self) -> None:
        """Leave nothing open, and nothing of it under another name."""
        if self._file is not None:
            # Closing may write, and fail as what came before it has.
            with suppress(OSError, sqlite3.Error):
                self._file.close()
        if self._made:
            # What has no place in its folder can't be deleted there either.
            self._part.unlink(missing_ok=True)
