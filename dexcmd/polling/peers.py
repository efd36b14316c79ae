"""The followers of one client, which tell one another what their polls are told."""

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
"""A poll that was told nothing for so many seconds is not waited for any more: the next in line asks.

Where the rate limit lets nobody ask, that is put off by as much, again and again.
"""


class Peers:
    """The watches of one client: what they know together, and which of them asks, one at a time.

    One that rests is told by the polls of the others, which look for its commands with their own where these are due.
    """

    def __init__(self) -> None:
        self.known: Known = Known()
        self.turn: Turn = Turn()
        """In the queue of all that share the rate limit."""

        self._resting: dict[Watch, None] = {}
        """In the order in which they came to rest."""

        self._asking: Watch | None = None
        """The one whose poll is under way."""

        self._until = 0.0
        """How long it is waited for, by the clock of the event loop: that goes on while sockets are silent."""

    def resting(self, watch: "Watch") -> "list[Watch]":
        """Return those that rest, but for one."""
        return [other for other in self._resting if other is not watch]

    @contextmanager
    def rest(self, watch: "Watch") -> Generator[None]:
        """Have a watch told by the others."""
        self._resting[watch] = None
        try:
            yield
        finally:
            del self._resting[watch]

    @contextmanager
    def ask(self, watch: "Watch") -> Generator[None]:
        """Have the others wait for what a poll is told."""
        self._asking = watch
        self.note_progress(watch)
        try:
            yield
        finally:
            if self._asking is watch:
                self._asking = None

    def note_progress(self, watch: "Watch") -> None:
        """Note that a poll goes on."""
        if self._asking is watch:
            self._until = asyncio.get_running_loop().time() + PATIENCE

    def longest_rest(self, watch: "Watch") -> float:
        """Return for how many seconds a watch may rest that waits for the poll of another, which may get stuck."""
        left = self.wait_for_asker(watch)
        return PATIENCE if left is None else left

    def wait_for_asker(self, watch: "Watch") -> float | None:
        """Return for how many seconds a watch is to wait for the poll of another; None where it is not to.

        One that was told nothing for too long is given up by that: what it has not told, others may ask for.
        """
        if self._asking is None or self._asking is watch:
            return None
        left = self._until - asyncio.get_running_loop().time()
        if left > 0:
            return left
        if watch.would_be_held_back():
            # So is the poll, or what has become of it: another would ask the same, and get no further.
            self.note_progress(self._asking)
            return PATIENCE
        self._asking.give_up_peers()
        self._asking = None
        return None
