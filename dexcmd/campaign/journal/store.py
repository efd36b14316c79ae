"""The SQLite journal, for the event loop."""

import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.journal import queries
from dexcmd.campaign.journal.appending import Append, Appender
from dexcmd.campaign.journal.checking import check
from dexcmd.campaign.journal.failures import OF_SQLITE, explain, explained
from dexcmd.campaign.journal.holding import is_held, take_hold
from dexcmd.campaign.journal.opening import JournalFile
from dexcmd.campaign.journal.schema import MIGRATIONS, Migration
from dexcmd.campaign.records import (
    AccountRecord,
    CampaignRecord,
    CommandRecord,
    Count,
    IntentRecord,
    Lags,
    Recorded,
    TargetRecord,
)
from dexcmd.campaign.store import ExportRecord
from dexcmd.threads import GroupThread, run_to_the_end

__all__ = ["SqliteStore", "open_journal"]

P = ParamSpec("P")
T = TypeVar("T")

BUSY_SECONDS = 30.0
"""How long another process may keep the journal locked; dexcmd itself locks it for milliseconds."""


@asynccontextmanager
async def open_journal(
    path: "str | os.PathLike[str]", *, busy_seconds: float = BUSY_SECONDS, migrations: Sequence[Migration] = MIGRATIONS
) -> AsyncGenerator["SqliteStore"]:
    """Open a journal, created if missing: a file only the user may read, as is its folder if that is new.

    Any number of processes may have it open.  `busy_seconds` is how long to wait for another's lock; `migrations` is
    for tests.  Raises `CampaignError`, also for a file that is not a journal, or is one of a newer version.
    """
    file = JournalFile(Path(path), busy_seconds, migrations)
    try:
        await run_to_the_end(file.open)
        store = SqliteStore(file)
        try:
            yield store
        finally:
            await store.end()
    finally:
        await run_to_the_end(file.close)


class SqliteStore:
    """A journal in a file: `dexcmd.campaign.store.Store`.  Made by `open_journal`.

    One thread writes: appends that arrive meanwhile wait, and are then committed together.  Another thread reads in
    parallel, on its own connection.
    """

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._appender = Appender(file.writer)
        self._appends = GroupThread[Append](self._write, "dexcmd-journal")
        self._reads = GroupThread[Callable[[], None]](_answer, "dexcmd-journal-reads")

    @property
    def path(self) -> Path:
        """Return the journal's path."""
        return self._file.path

    async def end(self) -> None:
        """Finish what is pending, and accept nothing more."""
        self._appends.close()
        self._reads.close()
        await run_to_the_end(self._join)

    def _join(self) -> None:
        self._appends.join()
        self._reads.join()

    def _write(self, appends: list[Append]) -> Sequence[Exception | None]:
        try:
            return self._appender.write(appends)
        except OF_SQLITE as error:
            return [explain(error, self.path) for _ in appends]

    async def _read(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        answer: list[T] = []

        def read() -> None:
            with explained(self.path):
                answer.append(query(self._file.reader, *args, **kwargs))

        await self._reads.do(read)
        return answer[0]

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        """Write events; see `Store.append`.

        A cancelled append still runs to its end, so that it is known to be all or nothing.
        """
        if events:
            await self._appends.do(Append(campaign, events))

    @asynccontextmanager
    async def hold(self, campaign: str) -> AsyncGenerator[None]:
        """Hold a campaign; see `Store.hold`."""
        hold: list[sqlite3.Connection] = []
        try:
            # Not by a returned value, which a cancellation would lose.
            await run_to_the_end(lambda: hold.append(take_hold(self.path, campaign)))
            yield
        finally:
            for connection in hold:
                await run_to_the_end(connection.close)

    async def held(self, campaign: str) -> bool:
        """Return whether any process holds a campaign right now."""
        return await run_to_the_end(partial(is_held, self.path, campaign))

    async def check(self) -> list[str]:
        """Return what is wrong with the journal, one line each; empty if everything follows from its events.

        This takes as long as writing the journal did, and as much space in the system's temporary folder.
        """

        def look() -> list[str]:
            with explained(self.path), closing(self._file.connect()) as db:
                return check(db, self._file.migrations)

        return await run_to_the_end(look)

    async def campaigns(self) -> list[CampaignRecord]:
        """Return all campaigns, oldest first."""
        return await self._read(queries.campaigns)

    async def campaign(self, name: str) -> CampaignRecord | None:
        """Return the campaign named `name`, or None if there is none."""
        return await self._read(queries.campaign, name)

    async def accounts(self, campaign: str) -> list[AccountRecord]:
        """Return the accounts of a campaign, in the order of its spec."""
        return await self._read(queries.accounts, campaign)

    async def counts(self, campaign: str, account: str | None = None) -> list[Count]:
        """Return the number of targets by account, wave, state and failure class, for one account or all."""
        return await self._read(queries.counts, campaign, account)

    async def due_targets(
        self, campaign: str, account: str, wave: int, now: datetime, limit: int
    ) -> list[TargetRecord]:
        """Return up to `limit` pending targets of a wave that are due by `now`, in the order of their numbers."""
        return await self._read(queries.due_targets, campaign, account, wave, now, limit)

    async def next_due(self, campaign: str, account: str, wave: int) -> datetime | None:
        """Return the earliest `not_before` of the wave's pending targets, or None if none of them has one."""
        return await self._read(queries.next_due, campaign, account, wave)

    async def decided_at(self, campaign: str, account: str, wave: int) -> datetime | None:
        """Return when the wave's most recently decided target was decided, or None if none is."""
        return await self._read(queries.decided_at, campaign, account, wave)

    async def targets(self, campaign: str, numbers: Collection[int]) -> list[TargetRecord]:
        """Return targets by number, in order."""
        return await self._read(queries.targets, campaign, numbers)

    async def undecided(self, campaign: str, account: str, after: int, limit: int) -> list[TargetRecord]:
        """Return up to `limit` pending targets numbered above `after`, in order, whatever their wave and due time."""
        return await self._read(queries.undecided, campaign, account, after, limit)

    async def open_intents(self, campaign: str, account: str) -> list[IntentRecord]:
        """Return the open intents, in the order in which they were opened."""
        return await self._read(queries.open_intents, campaign, account)

    async def intents(self, campaign: str, account: str, device_ids: Collection[str]) -> list[IntentRecord]:
        """Return all intents for the given devices, open or not, in the order in which they were opened."""
        return await self._read(queries.intents, campaign, account, device_ids)

    async def reserved(self, account_id: str, now: datetime) -> int:
        """Return how many commands the open intents for an account reserve, over all campaigns of the journal."""
        return await self._read(queries.reserved, account_id, now)

    async def running(self, campaign: str, account: str) -> list[CommandRecord]:
        """Return the latest commands of targets in state `running`, in the order in which they became known."""
        return await self._read(queries.running, campaign, account)

    async def collecting(self, campaign: str, account: str) -> list[CommandRecord]:
        """Return the latest commands of targets in state `collecting`, due or not, in the order in which they ended."""
        return await self._read(queries.collecting, campaign, account)

    async def known(self, account_id: str, command_ids: Collection[str]) -> set[str]:
        """Return which of the command ids belong to targets of campaigns in the journal, surplus commands included."""
        return await self._read(queries.known, account_id, command_ids)

    async def lags(self, campaign: str, account: str) -> Lags:
        """Return how late commands with provenance `response` showed up in the list."""
        return await self._read(queries.lags, campaign, account)

    async def mean_artifact_size(self, command_type: str) -> tuple[int, float]:
        """Return how many artifacts of a type the journal knows, and their mean size in bytes (0.0 if none)."""
        return await self._read(queries.mean_artifact_size, command_type)

    async def events(
        self,
        campaign: str,
        after: int = 0,
        limit: int = 1000,
        kinds: Collection[type[CampaignEvent]] | None = None,
    ) -> list[Recorded]:
        """Return up to `limit` events with a `seq` above `after`, in order, of the given classes only or of all."""
        return await self._read(queries.events, campaign, after, limit, kinds)

    async def export(self, campaign: str, after: int, limit: int) -> list[ExportRecord]:
        """Return up to `limit` targets numbered above `after`, in order, each with the records that belong to it."""
        return await self._read(queries.export, campaign, after, limit)


def _answer(reads: Sequence[Callable[[], None]]) -> list[Exception | None]:
    errors: list[Exception | None] = []
    for read in reads:
        try:
            read()
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            errors.append(error)
        else:
            errors.append(None)
    return errors
