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
JOURNAL_CPU = 1.0
"""Of the CPU time that it takes to write the same events as JSON into one table."""


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


def over_cpu(runs: Mapping[str, Sequence[Result]], peer: str, without: str) -> list[str]:
    """Return where the journal takes as much CPU time as `peer`, in the median of the rounds over all the targets.

    That is without what it takes to make the events, which `without` does and nothing else.
    """
    rounds = zip(*(runs[name] for name in ("dexcmd", peer, without)), strict=True)
    large = [[figures["cpu"] for figures in each] for each in rounds if each[0]["targets"] == TARGETS]
    ratio = median((ours - none) / (theirs - none) for ours, theirs, none in large) if large else 0.0
    return (
        [f"dexcmd: {ratio:.2f} of the CPU time of {peer}, not less than {JOURNAL_CPU:g}"]
        if ratio >= JOURNAL_CPU
        else []
    )
