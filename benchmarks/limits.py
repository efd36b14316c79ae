"""What a campaign of 100,000 targets may take: others rely on it, so a run that takes more fails."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.case import Result
from benchmarks.usage import MIB

__all__ = ["JOURNAL_CPU_SECONDS", "TARGETS", "over_limits"]

TARGETS = 100_000
"""The size that the limits are for."""

GROWN_BYTES = 80_000_000
FIRST_SECONDS = 1.0
JOURNAL_CPU_SECONDS = 15.0


def over_limits(runs: Mapping[str, Sequence[Result]], first: str, *, cpu_seconds: float | None = None) -> list[str]:
    """Return where dexcmd takes as much as it must not, in rounds over all the targets, a result's `targets`.

    That is the memory by which the process grew, `grown` in MiB, the seconds until a run that goes on asks first, which
    are under the key `first`, and with `cpu_seconds` the CPU time, `cpu`, of the median round.
    """
    problems: list[str] = []
    cpu = [figures["cpu"] for figures in runs["dexcmd"] if figures["targets"] == TARGETS]
    if cpu_seconds is not None and cpu and median(cpu) >= cpu_seconds:
        problems.append(f"dexcmd: {median(cpu):.1f} s of CPU time, not less than {cpu_seconds:.0f}")
    for number, figures in enumerate(runs["dexcmd"], start=1):
        if figures["targets"] != TARGETS:
            continue
        grown, seconds = figures["grown"] * MIB, figures[first]
        if grown >= GROWN_BYTES:
            problems.append(
                f"dexcmd, round {number}: grown by {grown / 1e6:.1f} MB, not less than {GROWN_BYTES / 1e6:.0f}"
            )
        if seconds >= FIRST_SECONDS:
            problems.append(f"dexcmd, round {number}: {first} after {seconds:.2f} s, not less than {FIRST_SECONDS:.0f}")
    return problems
