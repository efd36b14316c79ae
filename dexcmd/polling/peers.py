"""The followers of one client, which share the results of their polls."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dexcmd.polling.known import Known
from dexcmd.polling.share import Turn

if TYPE_CHECKING:
    from dexcmd.polling.watch import Watch

__all__ = ["Peers"]

PATIENCE = 10.0
"""After so many seconds without a response, the others no longer wait for a poll, and the next one in line polls.

While the rate limit blocks all of them, they go on waiting, by as many seconds at a time.
"""


class Peers:
    """The watches of one client: their shared knowledge, and which of them polls, one at a time.

    The poll of one watch also looks for the due commands of the resting ones, and they get its results.
    """

    def __init__(self) -> None:
        self.known: Known = Known()
        self.turn: Turn = Turn()
        """Their turn in the queue of all that share the rate limit."""

        self._resting: dict[Watch, None] = {}
        """In the order in which they began to rest."""

        self._asking: Watch | None = None
        """The one whose poll is in progress."""

        self._until = 0.0
        """Until when the others wait for it, by the event loop's clock, which also runs while sockets are silent."""

    def resting(self, watch: "Watch") -> "list[Watch]":
        """Return the resting watches, except one."""
        return [other for other in self._resting if other is not watch]

    @contextmanager
    def rest(self, watch: "Watch") -> Generator[None]:
        """Pass the results of the others' polls to a watch inside the block."""
        self._resting[watch] = None
        try:
            yield
        finally:
            del self._resting[watch]

    @contextmanager
    def ask(self, watch: "Watch") -> Generator[None]:
        """Let the others wait for the results of a poll inside the block."""
        self._asking = watch
        self.note_progress(watch)
        try:
            yield
        finally:
            if self._asking is watch:
                self._asking = None

    def note_progress(self, watch: "Watch") -> None:
        """Record that a poll is making progress."""
        if self._asking is watch:
            self._until = asyncio.get_running_loop().time() + PATIENCE

    def longest_rest(self, watch: "Watch") -> float:
        """Return for how many seconds a watch may rest while waiting for another's poll, which may get stuck."""
        left = self.wait_for_asker(watch)
        return PATIENCE if left is None else left

    def wait_for_asker(self, watch: "Watch") -> float | None:
        """Return for how many seconds a watch must wait for another's poll; None if it need not wait.

        If that poll has had no response for too long, this abandons it: others may then request what it has not shown.
        """
        if self._asking is None or self._asking is watch:
            return None
        left = self._until - asyncio.get_running_loop().time()
        if left > 0:
            return left
        if watch.would_be_held_back():
            # The rate limit delays the stuck poll as well, so another one would get no further.
            self.note_progress(self._asking)
            return PATIENCE
        self._asking.give_up_peers()
        self._asking = None
        return None
