"""Which commands to look for now, and when it is time for the next ones."""

import math
from collections.abc import Iterable, Iterator, Sequence

from dexcmd.polling.known import Known
from dexcmd.polling.looks import Look, choose_looks, glance, looks_after
from dexcmd.polling.pending import Pending
from dexcmd.polling.rhythm import Rhythm

__all__ = ["GLANCE_SECONDS", "Schedule"]

GLANCE_SECONDS = 60.0
"""How often the newest page is requested while many new commands wait for their first look."""

JOINING_SLACK = 0.5
"""Only commands with no more than this share of their wait left join another follower's poll."""


class Schedule:
    """The pending commands of one follower, and when each is due.  Times are of the monotonic clock.

    A poll also covers commands of other followers, its peers, each of which then reschedules its own.  `Pending.asker`
    is the schedule whose current poll is to show a command.  `plan` sets it for all commands of the poll (`expect`).
    It is cleared when the command is shown (`touch`) or no longer followed (`drop`), when its follower stops expecting
    its own commands from any poll (`forgo`), and when a poll stops covering those of its peers (`release`).  A poll
    can be passed on to a peer (`bequeath`).
    """

    def __init__(self, rhythm: Rhythm, known: Known | None = None) -> None:
        self.rhythm = rhythm
        self.known: Known = Known(durations=rhythm.durations) if known is None else known
        self.pending: dict[str, Pending] = {}
        self.filters = True
        """Whether the service supports filters, as far as is known."""

        self.oldest: float = math.inf
        """The place of the earliest command; it may have ended since the last `recount`."""

        self._next = math.inf
        """When the first of the commands that no poll covers is due."""

        self._asked: list[Pending] = []
        """The commands that this schedule's own poll covers, including those of peers."""

        self._newcomer = math.inf
        """When the first of the new commands not yet shown by the list was added."""

        self._glanced = -math.inf
        """When the newest page was last requested."""

        self._touched: dict[str, Pending] = {}
        """The commands that the poll in progress has shown."""

        self.known.schedules.add(self)

    @property
    def next_due(self) -> float:
        """When there is something to look for; infinity if nothing is pending."""
        return min(self._next, self._next_glance)

    @property
    def _next_glance(self) -> float:
        return max(self._newcomer + self.rhythm.interval, self._glanced + GLANCE_SECONDS)

    @property
    def deadline(self) -> float:
        """When the follower must first learn that a command has not ended; infinity if nothing is pending."""
        return min((one.deadline for one in self.pending.values()), default=math.inf)

    def add(self, one: Pending) -> None:
        """Add a command."""
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
        """Set this deadline for all pending commands."""
        for one in self.pending.values():
            one.deadline = deadline
            one.due = self._until_deadline(one, one.due)
        self.recount()

    def drop(self, command_id: str) -> Pending:
        """Remove a command; raises `KeyError` if it is not pending."""
        one = self.pending.pop(command_id)
        one.asker = None
        return one

    def place(self, one: Pending, born: float) -> None:
        """Record when a command was created."""
        old, one.born = one.place, born
        self.known.rows.move(old, one.place)

    def touch(self, one: Pending, now: float) -> None:
        """Record that the list has shown a command, or did not show it where it must be."""
        one.looked = now
        one.probes = 0
        one.asker = None
        self._touched[one.command_id] = one

    @property
    def is_touched(self) -> bool:
        """Whether the poll in progress has shown any of them."""
        return bool(self._touched)

    @property
    def waits_for_any(self) -> bool:
        """Whether a poll in progress still has to show any of them."""
        return any(one.asker is not None for one in self.pending.values())

    def open_of(self, look: Look) -> dict[str, Pending]:
        """Return the commands of a look that this schedule's poll still has to show."""
        if look.is_glance:
            return look.missing
        return {command_id: one for command_id, one in look.missing.items() if one.asker is self}

    def plan(self, now: float, peers: Sequence["Schedule"] = ()) -> list[Look]:
        """Return the looks to make now: for the commands that are due, and those of peers that are, or almost are."""
        due = self._due(now)
        if not due and self._next_glance <= now:
            self._glanced = now
            return [glance(one for one in self.pending.values() if one.is_new and one.seen is None)]
        if not due:
            return []
        # Its own last: a look has one entry per command id, so if a peer follows the same command, its own entry wins.
        due = [*(one for peer in peers for one in peer.joining(now)), *due]
        for one in due:
            one.tried = now
        if any(one.seen is None for one in due):
            self._glanced = now
        chosen = {one.command_id for one in due}
        others = (one for one in self.free() if one.command_id not in chosen)
        known = self.known
        looks = choose_looks(due, others, known.rows, known.durations, now, filters=self.filters)
        # Looks for its own first: if the poll ends early, the peers can request the rest.
        looks.sort(key=self._is_for_peers)
        self.expect([*due, *(one for look in looks for one in look.missing.values())])
        for peer in peers:
            peer.recount()
        return looks

    def _is_for_peers(self, look: Look) -> bool:
        return all(one.schedule is not self for one in look.missing.values())

    def free(self) -> Iterator[Pending]:
        """Yield the commands that no poll covers yet."""
        return (one for one in self.pending.values() if one.asker is None)

    def joining(self, now: float) -> list[Pending]:
        """Return the commands that may join another follower's poll."""
        self._renew_first()
        slack = min(self.rhythm.slack, JOINING_SLACK)
        return [one for one in self.free() if _is_near(one, now, slack)]

    def end(self, look: Look, now: float) -> list[Look]:
        """Record the end of a look, and return the further looks for what it did not show."""
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
                # If the probe has shown other commands, the filter works, so the count of doubtful probes starts again.
                probes = 1 if look.brought else one.probes + 1
                _touch(one, now)
                one.probes, one.probed = probes, look.begun
        return found

    def _missing(self, look: Look) -> list[Pending]:
        """Return the commands that a look did not show, once per follower (a look has one entry per command id)."""
        return [one for one in self._asked if one.asker is self and one.command_id in look.missing]

    @property
    def asks_for_own(self) -> bool:
        """Whether its own poll still has to show any of its own."""
        return any(one.asker is self for one in self.pending.values())

    def release(self) -> bool:
        """Stop covering peers' commands with its own poll, so that they can poll them; tell whether there were any."""
        left = [one for one in self._asked if one.asker is self and one.schedule is not self]
        for one in left:
            _free(one)
        for schedule in {one.schedule for one in left if one.schedule is not None}:
            schedule.recount()
        return bool(left)

    def waits_for(self, other: "Schedule") -> bool:
        """Tell whether another's poll still has to show any of these."""
        return any(one.asker is other for one in self.pending.values())

    def bequeath(self, heir: "Schedule") -> None:
        """Pass its own poll on to another schedule."""
        heir.expect(one for one in self._asked if one.asker is self)

    def expect(self, asked: Iterable[Pending]) -> None:
        """Record which commands its own poll, which has begun, must show."""
        self._asked = list(dict.fromkeys(asked))
        for one in self._asked:
            one.asker = self

    def forgo(self) -> None:
        """Stop expecting any of its own from any poll."""
        for one in self.pending.values():
            _free(one)
        self.recount()

    def settle(self, now: float, *, changed: bool) -> None:
        """Schedule the next look for all commands that were looked for."""
        if self._touched:
            self.rhythm.note(changed=changed)
        for one in self._touched.values():
            one.due = self._until_deadline(one, self._next_look(one, now))
        self._touched.clear()
        self.recount()

    def fail(self, now: float) -> None:
        """Postpone its own due commands, not its peers', as the list can't be read at the moment."""
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
        """Reschedule first looks, as more is now known about durations and the number of commands."""
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
        # It has ended, but its file name is missing.
        due = now + self.rhythm.least
        return min(due, one.named_by) if one.named_by > now else due

    @staticmethod
    def _until_deadline(one: Pending, due: float) -> float:
        return due if one.tried >= one.deadline else min(due, one.deadline)

    def recount(self) -> None:
        """Recompute which command is due first, and similar values."""
        commands = self.pending.values()
        self._next = min((one.due for one in self.free()), default=math.inf)
        self._newcomer = min((one.added for one in commands if one.is_new and one.seen is None), default=math.inf)
        self.oldest = min((one.place for one in commands), default=math.inf)


def _is_near(one: Pending, now: float, slack: float) -> bool:
    return one.due - slack * (one.due - one.last_touched) <= now


def _free(one: Pending) -> None:
    """Stop expecting a command from any poll; a peer's poll does not count as a try of its own follower."""
    if one.asker is not None and one.asker is not one.schedule:
        one.tried = -math.inf
    one.asker = None


def _touch(one: Pending, now: float) -> None:
    if one.schedule is not None:
        one.schedule.touch(one, now)
