"""Whether a journal is sound: whether its tables say what follows from its events.  Blocking."""

# ruff: noqa: S608 - what queries are put together of are names of the schema

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice, zip_longest

from dexcmd.campaign.journal.appending import Appender, Refused
from dexcmd.campaign.journal.rows import EVENT, recorded
from dexcmd.campaign.journal.schema import Migration
from dexcmd.campaign.records import Recorded
from dexcmd.errors import CampaignError, one_line

__all__ = ["check"]

AT_ONCE = 1000
MOST_TOLD = 10
"""Differences of one table."""


def check(db: sqlite3.Connection, migrations: Sequence[Migration]) -> list[str]:
    """Return what is wrong with a journal, one line each; nothing where it is sound.

    All tables are made anew from the events, in a temporary file, and compared.
    """
    # One state of it, whatever is written meanwhile.
    db.execute("BEGIN")
    try:
        damage = [one_line(text) for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
        with closing(sqlite3.connect("", isolation_level=None)) as anew:
            for migration in migrations:
                for statement in migration:
                    anew.execute(statement)
            try:
                _replay(db, anew)
            except (CampaignError, Refused) as error:
                return [*damage, f"the events can't be worked off: {error}"]
            return [*damage, *_differences(db, anew)]
    finally:
        db.execute("ROLLBACK")


def _replay(db: sqlite3.Connection, anew: sqlite3.Connection) -> None:
    appender = Appender(anew)
    anew.execute("BEGIN")
    told = _told(db)
    while batch := [*islice(told, AT_ONCE)]:
        for campaign, group in groupby(batch, lambda one: one.campaign):
            appender.write_events(campaign, [one.event for one in group], readable=True)
    anew.execute("COMMIT")


def _told(db: sqlite3.Connection) -> Iterator[Recorded]:
    sql = f"""
        SELECT campaign.name, {EVENT} FROM event JOIN campaign ON campaign.id = event.campaign
        LEFT JOIN account ON account.id = event.account ORDER BY event.seq
    """
    for campaign, *row in db.execute(sql):
        yield recorded(campaign, tuple(row))


def _differences(db: sqlite3.Connection, anew: sqlite3.Connection) -> Iterator[str]:
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name != 'event'"
    for (table,) in anew.execute(names).fetchall():
        columns = anew.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
        order = [name for name, pk in sorted(columns, key=lambda column: column[1]) if pk]
        sql = f"SELECT {', '.join(name for name, _ in columns)} FROM {table} ORDER BY {', '.join(order)}"
        pairs = zip_longest(db.execute(sql), anew.execute(sql))
        different = (f"{table}: it has {has}, and {follows} follows" for has, follows in pairs if has != follows)
        yield from map(one_line, islice(different, MOST_TOLD))
