"""How far something is: bars on a terminal, a plain line now and then elsewhere."""

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
"""Plain lines tell of each quarter of a stage."""

REFRESH_SECONDS = 0.1


@attrs.frozen
class Stage:
    """One of the stages that everything passes through."""

    name: str
    count: int
    total: int | None
    """None where it is not known yet."""

    note: str = ""
    """Such as the time left."""


@attrs.frozen
class Picture:
    """How it stands."""

    stages: tuple[Stage, ...]
    said: str = ""
    """One more line, for a live view only."""


class View(Protocol):
    """Shows progress while it is entered."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; what was shown stays."""
        ...

    def show(self, picture: Picture) -> None:
        """Show how it stands now."""
        ...


def has_bars(console: Console) -> bool:
    """Tell whether a console is one to draw bars on: a terminal, and nobody else's."""
    return console.is_interactive and not _writes_into_a_pipe()


def _writes_into_a_pipe() -> bool:
    """Tell whether another process reads stdout: it may draw on the same terminal."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except OSError:
        # Not a stream of the system's at all.
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
    """Bars that are drawn over."""

    def __init__(self, console: Console) -> None:
        # Drawn by `show`, not by a thread of rich: the state belongs to the event loop.  What is written to a terminal
        # meanwhile goes above the bars, and what goes into a file or a pipe still goes there.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())
        self._drawing = telling if console.stderr else nullcontext[None]

    def __enter__(self) -> Self:
        """Begin to draw."""
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
        """Draw it anew."""
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
    """Yield a line for each stage that has come a quarter further; `told` keeps what was said."""
    for stage in picture.stages:
        quarter = STEPS * stage.count // stage.total if stage.total else 0
        if quarter > told.get(stage.name, 0):
            told[stage.name] = quarter
            yield f"{stage.count} of {stage.total} {stage.name}" + (f", {stage.note}" if stage.note else "")


def live_table(console: Console, picture: Picture) -> RenderableType:
    """Return the picture of how it stands, for a console."""
    # Cut where it does not fit: a line that wraps would move the ones above.  So would dots that take the room of six.
    overflow: OverflowMethod = "crop" if console.options.ascii_only else "ellipsis"
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow=overflow)
    # Not as wide as the screen: lines that a narrower window breaks in two can't be drawn over.
    table.add_column(max_width=BAR_WIDTH)
    table.add_column(justify="right", no_wrap=True, overflow=overflow)
    table.add_column(no_wrap=True, overflow=overflow)
    for stage in picture.stages:
        # An empty stage that is known to be empty is a full one.
        done = (0, 1) if stage.total is None else (stage.count, stage.total)
        count = str(stage.count) if stage.total is None else f"{stage.count}/{stage.total}"
        table.add_row(stage.name, ProgressBar(done[1], done[0]), count, stage.note)
    if not picture.said:
        return table
    return Group(table, Text(as_written(console, picture.said), no_wrap=True, overflow=overflow))
