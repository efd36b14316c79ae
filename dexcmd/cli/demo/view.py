"""The demo on the screen: live on a terminal, plain lines elsewhere."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dexcmd.cli.demo.progress import Progress
from dexcmd.cli.demo.report import Row, size_text

__all__ = ["LinesView", "LiveView", "View", "closing_table", "live_table", "milestones", "view_for"]

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
            self._console.print(line, soft_wrap=True, markup=False)


def milestones(progress: Progress, told: dict[str, int]) -> Iterator[str]:
    """Yield a line for each stage that has come a quarter further; `told` keeps what was said."""
    for stage in progress.stages:
        quarter = STEPS * stage.count // stage.total if stage.total else 0
        if quarter > told.get(stage.name, 0):
            told[stage.name] = quarter
            yield f"{stage.count} of {stage.total} {stage.name}"


def live_table(progress: Progress) -> RenderableType:
    """Return the picture of how it stands."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    for stage in progress.stages:
        table.add_row(
            stage.name, ProgressBar(stage.total, stage.count, width=None), f"{stage.count}/{stage.total}"
        )
    note = f"{size_text(progress.size)}, {progress.requests} requests, {progress.injected} faults survived"
    ...
    return table


def closing_table(sections: Sequence[Sequence[Row]]) -> Table:
    """Return the table at the end."""
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for section in sections:
        for row in section:
            table.add_row(row.name, row.value, Text(row.note))
        table.add_section()
    return table
