"""Human-readable amounts: counts and sizes.  Pure."""

from collections.abc import Sequence

__all__ = ["counted", "listed", "size_text"]

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

ROUNDED_UP = 0.99995
"""A value this close to a unit is shown as 1.0 of it, not as 1000.0 of the unit below."""

MAX_LISTED = 5


def counted(number: int, thing: str) -> str:
    """Return a count with its noun: `1 device`, `4,990 devices`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return names joined for a line; only the first ones if there are many."""
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def size_text(size: float) -> str:
    """Format a number of bytes: `999 bytes`, `1.0 kB`, `4.1 GB`."""
    for power, unit in UNITS:
        if size >= power * ROUNDED_UP:
            return f"{size / power:.1f} {unit}"
    return counted(round(size), "byte")
