"""The closing report of the demo."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from rich import box
from rich.table import Table
from rich.text import Text

from dexcmd.amounts import size_text
from dexcmd.cli.demo.progress import Progress

__all__ = ["Row", "closing_table", "interrupted_line", "rows"]


@attrs.frozen
class Row:
    """A row of the table: a name, a value, and a note."""

    name: str
    value: str
    note: str = ""


def rows(progress: Progress, folder: Path) -> list[list[Row]]:
    """Return the rows of the closing table, in sections."""
    return [list(_outcomes(progress)), [*_traffic(progress), *_faults(progress), *_rest(progress, folder)]]


def _outcomes(progress: Progress) -> Iterator[Row]:
    yield Row("saved", str(progress.saved), size_text(progress.size))
    yield Row("failed", str(progress.device_failed), "reported by the device itself")
    if progress.lost:
        yield Row("lost", str(progress.lost))
    if progress.ineligible:
        yield Row("left out", str(progress.ineligible), "not eligible by the device list")


def _traffic(progress: Progress) -> Iterator[Row]:
    per_artifact = f"{progress.requests / progress.saved:.2f} per artifact, " if progress.saved else ""
    yield Row("requests", str(progress.requests), f"{per_artifact}{progress.posts} POSTs")
    if progress.paced:
        yield Row("requests held back", str(progress.paced), "for the rate limit")


def _faults(progress: Progress) -> Iterator[Row]:
    lost = f"{progress.lost} targets lost" if progress.lost else "all survived"
    yield Row("faults injected", str(progress.injected), lost)
    for fault in progress.faults:
        if fault.count:
            yield Row(f"  {fault.kind}", str(fault.count))
    yield Row("requests retried", str(progress.retries))
    yield Row("downloads resumed", str(progress.resumed), "resumed where they broke off")


def _rest(progress: Progress, folder: Path) -> Iterator[Row]:
    yield Row("duration", f"{progress.seconds:.1f} s")
    yield Row("folder", "", str(folder))


def interrupted_line(saved: int, targets: int, folder: Path) -> str:
    """Return the message after Ctrl-C."""
    if saved == 0:
        return "interrupted: nothing was saved"
    return f"interrupted: {saved} of {targets} artifacts are saved, each of them whole, in {folder}"


def closing_table(sections: Sequence[Sequence[Row]]) -> Table:
    """Return the closing table."""
    table = Table(show_header=False, box=box.ROUNDED)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for section in sections:
        for row in section:
            table.add_row(row.name, row.value, Text(row.note))
        table.add_section()
    return table
