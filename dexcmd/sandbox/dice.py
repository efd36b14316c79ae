"""Pseudorandom numbers that depend on a seed alone."""

import hashlib

import attrs

__all__ = ["Dice"]


@attrs.define
class Dice:
    """Pseudorandom numbers that are the same on every platform and in every version of Python.

    The standard library promises that only for `random()`, not for numbers drawn from ranges.
    """

    state: int

    @classmethod
    def of(cls, *words: object) -> "Dice":
        """Return the dice for a seed, given as any objects with a stable text."""
        text = "\0".join(map(str, words))
        return cls(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))

    def below(self, bound: int) -> int:
        """Return the next number, from 0 to `bound` - 1.  `bound` may be up to 2**31."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
        return (self.state >> 33) % bound

    def between(self, low: int, high: int) -> int:
        """Return the next number, from `low` to `high`, both included."""
        return low + self.below(high - low + 1)
