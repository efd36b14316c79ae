"""The service's clock, according to its responses."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from dexcmd.wire.answer import service_time

__all__ = ["ServiceClock"]


class ServiceClock:
    """Converts this machine's monotonic time to the service's time.

    This machine's wall clock is not used: it may be minutes off.
    """

    def __init__(self) -> None:
        self._known: tuple[datetime, float] | None = None

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        """Record the `Date` of a response that arrived at `now`."""
        served_at = service_time(headers)
        if served_at is not None:
            self._known = (served_at, now)

    def at(self, moment: float) -> datetime | None:
        """Return the service's time at `moment`, at most a second plus one latency too early; None if unknown."""
        if self._known is None:
            return None
        served_at, then = self._known
        try:
            return served_at + timedelta(seconds=moment - then)
        except OverflowError:
            return None
