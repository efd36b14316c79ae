"""Growth rates, and estimates of the remaining time.  Pure."""

from collections import deque

__all__ = ["Rate"]

SECONDS = 30.0
"""Length of the window: long enough to be steady, short enough to follow changes."""


class Rate:
    """The recent growth rate of a number."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._notes: deque[tuple[float, float]] = deque()

    def note(self, amount: float, now: float) -> None:
        """Record the number at a time in seconds, which never goes back."""
        self._notes.append((now, amount))
        # Keep the last one before the window, so that the growth since then is known.
        while len(self._notes) > 2 and self._notes[1][0] <= now - self._seconds:
            self._notes.popleft()

    @property
    def per_second(self) -> float:
        """Return the growth per second; 0.0 while it is unknown."""
        if len(self._notes) < 2:
            return 0.0
        (since, before), (now, amount) = self._notes[0], self._notes[-1]
        return max(0.0, amount - before) / (now - since) if now > since else 0.0

    def seconds_for(self, amount: float) -> float | None:
        """Return how long growth by `amount` takes at this rate; None if unknown."""
        return amount / self.per_second if self.per_second > 0 else None
