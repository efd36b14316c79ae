"""How fast something grows, and how long the rest of it takes.  Pure."""

from collections import deque

__all__ = ["Rate"]

SECONDS = 30.0
"""How far it looks back: long enough to be steady, short enough to follow what changes."""


class Rate:
    """The growth of one number of late."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._notes: deque[tuple[float, float]] = deque()

    def note(self, amount: float, now: float) -> None:
        """Note how much it is at a time in seconds, which does not go back."""
        self._notes.append((now, amount))
        # The first one before the stretch that counts stays: the growth since then is known.
        while len(self._notes) > 2 and self._notes[1][0] <= now - self._seconds:
            self._notes.popleft()

    @property
    def per_second(self) -> float:
        """Return the growth a second; 0.0 while it is not known."""
        if len(self._notes) < 2:
            return 0.0
        (since, before), (now, amount) = self._notes[0], self._notes[-1]
        return max(0.0, amount - before) / (now - since) if now > since else 0.0

    def seconds_for(self, amount: float) -> float | None:
        """Return how long so much more takes at this rate; None where that can't be told."""
        return amount / self.per_second if self.per_second > 0 else None
