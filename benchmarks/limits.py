"""What a campaign of 100,000 targets may take: others rely on it, so a run that takes more fails."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.case import Result
from benchmarks.usage import MIB

__all__ = ["TARGETS", "over_cpu", "over_limits"]

TARGETS = 100_000
"""The size that the limits are for."""

GROWN_BYTES = 80_000_000
FIRST_SECONDS = 1.0
JOURNAL_CPU_SECONDS = 15.0


def over_limits(runs: Mapping[str, Sequence[Result]], first: str) -> list[str]:
    """Return where dexcmd takes as much as it must not, in rounds over all the targets, a result's `targets`.

    That is the memory by which the process grew, `grown` in MiB, and the seconds until a run that goes on asks first,
    which are under the key `first`.
    """
    problems: list[str] = []
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


def over_cpu(runs: Mapping[str, Sequence[Result]], without: str) -> list[str]:
    """Return where the journal takes more CPU time than it may, in the median of the rounds over all the targets.

    `without` is the contender that does the same without a journal.
    """
    rounds = zip(runs["dexcmd"], runs[without], strict=True)
    cpu = [ours["cpu"] - none["cpu"] for ours, none in rounds if ours["targets"] == TARGETS]
    if not cpu or median(cpu) < JOURNAL_CPU_SECONDS:
        return []
    return [f"dexcmd: {median(cpu):.1f} s of CPU time in the journal, not less than {JOURNAL_CPU_SECONDS:.0f}"]
