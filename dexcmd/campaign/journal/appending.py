"""Appends, done on the connection that writes.  Blocking."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

import attrs

from dexcmd.campaign.events import CampaignEvent, CampaignPlanned, IntentOpened
from dexcmd.campaign.journal.codec import encode, kind_of
from dexcmd.campaign.journal.projection import OPEN_INTENT, PLAN_CAMPAIGN, Place, Row, Statement, writes
from dexcmd.campaign.journal.times import micros
from dexcmd.errors import CampaignError, CampaignExistsError, TargetBusyError

__all__ = ["Append", "Appender"]

AT_ONCE = 500
"""Events whose rows are made before they are executed: a plan of any size takes little memory."""

WRITE_EVENT = Statement(
    "INSERT INTO event (seq, campaign, account, target, kind, at, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

Run = tuple[type[CampaignEvent], Sequence[CampaignEvent]]


@attrs.frozen
class Append:
    """Events that are to be written down, all or none of them."""

    campaign: str
    events: Sequence[CampaignEvent]


class _Refused(Exception):  # noqa: N818 - it says which statement was refused, and does not leave this module
    def __init__(self, statement: Statement, code: int | None = None) -> None:
        super().__init__(statement.refusal)
        self.statement = statement
        self.code = code


class Appender:
    """Writes appends down, many in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._places: dict[str, Place] = {}
        """Ids never change, so they are read once."""

    def write(self, appends: Sequence[Append]) -> list[Exception | None]:
        """Write appends down in one transaction, and return for each what was wrong with it.

        Each is written whole or not at all, whatever becomes of the others.  Raises `sqlite3.Error` where the
        transaction failed: then nothing is written.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            errors = [self._write_one(append) for append in appends]
            self._connection.execute("COMMIT")
        except BaseException:
            # What was planned in this transaction is gone.
            self._places.clear()
            # SQLite has rolled back by itself after some errors.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return errors

    def _write_one(self, append: Append) -> Exception | None:
        self._connection.execute("SAVEPOINT append")
        try:
            try:
                self._write_events(append)
            except UnicodeEncodeError:
                # Half a surrogate somewhere, as JSON may hold: no reason to lose all the rest.
                self._undo(append)
                self._write_events(append, readable=True)
        except sqlite3.Error:
            # No fault of these events: the disk is full, say, and it is the whole transaction that fails.
            raise
        except Exception as error:  # noqa: BLE001 - it is of this append, and must not keep the others
            self._undo(append)
            if isinstance(error, _Refused):
                error = self._reason(append)
                self._undo(append)
            self._connection.execute("RELEASE append")
            return error
        self._connection.execute("RELEASE append")
        return None

    def _undo(self, append: Append) -> None:
        self._connection.execute("ROLLBACK TO append")
        # It may have been planned by these very events.
        self._places.pop(append.campaign, None)

    def _reason(self, append: Append) -> CampaignError:
        """Return what is wrong with events that were refused, by writing them one by one."""
        busy: list[int] = []
        for event in append.events:
            try:
                self._write_events(Append(append.campaign, [event]), readable=True)
            except _Refused as refused:
                unique = refused.code == sqlite3.SQLITE_CONSTRAINT_UNIQUE
                if unique and refused.statement is OPEN_INTENT and isinstance(event, IntentOpened):
                    busy.append(event.target)
                elif unique and refused.statement is PLAN_CAMPAIGN:
                    return CampaignExistsError(f"there is a campaign {append.campaign!r} in the journal already")
                else:
                    return CampaignError(f"campaign {append.campaign!r}: {_describe(event)}: {refused}")
        return TargetBusyError(tuple(busy))

    def _write_events(self, append: Append, *, readable: bool = False) -> None:
        [(seq,)] = self._connection.execute("SELECT ifnull(max(seq), 0) + 1 FROM event")
        for kind, events in _runs(append.events):
            name = kind_of(kind)
            place = Place(append.campaign, 0, {}) if kind is CampaignPlanned else self._place(append.campaign)
            for statement, rows in writes(kind, events, place, seq):
                self._execute(statement, rows, readable=readable)
            # The campaign is there now, if it was not.
            place = self._place(append.campaign)
            self._execute(WRITE_EVENT, _event_rows(events, name, place, seq), readable=readable)
            seq += len(events)

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
                raise CampaignError(f"there is no campaign {campaign!r} in the journal")
            accounts = self._connection.execute("SELECT name, id FROM account WHERE campaign = ?", row)
            place = self._places[campaign] = Place(campaign, row[0], dict(accounts))
        return place


def _runs(events: Iterable[CampaignEvent]) -> Iterator[Run]:
    """Return events in their order, those of one kind that follow each other together."""
    for kind, group in groupby(events, type):
        while run := [*islice(group, AT_ONCE)]:
            yield kind, run


def _event_rows(events: Sequence[CampaignEvent], name: str, place: Place, seq: int) -> list[Row]:
    account = target = None
    rows: list[Row] = []
    for number, event in enumerate(events, seq):
        account = getattr(event, "account", None)
        target = getattr(event, "target", None)
        row = (number, place.campaign, account and place.account(account), target, name, micros(event.at), encode(event))
        rows.append(row)
    return rows


def _readable(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _describe(event: CampaignEvent) -> str:
    target = getattr(event, "target", None)
    return type(event).__name__ if target is None else f"{type(event).__name__} of target {target}"
