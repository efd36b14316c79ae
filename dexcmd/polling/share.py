"""Polling's share of the rate limit, and whose turn it is."""

import threading

import attrs

from dexcmd.wire.window import RateLimit, Window

__all__ = ["POLL_SHARE", "PollShare", "Turn"]

POLL_SHARE = 0.25
"""The maximum share of the rate limit for polling; the rest is for creating and downloading."""

AT_WILL = 0.25
AT_WILL_REQUESTS = 20
"""How much of the share may be used in a burst: this part of it, and at least the requests for a thousand commands.

The rest is spread evenly over the window.  Otherwise many watches would use it up at once and then not poll until the
window has passed.
"""


@attrs.define(eq=False)
class Turn:
    """A watch's turn to send one request: the time for which it is queued, None if it is not."""

    time: float | None = None


class PollShare:
    """The polls of all watches that share a rate limit: together they stay within `POLL_SHARE` of it.

    A watch that has to wait queues up, and after each request it queues up again behind all that wait by then, so that
    long walks take turns with others.  An unused turn does not delay others whose time has come.

    Shared as widely as the limit is, between event loops and threads, so every method briefly takes a lock.  Times are
    seconds by the clock that the watches share.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window = Window()

    def ask(self, turn: Turn, limit: RateLimit, now: float) -> float:
        """Return when a request may be sent; if that is after `now`, queue up for it, else leave the turn unchanged."""
        with self._lock:
            return self._ask(turn, limit, now)

    def take(self, turn: Turn, limit: RateLimit, now: float) -> bool:
        """Count a request as sent now, or queue up and return False."""
        with self._lock:
            if self._ask(turn, limit, now) > now:
                return False
            self._leave(turn)
            self._window.send(now, limit.seconds)
            return True

    def leave(self, turn: Turn) -> None:
        """Release a turn that is no longer needed."""
        with self._lock:
            self._leave(turn)

    def _ask(self, turn: Turn, limit: RateLimit, now: float) -> float:
        requests = max(1, int(limit.requests * POLL_SHARE))
        at_will = min(requests, max(AT_WILL_REQUESTS, int(requests * AT_WILL)))
        # When a queued turn comes, only requests really sent count: others may not have used their turns.
        when = self._window.plan if turn.time is None else self._window.earliest
        spread = max(when(now, requests, limit.seconds), when(now, 1, limit.seconds / requests))
        at = min(when(now, at_will, limit.seconds), spread)
        if at > now:
            self._leave(turn)
            turn.time = at
            self._window.reserve(at)
        return at

    def _leave(self, turn: Turn) -> None:
        if turn.time is not None:
            self._window.release(turn.time)
            turn.time = None
