"""Which commands to look for now, and when it is time for the next ones."""

import math

from dexcmd.polling.looks import Look, Rows, choose_looks, glance, looks_after
from dexcmd.polling.pending import Pending
from dexcmd.polling.rhythm import Rhythm

__all__ = ["GLANCE_SECONDS", "Schedule"]

GLANCE_SECONDS = 60.0
"""While many new commands wait for their first look, the newest page is looked at so often."""


class Schedule:
    """The pending commands of one follower, and when each is due.  Times are of the monotonic clock."""

    def __init__(self, rhythm: Rhythm) -> None:
        self.rhythm = rhythm
        self.pending: dict[str, Pending] = {}
        self.filters = True
        """Whether the service lets its list be filtered, as far as is known."""

        self._rows = Rows()
        self._next = math.inf
        """When the first of the commands is due."""

        self._newcomer = math.inf
        """When the first of the new commands was added that the list has not shown."""

        self._glanced = -math.inf
        """When the newest page was last asked for."""

        self._touched: dict[str, Pending] = {}
        """Those of which the poll that is under way has told."""

    @property
    def next_due(self) -> float:
        """When there is something to look for, infinity where nothing is pending."""
        return min(self._next, self._next_glance)

    @property
    def _next_glance(self) -> float:
        return max(self._newcomer + self.rhythm.interval, self._glanced + GLANCE_SECONDS)

    def add(self, one: Pending) -> None:
        """Take on a command."""
        self.rhythm.followed += 1
        self.pending[one.command_id] = one
        self._rows.add(one.place)
        one.due = self._first_due(one)
        self._next = min(self._next, one.due)
        if one.is_new:
            self._newcomer = min(self._newcomer, one.added)

    def give_until(self, deadline: float) -> None:
        """Let all that is pending have this deadline."""
        for one in self.pending.values():
            one.deadline = deadline
            one.due = self._until_deadline(one, one.due)
        self._recount()

    def drop(self, command_id: str) -> Pending:
        """Let go of a command; raises `KeyError` where it is not pending."""
        return self.pending.pop(command_id)

    def place(self, one: Pending, born: float) -> None:
        """Note when a command was created."""
        old, one.born = one.place, born
        self._rows.move(old, one.place)

    def touch(self, one: Pending, now: float) -> None:
        """Note that the list has told of a command, or did not show it where it must be."""
        one.looked = now
        one.probes = 0
        self._touched[one.command_id] = one

    def is_open(self, command_id: str) -> bool:
        """Tell whether this poll has still to tell of a command."""
        return command_id in self.pending and command_id not in self._touched

    def plan(self, now: float) -> list[Look]:
        """Return what to ask the list for now."""
        due = self._due(now)
        for one in due:
            one.tried = now
        if due:
            if any(one.seen is None for one in due):
                self._glanced = now
            chosen = {one.command_id for one in due}
            others = (one for one in self.pending.values() if one.command_id not in chosen)
            return choose_looks(due, others, self._rows, self.rhythm.durations, now, filters=self.filters)
        if self._next_glance <= now:
            self._glanced = now
            return [glance(one for one in self.pending.values() if one.is_new and one.seen is None)]
        return []

    def end(self, look: Look, now: float) -> list[Look]:
        """Note that a look is at its end, and return those that what it did not show makes necessary."""
        if look.is_walk and look.is_complete:
            self._rows.learn(look)
            for one in look.missing.values():
                one.is_stray = one.seen is None
                self.touch(one, now)
        found = looks_after(look, self._rows, now, filters=self.filters)
        if look.is_probe and not found:
            for one in look.missing.values():
                probes = one.probes + 1
                self.touch(one, now)
                one.probes, one.probed = probes, now
        return found

    def settle(self, now: float, *, changed: bool) -> None:
        """Set the next time for all that was looked for."""
        if self._touched:
            self.rhythm.note(changed=changed)
        for one in self._touched.values():
            one.due = self._until_deadline(one, self._next_look(one, now))
        self._touched.clear()
        self._recount()

    def fail(self, now: float) -> None:
        """Put off what is due: the list can't be read at the moment."""
        self.rhythm.note(changed=False)
        for one in self.pending.values():
            if one.due <= now:
                one.due = self._until_deadline(one, now + self.rhythm.least)
        self._recount()

    def _due(self, now: float) -> list[Pending]:
        if self._next > now:
            return []
        for one in self.pending.values():
            if one.looked is None:
                # More is known by now of how long it may take, and of how many it is one.
                one.due = self._first_due(one)
        if all(one.due > now for one in self.pending.values()):
            self._recount()
            return []
        slack = self.rhythm.slack
        return [one for one in self.pending.values() if one.due - slack * (one.due - one.last_touched) <= now]

    def _first_due(self, one: Pending) -> float:
        due = one.added + self.rhythm.interval if one.is_new else one.added
        if one.born is not None:
            due = max(due, one.born + self.rhythm.first_age(one.command_type))
        return self._until_deadline(one, due)

    def _next_look(self, one: Pending, now: float) -> float:
        if one.named_by is None:
            return now + self.rhythm.wait(one.command_type, one.age(now))
        # It has ended, but for the name of its file.
        due = now + self.rhythm.least
        return min(due, one.named_by) if one.named_by > now else due

    @staticmethod
    def _until_deadline(one: Pending, due: float) -> float:
        return due if one.tried >= one.deadline else min(due, one.deadline)

    def _recount(self) -> None:
        commands = self.pending.values()
        self._next = min((one.due for one in commands), default=math.inf)
        self._newcomer = min((one.added for one in commands if one.is_new and one.seen is None), default=math.inf)
        self._rows.forget_before(min((one.place for one in commands), default=math.inf))
