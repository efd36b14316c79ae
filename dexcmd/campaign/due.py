"""Which of an account's due targets to start next, reading the journal no more often than necessary."""

import math
from collections import deque
from collections.abc import Collection
from datetime import datetime, timedelta

from dexcmd.campaign.desk import Desk, Flight
from dexcmd.campaign.records import TargetRecord
from dexcmd.resources.requests import MAX_PER_POST

__all__ = ["DueTargets"]

REFILL = 500
"""Due targets to read from the journal at a time."""


class DueTargets:
    """The pending targets of the open wave, in the order in which they are started."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._read: deque[TargetRecord] = deque()
        """Read from the journal, and not started yet."""

        self._waiting: list[TargetRecord] = []
        """Due, but another registration of the same device is in flight."""

        self._left_alone: dict[int, float] = {}
        """Targets that another campaign is busy with, and until when to leave them alone, by the monotonic clock."""

        self._given_back = 0
        """How many targets were started and are due again."""

        self._asked: tuple[int, int, int] | None = None
        """The value of `_arrived` when the journal was last asked for due targets."""

        self._idle_since: tuple[int, int, int] | None = None
        """The value of `_arrived` when nothing was due; None if that is not known."""

        self._idle_until: float | None = None
        """When something is next due after nothing was, by the monotonic clock; None for not before more arrives."""

    def give_back(self) -> None:
        """Note that a started target may be due again."""
        self._given_back += 1

    def leave_alone(self, targets: Collection[int], until: datetime) -> None:
        """Start none of these targets before a time."""
        self._left_alone.update(dict.fromkeys(targets, self._desk.steady(until)))

    def clear(self) -> None:
        """Forget what was read from the journal."""
        self._read.clear()
        self._waiting.clear()

    async def begin(self, most: int, unnoted: int) -> list[Flight]:
        """Start up to `most` due targets, chosen so that their rows in an answer can be told apart.

        The journal still shows as pending the `unnoted` targets that are started but have no open intent yet.
        """
        clock = self._desk.clock
        now, steady = clock.now(), clock.monotonic()
        self._left_alone = {number: until for number, until in self._left_alone.items() if until > steady}
        flights: list[Flight] = []
        # Targets that had to wait for another registration of their device go first.
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
            limit = REFILL + len(left_out) + unnoted + MAX_PER_POST
            due = await self._desk.ledger.store.due_targets(*self._desk.key, self._desk.wave, now, limit)
            left_out |= self._desk.flights.keys()
            self._read.extend(target for target in due if target.number not in left_out)
        return self._read.popleft() if self._read else None

    async def next_time(self) -> datetime | None:
        """Return when the next target not yet due will be; None if no such time is known."""
        clock = self._desk.clock
        if not self._is_idle:
            arrived = self._arrived
            due = await self._desk.ledger.store.next_due(*self._desk.key, self._desk.wave)
            now, steady = clock.now(), clock.monotonic()
            times = [until for until in self._left_alone.values() if until > steady]
            if due is not None and due > now:
                times.append(steady + (due - now).total_seconds())
            self._idle_until = min(times, default=None)
            # A target due by now is waiting for another one, and may hide when the next is due.
            self._idle_since = arrived if arrived == self._asked and (due is None or due > now) else None
        if self._idle_until is None:
            return None
        # Rounded up: otherwise less than a microsecond could be waited for without end by a clock that only waits move.
        return clock.now() + timedelta(microseconds=math.ceil((self._idle_until - clock.monotonic()) * 1e6))

    @property
    def _arrived(self) -> tuple[int, int, int]:
        """Return a value that changes whenever more may be due."""
        return self._desk.wave, self._desk.ledger.arrivals, self._given_back

    @property
    def _is_idle(self) -> bool:
        """Return whether the journal certainly has nothing more due, as it may have to scan many targets to say so."""
        in_time = self._idle_until is None or self._desk.clock.monotonic() < self._idle_until
        return in_time and self._idle_since == self._arrived
