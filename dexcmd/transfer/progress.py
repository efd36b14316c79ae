"""The progress of a download, reported rarely enough to be always on.  Pure."""

import attrs

__all__ = ["Progress", "ProgressMeter"]

INTERVAL = 0.1
"""Seconds between two reports."""

WEIGHT = 0.3
"""The weight of the latest sample in the rate if it took `INTERVAL`: high enough to follow a change within a second."""


@attrs.frozen
class Progress:
    """The progress of one artifact."""

    command_id: str
    filename: str
    received: int
    """Bytes received, including those of earlier attempts."""

    size: int | None
    """Bytes of the whole artifact; None if not announced."""

    rate: float
    """Recent bytes per second."""

    @property
    def eta(self) -> float | None:
        """Seconds until it is complete at this rate; None if unknown."""
        if self.size is None or self.rate <= 0:
            return None
        return max(0, self.size - self.received) / self.rate


class ProgressMeter:
    """Turns many chunks into few reports."""

    def __init__(self, command_id: str, filename: str) -> None:
        self._command_id = command_id
        self._filename = filename
        self._last: tuple[float, int] | None = None
        self._rate: float | None = None

    def start(self, received: int, now: float) -> None:
        """Record where an attempt starts: bytes already stored don't count towards the rate."""
        self._last = (now, received)

    def report(self, received: int, size: int | None, now: float) -> Progress | None:
        """Return a report if one is due, or if all bytes have arrived."""
        since, before = self._last or (now, received)
        seconds = now - since
        if seconds < INTERVAL and received != size:
            return None
        if seconds > 0:
            newest = (received - before) / seconds
            # The last bytes may arrive just after a report: too short a time to measure a rate.
            weight = WEIGHT * min(1.0, seconds / INTERVAL)
            self._rate = newest if self._rate is None else weight * newest + (1 - weight) * self._rate
        self._last = (now, received)
        return Progress(self._command_id, self._filename, received, size, self._rate or 0.0)
