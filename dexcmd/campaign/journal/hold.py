"""Holding a campaign: a lock of SQLite's own, which ends with the process on every system."""

import hashlib
import sqlite3
from pathlib import Path

__all__ = ["Hold", "lock_path"]

PATIENCE_SECONDS = 0.05
"""Whoever only looks holds a lock for a moment."""


def lock_path(journal: Path, campaign: str) -> Path:
    """Return the file that holds a campaign of a journal by being locked; its content means nothing."""
    digest = hashlib.sha256(campaign.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return journal.with_name(f"{journal.name}-{digest}.lock")


class Hold:
    """A lock on a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def take(self) -> bool:
        """Take it, and tell whether it could be.  Raises `sqlite3.Error` and `OSError`."""
        return self._lock("BEGIN EXCLUSIVE")

    def leave(self) -> None:
        """Give it up."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def is_taken(self) -> bool:
        """Tell whether somebody has it.  Raises `sqlite3.Error` and `OSError`."""
        if not self._path.exists():
            return False
        try:
            # A shared lock: those who look don't see one another.
            return not self._lock("SELECT count(*) FROM sqlite_master")
        finally:
            self.leave()

    def _lock(self, statement: str) -> bool:
        self._path.touch(0o600)
        db = sqlite3.connect(self._path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute(statement)
        except sqlite3.OperationalError as error:
            db.close()
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return False
            raise
        self._db = db
        return True
