"""The tables of a journal, and how one that an older version made becomes one of this version."""

import sqlite3
from collections.abc import Sequence

from dexcmd.errors import CampaignError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "migrate"]

APPLICATION_ID = 0x64657863
"""Tells a journal from other files of SQLite: `dexc`."""

_VERSION_1 = """
CREATE TABLE campaign (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    type TEXT NOT NULL,
    control TEXT NOT NULL DEFAULT 'run',
    planned_at INTEGER NOT NULL,
    first_run_at INTEGER,
    ended TEXT
);
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    campaign INTEGER NOT NULL REFERENCES campaign,
    name TEXT NOT NULL,
    account_id TEXT NOT NULL,
    wave INTEGER NOT NULL DEFAULT 0,
    wave_opened_at INTEGER,
    stopped TEXT,
    reason TEXT,
    left_running INTEGER NOT NULL DEFAULT 0,
    quota INTEGER,
    usage INTEGER,
    reset_time INTEGER,
    waits_until INTEGER,
    audited_at INTEGER,
    last_lost_at INTEGER,
    first_since INTEGER,
    UNIQUE (campaign, name)
);
CREATE TABLE target (
    id INTEGER PRIMARY KEY,
    campaign INTEGER NOT NULL REFERENCES campaign,
    number INTEGER NOT NULL,
    account INTEGER NOT NULL REFERENCES account,
    wave INTEGER NOT NULL,
    device_id TEXT,
    registration_id TEXT,
    user_email TEXT,
    device_name TEXT,
    platform TEXT,
    version TEXT,
    skip TEXT,
    detail TEXT,
    state TEXT NOT NULL,
    failure TEXT,
    error TEXT,
    reason TEXT,
    changed_at INTEGER NOT NULL,
    tries TEXT,
    not_before INTEGER,
    command_id TEXT,
    UNIQUE (campaign, number)
);
-- What is due, in order, and how many there are of each kind.
CREATE INDEX target_by_state ON target (account, wave, state, failure, number);
CREATE INDEX target_by_device ON target (account, device_id);
-- Few are to be tried again at a time.
CREATE INDEX target_later ON target (account, wave, not_before) WHERE not_before IS NOT NULL AND state = 'pending';
CREATE TABLE intent (
    id INTEGER PRIMARY KEY,
    target INTEGER NOT NULL REFERENCES target,
    account INTEGER NOT NULL REFERENCES account,
    account_id TEXT NOT NULL,
    type TEXT NOT NULL,
    device_id TEXT,
    registration_id TEXT,
    post TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    since INTEGER NOT NULL,
    settled_at INTEGER NOT NULL,
    outcome TEXT,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER
);
-- One command at a time is being created for a device, whichever campaign does it.
CREATE UNIQUE INDEX intent_open ON intent (account_id, type, device_id, ifnull(registration_id, ''))
    WHERE outcome IS NULL;
CREATE INDEX intent_by_target ON intent (target, post);
CREATE TABLE command (
    command_id TEXT PRIMARY KEY,
    target INTEGER REFERENCES target,
    account INTEGER NOT NULL REFERENCES account,
    provenance TEXT NOT NULL,
    known_at INTEGER NOT NULL,
    created_date INTEGER,
    not_before INTEGER,
    status TEXT,
    completed_date INTEGER,
    filename TEXT,
    listed_after REAL,
    -- One that no target needs: our POST made it all the same.
    surplus INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX command_by_target ON command (target);
CREATE INDEX command_by_account ON command (account, surplus);
CREATE TABLE foreign_command (
    campaign INTEGER NOT NULL REFERENCES campaign,
    command_id TEXT NOT NULL,
    account INTEGER NOT NULL REFERENCES account,
    PRIMARY KEY (campaign, command_id)
) WITHOUT ROWID;
CREATE TABLE artifact (
    command_id TEXT PRIMARY KEY REFERENCES command,
    location TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    saved_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign INTEGER NOT NULL REFERENCES campaign,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX event_by_campaign ON event (campaign, seq);
CREATE TRIGGER event_stays BEFORE UPDATE ON event BEGIN SELECT raise(ABORT, 'events are never changed'); END;
CREATE TRIGGER event_is_kept BEFORE DELETE ON event BEGIN SELECT raise(ABORT, 'events are never removed'); END;
"""

MIGRATIONS: tuple[str, ...] = (_VERSION_1,)
"""SQL from each version to the next; the first makes version 1 of nothing.  What is released is never changed."""


def migrate(db: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring a journal to the version of this program, all or nothing.

    Raises `CampaignError` for a file that is no journal, or one of a newer version.
    """
    newest = len(migrations)
    if _version(db) == newest:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        for number, statements in enumerate(migrations[_version(db, newest) :], _version(db, newest) + 1):
            for statement in _statements(statements):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection, newest: int | None = None) -> int:
    """Return the version of a journal, 0 for a new file.  Raises `CampaignError` unless it can be worked with."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    application: int = db.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID and (version or db.execute("SELECT 1 FROM sqlite_master").fetchone()):
        raise CampaignError("it is a database of something else, and no journal")
    if newest is not None and version > newest:
        raise CampaignError(
            f"it is of version {version}, by a newer dexcmd; this one knows versions up to {newest}: upgrade dexcmd"
        )
    return version


def _statements(script: str) -> list[str]:
    """Return the statements of a script; a trigger holds semicolons of its own."""
    statements: list[str] = []
    text = ""
    for piece in script.split(";"):
        text += piece + ";"
        if sqlite3.complete_statement(text):
            if text.strip(" \n;"):
                statements.append(text)
            text = ""
    return statements
