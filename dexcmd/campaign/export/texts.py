"""Rows as text: CSV and JSON lines.  Blocking, so for threads."""

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
"""The last four are the wide forms of the signs, which begin a formula in some languages."""


class CsvRows:
    """CSV as RFC 4180 has it, in UTF-8, with the names of the columns in the first line.  Null is an empty cell.

    A text gets a `'` in front if it begins with one, or with what a spreadsheet takes for the begin of a formula: any
    device may call itself `=HYPERLINK(...)`, and CSV is what people open with a click.  So a program takes one `'` off
    where there is one in front, and has every text as it was.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\r\n")
        self._writer.writerow(NAMES)

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        self._writer.writerows([_cell(value) for value in values_of(row)] for row in rows)


class JsonRows:
    """A JSON object per line, in ASCII, with all columns in their order; times are texts of ISO 8601."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        # In ASCII there is no character within a line that anybody takes for its end.
        documents = (dict(zip(NAMES, map(_plain, values_of(row)), strict=True)) for row in rows)
        self._file.writelines(f"{json.dumps(document, separators=(',', ':'))}\n" for document in documents)


class TextFile:
    """Lines of text in a file."""

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
        """Close the file, whole or not."""
        self._file.close()


def _cell(value: Value) -> str | int | None:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else _plain(value)


def _plain(value: Value) -> str | int | None:
    return time_text(value) if isinstance(value, datetime) else value
