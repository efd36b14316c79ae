"""CSVs that name devices, exported from a spreadsheet or written by hand."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from dexcmd.campaign.named import Named
from dexcmd.errors import ConfigurationError
from dexcmd.validators import SeveralMistakesError

__all__ = ["read_csv"]

NEEDED = ("device_id", "user_email")
"""At least one of these columns is required."""

COLUMNS = (*NEEDED, "registration_id", "account")

DELIMITERS = ",;\t"
"""In some countries, spreadsheets write semicolons."""

MAX_TOLD = 20
"""The most mistakes of one CSV that are reported individually."""

Row = tuple[int, list[str]]
"""A line number, and the line's cells without surrounding blanks."""


def read_csv(path: Path, accounts: Sequence[str] | None = None) -> list[Named]:
    """Return the devices that a CSV names; empty lines are left out.

    Raises `ConfigurationError`, for all lines at once, if it can't be read or is not a CSV, or if a line names no
    device, has more cells than there are columns or, with `accounts` given, names an account that is not among them.
    Also if there are no lines: a list of nobody is usually a failed export, and must not be taken for no list, which
    means everybody.
    """
    columns, rows = _table(path, _text(path))
    names: list[Named] = []
    mistakes: list[str] = []
    try:
        for line, cells in rows:
            try:
                names.append(_named(columns, cells, accounts))
            except SeveralMistakesError as error:
                mistakes += [f"{path}, line {line}: {mistake}" for mistake in error.mistakes]
    except ConfigurationError as error:
        mistakes.append(str(error))
    if mistakes:
        more = len(mistakes) - MAX_TOLD
        raise SeveralMistakesError([*mistakes[:MAX_TOLD], *([f"{path}: and {more} more"] if more > 0 else [])])
    if not names:
        raise ConfigurationError(f"{path} names no devices")
    return names


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not valid UTF-8") from None
    except (OSError, ValueError) as error:
        # ValueError: not a possible path.
        raise ConfigurationError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None


def _table(path: Path, text: str) -> tuple[list[str], Iterator[Row]]:
    """Return the columns and the lines below them, by the first delimiter that splits the first line into columns."""
    for delimiter in DELIMITERS:
        rows, first = _rows(path, text, delimiter), list[str]()
        # What is malformed with one delimiter may be well-formed with another.
        with suppress(ConfigurationError):
            _, first = next(rows, (0, first))
        columns = [name.casefold() for name in first]
        if any(name in columns for name in NEEDED):
            if twice := [name for name in COLUMNS if columns.count(name) > 1]:
                raise ConfigurationError(f"{path} has the column {twice[0]} more than once")
            return columns, rows
    raise ConfigurationError(f"{path} must have a first line with a column {' or '.join(NEEDED)}")


def _rows(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    """Yield the non-empty lines.  Raises `ConfigurationError` at the first that is malformed."""
    # Strict, as otherwise an unclosed quote would turn all that follows into one cell.
    lines = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for cells in lines:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield lines.line_num, stripped
    except csv.Error as error:
        raise ConfigurationError(f"{path}, line {lines.line_num}: {error}") from None


def _named(columns: Sequence[str], cells: Sequence[str], accounts: Sequence[str] | None) -> Named:
    """Return the device that a line names.  Raises `SeveralMistakesError`."""
    if any(cells[len(columns) :]):
        # Usually a comma in a name, which would shift everything to its right into the wrong column.
        raise SeveralMistakesError([f"it has {len(cells)} cells, but the first line has {len(columns)}"])
    row = dict(zip(columns, cells, strict=False))
    named = Named(**{name: row.get(name) or None for name in COLUMNS})
    mistakes: list[str] = []
    if named.device_id is None and named.user_email is None:
        mistakes.append("it names no device: both device_id and user_email are empty")
    if accounts is not None and named.account is not None and named.account not in accounts:
        mistakes.append(f"the campaign has no account {named.account!r}")
    if mistakes:
        raise SeveralMistakesError(mistakes)
    return named
