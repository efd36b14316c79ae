"""Which commands to look for now, and when it is time for the next ones."""

import math
from collections.abc import Iterable, Iterator, Sequence

from dexcmd.polling.known import Known
from dexcmd.polling.looks import Look, choose_looks, glance, looks_after
from dexcmd.polling.pending import Pending
from dexcmd.polling.rhythm import Rhythm

__all__ = ["GLANCE_SECONDS", "Schedule"]

GLANCE_SECONDS = 60.0
"""While many new commands wait for their first look, the newest page is looked at so often."""

JOINING_SLACK = 0.5
"""What has waited for all but so much of its time is looked for in another follower's poll, and nothing any sooner."""


class Schedule:
    """The pending commands of one follower, and when each is due.  Times are of the monotonic clock.

    A poll tells of those of other followers as well, its peers: each then sets its own times anew.  `Pending.asker` is
    by whose poll a command is asked for: set by `plan` for all that the poll is to tell of (`expect`), and cleared when
    it has (`touch`), when it is not followed any more (`drop`), or when nobody is to tell of it: of any of one's own
    (`forgo`), or by one's own poll of any of the peers' (`release`).  A poll may change hands (`bequeath`).
    """

    def __init__(self, rhythm: Rhythm, known: Known | None = None) -> None:
        self.rhythm = rhythm
        self.known: Known = Known(durations=rhythm.durations) if known is None else known
        self.pending: dict[str, Pending] = {}
        self.filters = True
        """Whether the service lets its list be filtered, as far as is known."""

        self.oldest: float = math.inf
        """Where in time the first of the commands stands, or one that was there before."""

        self._next = math.inf
        """When the first of the commands is due of which no poll is to tell already."""

        self._asked: list[Pending] = []
        """Those of which this one's own poll is to tell, peers' as well."""

        self._newcomer = math.inf
        """When the first of the new commands was added that the list has not shown."""

        self._glanced = -math.inf
        """When the newest page was last asked for."""

        self._touched: dict[str, Pending] = {}
        """Those of which the poll that is under way has told."""

        self.known.schedules.add(self)

    @property
    def next_due(self) -> float:
        """When there is something to look for, infinity where nothing is pending."""
        return min(self._next, self._next_glance)

    @property
    def _next_glance(self) -> float:
        return max(self._newcomer + self.rhythm.interval, self._glanced + GLANCE_SECONDS)

    @property
    def deadline(self) -> float:
        """When whoever follows wants to be told that one has not ended; infinity where nothing is pending."""
        return min((one.deadline for one in self.pending.values()), default=math.inf)

    def add(self, one: Pending) -> None:
        """Take on a command."""
        self.rhythm.followed += 1
        self.pending[one.command_id] = one
        one.schedule = self
        self.known.rows.add(one.place)
        self.oldest = min(self.oldest, one.place)
        one.due = self._first_due(one)
        self._next = min(self._next, one.due)
        if one.is_new:
            self._newcomer = min(self._newcomer, one.added)

    def give_until(self, deadline: float) -> None:
        """Let all that is pending have this deadline."""
        for one in self.pending.values():
            one.deadline = deadline
            one.due = self._until_deadline(one, one.due)
        self.recount()

    def drop(self, command_id: str) -> Pending:
        """Let go of a command; raises `KeyError` where it is not pending."""
        one = self.pending.pop(command_id)
        one.asker = None
        return one

    def place(self, one: Pending, born: float) -> None:
        """Note when a command was created."""
        old, one.born = one.place, born
        self.known.rows.move(old, one.place)

    def touch(self, one: Pending, now: float) -> None:
        """Note that the list has told of a command, or did not show it where it must be."""
        one.looked = now
        one.probes = 0
        one.asker = None
        self._touched[one.command_id] = one

    @property
    def is_touched(self) -> bool:
        """Tell whether the poll that is under way has told of any of them."""
        return bool(self._touched)

    @property
    def waits_for_any(self) -> bool:
        """Tell whether there is a poll under way that has still to tell of any of them."""
        return any(one.asker is not None for one in self.pending.values())

    def open_of(self, look: Look) -> dict[str, Pending]:
        """Return those of a look that this one's poll has still to tell of."""
        if look.is_glance:
            return look.missing
        return {command_id: one for command_id, one in look.missing.items() if one.asker is self}

    def plan(self, now: float, peers: Sequence["Schedule"] = ()) -> list[Look]:
        """Return what to ask the list for now: for what is due, and what of the peers is, or almost."""
        due = self._due(now)
        if not due and self._next_glance <= now:
            self._glanced = now
            return [glance(one for one in self.pending.values() if one.is_new and one.seen is None)]
        if not due:
            return []
        # Its own last: of two that are the same command, the last is what a look is for.
        due = [*(one for peer in peers for one in peer.joining(now)), *due]
        for one in due:
            one.tried = now
        if any(one.seen is None for one in due):
            self._glanced = now
        chosen = {one.command_id for one in due}
        others = (one for one in self.free() if one.command_id not in chosen)
        known = self.known
        looks = choose_looks(due, others, known.rows, known.durations, now, filters=self.filters)
        # Its own first: the rest is for its peers to ask for.
        looks.sort(key=self._is_for_peers)
        self.expect([*due, *(one for look in looks for one in look.missing.values())])
        for peer in peers:
            peer.recount()
        return looks

    def _is_for_peers(self, look: Look) -> bool:
        return all(one.schedule is not self for one in look.missing.values())

    def free(self) -> Iterator[Pending]:
        """Give those of which no poll is to tell already."""
        return (one for one in self.pending.values() if one.asker is None)

    def joining(self, now: float) -> list[Pending]:
        """Return what may be looked for in the poll of another follower."""
        self._renew_first()
        slack = min(self.rhythm.slack, JOINING_SLACK)
        return [one for one in self.free() if _is_near(one, now, slack)]

    def end(self, look: Look, now: float) -> list[Look]:
        """Note that a look is at its end, and return those that what it did not show makes necessary."""
        look.missing = self.open_of(look)
        known = self.known
        if look.is_walk and look.is_complete:
            known.rows.learn(look)
            for one in self._missing(look):
                one.is_stray = one.seen is None
                _touch(one, now)
        found = looks_after(look, known.rows, known.durations, now, filters=self.filters)
        if look.is_probe and not found:
            for one in self._missing(look):
                # What has shown others is likely to have shown this one as well, if there was anything to show.
                probes = 1 if look.brought else one.probes + 1
                _touch(one, now)
                one.probes, one.probed = probes, look.begun
        return found

    def _missing(self, look: Look) -> list[Pending]:
        """Return what a look did not show: several may follow the same command, of which it has but one."""
        return [one for one in self._asked if one.asker is self and one.command_id in look.missing]

    @property
    def asks_for_own(self) -> bool:
        """Tell whether its own poll has still to tell of any of its own."""
        return any(one.asker is self for one in self.pending.values())

    def release(self) -> bool:
        """Have its own poll tell no more of those of its peers, and tell whether there were any: these may ask."""
        left = [one for one in self._asked if one.asker is self and one.schedule is not self]
        for one in left:
            _free(one)
        for schedule in {one.schedule for one in left if one.schedule is not None}:
            schedule.recount()
        return bool(left)

    def waits_for(self, other: "Schedule") -> bool:
        """Tell whether the poll of another has still to tell of any of these."""
        return any(one.asker is other for one in self.pending.values())

    def bequeath(self, heir: "Schedule") -> None:
        """Have its own poll be that of another from now on."""
        heir.expect(one for one in self._asked if one.asker is self)

    def expect(self, asked: Iterable[Pending]) -> None:
        """Note what its own poll, which has begun, is to tell of."""
        self._asked = list(dict.fromkeys(asked))
        for one in self._asked:
            one.asker = self

    def forgo(self) -> None:
        """Have no poll tell of any of its own."""
        for one in self.pending.values():
            _free(one)
        self.recount()

    def settle(self, now: float, *, changed: bool) -> None:
        """Set the next time for all that was looked for."""
        if self._touched:
            self.rhythm.note(changed=changed)
        for one in self._touched.values():
            one.due = self._until_deadline(one, self._next_look(one, now))
        self._touched.clear()
        self.recount()

    def fail(self, now: float) -> None:
        """Put off what is due, but not that of its peers: the list can't be read at the moment."""
        self.forgo()
        self.rhythm.note(changed=False)
        for one in self.pending.values():
            if one.due <= now:
                one.due = self._until_deadline(one, now + self.rhythm.least)
        self.recount()

    def _due(self, now: float) -> list[Pending]:
        if self._next > now:
            return []
        self._renew_first()
        if all(one.due > now for one in self.free()):
            self.recount()
            return []
        return [one for one in self.free() if _is_near(one, now, self.rhythm.slack)]

    def _renew_first(self) -> None:
        """Set the times of first looks anew: more is known of how long one may take, and of how many it is one."""
        for one in self.pending.values():
            if one.looked is None:
                one.due = self._first_due(one)

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

    def recount(self) -> None:
        """Find out anew which of the commands is the first to be due, and the like."""
        commands = self.pending.values()
        self._next = min((one.due for one in self.free()), default=math.inf)
        self._newcomer = min((one.added for one in commands if one.is_new and one.seen is None), default=math.inf)
        self.oldest = min((one.place for one in commands), default=math.inf)


def _is_near(one: Pending, now: float, slack: float) -> bool:
    return one.due - slack * (one.due - one.last_touched) <= now


def _free(one: Pending) -> None:
    """Have no poll tell of a command; where that was to be a peer's, its own follower has not tried."""
    if one.asker is not None and one.asker is not one.schedule:
        one.tried = -math.inf
    one.asker = None


def _touch(one: Pending, now: float) -> None:
    if one.schedule is not None:
        one.schedule.touch(one, now)
