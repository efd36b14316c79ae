"""The report as Markdown: pure, figures in and text out."""

from collections.abc import Mapping, Sequence

from benchmarks.case import Metric
from benchmarks.figures import median_ratios, medians, spread

__all__ = ["MISSING", "comparison", "markdown_table"]

MISSING = "-"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with its first column left-aligned and the others, which hold numbers, right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison(metrics: Sequence[Metric], peer: str, runs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return the table of a case: a row for each contender of `runs`, a column for each metric.

    Cells are medians, then in brackets the least and the greatest for a metric with its spread, and the median of the
    ratios to the peer for one that is compared.
    """
    rows: list[list[str]] = []
    for name, rounds in runs.items():
        values = medians(rounds)
        ratios = {} if name == peer else median_ratios(rounds, runs[peer])
        rows.append([name, *[_cell(metric, rounds, values, ratios) for metric in metrics]])
    return markdown_table(["", *[metric.title for metric in metrics]], rows)


def _cell(
    metric: Metric, rounds: Sequence[Mapping[str, float]], values: Mapping[str, float], ratios: Mapping[str, float]
) -> str:
    if metric.key not in values:
        return MISSING
    cell = f"{values[metric.key]:,.{metric.digits}f}"
    if metric.spread and len(rounds) > 1:
        least, greatest = spread(rounds, metric.key)
        cell += f" [{least:,.{metric.digits}f}-{greatest:,.{metric.digits}f}]"
    if metric.compared and metric.key in ratios:
        cell += f" ({ratios[metric.key]:.2f}x)"
    return cell
