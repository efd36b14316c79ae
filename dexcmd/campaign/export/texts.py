"""Rows as text: CSV and JSON lines.  Blocking, so meant for threads."""

import csv
import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from dexcmd.campaign.export.schema import COLUMNS, ExportRow, Value, time_text, values_of

__all__ = ["CsvRows", "JsonRows", "TextFile"]

NAMES = [column.name for column in COLUMNS]

_FORMULA = re.compile("['=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""The last four are full-width forms of the signs, which start a formula in some languages."""


_encode = json.JSONEncoder(separators=(",", ":")).encode
"""`json.dumps` would make an encoder for each row."""


class CsvRows:
    """CSV according to RFC 4180, in UTF-8, with the column names in the first line.  Null is an empty cell.

    A text gets a `'` in front if it starts with one, or with what a spreadsheet takes for the start of a formula: any
    device may call itself `=HYPERLINK(...)`, and people open CSV with a click.  A program that removes one leading `'`,
    if there is one, gets every text as it was.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\r\n")
        self._writer.writerow(NAMES)

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        self._writer.writerows([_cell(value) for value in values_of(row)] for row in rows)


class JsonRows:
    """One JSON object per line, in ASCII, with all columns in order; times are ISO 8601 texts."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        # ASCII has no characters within a line that anyone takes for a line end.
        documents = (dict(zip(NAMES, map(_plain, values_of(row)), strict=True)) for row in rows)
        self._file.writelines(f"{_encode(document)}\n" for document in documents)


class TextFile:
    """A file with lines of text."""

    def __init__(self, kind: type[CsvRows] | type[JsonRows], path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._rows = kind(self._file)

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        self._rows.write(rows)

    def finish(self) -> None:
        """Write what is left."""
        self._file.flush()

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()


def _cell(value: Value) -> str | int | None:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else _plain(value)


def _plain(value: Value) -> str | int | None:
    return time_text(value) if isinstance(value, datetime) else value
