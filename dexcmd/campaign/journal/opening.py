"""Opens a journal's file: makes it private, tells it from any other file, and migrates it.  Blocking."""

import os
import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

from dexcmd.campaign.journal.failures import NO_JOURNAL, explained
from dexcmd.campaign.journal.schema import APPLICATION_ID, Migration
from dexcmd.errors import CampaignError, ConfigurationError
from dexcmd.transfer.files import make_folder
from dexcmd.transfer.system import open_private, sync_folder

__all__ = ["JournalFile", "connect", "is_journal", "make_private", "transaction"]

AGAIN_SECONDS = 0.01
SMALLEST = 512
"""The size in bytes of the smallest non-empty database."""

WRITER_CACHE_KIB = 4 * 1024
CHECKPOINT_PAGES = 4096
"""After how many pages, of 4 KiB each, the write-ahead log is copied into the file itself.

The higher this is, the less often pages that change frequently are copied.
"""

_creating = threading.Lock()


def make_private(path: Path) -> None:
    """Create a file that only the user may read, and its folder likewise, if missing.  Raises `CampaignError`.

    SQLite gives the files that it puts next to it the same mode.
    """
    try:
        make_folder(path.parent)
    except ConfigurationError as error:
        raise CampaignError(f"journal {path}: {error}") from error
    # Closing any descriptor of a file drops all locks that this process has on it, including SQLite's.  So an existing
    # file is not opened, and nobody else in this process gets at a new one before it is closed.
    with explained(path), _creating, suppress(FileExistsError):
        os.close(open_private(str(path), os.O_RDWR | os.O_CREAT | os.O_EXCL))
        sync_folder(path.parent)


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Return a connection that waits up to `busy_seconds` for locks, and leaves transactions to its user."""
    return sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)


def is_journal(path: Path) -> bool:
    """Return whether a file is a journal, leaving no file next to it."""
    with suppress(OSError, ValueError):
        if not S_ISREG(path.stat().st_mode):
            return False
        if _application_id(path, "immutable=1") == APPLICATION_ID:
            return True
        # For a new journal that is open, the id may still be in the log.
        return path.with_name(f"{path.name}-wal").exists() and _application_id(path, "mode=ro") == APPLICATION_ID
    return False


def _application_id(path: Path, options: str) -> int | None:
    try:
        # Not read directly: see `make_private`.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)) as connection:
            [(application,)] = connection.execute("PRAGMA application_id")
    except sqlite3.Error:
        return None
    return int(application)


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    """Run the block in one transaction, rolled back if it raises."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, SQLite has already rolled back.
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


class JournalFile:
    """A journal's file and its connections: one that writes, and one that reads in parallel."""

    def __init__(self, path: Path, busy_seconds: float, migrations: Sequence[Migration]) -> None:
        self.path: Path = path
        self.migrations = migrations
        self._busy_seconds = busy_seconds
        self._connections: list[sqlite3.Connection] = []

    @property
    def writer(self) -> sqlite3.Connection:
        """Return the writing connection."""
        return self._connections[0]

    @property
    def reader(self) -> sqlite3.Connection:
        """Return the reading connection."""
        return self._connections[1]

    def open(self) -> None:
        """Open the file, created if missing, and migrate it to the newest version.

        Raises `CampaignError`; it has to be closed even then.
        """
        with explained(self.path):
            try:
                # One name, however it is reached: the files that hold its campaigns lie next to it and are found by its
                # name.
                self.path = Path(os.path.realpath(self.path))
            except ValueError as error:
                raise CampaignError(f"journal {self.path}: {error}") from error
        make_private(self.path)
        with explained(self.path):
            status = self.path.stat()
            if not S_ISREG(status.st_mode) or 0 < status.st_size < SMALLEST:
                # SQLite takes such a small file for an empty one.
                raise CampaignError(f"journal {self.path}: {NO_JOURNAL}")
            self._connections.append(connect(self.path, self._busy_seconds))
            _set_up(self.writer, self.path, self._busy_seconds, self.migrations)
            self._connections.append(self.connect())

    def connect(self) -> sqlite3.Connection:
        """Return another connection for reading.  Raises `sqlite3.Error`."""
        connection = connect(self.path, self._busy_seconds)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def close(self) -> None:
        """Close the file."""
        for connection in reversed(self._connections):
            connection.close()


def _set_up(connection: sqlite3.Connection, path: Path, busy_seconds: float, migrations: Sequence[Migration]) -> None:
    # Checked first, so that a file that is something else is not changed.
    with transaction(connection, "BEGIN"):
        version = _version(connection, path, len(migrations))
    _use_wal(connection, busy_seconds)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if version < len(migrations):
        with transaction(connection, "BEGIN IMMEDIATE"):
            # Another process may have migrated it meanwhile.
            for migration in migrations[_version(connection, path, len(migrations)) :]:
                for statement in migration:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """Return the version of a journal, or 0 for an empty file.  Raises `CampaignError` for anything else."""
    [(application,)] = connection.execute("PRAGMA application_id")
    [(version,)] = connection.execute("PRAGMA user_version")
    [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master")
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        raise CampaignError(f"journal {path}: it is a database of another program: choose another file")
    if version > newest:
        raise CampaignError(
            f"journal {path}: it was written by a newer version of dexcmd (format {version}, this one reads up to "
            f"{newest}): update dexcmd"
        )
    return int(version)


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    # SQLite itself does not wait if two processes switch at the same moment.
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            # This runs in a thread, like everything else done to a journal, and like SQLite's own waits.
            time.sleep(AGAIN_SECONDS)
        else:
            return
