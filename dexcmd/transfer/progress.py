"""How far a download is, told so rarely that it can be left on.  Pure."""

import attrs

__all__ = ["Progress", "ProgressMeter"]

INTERVAL = 0.1
"""Seconds between two reports."""

WEIGHT = 0.3
"""Of the newest stretch in the rate, where that takes `INTERVAL`: high enough to follow a change within a second."""


@attrs.frozen
class Progress:
    """How far one artifact is."""

    command_id: str
    filename: str
    received: int
    """Bytes that are there, those of earlier attempts included."""

    size: int | None
    """Bytes of the whole artifact; None where it is not announced."""

    rate: float
    """Bytes a second, of late."""

    @property
    def eta(self) -> float | None:
        """Seconds until it is whole at this rate; None where that can't be told."""
        if self.size is None or self.rate <= 0:
            return None
        return max(0, self.size - self.received) / self.rate


class ProgressMeter:
    """Turns chunks into a few reports."""

    def __init__(self, command_id: str, filename: str) -> None:
        self._command_id = command_id
        self._filename = filename
        self._last: tuple[float, int] | None = None
        self._rate: float | None = None

    def start(self, received: int, now: float) -> None:
        """Note where an attempt starts: what is there already has not come just now."""
        self._last = (now, received)

    def report(self, received: int, size: int | None, now: float) -> Progress | None:
        """Return a report if it is time for one, or if all is there."""
        since, before = self._last or (now, received)
        seconds = now - since
        if seconds < INTERVAL and received != size:
            return None
        if seconds > 0:
            newest = (received - before) / seconds
            # The last bytes may come a moment after a report: that is no stretch to tell a rate from.
            weight = WEIGHT * min(1.0, seconds / INTERVAL)
            self._rate = newest if self._rate is None else weight * newest + (1 - weight) * self._rate
        self._last = (now, received)
        return Progress(self._command_id, self._filename, received, size, self._rate or 0.0)
