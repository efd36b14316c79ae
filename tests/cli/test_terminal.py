"""What is seen on a terminal."""

import io
import os
import pty
import re
import signal
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from dexcmd.cli.terminal import say, stderr_console, stdout_console
from tests.cli.conftest import Screen, Service, Start


def test_a_table_that_fits(service: Service, show: Callable[..., Screen]):
    [command_id] = service.create(1)
    screen = show("commands", "--limit", "1")
    assert screen.finish() == 0
    # What does not fit of the row goes on below it.
    heading, row, *_, hint = screen.text.splitlines()
    assert heading.split()[:4] == ["command", "type", "status", "created"]
    assert row.split()[:3] == [command_id, "pcap", "SUCCESS"]
    assert hint.startswith("(not shown: ")
    assert max(map(len, screen.text.splitlines())) <= 80
    assert "\x1b[32mSUCCESS" in screen.raw


def test_a_device_that_is_not_eligible_says_why_on_eighty_columns(service: Service, show: Callable[..., Screen]):
    device, *others = service.sandbox.state.devices
    reason = "the version is too old"
    service.sandbox.state.devices = (attrs.evolve(device, eligible=False, ineligible_reason=reason), *others)
    screen = show("devices", "--search", device.user_email)
    assert screen.finish() == 0
    heading, first, *_ = screen.text.splitlines()
    column = heading.index("eligible")
    assert first[column:].startswith("no: ")
    rows, _, hint = screen.text.partition("(not shown: ")
    assert " ".join(" ".join(line[column:] for line in rows.splitlines()[1:]).split()) == f"no: {reason}"
    assert "reason" not in hint
    assert "\x1b[31mno: " in screen.raw
    assert max(map(len, screen.text.splitlines())) <= 80


@pytest.mark.parametrize("quiet", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(service: Service, show: Callable[..., Screen], quiet: dict[str, str]):
    service.create(1)
    screen = show("commands", "--limit", "1", **quiet)
    assert screen.finish() == 0
    assert "SUCCESS" in screen.text
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", screen.raw) is None


def test_columns_stand_below_each_other_where_the_terminal_has_no_letters_for_a_name(
    service: Service, show: Callable[..., Screen]
):
    first, second, *_ = service.sandbox.state.devices
    named = attrs.evolve(first, name="Zo\u00eb\u6771", user_email="zo\u00eb@example.com")
    service.sandbox.state.devices = (named, second)
    for command in (["devices"], ["capture", "pcap", "--all"]):
        screen = show(*command, PYTHONIOENCODING="ascii", COLUMNS="150")
        if command[0] == "capture":
            screen.wait_for("[y/N] ")
            screen.type("n\n")
        screen.finish()
        heading, *rows = [line for line in screen.text.splitlines() if "user" in line or "@" in line]
        shown = [row[heading.index("user") :].partition("  ")[0] for row in rows]
        assert shown == [r"zo\xeb@example.com", second.user_email]
        assert r"Zo\xeb\u6771 " in rows[0]


def test_rows_stand_above_the_bars(service: Service, show: Callable[..., Screen], tmp_path: Path):
    ids = service.create(4)
    screen = show("download", *ids)
    assert screen.finish() == 0
    assert "━" in screen.text
    for command_id in ids:
        assert f"saved    captures/{command_id}.zip" in screen.text
    assert "4/4" in screen.text
    # The cursor is hidden while it draws, and shown again.
    assert screen.raw.index("\x1b[?25l") < screen.raw.rindex("\x1b[?25h")
    assert len(list((tmp_path / "captures").iterdir())) == 4


def test_a_dumb_terminal_gets_lines(service: Service, show: Callable[..., Screen]):
    screen = show("download", *service.create(4), TERM="dumb")
    assert screen.finish() == 0
    assert "4 of 4 done" in screen.text
    assert "\x1b" not in screen.raw


def test_a_pipeline_draws_the_bars_of_its_last_command_only(service: Service, start: Start, tmp_path: Path):
    ids = service.create(4)
    ours, theirs = pty.openpty()
    process = start("download", *ids, stderr=theirs)
    os.close(theirs)
    assert process.finish()[0] == 0
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "4 of 4 done" in shown
    assert "━" not in shown
    assert "\x1b" not in shown


def test_ctrl_c_while_following(service: Service, show: Callable[..., Screen]):
    screen = show("follow", "unknown", "--timeout", "10m")
    screen.wait_for("0 succeeded, 0 failed; waiting up to ")
    screen.process.send_signal(signal.SIGINT)
    assert screen.finish() == 130
    assert screen.text.endswith("interrupted\n")
    assert "\x1b[?25h" in screen.raw


def test_what_is_forced_for_colours_makes_no_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    for console in (stdout_console(), stderr_console()):
        assert not console.is_terminal


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("no more than fits", ["no more than fits"]),
        ("a line of words that is longer", ["a line of words that", "is longer"]),
        ("  one that is set in, too", ["  one that is set in,", "  too"]),
        ("saved  2  of them are there", ["saved  2  of them are", "          there"]),
        # No room is left beside it.
        ("something  long  of which not", ["something  long  of", "which not"]),
        ("", [""]),
    ],
)
def test_what_does_not_fit_goes_on_below_what_it_belongs_to(text: str, lines: list[str]):
    screen = Console(file=io.StringIO(), width=22, force_terminal=True, color_system=None)
    say(screen, text)
    assert screen.file.getvalue().splitlines() == lines  # type: ignore[attr-defined]


def test_what_the_terminal_has_no_letters_for_is_broken_as_it_is_written():
    screen = Console(
        file=io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace"),
        width=12,
        force_terminal=True,
        color_system=None,
    )
    say(screen, "of Zo\u00eb\u00eb Ng")
    screen.file.seek(0)
    assert screen.file.read().splitlines() == [r"of", r"Zo\xeb\xeb", "Ng"]


def test_a_file_gets_its_lines_as_they_are():
    file = Console(file=io.StringIO(), width=10, force_terminal=False)
    say(file, "saved  2  of them are there")
    assert file.file.getvalue() == "saved  2  of them are there\n"  # type: ignore[attr-defined]
