"""The tables of the journal.

Times are whole microseconds since 1970 in UTC.  `event` has the events in order, and everything else follows from them:
`projection` says what each changes in the other tables, and triggers keep some of the counts.
"""

from collections.abc import Sequence

__all__ = ["APPLICATION_ID", "MIGRATIONS", "WITHOUT_LATER_RULES", "Migration"]

Migration = Sequence[str]
"""Statements that migrate a journal from one version to the next."""

APPLICATION_ID = 0x64657863
"""`dexc`: tells a journal from any other database."""

FIRST: Migration = (
    """
    CREATE TABLE campaign (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        spec TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        type TEXT NOT NULL,
        control TEXT NOT NULL,
        planned_at INTEGER NOT NULL,
        -- Where its events begin.  No index tells which are its own: it would take more to keep than it saves, for
        -- campaigns mostly follow each other.
        first_event INTEGER NOT NULL,
        first_run_at INTEGER,
        ended TEXT
    )
    """,
    """
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
        -- What is counted.
        posts INTEGER NOT NULL DEFAULT 0,
        commands INTEGER NOT NULL DEFAULT 0,
        lags INTEGER NOT NULL DEFAULT 0,
        longest_lag REAL NOT NULL DEFAULT 0,
        artifacts INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL DEFAULT 0,
        surplus INTEGER NOT NULL DEFAULT 0,
        foreign_commands INTEGER NOT NULL DEFAULT 0,
        UNIQUE (campaign, name)
    )
    """,
    "CREATE INDEX account_of_service ON account (account_id)",
    """
    CREATE TABLE target (
        -- Its campaign and its number in one, so that it is found without an index and lies in the order of the plan.
        id INTEGER PRIMARY KEY,
        number INTEGER NOT NULL,
        account INTEGER NOT NULL REFERENCES account,
        wave INTEGER NOT NULL,
        state TEXT NOT NULL,
        failure TEXT,
        error TEXT,
        reason TEXT,
        changed_at INTEGER NOT NULL,
        not_before INTEGER,
        command_id TEXT
    )
    """,
    # Targets are also counted by this index, 100,000 in 8 ms.  A tally would be faster to read, but would cost more
    # with each change of a target.
    "CREATE INDEX target_in_state ON target (account, state, wave, failure)",
    "CREATE INDEX target_waiting ON target (account, wave, not_before) WHERE not_before IS NOT NULL",
    """
    CREATE TABLE device (
        -- What the plan has seen of a target.  It never changes, and so it is apart from what does.
        target INTEGER PRIMARY KEY REFERENCES target,
        device_id TEXT,
        registration_id TEXT,
        user_email TEXT,
        device_name TEXT,
        platform TEXT,
        version TEXT,
        skip TEXT,
        detail TEXT
    )
    """,
    "CREATE INDEX device_of_service ON device (device_id)",
    """
    CREATE TABLE retry (
        target INTEGER NOT NULL REFERENCES target,
        failure TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (target, failure)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE post (
        account INTEGER NOT NULL REFERENCES account,
        post TEXT NOT NULL,
        PRIMARY KEY (account, post)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE intent (
        target INTEGER NOT NULL REFERENCES target,
        seq INTEGER NOT NULL,
        post TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        since INTEGER NOT NULL,
        settled_at INTEGER NOT NULL,
        opened_at INTEGER NOT NULL,
        outcome TEXT,
        closed_at INTEGER,
        -- What two campaigns may not do at once.
        account_id TEXT NOT NULL,
        device_id TEXT,
        registration_id TEXT,
        type TEXT NOT NULL,
        PRIMARY KEY (target, seq)
    ) WITHOUT ROWID
    """,
    """
    CREATE UNIQUE INDEX intent_open ON intent (account_id, device_id, ifnull(registration_id, ''), type)
    WHERE outcome IS NULL
    """,
    """
    CREATE TABLE command (
        target INTEGER NOT NULL REFERENCES target,
        command_id TEXT NOT NULL UNIQUE,
        seq INTEGER NOT NULL,
        account INTEGER NOT NULL REFERENCES account,
        provenance TEXT NOT NULL,
        known_at INTEGER NOT NULL,
        created_date INTEGER,
        not_before INTEGER,
        status TEXT,
        completed_date INTEGER,
        filename TEXT,
        listed_after REAL,
        PRIMARY KEY (target, command_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE artifact (
        target INTEGER NOT NULL,
        command_id TEXT NOT NULL,
        location TEXT NOT NULL,
        size INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        saved_at INTEGER NOT NULL,
        PRIMARY KEY (target, command_id),
        FOREIGN KEY (target, command_id) REFERENCES command
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE surplus_command (
        command_id TEXT NOT NULL PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES account,
        target INTEGER NOT NULL REFERENCES target,
        device_id TEXT,
        created_date INTEGER,
        found_at INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX surplus_of_target ON surplus_command (target)",
    """
    CREATE TABLE foreign_command (
        campaign INTEGER NOT NULL REFERENCES campaign,
        command_id TEXT NOT NULL,
        account INTEGER NOT NULL REFERENCES account,
        device_id TEXT,
        type TEXT,
        created_date INTEGER,
        found_at INTEGER NOT NULL,
        PRIMARY KEY (campaign, command_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY,
        campaign INTEGER NOT NULL REFERENCES campaign,
        account INTEGER REFERENCES account,
        target INTEGER,
        kind TEXT NOT NULL,
        at INTEGER NOT NULL,
        data TEXT NOT NULL
    )
    """,
    # --- events are permanent
    """
    CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event BEGIN
        SELECT raise(ABORT, 'events are never changed');
    END
    """,
    """
    CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event BEGIN
        SELECT raise(ABORT, 'events are never deleted');
    END
    """,
    # --- a command is known once, as a target's or as surplus
    """
    CREATE TRIGGER command_is_not_surplus BEFORE INSERT ON command
    WHEN EXISTS (SELECT 1 FROM surplus_command WHERE command_id = new.command_id) BEGIN
        SELECT raise(ABORT, 'the command is surplus');
    END
    """,
    """
    CREATE TRIGGER surplus_is_no_command BEFORE INSERT ON surplus_command
    WHEN EXISTS (SELECT 1 FROM command WHERE command_id = new.command_id) BEGIN
        SELECT raise(ABORT, 'the command is a target''s');
    END
    """,
    # --- what is counted
    """
    CREATE TRIGGER post_counted AFTER INSERT ON post BEGIN
        UPDATE account SET posts = posts + 1 WHERE id = new.account;
    END
    """,
    """
    CREATE TRIGGER lag_counted AFTER UPDATE OF listed_after ON command
    WHEN new.provenance = 'response' AND old.listed_after IS NULL AND new.listed_after IS NOT NULL BEGIN
        UPDATE account SET lags = lags + 1, longest_lag = max(longest_lag, new.listed_after) WHERE id = new.account;
    END
    """,
    """
    CREATE TRIGGER artifact_not_counted AFTER DELETE ON artifact BEGIN
        UPDATE account SET artifacts = artifacts - 1, size = size - old.size
            WHERE id = (SELECT account FROM target WHERE id = old.target);
    END
    """,
    """
    CREATE TRIGGER surplus_counted AFTER INSERT ON surplus_command BEGIN
        UPDATE account SET surplus = surplus + 1 WHERE id = new.account;
    END
    """,
    """
    CREATE TRIGGER foreign_counted AFTER INSERT ON foreign_command BEGIN
        UPDATE account SET foreign_commands = foreign_commands + 1 WHERE id = new.account;
    END
    """,
)

SECOND: Migration = (
    "ALTER TABLE account ADD COLUMN settle_seconds REAL",
    "ALTER TABLE account ADD COLUMN aborted TEXT",
    "DROP INDEX surplus_of_target",
    # --- a command of any campaign is foreign to none
    "CREATE INDEX foreign_by_id ON foreign_command (command_id)",
    """
    CREATE TRIGGER foreign_not_counted AFTER DELETE ON foreign_command BEGIN
        UPDATE account SET foreign_commands = foreign_commands - 1 WHERE id = old.account;
    END
    """,
    """
    CREATE TRIGGER command_is_not_foreign AFTER INSERT ON command BEGIN
        DELETE FROM foreign_command WHERE command_id = new.command_id;
    END
    """,
    """
    CREATE TRIGGER surplus_is_not_foreign AFTER INSERT ON surplus_command BEGIN
        DELETE FROM foreign_command WHERE command_id = new.command_id;
    END
    """,
    """
    CREATE TRIGGER foreign_is_nobodys BEFORE INSERT ON foreign_command
    WHEN EXISTS (SELECT 1 FROM command WHERE command_id = new.command_id)
        OR EXISTS (SELECT 1 FROM surplus_command WHERE command_id = new.command_id) BEGIN
        SELECT raise(IGNORE);
    END
    """,
    """
    DELETE FROM foreign_command WHERE command_id IN (
        SELECT command_id FROM command UNION ALL SELECT command_id FROM surplus_command
    )
    """,
)

THIRD: Migration = (
    "ALTER TABLE account ADD COLUMN audit_error TEXT",
    # An intent no longer ends the wait for the quota; only a newer view of the quota does.
    """
    UPDATE account SET waits_until = (
        SELECT json_extract(data, '$.until') FROM event
        WHERE event.account = account.id AND kind = 'QuotaWaited' AND seq > (
            SELECT ifnull(max(seq), 0) FROM event WHERE event.account = account.id AND kind = 'QuotaSeen'
        ) ORDER BY seq DESC LIMIT 1
    )
    """,
    # If one of two names no registration, there is no telling which of them made a command.
    """
    CREATE TRIGGER intent_is_told_apart BEFORE INSERT ON intent
    WHEN EXISTS (
        SELECT 1 FROM intent WHERE account_id = new.account_id AND device_id = new.device_id AND type = new.type
            AND (registration_id IS NULL) != (new.registration_id IS NULL) AND outcome IS NULL
    ) BEGIN
        SELECT raise(ABORT, 'another one of the device is open');
    END
    """,
)

MIGRATIONS: Sequence[Migration] = (FIRST, SECOND, THIRD)
"""Each migrates a journal from the version that is its index to the next.  Released ones are never changed."""

WITHOUT_LATER_RULES = "DROP TRIGGER IF EXISTS intent_is_told_apart"
"""Removes the rule that refuses events accepted by an earlier version: those remain valid."""
