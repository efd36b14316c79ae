"""A journal's file opened: made private, told from any other file, and brought to the newest version.  Blocking."""

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dexcmd.campaign.journal.failures import explained
from dexcmd.campaign.journal.schema import APPLICATION_ID, MIGRATIONS, Migration
from dexcmd.errors import CampaignError, ConfigurationError
from dexcmd.transfer.files import make_folder
from dexcmd.transfer.system import private, sync_folder

__all__ = ["connect", "make_private", "open_reader", "open_writer"]

AGAIN_SECONDS = 0.01
WRITER_CACHE_KIB = 16 * 1024
CHECKPOINT_PAGES = 4096
"""After how many pages, of 4 KiB, the log of what was committed is carried over into the file itself.

The more, the fewer times the pages that change often are.
"""

_creating = threading.Lock()


def make_private(path: Path) -> None:
    """Make a file that only the user may read, where there is none, and its folder likewise.  Raises `CampaignError`.

    SQLite gives what it puts beside a file the same mode.
    """
    try:
        make_folder(path.parent)
    except ConfigurationError as error:
        raise CampaignError(f"journal {path}: {error}") from error
    # Closing any descriptor of a file drops all locks that this process has on it, SQLite's included.  So one that is
    # there is not opened, and nobody else in this process gets at a new one before it is closed.
    with explained(path), _creating, suppress(FileExistsError):
        os.close(private(str(path), os.O_RDWR | os.O_CREAT | os.O_EXCL))
        sync_folder(path.parent)


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Return a connection that waits so long for others' locks, and leaves transactions to whoever uses it."""
    return sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)


def open_writer(path: Path, busy_seconds: float, migrations: Sequence[Migration] = MIGRATIONS) -> sqlite3.Connection:
    """Return a connection to write to a journal, which is made where there is none.  Raises `CampaignError`."""
    make_private(path)
    with explained(path):
        connection = connect(path, busy_seconds)
        try:
            _set_up(connection, path, busy_seconds, migrations)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Return a connection to read from a journal that is there.  Raises `CampaignError`."""
    with explained(path):
        connection = connect(path, busy_seconds)
        connection.execute("PRAGMA query_only = ON")
    return connection


def _set_up(connection: sqlite3.Connection, path: Path, busy_seconds: float, migrations: Sequence[Migration]) -> None:
    # Nothing is changed in a file that turns out to be something else.
    fresh = _version(connection, path, len(migrations)) == 0
    _use_wal(connection, busy_seconds)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if fresh or _version(connection, path, len(migrations)) < len(migrations):
        _migrate(connection, path, migrations)


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """Return the version of a journal, 0 for an empty file.  Raises `CampaignError` for anything else."""
    [(application,)] = connection.execute("PRAGMA application_id")
    [(version,)] = connection.execute("PRAGMA user_version")
    [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master")
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        raise CampaignError(f"journal {path}: it is a database of something else: name another file")
    if version > newest:
        raise CampaignError(
            f"journal {path}: it was written by a newer version of dexcmd (format {version}, this one reads up to "
            f"{newest}): update dexcmd"
        )
    return int(version)


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    # SQLite does not wait by itself where two processes switch to it at the same moment.
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_SECONDS)
        else:
            return


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it meanwhile.
        for migration in migrations[_version(connection, path, len(migrations)) :]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
