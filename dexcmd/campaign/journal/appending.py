"""Appends, on the writing connection.  Blocking."""

import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import chain, groupby

import attrs

from dexcmd.campaign.events import CampaignEvent, CampaignPlanned, IntentOpened
from dexcmd.campaign.journal.account_events import PLAN_CAMPAIGN
from dexcmd.campaign.journal.blocks import blocks
from dexcmd.campaign.journal.failures import OF_SQLITE
from dexcmd.campaign.journal.opening import transaction
from dexcmd.campaign.journal.projection import WRITE_EVENT, event_rows, writes
from dexcmd.campaign.journal.target_events import OPEN_INTENT
from dexcmd.campaign.journal.writing import Place, Row, Statement
from dexcmd.errors import CampaignError, CampaignExistsError, TargetBusyError

__all__ = ["Append", "Appender"]

IN_THE_WAY = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_TRIGGER)
"""SQLite's codes for a row that conflicts with an existing one, by an index or by a trigger."""


@attrs.frozen
class Append:
    """Events to be written, all or none of them."""

    campaign: str
    events: Sequence[CampaignEvent]


class _Refused(Exception):  # noqa: N818 - it says which statement was refused, and does not leave this module
    def __init__(self, statement: Statement, code: int | None = None) -> None:
        super().__init__(statement.refusal)
        self.statement = statement
        self.code = code


class Appender:
    """Writes appends, many in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._places: dict[str, Place] = {}
        """By campaign name.  Ids never change, so they are read once."""

    def write(self, appends: Sequence[Append]) -> list[Exception | None]:
        """Write appends in one transaction, and return each one's error, or None.

        Each is written completely or not at all, independently of the others.  Raises `OF_SQLITE` if the transaction
        failed, in which case nothing is written.
        """
        try:
            with self._transaction():
                self._write_together(appends)
        except OF_SQLITE:
            # Not the fault of these events: a full disk, say.
            raise
        except Exception:  # noqa: BLE001 - something is wrong with one of them: which, and what, is seen one by one
            with self._transaction():
                return [self._write_one(append) for append in appends]
        return [None] * len(appends)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        try:
            with transaction(self._connection, "BEGIN IMMEDIATE"):
                yield
        except BaseException:
            # Campaigns planned in this transaction are gone.
            self._places.clear()
            raise

    def _write_together(self, appends: Sequence[Append]) -> None:
        for campaign, group in groupby(appends, lambda append: append.campaign):
            self._write_events(campaign, chain.from_iterable(append.events for append in group))

    def _write_one(self, append: Append) -> Exception | None:
        """Write one of several appends, completely or not at all; return its error, or None."""
        self._connection.execute("SAVEPOINT append")
        error = self._try(append)
        if error is not None:
            self._undo()
        self._connection.execute("RELEASE append")
        return error

    def _try(self, append: Append) -> Exception | None:
        try:
            # An unpaired surrogate in a text, as JSON may contain, is no reason to lose everything else.
            self._write_events(append.campaign, append.events, readable=True)
        except OF_SQLITE:
            raise
        except _Refused:
            self._undo()
            return self._try_singly(append)
        except Exception as error:  # noqa: BLE001 - it is of this append, and must not keep the others
            return error
        return None

    def _undo(self) -> None:
        self._connection.execute("ROLLBACK TO append")
        self._places.clear()

    def _try_singly(self, append: Append) -> CampaignError | None:
        """Write events one by one, to find out which ones fail, if any, and why."""
        busy: list[int] = []
        for event in append.events:
            try:
                self._write_events(append.campaign, [event], readable=True)
            except CampaignError as error:
                return error
            except _Refused as refused:
                if refused.code in IN_THE_WAY and refused.statement is OPEN_INTENT and isinstance(event, IntentOpened):
                    busy.append(event.target)
                elif refused.statement is PLAN_CAMPAIGN:
                    return CampaignExistsError(f"the journal already has a campaign {append.campaign!r}")
                else:
                    return CampaignError(f"campaign {append.campaign!r}: {_describe(event)}: {refused}")
        return TargetBusyError(tuple(busy)) if busy else None

    def _write_events(self, campaign: str, events: Iterable[CampaignEvent], *, readable: bool = False) -> None:
        """Write events of one campaign, in an open transaction.

        `readable` replaces unpaired surrogates in columns of text.  Raises `_Refused` and `CampaignError`; what was
        written before has to be undone then.
        """
        [(seq,)] = self._connection.execute("SELECT ifnull(max(seq), 0) + 1 FROM event")
        for block in blocks(events):
            rows: list[Row] = []
            for kind, places in block.groups.items():
                place = Place(campaign, 0, {}) if kind is CampaignPlanned else self._place(campaign)
                group, seqs = [block.events[index] for index in places], [seq + index for index in places]
                for statement, changes in writes(kind, group, place, seqs):
                    self._execute(statement, changes, readable=readable)
                # By now the campaign exists.
                rows += event_rows(kind, group, self._place(campaign), seqs)
            rows.sort()
            self._execute(WRITE_EVENT, rows, readable=readable)
            seq += len(rows)

    def _execute(self, statement: Statement, rows: Sequence[Row], *, readable: bool) -> None:
        if readable:
            rows = [tuple(map(_readable, row)) for row in rows]
        try:
            done = self._connection.executemany(statement.sql, rows).rowcount
        except sqlite3.IntegrityError as error:
            raise _Refused(statement, error.sqlite_errorcode) from error
        except OverflowError as error:
            raise CampaignError(f"a number is too large for the journal: {error}") from error
        if done != len(rows) and rows and not statement.optional:
            raise _Refused(statement)

    def _place(self, campaign: str) -> Place:
        place = self._places.get(campaign)
        if place is None:
            row = self._connection.execute("SELECT id FROM campaign WHERE name = ?", (campaign,)).fetchone()
            if row is None:
                raise CampaignError(f"the journal has no campaign {campaign!r}")
            accounts = self._connection.execute("SELECT name, id FROM account WHERE campaign = ?", row)
            place = self._places[campaign] = Place(campaign, row[0], dict(accounts))
        return place


def _readable(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _describe(event: CampaignEvent) -> str:
    target = getattr(event, "target", None)
    return type(event).__name__ if target is None else f"{type(event).__name__} of target {target}"
