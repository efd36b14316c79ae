"""What the demo says at its end, as rows of text."""

from collections.abc import Iterator
from pathlib import Path

import attrs

from dexcmd.cli.demo.progress import Progress

__all__ = ["Row", "interrupted_line", "rows", "size_text"]


@attrs.frozen
class Row:
    """A row of the table: a name, a number or the like, and what there is to say about it."""

    name: str
    value: str
    note: str = ""


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} bytes"


def rows(progress: Progress, folder: Path) -> list[list[Row]]:
    """Return the closing table, in sections."""
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
    yield Row("requests sent again", str(progress.retries))
    yield Row("downloads resumed", str(progress.resumed), "taken up where they broke off")


def _rest(progress: Progress, folder: Path) -> Iterator[Row]:
    yield Row("duration", f"{progress.seconds:.1f} s")
    yield Row("folder", "", str(folder))


def interrupted_line(saved: int, targets: int, folder: Path) -> str:
    """Return what is said after Ctrl-C."""
    if saved == 0:
        return "interrupted: nothing was saved"
    return f"interrupted: {saved} of {targets} artifacts are saved, each of them whole, in {folder}"
