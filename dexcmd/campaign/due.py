"""Which targets of an account are begun next: those that are due, read from the journal no more often than need be."""

from collections import deque
from collections.abc import Collection
from datetime import datetime

from dexcmd.campaign.desk import Desk, Flight
from dexcmd.campaign.records import TargetRecord
from dexcmd.resources.requests import MOST_PER_POST

__all__ = ["DueTargets"]

REFILL = 500
"""Due targets that are read from the journal at a time."""


class DueTargets:
    """The pending targets of the open wave, in the order in which they are begun."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._read: deque[TargetRecord] = deque()
        """Read from the journal, and not begun yet."""

        self._waiting: list[TargetRecord] = []
        """Due, but another registration of the same device is begun."""

        self._left_alone: dict[int, datetime] = {}
        """Targets that another campaign is at, and until when they are left alone."""

        self._given_back = 0
        """How many targets were begun, and are due again."""

        self._asked: tuple[int, int, int] | None = None
        """What had arrived when the journal was last asked for what is due."""

        self._idle_since: tuple[int, int, int] | None = None
        """What had arrived when there was nothing due; None where that is not known."""

        self._idle_until: datetime | None = None
        """When something is due next, where there was nothing; None for not before more arrives."""

    def give_back(self) -> None:
        """Note that a target which was begun may be due again."""
        self._given_back += 1

    def leave_alone(self, targets: Collection[int], until: datetime) -> None:
        """Begin none of some targets before a time."""
        self._left_alone.update(dict.fromkeys(targets, until))

    def clear(self) -> None:
        """Forget what was read from the journal."""
        self._read.clear()
        self._waiting.clear()

    async def begin(self, most: int, unnoted: int) -> list[Flight]:
        """Begin up to `most` targets that are due, such that their rows of an answer can be told apart.

        The journal shows as pending what is begun and whose intent is not open yet: `unnoted` targets.
        """
        now = self._desk.clock.now()
        self._left_alone = {number: until for number, until in self._left_alone.items() if until > now}
        flights: list[Flight] = []
        # Those that had to wait for another registration of their device go first.
        waiting, self._waiting = self._waiting, []
        while len(flights) < most:
            target = waiting.pop(0) if waiting else await self._next(now, unnoted)
            if target is None:
                break
            if self._desk.has_to_wait(target):
                self._waiting.append(target)
            else:
                flights.append(self._desk.flight(target))
        self._waiting += waiting
        return flights

    async def _next(self, now: datetime, unnoted: int) -> TargetRecord | None:
        if not self._read and not self._is_idle:
            self._asked = self._arrived
            left_out = self._left_alone.keys() | {target.number for target in self._waiting}
            limit = REFILL + len(left_out) + unnoted + MOST_PER_POST
            due = await self._desk.ledger.store.due_targets(*self._desk.key, self._desk.wave, now, limit)
            left_out |= self._desk.flights.keys()
            self._read.extend(target for target in due if target.number not in left_out)
        return self._read.popleft() if self._read else None

    async def next_time(self) -> datetime | None:
        """Return when something is due that is not due yet; None where that is not known to be at any time."""
        if self._is_idle:
            return self._idle_until
        arrived = self._arrived
        due, now = await self._desk.ledger.store.next_due(*self._desk.key, self._desk.wave), self._desk.clock.now()
        known = (due, min(self._left_alone.values(), default=None))
        self._idle_until = min((time for time in known if time is not None and time > now), default=None)
        # One that is due by now waits for another target, and may hide when the next is due.
        self._idle_since = arrived if arrived == self._asked and (due is None or due > now) else None
        return self._idle_until

    @property
    def _arrived(self) -> tuple[int, int, int]:
        """Return what changes when there may be more that is due."""
        return self._desk.wave, self._desk.ledger.arrivals, self._given_back

    @property
    def _is_idle(self) -> bool:
        """Tell whether the journal has surely nothing more that is due: it may have to look through many for that."""
        in_time = self._idle_until is None or self._desk.clock.now() < self._idle_until
        return in_time and self._idle_since == self._arrived
