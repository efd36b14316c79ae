"""An event loop on which a time limit costs no time."""

import asyncio
import selectors

__all__ = ["HastyLoop"]


class _Selector(selectors.DefaultSelector):
    """Tells its loop to skip a wait during which nothing happens."""

    IDLE_SECONDS = 0.001
    """Client and service share the loop, so what was sent is there at once; only threads take real time."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= self.IDLE_SECONDS:
            return super().select(timeout)
        events = super().select(self.IDLE_SECONDS)
        if not events:
            self.skipped += timeout - self.IDLE_SECONDS
        return events


class HastyLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer as soon as nothing happens on any socket.

    Time limits on sockets are real time and no `ManualClock` reaches them.  Here they can be as generous as
    in production, so that a slow machine fails no test, and a silent service is found out in milliseconds.
    """

    def __init__(self) -> None:
        self._hasty = _Selector()
        super().__init__(self._hasty)

    def time(self) -> float:
        """Return the loop's time, with what was skipped."""
        return super().time() + self._hasty.skipped
