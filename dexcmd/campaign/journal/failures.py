"""Errors of SQLite and the system, turned into ones that say in one line what to do."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from dexcmd.errors import CampaignError
from dexcmd.safe_text import one_line

__all__ = ["DAMAGED", "NO_JOURNAL", "OF_SQLITE", "explain", "explained"]

LOCKED = "another program has locked it for too long: wait for that one or stop it, and try again"
DAMAGED = "it is damaged: restore it from a backup"
NO_JOURNAL = "it is not a dexcmd journal: choose another file"
NOT_WRITABLE = "it can't be written: give this user write permission for it and its folder, or choose another file"
FULL = "the disk is full: free some space and try again"

WORDS = {
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_PROTOCOL: LOCKED,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: NO_JOURNAL,
    sqlite3.SQLITE_FULL: FULL,
    # No room for the file beside it, for which SQLite has no other code.
    sqlite3.SQLITE_IOERR_SHMSIZE: FULL,
    sqlite3.SQLITE_READONLY: NOT_WRITABLE,
    sqlite3.SQLITE_PERM: NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: "it can't be opened: make sure that its folder exists and is writable",
}
"""By extended result code, or else by the primary code that is part of it."""

OF_SQLITE = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite calls raise.  `sqlite3` can't decode messages that repeat bytes of a damaged table that are not text."""


def explain(error: sqlite3.Error | UnicodeDecodeError | OSError, path: Path) -> CampaignError:
    """Return the error to raise if the journal at `path` can't be read or written."""
    if isinstance(error, UnicodeDecodeError):
        return CampaignError(f"journal {path}: {DAMAGED}")
    if isinstance(error, OSError):
        return CampaignError(f"journal {path}: {error.strerror or error}")
    code: int | None = getattr(error, "sqlite_errorcode", None)
    words = None if code is None else WORDS.get(code, WORDS.get(code & 0xFF))
    return CampaignError(f"journal {path}: {words or one_line(str(error))}")


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Convert what SQLite or the system raises inside the block into `CampaignError`."""
    try:
        yield
    except (*OF_SQLITE, OSError) as error:
        raise explain(error, path) from error
