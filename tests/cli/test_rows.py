"""Rows: lines, tables, JSON."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from dexcmd.cli.capture.rows import TABLE
from dexcmd.cli.capture.rows import Row as CaptureRow
from dexcmd.cli.lists.run import COMMANDS, DEVICES_TABLE, QUOTA
from dexcmd.cli.rows import GAP, Column, RowWriter, layout, plain_line, show_table, table_lines
from dexcmd.resources.command import Command
from dexcmd.resources.devices import Device
from dexcmd.resources.quota import Quota
from dexcmd.transfer.saved import SavedArtifact


@attrs.frozen
class Row:
    id: str
    text: str | None = None
    more: str = ""


COLUMNS = (
    Column[Row](title="id", text=lambda row: row.id),
    Column[Row](title="text", text=lambda row: row.text, folds_at=10),
    Column[Row](title="more", text=lambda row: row.more, shown=lambda row: row.more.upper(), optional=1),
)


def shown(rows: list[Row], width: int) -> list[str]:
    return [line.plain for line in table_lines(Console(width=width), layout(COLUMNS, rows, width), rows)]


def test_a_line_has_its_cells_between_tabs():
    assert plain_line(COLUMNS, Row("1", None, "x" * 500)) == f"1\t\t{'x' * 500}"


def test_nothing_of_a_device_moves_the_cursor_or_makes_a_cell():
    assert plain_line(COLUMNS, Row("1", "a\tb\nc\x1b[2Jd\u202ee")) == "1\ta b c [2Jd e\t"
    assert "\x1b" not in "".join(shown([Row("1", "a\x1b[2J")], 80))


def test_a_table_that_fits():
    assert shown([Row("1", "some text", "more"), Row("22")], 80) == ["id  text       more", "1   some text  MORE", "22"]


def test_what_does_not_fit_goes_on_in_the_next_line_and_what_is_optional_goes_first():
    rows = [Row("0123456789", "abcdefghijklmnop", "0123456789")]
    assert shown(rows, 34) == [
        "id          text        more",
        "0123456789  abcdefghij  0123456789",
        "            klmnop",
    ]
    assert shown(rows, 33) == ["id          text", "0123456789  abcdefghijklmnop"]
    assert shown(rows, 22) == ["id          text", "0123456789  abcdefghij", "            klmnop"]
    # Nothing is ever cut.
    assert shown(rows, 10) == ["id    text", "0123  abcd", "4567  efgh", "89    ijkl", "      mnop"]


def test_what_folds_anyway_does_so_before_anything_else_has_to():
    columns = (
        Column[Row](title="id", text=lambda row: row.id, folds_at=8),
        Column[Row](title="text", text=lambda row: row.text, folds_at=8),
    )
    rows = [Row("LON-LAPTOP-0001", "chi.hansen1@example.org")]
    # Two lines are enough for what has half its width.
    for width, widths in {
        40: [15, 23],
        39: [15, 22],
        29: [15, 12],
        28: [14, 12],
        22: [8, 12],
        21: [8, 11],
        18: [8, 8],
        10: [4, 4],
    }.items():
        assert [wide for _, wide in layout(columns, rows, width)] == widths


def test_a_column_is_as_wide_as_its_title_as_long_as_there_is_room_and_wide_characters_count_as_two():
    columns = (
        Column[Row](title="id", text=lambda row: row.id, folds_at=4),
        Column[Row](title="registration", text=lambda row: row.text, folds_at=4),
    )
    assert [wide for _, wide in layout(columns, [Row("a" * 40, "b" * 40)], 18)] == [4, 12]
    assert [wide for _, wide in layout(columns, [Row("東京", "a")], 80)] == [4, 12]


def test_a_column_that_is_for_trouble_takes_no_room_where_there_is_none(capsys: pytest.CaptureFixture[str]):
    columns = (COLUMNS[0], Column[Row](title="why", text=lambda row: row.text, folds_at=10, only_if_any=True))
    output = io.StringIO()
    show_table(Console(file=output, width=80), columns, [Row("1"), Row("2")])
    show_table(Console(file=output, width=80), columns, [Row("1"), Row("2", "no luck")])
    assert output.getvalue().splitlines() == ["id", "1", "2", "id  why", "1", "2   no luck"]
    assert capsys.readouterr().err == ""


@given(
    st.lists(st.builds(Row, st.text(max_size=40), st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=4),
    st.integers(9, 100),
)
def test_a_table_is_never_wider_than_its_screen(rows: list[Row], width: int):
    found = layout(COLUMNS, rows, width)
    assert sum(wide for _, wide in found) + GAP * (len(found) - 1) <= width
    lines = list(table_lines(Console(width=width), found, rows))
    assert max(line.cell_len for line in lines) <= width
    assert {column.title for column, _ in found} >= {"id", "text"}


def test_the_columns_for_which_there_is_no_room_are_named(capsys: pytest.CaptureFixture[str]):
    console = Console(file=io.StringIO(), width=15)
    show_table(console, COLUMNS, [Row("0123456789", "", "more")])
    assert capsys.readouterr().err == "(not shown: more; --json has all)\n"
    show_table(Console(file=io.StringIO(), width=80), COLUMNS, [Row("0123456789", "", "more")])
    assert capsys.readouterr().err == ""


def test_ids_are_whole_on_eighty_columns():
    command = "7d0c6f4e-93a6-4a60-9d2c-3a1f6f0f1f9b"
    commands = layout(COMMANDS, [Command(id=command, type="speed-test", status="PENDING_UPLOAD")], 80)
    assert {column.title: width for column, width in commands}["command"] == cell_len(command)
    devices = layout(DEVICES_TABLE, [Device(device_id=command, device_name="a" * 40, person_email="b" * 60)], 80)
    widths = {column.title: width for column, width in devices}
    assert widths["device"] == cell_len(command)
    assert widths["eligible"] == len("eligible")


@pytest.mark.parametrize("state", ["created", "failed", "rejected", "not_attempted"])
def test_what_a_capture_has_not_got_leaves_ids_and_names_of_files_whole_on_eighty_columns(state: str):
    command = "7d0c6f4e-93a6-4a60-9d2c-3a1f6f0f1f9b"
    device = Device(device_id="d", device_name="NYC-MACBOOK-0002", person_email="dana.jensen2@example.org")
    artifact = SavedArtifact(path=Path(f"captures/{command}.zip"), size=341_400, sha256="")
    rows = [
        CaptureRow(device=device, type="pcap", state="saved", command_id=command, artifact=artifact),
        CaptureRow(device=device, type="pcap", state=state, command_id=command, text="interrupted; it keeps running"),
    ]
    for wanted in (rows, rows[1:]):
        widths = {column.title: width for column, width in layout(TABLE, wanted, 80)}
        assert widths["file, or command"] == max(cell_len(TABLE[3].cell(row)) for row in wanted)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_table_at_the_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    writer = RowWriter(COLUMNS, attrs.asdict, as_json=False)
    writer.add(Row("1", "text"))
    assert screen.getvalue() == ""
    writer.finish("nothing")
    assert "id" in screen.getvalue()
    RowWriter(COLUMNS, attrs.asdict, as_json=False).finish("nothing there")
    assert capsys.readouterr().err == "nothing there\n"
    one_by_one = RowWriter(COLUMNS, attrs.asdict, as_json=False, line=lambda row: f"row {row.id}")
    one_by_one.add(Row("7"))
    assert screen.getvalue().endswith("row 7\n")


@pytest.mark.parametrize("terminal", [False, True])
def test_json_is_the_same_everywhere(terminal: bool, monkeypatch: pytest.MonkeyPatch):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    writer = RowWriter(COLUMNS, attrs.asdict, as_json=True)
    writer.add(Row("1", "é\ud800\n"))
    writer.finish("nothing")
    assert stream.getvalue().isascii()
    assert json.loads(stream.getvalue()) == {"id": "1", "text": "é\ud800\n", "more": ""}


def test_when_the_quota_resets():
    [column] = [column for column in QUOTA if column.title == "resets"]
    later = datetime.now(UTC) + timedelta(hours=3, minutes=1)
    assert "(in 3 h" in column.cell(Quota(reset_time=later))
    assert column.cell(Quota()) == ""
