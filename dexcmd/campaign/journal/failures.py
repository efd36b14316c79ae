"""What SQLite and the system say, as errors that say in one line what to do."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from dexcmd.errors import CampaignError, one_line

__all__ = ["DAMAGED", "NO_JOURNAL", "OF_SQLITE", "explain", "explained"]

LOCKED = "it is locked by another program for too long: end that one, or wait for it, and try again"
DAMAGED = "it is damaged: put a copy of it from before in its place"
NO_JOURNAL = "it is no journal of dexcmd: name another file"
NOT_WRITABLE = "it can't be written: give this user the right to write to it and to its folder, or name another file"
FULL = "the disk is full: make room and try again"

WORDS = {
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_PROTOCOL: LOCKED,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: NO_JOURNAL,
    sqlite3.SQLITE_FULL: FULL,
    # There is no room for what lies beside it, for which SQLite has no word of its own.
    sqlite3.SQLITE_IOERR_SHMSIZE: FULL,
    sqlite3.SQLITE_READONLY: NOT_WRITABLE,
    sqlite3.SQLITE_PERM: NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: "it can't be opened: see to it that its folder is there and may be written to",
}
"""By the result code, or else by the primary one that is part of it."""

OF_SQLITE = (sqlite3.Error, UnicodeDecodeError)
"""What is raised by calls of SQLite, which repeats the bytes of tables that it can't make out: they may be no text."""


def explain(error: sqlite3.Error | UnicodeDecodeError | OSError, path: Path) -> CampaignError:
    """Return what is to be raised where the journal at `path` can't be read or written."""
    if isinstance(error, UnicodeDecodeError):
        return CampaignError(f"journal {path}: {DAMAGED}")
    if isinstance(error, OSError):
        return CampaignError(f"journal {path}: {error.strerror or error}")
    code: int | None = getattr(error, "sqlite_errorcode", None)
    words = None if code is None else WORDS.get(code, WORDS.get(code & 0xFF))
    return CampaignError(f"journal {path}: {words or one_line(str(error))}")


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Raise `CampaignError` for what SQLite or the system raises inside the block."""
    try:
        yield
    except (*OF_SQLITE, OSError) as error:
        raise explain(error, path) from error
