"""What each format says, read back with tools that know nothing of dexcmd, is what the rows say: in all of them."""

import csv
import io
import json
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dexcmd.campaign.events import DropReason, Provenance, SkipReason
from dexcmd.campaign.export.parquet import ROW_GROUP, ParquetFile
from dexcmd.campaign.export.schema import COLUMNS, ExportRow, time_text, values_of
from dexcmd.campaign.export.texts import CsvRows, JsonRows
from dexcmd.campaign.export.write import FILES
from dexcmd.campaign.spec import FailureClass
from dexcmd.campaign.state import TargetState
from dexcmd.errors import ConfigurationError

NAMES = [column.name for column in COLUMNS]
KINDS = {column.name: column.kind for column in COLUMNS}

MOST = 2**63 - 1

WHEN = datetime(2026, 3, 1, 8, tzinfo=UTC)

ROW = ExportRow(campaign="c", account="main", account_id="1" * 32, outcome="pending", changed_at=WHEN)

# --- readers, each with its own idea of what a value is


def parsed(name: str, text: str | None) -> Any:
    if text is None or KINDS[name] == "text":
        return text
    assert KINDS[name] == "time"
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def from_csv(path: Path) -> list[tuple[Any, ...]]:
    with path.open(encoding="utf-8", newline="") as file:
        names, *lines = csv.reader(file, strict=True)
    assert names == NAMES

    def value(name: str, cell: str) -> Any:
        if not cell:
            return None
        return int(cell) if KINDS[name] == "integer" else parsed(name, cell.removeprefix("'"))

    return [tuple(map(value, names, line)) for line in lines]


def from_jsonl(path: Path) -> list[tuple[Any, ...]]:
    rows = []
    for line in path.read_bytes().decode("ascii").splitlines():
        document = json.loads(line)
        assert list(document) == NAMES
        rows.append(
            tuple(value if KINDS[name] == "integer" else parsed(name, value) for name, value in document.items())
        )
    return rows


def from_parquet(path: Path) -> list[tuple[Any, ...]]:
    table = pq.read_table(path)
    assert table.column_names == NAMES
    return [tuple(row.values()) for row in table.to_pylist()]


def from_sqlite(path: Path) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(path)
    try:
        cursor = database.execute("SELECT * FROM target ORDER BY rowid")
        assert [name for name, *_ in cursor.description] == NAMES
        rows = cursor.fetchall()
    finally:
        database.close()
    return [
        tuple(
            value if KINDS[name] == "integer" else parsed(name, value) for name, value in zip(NAMES, row, strict=True)
        )
        for row in rows
    ]


READERS: dict[str, Callable[[Path], list[tuple[Any, ...]]]] = {
    "csv": from_csv,
    "jsonl": from_jsonl,
    "parquet": from_parquet,
    "sqlite": from_sqlite,
}


def written(folder: Path, format_: str, pages: Sequence[Sequence[ExportRow]]) -> Path:
    """Return a file that the pages are written into."""
    path = folder / f"rows.{format_}"
    path.touch()
    file = FILES[format_](path)
    try:
        for page in pages:
            file.write(page)
        file.finish()
    finally:
        file.close()
    return path


# --- rows of any kind


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(
    [
        "=1+1",
        "'",
        "''=x",
        "+",
        "-5",
        "@a",
        "\t=x",
        "\r\n",
        '"',
        '","',
        "null",
        "NULL",
        "123",
        "1e5",
        "true",
        "\u2019",
        "\uff1d1",
    ]
)
numbers = st.integers(0, MOST) | st.sampled_from([0, 2**53 + 1, MOST])
zones = st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30)), timezone(timedelta(hours=14))])
times = st.datetimes(datetime(1970, 1, 2), datetime(2261, 1, 1), timezones=zones)  # noqa: DTZ001 - the zones follow


def literal(*kinds: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([value for kind in kinds for value in get_args(kind)])


OF_KIND = {"text": texts, "integer": numbers, "time": times}
ONE_OF = {
    "outcome": literal(TargetState) | st.sampled_from(["surplus", "foreign"]),
    "reason": literal(SkipReason, FailureClass, DropReason),
    "provenance": literal(Provenance),
}

rows = st.builds(
    ExportRow,
    **{
        column.name: (st.none() | strategy) if column.nullable else strategy.filter(lambda value: value != "")
        for column in COLUMNS
        for strategy in [ONE_OF.get(column.name, OF_KIND[column.kind])]
    },
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(rows, min_size=1, max_size=3), max_size=3))
@example([])
def test_all_formats_say_the_same(pages: list[list[ExportRow]]):
    expected = [values_of(row) for page in pages for row in page]
    with tempfile.TemporaryDirectory() as folder:
        for format_, reader in READERS.items():
            assert reader(written(Path(folder), format_, pages)) == expected, format_


class TestValues:
    def test_are_in_the_order_of_the_columns(self):
        row = attrs.evolve(ROW, size=5, surplus_of=7)
        assert dict(zip(NAMES, values_of(row), strict=True)) == attrs.asdict(row)

    def test_an_empty_text_is_null(self):
        assert values_of(attrs.evolve(ROW, device_name="")) == values_of(ROW)

    @pytest.mark.parametrize("bad", ["\0", "\ud800"])
    def test_what_some_format_can_not_write_is_replaced(self, bad: str, tmp_path: Path):
        row = attrs.evolve(ROW, device_name=f"a{bad}b\U0001f4bb")
        for format_, reader in READERS.items():
            [read] = reader(written(tmp_path, format_, [[row]]))
            assert dict(zip(NAMES, read, strict=True))["device_name"] == "a\ufffdb\U0001f4bb"

    def test_times_are_of_utc(self):
        there = WHEN.astimezone(timezone(timedelta(hours=5)))
        at = dict(zip(NAMES, values_of(attrs.evolve(ROW, changed_at=there)), strict=True))["changed_at"]
        assert at == WHEN
        assert at.utcoffset() == timedelta(0)

    @given(st.lists(times, min_size=2, max_size=2))
    def test_texts_of_times_sort_as_the_times_do(self, pair: list[datetime]):
        first, second = (time.astimezone(UTC) for time in sorted(pair))
        assert time_text(first) <= time_text(second)
        assert datetime.fromisoformat(time_text(first)) == first


class TestCsv:
    @pytest.mark.parametrize("first", list("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20"))
    def test_no_text_begins_a_formula(self, first: str, tmp_path: Path):
        path = written(tmp_path, "csv", [[attrs.evolve(ROW, device_name=f"{first}cmd|'/c calc'!A1")]])
        with path.open(encoding="utf-8", newline="") as file:
            [line] = csv.DictReader(file)
        assert line["device_name"] == f"'{first}cmd|'/c calc'!A1"
        assert line["campaign"] == "c"

    def test_lines_and_quotes_are_those_of_the_standard(self):
        stream = io.StringIO(newline="")
        CsvRows(stream).write([attrs.evolve(ROW, device_name='Zoë\'s "big"\nlaptop', size=0)])
        header, *rest = stream.getvalue().split("\r\n")
        assert header == ",".join(NAMES)
        [line, end] = rest
        assert end == ""
        assert line == (
            f'c,main,{"1" * 32},,,,,,"Zoë\'s ""big""\nlaptop",,,pending,,,,,2026-03-01T08:00:00.000000Z'
            ",,,,,,,,,,,,,0,,,"
        )


class TestJsonLines:
    def test_a_line_is_a_line_whoever_splits_it(self):
        stream = io.StringIO()
        JsonRows(stream).write([attrs.evolve(ROW, device_name="a\n\r\x85\u2028\u2029é")] * 2)
        text = stream.getvalue()
        assert text.isascii()
        assert len(text.splitlines()) == 2
        assert json.loads(text.splitlines()[0])["device_name"] == "a\n\r\x85\u2028\u2029é"


class TestParquet:
    def test_columns_have_types(self, tmp_path: Path):
        schema = pq.read_schema(written(tmp_path, "parquet", [[ROW]]))
        types = {"text": pa.string(), "integer": pa.int64(), "time": pa.timestamp("us", tz="UTC")}
        for field, column in zip(schema, COLUMNS, strict=True):
            assert (field.type, field.nullable) == (types[column.kind], column.nullable)
            assert field.metadata[b"description"].decode() == column.meaning

    def test_row_groups(self, tmp_path: Path):
        page = [ROW] * 1000
        path = written(tmp_path, "parquet", [page] * (2 * ROW_GROUP // 1000) + [[ROW] * 7])
        meta = pq.read_metadata(path)
        assert [meta.row_group(n).num_rows for n in range(meta.num_row_groups)] == [ROW_GROUP, ROW_GROUP, 7]

    def test_nothing_is_still_a_table(self, tmp_path: Path):
        assert pq.read_table(written(tmp_path, "parquet", [])).num_rows == 0

    @pytest.mark.parametrize("missing", ["pyarrow", "pyarrow.parquet"])
    def test_without_the_extra(self, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(__import__("sys").modules, missing, None)
        with pytest.raises(
            ConfigurationError, match=r"^Parquet requires an optional dependency: pip install 'dexcmd\[parquet\]'$"
        ):
            ParquetFile(tmp_path / "rows.parquet")


class TestSqlite:
    def test_the_table_is_typed_and_explains_itself(self, tmp_path: Path):
        database = sqlite3.connect(written(tmp_path, "sqlite", [[ROW]]))
        try:
            described = database.execute("SELECT name, type, \"notnull\" FROM pragma_table_info('target')").fetchall()
            [[definition]] = database.execute("SELECT sql FROM sqlite_master").fetchall()
            [[check]] = database.execute("PRAGMA integrity_check").fetchall()
        finally:
            database.close()
        types = {"text": "TEXT", "integer": "INTEGER", "time": "TEXT"}
        assert described == [(one.name, types[one.kind], not one.nullable) for one in COLUMNS]
        assert check == "ok"
        for line, column in zip(definition.splitlines()[1:-1], COLUMNS, strict=True):
            assert line.endswith(f" -- {column.meaning}")

    def test_it_is_one_file(self, tmp_path: Path):
        written(tmp_path, "sqlite", [[ROW] * 1000] * 20)
        assert [path.name for path in tmp_path.iterdir()] == ["rows.sqlite"]

    def test_a_file_that_is_none(self, tmp_path: Path):
        path = tmp_path / "rows.sqlite"
        path.write_bytes(b"no database, though as long as a header is" * 100)
        with pytest.raises(sqlite3.DatabaseError):
            FILES["sqlite"](path)
