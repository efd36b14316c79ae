"""The statistics: pure, numbers in and numbers out."""

import statistics
from collections.abc import Mapping, Sequence

__all__ = ["median_ratios", "medians", "spread"]


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds that have it."""
    keys = dict.fromkeys(key for figures in rounds for key in figures)
    return {key: statistics.median(figures[key] for figures in rounds if key in figures) for key in keys}


def median_ratios(own: Sequence[Mapping[str, float]], peer: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return for each figure the median of its ratios to the peer's in the same round.

    A round in which one of the two lacks the figure, or the peer's is 0, has no ratio.
    """
    ratios = [
        {key: value / theirs[key] for key, value in figures.items() if theirs.get(key)}
        for figures, theirs in zip(own, peer, strict=True)
    ]
    return medians(ratios)


def spread(rounds: Sequence[Mapping[str, float]], key: str) -> tuple[float, float]:
    """Return the least and the greatest of a figure over the rounds that have it, of which there must be one."""
    values = [figures[key] for figures in rounds if key in figures]
    return min(values), max(values)
