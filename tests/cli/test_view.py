"""How far something is: bars on a terminal, lines elsewhere."""

import asyncio
import io
import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from dexcmd.cli.campaign.standing import campaign_view
from dexcmd.cli.view import LinesView, LiveView, Picture, Stage, View, live_table, milestones, showing, view_for


def screen(*, terminal: bool, width: int = 80, encoding: str = "utf-8") -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    return Console(file=file, width=width, force_terminal=terminal, force_interactive=terminal)


def output(console: Console) -> str:
    console.file.seek(0)
    return console.file.read()


def picture(created: int, saved: int = 0, of: int | None = 10, said: str = "") -> Picture:
    return Picture((Stage("created", created, 10), Stage("saved", saved, of)), said)


def test_milestones_are_told_once():
    told: dict[str, int] = {}
    assert list(milestones(picture(0), told)) == []
    assert list(milestones(picture(2), told)) == []
    assert list(milestones(picture(7), told)) == ["7 of 10 created"]
    assert list(milestones(picture(7), told)) == []
    # Nothing is left to be saved.
    assert list(milestones(picture(10, of=0), told)) == ["10 of 10 created"]
    assert list(milestones(Picture((Stage("done", 3, 4, "1 s left"),)), {})) == ["3 of 4 done, 1 s left"]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_picture_stays_within_its_lines(width: int, encoding: str):
    console = screen(terminal=False, width=width, encoding=encoding)
    said = "1.0 GB, 4321 requests, 123 sent again, 99 faults, 2 held back \u2013 60 s"
    stages = tuple(Stage(name, 200, 200, "9 s left") for name in ("found", "created", "done on the device", "saved"))
    console.print(live_table(console, Picture(stages, said)))
    lines = output(console).splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) <= min(width, 80)
    # The bars make room for the counts, and what is cut all the same shows that it is, where that takes no more room.
    assert ("200/200" in lines[0]) == (width > 20)
    assert ("…" in lines[-1]) == (width < 80 and encoding == "utf-8")


def test_a_stage_whose_end_is_not_known():
    console = screen(terminal=False)
    console.print(live_table(console, Picture((Stage("done", 3, None, "note"), Stage("none", 0, 0)))))
    assert [line.split()[0] for line in output(console).splitlines()] == ["done", "none"]
    assert "3  note" in output(console)
    assert list(milestones(Picture((Stage("done", 3, None),)), {})) == []


@pytest.mark.parametrize(
    ("count", "total", "bar"),
    [(0, None, "bar.back"), (3, None, "bar.back"), (0, 3, "bar.back"), (3, 3, "bar.finished"), (0, 0, "bar.finished")],
)
def test_a_stage_that_is_known_to_be_empty_is_a_full_one(count: int, total: int | None, bar: str):
    console = Console(width=80, color_system="standard", force_terminal=True)
    segments = console.render(live_table(console, Picture((Stage("saved", count, total),))))
    assert {segment.style for segment in segments if "━" in segment.text} == {console.get_style(bar)}


def test_views_suit_their_console():
    assert isinstance(view_for(screen(terminal=True)), LiveView)
    lines = screen(terminal=False)
    view = view_for(lines)
    assert isinstance(view, LinesView)
    with view:
        view.show(picture(10))
    assert output(lines) == "10 of 10 created\n"


@pytest.mark.parametrize("choose", [view_for, campaign_view])
def test_who_writes_into_a_pipe_leaves_the_bars_to_its_reader(
    choose: Callable[[Console], View], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()
    with (
        os.fdopen(reading),
        os.fdopen(writing, "w") as pipe,
        ours,
        theirs.makefile("w") as other_pipe,
        (tmp_path / "rows").open("w") as file,
        Path(os.devnull).open("w") as device,
    ):
        theirs.close()
        for stream, live in ((pipe, False), (other_pipe, False), (file, True), (device, True), (io.StringIO(), True)):
            monkeypatch.setattr("sys.stdout", stream)
            assert isinstance(choose(screen(terminal=True)), LiveView) is live
        assert not isinstance(choose(screen(terminal=False)), LiveView)


@pytest.mark.parametrize("no_color", [False, True])
def test_the_live_view_draws(no_color: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    console = screen(terminal=True)
    threads = threading.active_count()
    with LiveView(console) as view:
        view.show(picture(3))
        assert "3/10" in output(console)
        # None of rich draws: it would read what the event loop is changing.
        assert threading.active_count() == threads
    shows_cursor = "\x1b[?25h"
    assert shows_cursor in output(console)
    coloured = re.search(r"\x1b\[[0-9;]*[34][0-9]", output(console)) is not None
    assert coloured is not no_color


@pytest.mark.anyio
async def test_a_view_is_kept_up_to_date_until_the_block_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dexcmd.cli.view.REFRESH_SECONDS", 0.0)
    console, created, before = screen(terminal=False), 0, asyncio.all_tasks()
    async with showing(LinesView(console), lambda: picture(created)):
        for created in (3, 6):
            with anyio.fail_after(60):
                while f"{created} of 10 created\n" not in output(console):
                    await asyncio.sleep(0)
        created = 10
    assert output(console) == "3 of 10 created\n6 of 10 created\n10 of 10 created\n"
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
