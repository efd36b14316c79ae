"""Cases that do the same for more and more targets: whether a target among many costs what one among few does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from benchmarks.case import Case, Metric, Params, Result

__all__ = ["growth_case"]

TARGETS = 100_000
LEAST = 100
"""There is no smaller size, whatever the scale."""

PARTS = {"dexcmd": 1, "(a tenth)": 10, "(a hundredth)": 100, "(a thousandth)": 1000}
"""The rows, and by what each of them divides the targets."""

NOTES = """\
All rows are dexcmd, each size in a process of its own: ratios are to the largest, and near 1 where the cost of a target
does not depend on how many there are. The smallest bear what is done once, and theirs are small figures that a noisy
machine moves. CPU is that of the process, "grown" what its memory has grown by at its peak."""


def growth_case(
    *,
    name: str,
    title: str,
    notes: str,
    work: Callable[[Params], Result],
    metrics: Sequence[Metric],
    service: Callable[[], AbstractContextManager[Params]] = lambda: nullcontext({}),
) -> Case:
    """Return a case that does `work` for 100 to 100,000 targets, against a `service` where it needs one.

    `work` finds among its params how many `targets` there are, and returns `seconds` and `cpu`, which is seconds as
    well, `grown`, which is MiB, and what the `metrics` tell of beyond that.
    """

    @contextmanager
    def prepare(scale: float) -> Iterator[Params]:
        with service() as params:
            yield {**params, "largest": TARGETS * scale}

    return Case(
        name=name,
        title=title,
        notes=lambda _: f"{notes} {NOTES}",
        rounds=1,
        metrics=(
            Metric("targets", "targets", 0),
            Metric("seconds", "time s", 2),
            Metric("cpu", "CPU µs/target", 0, compared=True),
            Metric("grown", "grown KiB/target", 2),
            *metrics,
        ),
        peer="dexcmd",
        contenders={row: _part(work, divisor) for row, divisor in PARTS.items()},
        prepare=prepare,
    )


def _part(work: Callable[[Params], Result], divisor: int) -> Callable[[Params], Result]:
    def run(params: Params) -> Result:
        targets = max(LEAST, round(params["largest"] / divisor))
        result = work({**params, "targets": targets})
        return {
            **result,
            "targets": targets,
            "cpu": result["cpu"] / targets * 1e6,
            "grown": result["grown"] * 1024 / targets,
        }

    return run
