"""Percentages, by the decimals as they are written.  Pure."""

from fractions import Fraction

__all__ = ["percent_of"]


def percent_of(percent: float, total: int) -> Fraction:
    """Return so many percent of `total`, exactly: in binary 1.1 % of 3000 is a little more than 33."""
    return Fraction(str(percent)) * total / 100
