"""The demo on the screen: live on a terminal, plain lines elsewhere."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dexcmd.cli.demo.progress import Progress
from dexcmd.cli.demo.report import Row, size_text

__all__ = ["LinesView", "LiveView", "View", "closing_table", "live_table", "milestones", "say", "view_for"]

BAR_WIDTH = 40

STEPS = 4
"""Plain lines tell of each quarter of a stage."""


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

    def show(self, progress: Progress) -> None:
        """Show how it stands now."""
        ...


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line: broken between words on a terminal, and nowhere in a file or a pipe."""
    console.print(text, style=style, markup=False, soft_wrap=not console.is_terminal)


def view_for(console: Console) -> View:
    """Return the view that suits a console: no terminal, no live view."""
    return LiveView(console) if console.is_interactive else LinesView(console)


class LiveView:
    """Bars that are drawn over."""

    def __init__(self, console: Console) -> None:
        # Drawn by `show`, not by a thread of rich: the state belongs to the event loop.
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw it anew."""
        self._live.update(live_table(progress), refresh=True)


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

    def show(self, progress: Progress) -> None:
        """Print what is new."""
        for line in milestones(progress, self._told):
            say(self._console, line)


def milestones(progress: Progress, told: dict[str, int]) -> Iterator[str]:
    """Yield a line for each stage that has come a quarter further; `told` keeps what was said."""
    for stage in progress.stages:
        quarter = STEPS * stage.count // stage.total if stage.total else 0
        if quarter > told.get(stage.name, 0):
            told[stage.name] = quarter
            yield f"{stage.count} of {stage.total} {stage.name}"


def live_table(progress: Progress) -> RenderableType:
    """Return the picture of how it stands."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    # Not as wide as the screen: lines that a narrower window breaks in two can't be drawn over.
    table.add_column(max_width=BAR_WIDTH)
    table.add_column(justify="right", no_wrap=True)
    for stage in progress.stages:
        bar = ProgressBar(max(stage.total, 1), stage.count)
        table.add_row(stage.name, bar, f"{stage.count}/{stage.total}")
    held_back = f" {progress.paced} held back," if progress.paced else ""
    said = (
        f"{size_text(progress.size)}, {progress.requests} requests, {progress.retries} sent again,"
        f" {progress.injected} faults,{held_back} {progress.seconds:.0f} s"
    )
    # Cut where it does not fit: a line that wraps would move the ones above.
    return Group(table, Text(said, no_wrap=True, overflow="ellipsis"))


def closing_table(sections: Sequence[Sequence[Row]]) -> Table:
    """Return the table at the end."""
    table = Table(show_header=False, box=box.ROUNDED)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for section in sections:
        for row in section:
            table.add_row(row.name, row.value, Text(row.note))
        table.add_section()
    return table
