"""Rows as a SQLite file.  Blocking, so meant for threads."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dexcmd.campaign.export.schema import COLUMNS, ExportRow, time_text, values_of

__all__ = ["SqliteFile"]

_TYPES = {"text": "TEXT", "integer": "INTEGER", "time": "TEXT"}


def _definition() -> str:
    # SQLite keeps the text as it is, so the comments are there for anyone who asks the file for its schema.
    lines = [
        f"  {column.name} {_TYPES[column.kind]}{'' if column.nullable else ' NOT NULL'}{comma} -- {column.meaning}"
        for column, comma in zip(COLUMNS, [","] * (len(COLUMNS) - 1) + [""], strict=True)
    ]
    return "\n".join(["CREATE TABLE target (", *lines, ")"])


class SqliteFile:
    """A table `target` in an existing, empty file; times are ISO 8601 texts, which sort like the times."""

    def __init__(self, path: Path) -> None:
        # Calls come from any thread of a pool, one at a time.
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            # If anything fails the file is deleted, so there is nothing to roll back to.
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute("BEGIN")
            self._database.execute(_definition())
        except sqlite3.Error:
            self._database.close()
            raise

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        marks = ", ".join("?" * len(COLUMNS))
        values = (
            [time_text(value) if isinstance(value, datetime) else value for value in values_of(row)] for row in rows
        )
        self._database.executemany(f"INSERT INTO target VALUES ({marks})", values)  # noqa: S608 - marks only

    def finish(self) -> None:
        """Write what is left."""
        self._database.execute("COMMIT")

    def close(self) -> None:
        """Close the file, complete or not."""
        self._database.close()
