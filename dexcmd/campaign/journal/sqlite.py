"""A journal in a file of SQLite."""

# ruff: noqa: S608 - what queries are put together of are names of ours; values are parameters

import json
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.journal.codec import decode, from_micros, kind_of, micros
from dexcmd.campaign.journal.hold import Hold, lock_path
from dexcmd.campaign.journal.schema import migrate
from dexcmd.campaign.journal.writer import Writer
from dexcmd.campaign.records import (
    AccountRecord,
    ArtifactRecord,
    CampaignRecord,
    CommandRecord,
    Count,
    IntentRecord,
    Lags,
    Recorded,
    TargetRecord,
)
from dexcmd.errors import CampaignBusyError, CampaignError, one_line
from dexcmd.threads import run_to_the_end
from dexcmd.transfer.files import make_folder

__all__ = ["SqliteStore", "open_journal"]

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
"""How long one process waits for another one's commit."""

Row = tuple[Any, ...]

_TARGET = (
    "target.number, account.name, target.wave, target.device_id, target.registration_id, target.user_email, "
    "target.device_name, target.platform, target.version, target.skip, target.detail, target.state, target.failure, "
    "target.error, target.reason, target.changed_at, target.tries, target.not_before, target.command_id"
)
_INTENT = "target.number, post, attempt, since, settled_at, outcome, opened_at, closed_at"
_COMMAND = (
    "command.command_id, target.number, account.name, provenance, known_at, created_date, command.not_before, status, "
    "completed_date, filename"
)
_ARTIFACT = "artifact.command_id, location, size, sha256, saved_at"


def _time(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)


def _target(row: Row) -> TargetRecord:
    number, account, wave, device, registration, email, name, platform, version, skip, detail = row[:11]
    state, failure, error, reason, changed_at, tries, not_before, command_id = row[11:]
    return TargetRecord(
        number=number,
        account=account,
        wave=wave,
        device_id=device,
        registration_id=registration,
        user_email=email,
        device_name=name,
        platform=platform,
        version=version,
        skip=skip,
        detail=detail,
        state=state,
        failure=failure,
        error=error,
        reason=reason,
        changed_at=from_micros(changed_at),
        tries=json.loads(tries) if tries else {},
        not_before=_time(not_before),
        command_id=command_id,
    )


def _intent(row: Row) -> IntentRecord:
    target, post, attempt, since, settled_at, outcome, opened_at, closed_at = row
    return IntentRecord(
        target=target,
        post=post,
        attempt=attempt,
        since=from_micros(since),
        settled_at=from_micros(settled_at),
        outcome=outcome,
        opened_at=from_micros(opened_at),
        closed_at=_time(closed_at),
    )


def _command(row: Row) -> CommandRecord:
    command_id, target, account, provenance, known_at, created, not_before, status, completed, filename = row
    return CommandRecord(
        command_id=command_id,
        target=target,
        account=account,
        provenance=provenance,
        known_at=from_micros(known_at),
        created_date=_time(created),
        not_before=_time(not_before),
        status=status,
        completed_date=_time(completed),
        filename=filename,
    )


def _artifact(row: Row) -> ArtifactRecord:
    command_id, location, size, sha256, saved_at = row
    return ArtifactRecord(
        command_id=command_id, location=location, size=size, sha256=sha256, saved_at=from_micros(saved_at)
    )


@asynccontextmanager
async def open_journal(path: "str | os.PathLike[str]") -> AsyncGenerator["SqliteStore"]:
    """Open the journal in a file, which is made, private to the user, where there is none.

    Raises `CampaignError` for a file that is no journal, is damaged, or was written by a newer version.
    """
    store = SqliteStore(Path(path))
    await run_to_the_end(store.open)
    try:
        yield store
    finally:
        await run_to_the_end(store.close)


class SqliteStore:
    """The journal in a file; `open_journal` opens one.

    One thread writes, and a commit makes durable all that waits for it (WAL, synchronous=FULL).  Reading goes on
    beside it.  Any number of processes may have it open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = threading.Lock()

    def open(self) -> None:
        """Open it; blocks."""
        with self._explained(OSError):
            # Its name would have its last part taken for a folder.
            make_folder(self._path.absolute().parent)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._explained():
            db = self._connect()
            try:
                db.execute("PRAGMA journal_mode = WAL")
                migrate(db)
                self._reader = self._connect()
            except BaseException:
                db.close()
                raise
        self._writer_db = db
        self._writer = Writer(db, self._explain)

    def close(self) -> None:
        """Close it, when all that was appended is written; blocks."""
        self._writer.close()
        with self._reading:
            self._reader.close()
        self._writer_db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        return db

    @contextmanager
    def _explained(self, *kinds: type[Exception]) -> Iterator[None]:
        try:
            yield
        except (CampaignError, sqlite3.Error, *kinds) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> CampaignError:
        said = one_line(getattr(error, "strerror", None) or str(error))
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        hints = {
            sqlite3.SQLITE_FULL: "the disk is full",
            sqlite3.SQLITE_BUSY: "another process has been writing to it for long; try again",
            sqlite3.SQLITE_READONLY: "it can't be written to: look at the permissions of the file and its folder",
            sqlite3.SQLITE_CANTOPEN: "it can't be opened: look at the permissions of the file and its folder",
            sqlite3.SQLITE_CORRUPT: "it is damaged: restore it from a backup",
            sqlite3.SQLITE_NOTADB: "it is no journal",
        }
        return CampaignError(f"the journal {self._path}: {hints.get(code, said)}")

    # --- writing and holding

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        """Write events down, all or none of them; they are durable when it returns."""
        if events:
            await self._writer.append(campaign, events)

    @asynccontextmanager
    async def hold(self, campaign: str) -> AsyncGenerator[None]:
        """Hold a campaign until the block or the process ends.  Raises `CampaignBusyError`."""
        hold = Hold(lock_path(self._path, campaign))
        if not await self._call(hold.take):
            raise CampaignBusyError(f"the campaign {campaign!r} is run by another process at this moment")
        try:
            yield
        finally:
            hold.leave()

    async def held(self, campaign: str) -> bool:
        """Tell whether some process holds a campaign at this moment."""
        return await self._call(Hold(lock_path(self._path, campaign)).is_taken)

    async def _call(self, function: Callable[[], T]) -> T:
        def call() -> T:
            with self._explained(OSError):
                return function()

        return await run_to_the_end(call)

    # --- reading

    async def _rows(self, query: str, *values: Any) -> list[Row]:
        def read() -> list[Row]:
            with self._reading:
                return self._reader.execute(query, values).fetchall()

        return await self._call(read)

    async def campaigns(self) -> list[CampaignRecord]:
        """Return all campaigns, the oldest first."""
        return await self._campaigns("ORDER BY id")

    async def campaign(self, name: str) -> CampaignRecord | None:
        """Return a campaign, None where there is none of that name."""
        found = await self._campaigns("WHERE name = ?", name)
        return found[0] if found else None

    async def _campaigns(self, which: str, *values: Any) -> list[CampaignRecord]:
        query = f"SELECT name, spec, fingerprint, type, control, planned_at, first_run_at, ended FROM campaign {which}"
        return [
            CampaignRecord(
                name=name,
                spec=spec,
                fingerprint=fingerprint,
                type=kind,
                control=control,
                planned_at=from_micros(planned_at),
                first_run_at=_time(first_run_at),
                ended=ended,
            )
            for name, spec, fingerprint, kind, control, planned_at, first_run_at, ended in await self._rows(
                query, *values
            )
        ]

    async def accounts(self, campaign: str) -> list[AccountRecord]:
        """Return the accounts of a campaign, in the order of its spec."""
        rows = await self._rows(
            """
            SELECT name, account_id, wave, wave_opened_at, stopped, reason, quota, usage, reset_time, waits_until,
                left_running, audited_at, last_lost_at, first_since,
                (SELECT count(*) FROM command WHERE account = account.id AND surplus = 1),
                (SELECT count(*) FROM foreign_command WHERE account = account.id),
                (SELECT count(DISTINCT post) FROM intent WHERE account = account.id),
                (SELECT count(*) FROM command WHERE account = account.id AND surplus = 0),
                (SELECT ifnull(sum(size), 0) FROM command JOIN artifact USING (command_id) WHERE account = account.id)
            FROM account WHERE campaign = (SELECT id FROM campaign WHERE name = ?) ORDER BY id
            """,
            campaign,
        )
        return [_account(row) for row in rows]

    async def counts(self, campaign: str, account: str | None = None) -> list[Count]:
        """Return how many targets there are by account, wave, state and failure class; of one account, or of all."""
        rows = await self._rows(
            """
            SELECT account.name, target.wave, state, failure, count(*)
            FROM account JOIN target ON target.account = account.id
            WHERE account.campaign = (SELECT id FROM campaign WHERE name = ?1) AND (?2 IS NULL OR account.name = ?2)
            GROUP BY account.id, target.wave, state, failure
            """,
            campaign,
            account,
        )
        return [
            Count(account=name, wave=wave, state=state, failure=failure, n=n) for name, wave, state, failure, n in rows
        ]

    async def _targets(self, which: str, *values: Any) -> list[TargetRecord]:
        query = f"SELECT {_TARGET} FROM target JOIN account ON account.id = target.account WHERE {which}"
        return [_target(row) for row in await self._rows(query, *values)]

    async def due_targets(
        self, campaign: str, account: str, wave: int, now: datetime, limit: int
    ) -> list[TargetRecord]:
        """Return pending targets of a wave that are due, `now` or earlier, in the order of their numbers."""
        return await self._targets(
            f"{_OF_ACCOUNT} AND target.wave = ? AND state = 'pending' AND failure IS NULL "
            "AND (not_before IS NULL OR not_before <= ?) ORDER BY number LIMIT ?",
            campaign,
            account,
            wave,
            micros(now),
            limit,
        )

    async def next_due(self, campaign: str, account: str, wave: int) -> datetime | None:
        """Return the earliest `not_before` of the wave's pending targets that have one; None where none has."""
        [[earliest]] = await self._rows(
            f"SELECT min(not_before) FROM target WHERE {_OF_ACCOUNT} AND wave = ? AND state = 'pending' "
            "AND not_before IS NOT NULL",
            campaign,
            account,
            wave,
        )
        return _time(earliest)

    async def targets(self, campaign: str, numbers: Collection[int]) -> list[TargetRecord]:
        """Return targets by their numbers, in order; there is none for a number that no target has."""
        return await self._targets(
            f"target.campaign = {_CAMPAIGN} AND number IN (SELECT value FROM json_each(?)) ORDER BY number",
            campaign,
            json.dumps([*numbers]),
        )

    async def undecided(self, campaign: str, account: str, after: int, limit: int) -> list[TargetRecord]:
        """Return pending targets with numbers above `after`, in order, whatever their wave and due time."""
        return await self._targets(
            f"{_OF_ACCOUNT} AND state = 'pending' AND number > ? ORDER BY number LIMIT ?",
            campaign,
            account,
            after,
            limit,
        )

    async def _intents(self, which: str, *values: Any) -> list[IntentRecord]:
        query = (
            f"SELECT {_INTENT} FROM intent JOIN target ON target.id = intent.target WHERE {which} ORDER BY intent.id"
        )
        return [_intent(row) for row in await self._rows(query, *values)]

    async def open_intents(self, campaign: str, account: str) -> list[IntentRecord]:
        """Return the intents that are not closed, in the order in which they were opened."""
        return await self._intents(
            f"{_OF_ACCOUNT.replace('target.', 'intent.')} AND outcome IS NULL", campaign, account
        )

    async def intents(self, campaign: str, account: str, device_ids: Collection[str]) -> list[IntentRecord]:
        """Return all intents for some devices, open or not, in the order in which they were opened."""
        return await self._intents(
            f"{_OF_ACCOUNT} AND target.device_id IN (SELECT value FROM json_each(?))",
            campaign,
            account,
            json.dumps([*device_ids]),
        )

    async def reserved(self, account_id: str) -> int:
        """Return how many commands the open intents for an account reserve, over all campaigns of the journal."""
        query = "SELECT count(*) FROM intent WHERE account_id = ? AND outcome IS NULL"
        [[n]] = await self._rows(query, account_id)
        return int(n)

    async def _commands(self, which: str, *values: Any) -> list[CommandRecord]:
        query = (
            f"SELECT {_COMMAND} FROM target JOIN command ON command.command_id = target.command_id "
            f"JOIN account ON account.id = target.account WHERE {which}"
        )
        return [_command(row) for row in await self._rows(query, *values)]

    async def running(self, campaign: str, account: str) -> list[CommandRecord]:
        """Return the latest commands of targets in state `running`, in the order in which they became known."""
        return await self._commands(f"{_OF_ACCOUNT} AND state = 'running' ORDER BY known_at, number", campaign, account)

    async def collecting(self, campaign: str, account: str) -> list[CommandRecord]:
        """Return the latest commands of targets in state `collecting`, due or not, the oldest ended first."""
        return await self._commands(
            f"{_OF_ACCOUNT} AND state = 'collecting' ORDER BY ifnull(completed_date, known_at), known_at, number",
            campaign,
            account,
        )

    async def commands_on(self, account_id: str, device_ids: Collection[str]) -> set[str]:
        """Return the ids of the commands that campaigns of the journal know for some devices of an account."""
        rows = await self._rows(
            """
            SELECT command.command_id FROM account JOIN target ON target.account = account.id
                JOIN command ON command.target = target.id
            WHERE account.account_id = ? AND target.device_id IN (SELECT value FROM json_each(?))
            """,
            account_id,
            json.dumps([*device_ids]),
        )
        return {command_id for (command_id,) in rows}

    async def known(self, account_id: str, command_ids: Collection[str]) -> set[str]:
        """Return which of some command ids belong to targets of campaigns of the journal; so do surplus ones."""
        rows = await self._rows(
            """
            SELECT command_id FROM command JOIN account ON account.id = command.account
            WHERE command_id IN (SELECT value FROM json_each(?)) AND account_id = ?
            """,
            json.dumps([*command_ids]),
            account_id,
        )
        return {command_id for (command_id,) in rows}

    async def lags(self, campaign: str, account: str) -> Lags:
        """Return how late commands with provenance `response` showed up in the list."""
        [[n, longest]] = await self._rows(
            "SELECT count(listed_after), ifnull(max(listed_after), 0.0) FROM command JOIN target ON target.id = "
            f"command.target WHERE {_OF_ACCOUNT} AND provenance = 'response'",
            campaign,
            account,
        )
        return Lags(n=n, longest=longest)

    async def mean_artifact_size(self, command_type: str) -> tuple[int, float]:
        """Return how many artifacts of a type the journal knows, and their mean size in bytes (0.0 where none)."""
        [[n, mean]] = await self._rows(
            """
            SELECT count(*), ifnull(avg(size), 0.0) FROM artifact JOIN command USING (command_id)
                JOIN account ON account.id = command.account JOIN campaign ON campaign.id = account.campaign
            WHERE campaign.type = ?
            """,
            command_type,
        )
        return n, mean

    async def events(
        self,
        campaign: str,
        after: int = 0,
        limit: int = 1000,
        kinds: Collection[type[CampaignEvent]] | None = None,
    ) -> list[Recorded]:
        """Return events with a `seq` above `after`, in order; those of some classes only, or of all."""
        names = None if kinds is None else json.dumps([kind_of(kind) for kind in kinds])
        rows = await self._rows(
            """
            SELECT seq, kind, data FROM event
            WHERE campaign = (SELECT id FROM campaign WHERE name = ?1) AND seq > ?2
                AND (?3 IS NULL OR kind IN (SELECT value FROM json_each(?3)))
            ORDER BY seq LIMIT ?4
            """,
            campaign,
            after,
            names,
            limit,
        )
        return [Recorded(seq=seq, campaign=campaign, event=decode(kind, data)) for seq, kind, data in rows]

    async def export(
        self, campaign: str, after: int, limit: int
    ) -> list[tuple[TargetRecord, CommandRecord | None, ArtifactRecord | None, IntentRecord | None]]:
        """Return targets with numbers above `after`, in order, each with its command, its artifact and its intent."""
        rows = await self._rows(
            f"""
            SELECT {_TARGET}, {_COMMAND}, {_ARTIFACT}, {_INTENT}
            FROM target JOIN account ON account.id = target.account
                LEFT JOIN command ON command.command_id = target.command_id
                LEFT JOIN artifact ON artifact.command_id = target.command_id
                LEFT JOIN intent ON intent.id = (SELECT max(id) FROM intent WHERE intent.target = target.id)
            WHERE target.campaign = {_CAMPAIGN} AND number > ? ORDER BY number LIMIT ?
            """,
            campaign,
            after,
            limit,
        )
        return [
            (
                _target(row[:19]),
                None if row[19] is None else _command(row[19:29]),
                None if row[29] is None else _artifact(row[29:34]),
                None if row[35] is None else _intent(row[34:]),
            )
            for row in rows
        ]


_CAMPAIGN = "(SELECT id FROM campaign WHERE name = ?)"
_OF_ACCOUNT = f"target.account = (SELECT id FROM account WHERE campaign = {_CAMPAIGN} AND name = ?)"


def _account(row: Row) -> AccountRecord:
    name, account_id, wave, wave_opened_at, stopped, reason, quota, usage, reset_time, waits_until = row[:10]
    left_running, audited_at, last_lost_at, first_since, surplus, foreign, posts, commands, size = row[10:]
    return AccountRecord(
        name=name,
        account_id=account_id,
        wave=wave,
        wave_opened_at=_time(wave_opened_at),
        stopped=stopped,
        reason=reason,
        quota=quota,
        usage=usage,
        reset_time=_time(reset_time),
        waits_until=_time(waits_until),
        left_running=left_running,
        surplus=surplus,
        foreign=foreign,
        audited_at=_time(audited_at),
        posts=posts,
        commands=commands,
        size=size,
        last_lost_at=_time(last_lost_at),
        first_since=_time(first_since),
    )
