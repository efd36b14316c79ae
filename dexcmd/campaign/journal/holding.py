"""Holding a campaign against other processes.  Blocking."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from dexcmd.campaign.journal.failures import explained
from dexcmd.campaign.journal.opening import connect, make_private
from dexcmd.errors import CampaignBusyError

__all__ = ["is_held", "take_hold"]

WAIT_SECONDS = 0.5
"""How long a hold waits for a process that is only checking."""


def take_hold(journal: Path, campaign: str) -> sqlite3.Connection:
    """Hold a campaign until the returned connection is closed, or the process ends.

    The hold is an exclusive transaction on an empty file next to the journal: its lock ends with the process, however
    that ends, on every system that SQLite runs on.  The file is kept: if it were removed, whoever waits for its lock
    would get the lock of a deleted file, and the next one that of a new file.

    Raises `CampaignBusyError` if it is held already, by this process or another.
    """
    path = _hold_file(journal, campaign)
    make_private(path)
    with explained(path):
        connection = connect(path, WAIT_SECONDS)
        try:
            # Nothing is ever written, so nothing needs a rollback journal on disk.
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            connection.close()
            if _busy(error):
                raise CampaignBusyError(f"another process is running campaign {campaign!r}") from None
            raise
    return connection


def is_held(journal: Path, campaign: str) -> bool:
    """Return whether any process holds a campaign."""
    path = _hold_file(journal, campaign)
    with explained(path):
        try:
            path.stat()
        except FileNotFoundError:
            return False
        with closing(connect(path, 0)) as connection:
            try:
                # Readers do not block each other.
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
            except sqlite3.Error as error:
                if _busy(error):
                    return True
                raise
    return False


def _busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _hold_file(journal: Path, campaign: str) -> Path:
    # On some file systems, `a` and `A` are the same name.
    digest = hashlib.sha256(campaign.encode()).hexdigest()[:8]
    return journal.with_name(f"{journal.name}-hold-{quote(campaign, safe='')}-{digest}")
