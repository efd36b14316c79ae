"""The service's clock, as far as its answers tell."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from dexcmd.wire.answer import service_time

__all__ = ["ServiceClock"]


class ServiceClock:
    """Tells what time it was for the service at a moment of this machine's monotonic clock.

    This machine's own time plays no part: it may be minutes off.
    """

    def __init__(self) -> None:
        self._known: tuple[datetime, float] | None = None

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        """Take over the `Date` of an answer that arrived at `now`."""
        served_at = service_time(headers)
        if served_at is not None:
            self._known = (served_at, now)

    def at(self, moment: float) -> datetime | None:
        """Return the service's time at `moment`, at most a second and an answer's way too early; None if not known."""
        if self._known is None:
            return None
        served_at, then = self._known
        try:
            return served_at + timedelta(seconds=moment - then)
        except OverflowError:
            return None
