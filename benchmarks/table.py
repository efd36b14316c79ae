"""The report as Markdown: pure, figures in and text out."""

from collections.abc import Mapping, Sequence

from benchmarks.case import Metric
from benchmarks.figures import median_ratios, medians

__all__ = ["MISSING", "comparison", "markdown_table"]

MISSING = "-"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with its first column left-aligned and the others, which hold numbers, right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison(metrics: Sequence[Metric], peer: str, runs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return the table of a case: a row for each contender of `runs`, a column for each metric.

    Cells are medians, and in brackets the median of the ratios to the peer.
    """
    rows: list[list[str]] = []
    for name, rounds in runs.items():
        values = medians(rounds)
        ratios = {} if name == peer else median_ratios(rounds, runs[peer])
        rows.append([name, *[_cell(metric, values, ratios) for metric in metrics]])
    return markdown_table(["", *[metric.title for metric in metrics]], rows)


def _cell(metric: Metric, values: Mapping[str, float], ratios: Mapping[str, float]) -> str:
    if metric.key not in values:
        return MISSING
    value = f"{values[metric.key]:,.{metric.digits}f}"
    if not metric.compared or metric.key not in ratios:
        return value
    return f"{value} ({ratios[metric.key]:.2f}x)"
