"""What is seen on a terminal."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from dexcmd.cli.terminal import stderr_console, stdout_console
from tests.cli.conftest import Screen, Service


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


@pytest.mark.parametrize("quiet", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(service: Service, show: Callable[..., Screen], quiet: dict[str, str]):
    service.create(1)
    screen = show("commands", "--limit", "1", **quiet)
    assert screen.finish() == 0
    assert "SUCCESS" in screen.text
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", screen.raw) is None


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


def test_ctrl_c_while_following(service: Service, show: Callable[..., Screen]):
    screen = show("follow", "unknown", "--timeout", "10m")
    screen.wait_for("0 succeeded, 0 failed; waits ")
    screen.process.send_signal(signal.SIGINT)
    assert screen.finish() == 130
    assert screen.text.endswith("interrupted\n")
    assert "\x1b[?25h" in screen.raw


def test_what_is_forced_for_colours_makes_no_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    for console in (stdout_console(), stderr_console()):
        assert not console.is_terminal
