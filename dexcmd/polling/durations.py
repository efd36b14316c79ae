"""How long commands take, learned from those that have ended."""

from bisect import bisect_right, insort
from collections import deque

import attrs

__all__ = ["Durations"]

SAMPLES = 500
"""How many durations are kept per type, the latest ones, as commands may change."""

LEAST_SAMPLES = 20
"""With fewer samples, the extremes are unknown."""

EARLY = 0.02
"""The share of commands that end before the age returned by `early`."""

EARLY_GUESS = 4.0
"""The least seconds that a device needs to receive a command, run it and upload the result."""

MOST = 0.9
"""Of the commands still pending at a given age, the share that ends before the age returned by `most`."""

DOUBT = 2.0
"""The weight, in samples, of the prior guess that a command takes about as long again as it has taken already."""


@attrs.define
class _Samples:
    arrived: deque[float] = attrs.field(factory=deque[float])
    ordered: list[float] = attrs.field(factory=list[float])

    def add(self, seconds: float) -> None:
        self.arrived.append(seconds)
        insort(self.ordered, seconds)
        if len(self.arrived) > SAMPLES:
            del self.ordered[bisect_right(self.ordered, self.arrived.popleft()) - 1]


class Durations:
    """Seconds from the creation of commands to their end, by type.

    It learns only from commands that have ended, so at first it underestimates.  Its estimates therefore only decide
    when a look at the list is worthwhile.
    """

    def __init__(self) -> None:
        self._types: dict[str | None, _Samples] = {}

    def add(self, command_type: str | None, seconds: float) -> None:
        """Add a duration; a negative one, caused by two differing clocks, is ignored."""
        if seconds >= 0:
            self._types.setdefault(command_type, _Samples()).add(seconds)

    def early(self, command_type: str | None) -> float:
        """Return the age before which hardly any command ends; a guess if unknown."""
        known = self._quantile(command_type, -1.0, EARLY)
        return EARLY_GUESS if known is None else known

    def most(self, command_type: str | None, age: float) -> float | None:
        """Return the age at which most of those that outlived `age` have ended; None if unknown."""
        return self._quantile(command_type, age, MOST)

    def chance(self, command_type: str | None, age: float, later: float) -> float:
        """Return the probability that a command pending at `age` has ended at the age of `later`."""
        if later <= age:
            return 0.0
        ordered = self._ordered(command_type)
        alive, left = (len(ordered) - bisect_right(ordered, seconds) for seconds in (age, later))
        return (alive - left + DOUBT * (1.0 - age / later)) / (alive + DOUBT)

    def _quantile(self, command_type: str | None, age: float, share: float) -> float | None:
        ordered = self._ordered(command_type)
        ended = bisect_right(ordered, age)
        alive = len(ordered) - ended
        return ordered[ended + int(alive * share)] if alive >= LEAST_SAMPLES else None

    def _ordered(self, command_type: str | None) -> list[float]:
        samples = self._types.get(command_type)
        return [] if samples is None else samples.ordered
