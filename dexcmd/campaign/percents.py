"""Percentages, taken exactly as the decimals that they are written as.  Pure."""

from fractions import Fraction

__all__ = ["percent_of"]


def percent_of(percent: float, total: int) -> Fraction:
    """Return `percent` percent of `total`, exactly: in binary, 1.1 % of 3000 is a little more than 33."""
    return Fraction(str(percent)) * total / 100
