"""Rows on stdout: a table on a terminal, tab-separated lines in a pipe or file, JSON on request."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from dexcmd.cli.stderr import note
from dexcmd.safe_text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = [
    "LONGEST_CELL",
    "Column",
    "RowWriter",
    "json_line",
    "layout",
    "plain_line",
    "show_table",
    "table_lines",
    "write",
]

T = TypeVar("T")

LONGEST_CELL = 1000

GAP = 2
"""Blanks between the columns of a table."""

NARROWEST = 8
"""Minimum width of a column that folds, before columns that don't fold have to."""


@attrs.frozen(kw_only=True)
class Column(Generic[T]):
    """A column of a table or of tab-separated lines."""

    title: str
    text: Callable[[T], str | None]
    """The text in a line, which is never truncated."""

    shown: Callable[[T], str | None] | None = None
    """The text in a table, if different."""

    folds_at: int | None = None
    """Minimum width in a table; None if its texts don't fold."""

    only_if_any: bool = False
    """Whether a table omits it if no row has a text."""

    optional: int = 0
    """A table that does not fit omits its columns above 0, the highest first."""

    styles: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Styles in a table, by the text of a line."""

    def cell(self, row: T) -> str:
        """Return the text in a table."""
        return _cell((self.shown or self.text)(row))


def _cell(text: str | None) -> str:
    # Names come from devices: they must not be able to move the cursor or end the line.
    return one_line(text or "", LONGEST_CELL)


def plain_line(columns: Sequence[Column[T]], row: T) -> str:
    """Return a row as a line of tab-separated cells; unknown values are empty cells."""
    return "\t".join(_cell(column.text(row)) for column in columns)


def json_line(document: Mapping[str, object]) -> str:
    """Return a document as one line of JSON."""
    return json.dumps(document, separators=(",", ":"))


def write(text: str) -> None:
    """Write a line to stdout and flush it: a reader may be waiting for it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def layout(columns: Sequence[Column[T]], rows: Sequence[T], width: int) -> list[tuple[Column[T], int]]:
    """Return the columns that fit side by side into `width` cells, and how wide each is.

    If they don't fit, optional columns are omitted.  Then columns that fold do so: first into two lines, one column
    after the other to break as few as possible, then into more lines, the widest first, and finally below their
    minimum width.  Other columns fold only as a last resort: an id broken in two can't be copied.
    """
    natural = {column.title: _natural_width(column, rows) for column in columns}
    least = {
        column.title: natural[column.title]
        if column.folds_at is None
        else min(natural[column.title], max(column.folds_at, len(column.title)))
        for column in columns
    }
    kept = list(columns)
    while _total([least[column.title] for column in kept]) > width and any(column.optional for column in kept):
        kept.remove(max(kept, key=lambda column: column.optional))
    widths = {column.title: natural[column.title] for column in kept}
    for title in sorted(widths, key=lambda title: -widths[title]):
        _shrink(widths, {**widths, title: max(least[title], -(-natural[title] // 2))}, width)
    narrow = {title: size if size == natural[title] else min(size, NARROWEST) for title, size in least.items()}
    for floor in (least, narrow, dict.fromkeys(widths, 1)):
        _shrink(widths, floor, width)
    return [(column, widths[column.title]) for column in kept]


def _shrink(widths: dict[str, int], floor: Mapping[str, int], most: int) -> None:
    """Narrow the widest column that is above its floor, until all fit."""
    while _total(list(widths.values())) > most:
        titles = [title for title in widths if widths[title] > floor[title]]
        if not titles:
            return
        widths[max(titles, key=lambda title: widths[title])] -= 1


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _natural_width(column: Column[T], rows: Iterable[T]) -> int:
    from rich.cells import cell_len

    return max([cell_len(column.cell(row)) for row in rows] + [len(column.title)])


def table_lines(console: "Console", columns: Sequence[tuple[Column[T], int]], rows: Sequence[T]) -> "Iterator[Text]":
    """Yield the lines of a table with the given column widths; longer texts wrap and are never truncated."""
    from rich.text import Text

    def line(cells: "Sequence[Text]") -> "Iterator[Text]":
        folded = [
            list(cell.wrap(console, width, overflow="fold")) for cell, (_, width) in zip(cells, columns, strict=True)
        ]
        for parts in zip_longest(*folded, fillvalue=Text()):
            whole = Text()
            for part, (_, width) in zip(parts, columns, strict=True):
                whole.append_text(part)
                whole.append(" " * (width + GAP - part.cell_len))
            whole.rstrip()
            yield whole

    yield from line([Text(column.title, "bold") for column, _ in columns])
    for row in rows:
        yield from line(
            [Text(column.cell(row), column.styles.get(column.text(row) or "", "")) for column, _ in columns]
        )


class RowWriter(Generic[T]):
    """Writes rows of one kind as they arrive.

    A table needs all rows, so it is written at the end; given `line`, a terminal gets one line per row instead.  `once`
    means that the command can't be repeated just to see what the table had no room for.
    """

    def __init__(
        self,
        columns: Sequence[Column[T]],
        document: Callable[[T], Mapping[str, object]],
        *,
        as_json: bool,
        line: Callable[[T], str] | None = None,
        once: bool = False,
    ) -> None:
        self._columns = columns
        self._once = once
        self._table: list[T] | None = None
        self._line: Callable[[T], str] = partial(plain_line, columns)
        if as_json:
            self._line = lambda row: json_line(document(row))
        elif sys.stdout.isatty():
            self._line = line or self._line
            self._table = [] if line is None else None
        self.count: int = 0
        """Rows so far."""

    def add(self, row: T) -> None:
        """Write a row, or keep it for the table."""
        self.count += 1
        if self._table is None:
            write(self._line(row))
        else:
            self._table.append(row)

    def finish(self, nothing: str) -> None:
        """Write the table; if it is empty, print `nothing` as a note."""
        if self._table:
            from dexcmd.cli.terminal import stdout_console

            show_table(stdout_console(), self._columns, self._table, once=self._once)
        elif self._table is not None:
            note(nothing)


def show_table(console: "Console", columns: Sequence[Column[T]], rows: Sequence[T], *, once: bool = False) -> None:
    """Print a table, and name the columns that it omits; unless it is shown `once`, also say how to get them."""
    from dexcmd.cli.terminal import as_written, say, stderr_console

    def written(column: Column[T]) -> Column[T]:
        def shown(row: T) -> str:
            return as_written(console, column.cell(row))

        return attrs.evolve(column, shown=shown)

    wanted = [written(column) for column in columns if not column.only_if_any or any(map(column.cell, rows))]
    shown = layout(wanted, rows, console.width)
    for line in table_lines(console, shown, rows):
        console.print(line, soft_wrap=True)
    kept = [column for column, _ in shown]
    if left_out := [column.title for column in wanted if column not in kept]:
        say(stderr_console(), f"(not shown: {', '.join(left_out)}{'' if once else '; --json has all'})")
