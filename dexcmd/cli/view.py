"""Progress: bars on a terminal, an occasional plain line elsewhere."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from types import TracebackType
from typing import Protocol, Self

import attrs
from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dexcmd.cli.stderr import telling
from dexcmd.cli.terminal import as_written, say

__all__ = [
    "LinesView",
    "LiveView",
    "Picture",
    "Stage",
    "View",
    "has_bars",
    "live_table",
    "milestones",
    "showing",
    "view_for",
]

BAR_WIDTH = 40

STEPS = 4
"""Plain lines report each quarter of a stage."""

REFRESH_SECONDS = 0.1


@attrs.frozen
class Stage:
    """One of the stages that every item passes through."""

    name: str
    count: int
    total: int | None
    """None if it is not known yet."""

    note: str = ""
    """Additional text, such as the time left."""


@attrs.frozen
class Picture:
    """The current progress."""

    stages: tuple[Stage, ...]
    said: str = ""
    """Additional text, for a live view only."""


class View(Protocol):
    """Shows progress while it is entered."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; what was shown remains visible."""
        ...

    def show(self, picture: Picture) -> None:
        """Show the current progress."""
        ...


def has_bars(console: Console) -> bool:
    """Return whether to draw bars on a console: it is a terminal, and no other process draws on it."""
    return console.is_interactive and not _writes_into_a_pipe()


def _writes_into_a_pipe() -> bool:
    """Return whether another process reads stdout, which may then draw on the same terminal."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except OSError:
        # Not a stream of the operating system at all.
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def view_for(console: Console) -> View:
    """Return the view that suits a console."""
    return LiveView(console) if has_bars(console) else LinesView(console)


@asynccontextmanager
async def showing(view: View, picture: Callable[[], Picture]) -> AsyncGenerator[None]:
    """Keep a view up to date while the block runs, and once more at its end."""

    async def keep_showing() -> None:
        while True:
            view.show(picture())
            await asyncio.sleep(REFRESH_SECONDS)

    with view:
        task = asyncio.create_task(keep_showing())
        try:
            yield
        finally:
            task.cancel()
            view.show(picture())


class LiveView:
    """Bars that are redrawn in place."""

    def __init__(self, console: Console) -> None:
        # Drawn by `show`, not by rich's thread: the state belongs to the event loop.  Other output to a terminal goes
        # above the bars; output to a file or pipe is not redirected.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())
        self._drawing = telling if console.stderr else nullcontext[None]

    def __enter__(self) -> Self:
        """Start drawing."""
        with self._drawing():
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture on the screen."""
        with self._drawing():
            self._live.stop()

    def show(self, picture: Picture) -> None:
        """Redraw the bars."""
        with self._drawing():
            self._live.update(live_table(self._live.console, picture), refresh=True)


class LinesView:
    """A line for each quarter of a stage."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""

    def show(self, picture: Picture) -> None:
        """Print what is new."""
        for line in milestones(picture, self._told):
            say(self._console, line)


def milestones(picture: Picture, told: dict[str, int]) -> Iterator[str]:
    """Yield a line for each stage that has reached another quarter; `told` records what was reported."""
    for stage in picture.stages:
        quarter = STEPS * stage.count // stage.total if stage.total else 0
        if quarter > told.get(stage.name, 0):
            told[stage.name] = quarter
            yield f"{stage.count} of {stage.total} {stage.name}" + (f", {stage.note}" if stage.note else "")


def live_table(console: Console, picture: Picture) -> RenderableType:
    """Return the progress as a table for a console."""
    # Truncated if it does not fit: a line that wraps would move the ones above.  So would an escaped ellipsis.
    overflow: OverflowMethod = "crop" if console.options.ascii_only else "ellipsis"
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow=overflow)
    # Not as wide as the screen: lines that wrap after the window is narrowed can't be redrawn in place.
    table.add_column(max_width=BAR_WIDTH)
    table.add_column(justify="right", no_wrap=True, overflow=overflow)
    table.add_column(no_wrap=True, overflow=overflow)
    for stage in picture.stages:
        # A stage that is known to be empty is complete.
        done = (0, 1) if stage.total is None else (stage.count, stage.total)
        count = str(stage.count) if stage.total is None else f"{stage.count}/{stage.total}"
        table.add_row(stage.name, ProgressBar(done[1], done[0]), count, stage.note)
    if not picture.said:
        return table
    return Group(table, Text(as_written(console, picture.said), no_wrap=True, overflow=overflow))
