"""A file that appears under its name only when complete.  Blocking, so meant for threads."""

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
from dexcmd.transfer.system import open_private, put_in_place, sync_file, sync_folder

__all__ = ["NewFile", "RowFile"]


class RowFile(Protocol):
    """A file that rows are written to, one page after another.  Blocking."""

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        ...

    def finish(self) -> None:
        """Write what is left."""
        ...

    def close(self) -> None:
        """Close the file, complete or not."""
        ...


class NewFile:
    """A file on its way to its name.  Raises `ConfigurationError` for a path that does not end with a file name."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        if not path.name:
            raise ConfigurationError(f"{path} is a folder, not a file")
        # Absolute, so that it can't be taken for a URL, and means the same if the working directory changes.
        self._path = path.absolute()
        self._overwrite = overwrite
        self._part = self._path.with_name(f".export-{secrets.token_hex(8)}.part")
        self._made = False
        self._file: RowFile | None = None

    def open(self, opener: Callable[[Path], RowFile]) -> RowFile:
        """Return the file to write to; raises `FileExistsError` if it could not be put in place.

        Raises `ConfigurationError` for an impossible file name, and for a journal.
        """
        if self._is_there():
            if is_journal(self._path):
                # Overwriting it would lose all that keeps its campaigns from being done twice.
                raise ConfigurationError(f"{self._path} is a journal: choose another file")
            if not self._overwrite:
                raise FileExistsError
        # The mode stays the same when it is renamed.
        os.close(open_private(str(self._part), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        self._made = True
        self._file = opener(self._part)
        return self._file

    def _is_there(self) -> bool:
        try:
            self._path.lstat()
        except FileNotFoundError:
            return False
        except ValueError as error:
            raise ConfigurationError(f"invalid file name {str(self._path)!r}: {error}") from None
        return True

    def put_in_place(self, file: RowFile) -> None:
        """Complete what `open` returned, and make it durable under its name.

        Raises `FileExistsError` if something has appeared there meanwhile.
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
        """Close everything, and delete the temporary file if it is still there."""
        if self._file is not None:
            # Closing may write, and fail for the same reason as what came before.
            with suppress(OSError, sqlite3.Error):
                self._file.close()
        if self._made:
            # If the folder did not accept the file, there is nothing to delete.
            self._part.unlink(missing_ok=True)
