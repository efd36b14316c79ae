"""How much of the rate limit polling takes, and whose turn it is."""

import threading

import attrs

from dexcmd.wire.window import RateLimit, Window

__all__ = ["POLL_SHARE", "PollShare", "Turn"]

POLL_SHARE = 0.25
"""The most that polling takes of the rate limit; the rest is for creating and downloading."""

AT_WILL = 0.25
AT_WILL_REQUESTS = 20
"""So much of the share may go out at any time, and at least so many requests, which is a walk over a thousand commands.

The rest is spread evenly, or many watches would use up all at once and then look at nothing for the rest of the window.
"""


@attrs.define(eq=False)
class Turn:
    """A watch's turn to ask one thing: the time for which it has queued up, None where it has not."""

    time: float | None = None


class PollShare:
    """The polls of all watches that share a rate limit: together they stay within `POLL_SHARE` of it.

    Whoever finds no room queues up, and after each request again, behind all that wait by then: a long walk goes on in
    turn with the others.  A turn for which nobody comes holds back nobody whose time has come.

    Shared as widely as the limit is, between event loops and threads, so every method takes a lock, briefly.  Times are
    seconds by the clock that the watches share.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window = Window()

    def ask(self, turn: Turn, limit: RateLimit, now: float) -> float:
        """Return when a request may go out; if that is after `now`, queue up for it, and if not, the turn is kept."""
        with self._lock:
            return self._ask(turn, limit, now)

    def take(self, turn: Turn, limit: RateLimit, now: float) -> bool:
        """Count a request that goes out now, or queue up and return False."""
        with self._lock:
            if self._ask(turn, limit, now) > now:
                return False
            self._leave(turn)
            self._window.send(now, limit.seconds)
            return True

    def leave(self, turn: Turn) -> None:
        """Give up a turn that is not needed any more."""
        with self._lock:
            self._leave(turn)

    def _ask(self, turn: Turn, limit: RateLimit, now: float) -> float:
        requests = max(1, int(limit.requests * POLL_SHARE))
        at_will = min(requests, max(AT_WILL_REQUESTS, int(requests * AT_WILL)))
        # When a turn comes, what has really gone out decides: others may not have come for theirs.
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
