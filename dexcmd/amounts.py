"""Amounts as people are told them: numbers of things, and bytes.  Pure."""

from collections.abc import Sequence

__all__ = ["counted", "listed", "size_text"]

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

ROUNDED_UP = 0.99995
"""What is so near to a unit is told as one of it, and not as 1000.0 of the one below."""

MOST_LISTED = 5


def counted(number: int, thing: str) -> str:
    """Return how many of something there are, in words: `1 device`, `4,990 devices`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return names for a line, the first of them where they are many."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def size_text(size: float) -> str:
    """Return a number of bytes: `999 bytes`, `1.0 kB`, `4.1 GB`."""
    for power, unit in UNITS:
        if size >= power * ROUNDED_UP:
            return f"{size / power:.1f} {unit}"
    return counted(round(size), "byte")
