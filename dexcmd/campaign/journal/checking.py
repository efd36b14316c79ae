"""Checks that a journal is sound: that its tables say what follows from its events.  Blocking."""

# ruff: noqa: S608 - what queries are put together of are names of the schema

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice

from dexcmd.campaign.journal.appending import Append, Appender
from dexcmd.campaign.journal.opening import transaction
from dexcmd.campaign.journal.rows import EVENT, Values, recorded
from dexcmd.campaign.journal.schema import WITHOUT_LATER_RULES, Migration
from dexcmd.campaign.records import Recorded
from dexcmd.errors import CampaignError
from dexcmd.safe_text import one_line

__all__ = ["check"]

AT_ONCE = 1000
MAX_TOLD = 10
"""The most differences reported for one table."""


def check(db: sqlite3.Connection, migrations: Sequence[Migration]) -> list[str]:
    """Return what is wrong with a journal, one line each; empty if it is sound.

    All tables are rebuilt from the events, in a temporary file, and compared.
    """
    # A single snapshot, whatever is written meanwhile.
    with transaction(db, "BEGIN"):
        damage = [one_line(text) for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
        if damage:
            return damage
        with closing(sqlite3.connect("", isolation_level=None)) as anew:
            for migration in migrations:
                for statement in migration:
                    anew.execute(statement)
            anew.execute(WITHOUT_LATER_RULES)
            anew.execute("PRAGMA synchronous = OFF")
            try:
                _replay(db, anew)
            except CampaignError as error:
                return [f"the events can't be replayed: {error}"]
            return [*_differences(db, anew)]


def _replay(db: sqlite3.Connection, anew: sqlite3.Connection) -> None:
    appender, told = Appender(anew), _told(db)
    while batch := [*islice(told, AT_ONCE)]:
        groups = groupby(batch, lambda one: one.campaign)
        for error in appender.write([Append(name, [one.event for one in group]) for name, group in groups]):
            if error is not None:
                raise error


def _told(db: sqlite3.Connection) -> Iterator[Recorded]:
    sql = f"""
        SELECT campaign.name, {EVENT} FROM event JOIN campaign ON campaign.id = event.campaign
        LEFT JOIN account ON account.id = event.account ORDER BY event.seq
    """
    for campaign, *row in db.execute(sql):
        yield recorded(campaign, tuple(row))


def _differences(db: sqlite3.Connection, anew: sqlite3.Connection) -> Iterator[str]:
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name != 'event'"
    for (table,) in anew.execute(tables).fetchall():
        columns = anew.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
        key = [name for name, pk in sorted(columns, key=lambda column: column[1]) if pk]
        names = [*key, *(name for name, pk in columns if not pk)]
        sql = f"SELECT {', '.join(names)} FROM {table} ORDER BY {', '.join(key)}"
        there, follows = db.execute(sql), anew.execute(sql)
        different = (_difference(names, len(key), *pair) for pair in _pairs(there, follows, len(key)))
        yield from (one_line(f"{table} {told}") for told in islice(different, MAX_TOLD))


def _pairs(
    there: Iterator[Values], follow: Iterator[Values], key: int
) -> Iterator[tuple[Values | None, Values | None]]:
    """Yield the pairs of rows that differ, from two iterators in the order of their keys; None is for a missing row."""
    left, right = next(there, None), next(follow, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[:key] < right[:key]):
            yield left, None
            left = next(there, None)
        elif left is None or right[:key] < left[:key]:
            yield None, right
            right = next(follow, None)
        else:
            if left != right:
                yield left, right
            left, right = next(there, None), next(follow, None)


def _difference(names: Sequence[str], key: int, there: Values | None, follows: Values | None) -> str:
    which = ", ".join(map(str, (there or follows or ())[:key]))
    if there is None:
        return f"{which} is missing"
    if follows is None:
        return f"{which} does not follow from the events"
    columns = [
        f"{name} is {has!r}, but {has_to_be!r} according to the events"
        for name, has, has_to_be in zip(names, there, follows, strict=True)
        if has != has_to_be
    ]
    return f"{which}: {'; '.join(columns)}"
