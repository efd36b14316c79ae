"""The engine that follows commands: it asks the list what the schedule says, with its peers and for them."""

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime

from dexcmd.errors import (
    BadRequestError,
    DexError,
)
from dexcmd.paging import ListQuery
from dexcmd.polling.looks import Look
from dexcmd.polling.nap import Nap
from dexcmd.polling.notes import Notes, OnFirstSeen
from dexcmd.polling.peers import Peers
from dexcmd.polling.pending import Pending
from dexcmd.polling.rhythm import PROMPT, Rhythm, Spacing
from dexcmd.polling.schedule import Schedule
from dexcmd.polling.walk import Walk
from dexcmd.resources.command import STATUSES, Command, decode_commands, identity
from dexcmd.session import Session
from dexcmd.wire.pages import MOST_PER_PAGE
from dexcmd.wire.times import format_time

__all__ = ["Watch"]

logger: logging.Logger = logging.getLogger(__name__)


class Watch:
    """The pending commands of one follower, and the polls for them.

    There is no call for a single command, so following means listing.  Whoever follows awaits `rest`, or sleeps until
    `next_poll_at`, and then awaits `poll`, which asks for what is due by then.

    Of `peers`, each poll is also for what is due of those that rest, and tells them what it is told.  Meanwhile they
    ask for nothing.  What it has not told when it ends, for whatever reason, the next of them asks for.

    A command in SUCCESS whose file name is missing counts as pending for `filename_grace` seconds more.
    `on_first_seen` tells how the list lags: it is called with the id of a command that was added as new, once the list
    shows it, and with the seconds from its creation until then, which are an upper bound.  It is not called where that
    says nothing, because nobody looked for the command any earlier.
    """

    def __init__(
        self,
        session: Session,
        *,
        peers: Peers | None = None,
        poll_interval: float = 2.0,
        spacing: Spacing = PROMPT,
        filename_grace: float = 0.0,
        on_first_seen: OnFirstSeen | None = None,
    ) -> None:
        self._session = session
        self._clock = session.settings.clock
        self._peers = Peers() if peers is None else peers
        known = self._peers.known
        self.schedule: Schedule = Schedule(Rhythm(poll_interval, spacing, known.durations), known)
        self._pending = self.schedule.pending
        self._notes = Notes(session, self.schedule, filename_grace=filename_grace, on_first_seen=on_first_seen)
        self._nap = Nap(self._clock)
        self._looks: deque[Look] = deque()
        self._pages: Walk | None = None
        """The walk of the first of the looks, once it has begun."""

        self._polls = False
        """Whether a poll is under way."""

    def __len__(self) -> int:
        """Return how many commands are pending."""
        return len(self._pending)

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of the pending commands."""
        return tuple(self._pending)

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Return the ids of the pending commands that the list has never shown, although it was looked through."""
        return tuple(one.command_id for one in self._pending.values() if one.is_stray)

    @property
    def last_seen(self) -> tuple[Command, ...]:
        """Return what the list last showed of the pending commands, but for those that it has not shown."""
        return tuple(one.seen for one in self._pending.values() if one.seen is not None)

    def add(
        self,
        command_id: str,
        created: datetime | None = None,
        not_before: datetime | None = None,
        *,
        command_type: str | None = None,
        device_id: str | None = None,
        deadline: float = math.inf,
        is_new: bool = False,
    ) -> None:
        """Watch one more command.

        `created` is what the list told of it, `not_before` a time before which it did not exist.  At `deadline`, by the
        monotonic clock, it is looked for once more, and then it is `overdue`.  One that `is_new` was created just now,
        so it is not looked for at once.
        """
        if command_id in self._pending:
            return
        one = Pending(
            command_id=command_id,
            created=created,
            not_before=not_before,
            command_type=command_type,
            device_id=device_id,
            added=self._clock.monotonic(),
            deadline=deadline,
            is_new=is_new,
        )
        one.born = self._notes.moment(created or not_before)
        self.schedule.add(one)
        self.wake_if_due()

    def give_until(self, deadline: float) -> None:
        """Let all that is pending have this deadline."""
        self.schedule.give_until(deadline)

    def drop(self, command_id: str) -> Command | None:
        """Stop watching a command, and return the last that the list told of it."""
        seen = self.schedule.drop(command_id).seen
        if self._pending:
            # Whoever follows tells of it first, and that may take long.
            self.give_up_peers()
        else:
            # Nobody polls for nothing.
            self.leave()
        return seen

    def leave(self) -> None:
        """Have no part in any poll for now; the next one queues up anew."""
        self.schedule.forgo()
        if not self._polls:
            # Or else its poll does so at its end, which comes soon.
            self.hand_back()
            self._leave_turn()

    def is_due(self, now: float) -> bool:
        """Tell whether there is something to ask for."""
        return bool(self._looks) or self.schedule.next_due <= now

    def wake(self) -> None:
        """End the rest that is under way."""
        self._nap.end()

    async def rest(self, most: float = math.inf) -> None:
        """Return when a poll is due, when a peer's has told what has ended, or when it is woken; perhaps sooner.

        What is due while the poll of a peer is under way waits for that.  Else it sleeps for `most` seconds at a time.
        """
        if self.schedule.is_touched:
            # It did not rest any more when the poll was over that told it.
            self.settle()
        patience = self._peers.wait_for_asker(self)
        seconds = self.next_poll_at - self._clock.monotonic()
        if seconds <= 0:
            if patience is None:
                return
            seconds = math.inf
        if not self._notes.ended:
            with self._peers.rest(self):
                if math.isinf(seconds):
                    await self._nap.sleep(seconds, self._peers.longest_rest(self))
                else:
                    await self._nap.sleep(min(seconds, most))

    def wake_if_due(self) -> None:
        """End the rest that is under way where it would be too long."""
        if self._notes.ended or self.next_poll_at < self._nap.ends:
            self.wake()

    def hand_back(self) -> None:
        """Leave to its peers what its poll has still to tell of theirs.

        Where that is all that there is left to tell, one of them goes on with it.
        """
        if self._looks and self.schedule.asks_for_own:
            self.give_up_peers()
            return
        if self._looks:
            heirs = (peer for peer in self._peers.resting(self) if peer.can_go_on_for(self.schedule))
            if (heir := next(heirs, None)) is not None:
                self.schedule.bequeath(heir.schedule)
                heir.go_on_with(self._looks, self._pages)
                self._looks, self._pages = deque(), None
                return
        self._forget_looks()
        self.schedule.forgo()
        self.give_up_peers()

    def would_be_held_back(self) -> bool:
        """Tell whether the rate limit would let it ask for nothing now, but will before its time is over."""
        now = self._clock.monotonic()
        return now < self._session.opens_at(now) < self.schedule.deadline

    def give_up_peers(self) -> None:
        """Have its poll tell no more of those of its peers."""
        if self.schedule.release():
            for peer in self._peers.resting(self):
                peer.wake_if_due()

    def can_go_on_for(self, other: Schedule) -> bool:
        """Tell whether it waits for the poll of another, and has none to go on with itself."""
        return not self._looks and self.schedule.waits_for(other)

    def go_on_with(self, looks: deque[Look], pages: Walk | None) -> None:
        """Have the poll of a peer for one's own, with the walk of its first look if that has begun."""
        self._looks, self._pages = looks, pages
        if pages is not None:
            pages.go_on_by(self._session)
        self.wake()

    def _forget_looks(self) -> None:
        self._looks.clear()
        self._pages = None

    def _leave_turn(self) -> None:
        """Give up the turn of its peers, if none of them needs it: it would be lost to all."""
        if self._peers.turn.time is None:
            return
        now = self._clock.monotonic()
        if not any(peer.is_due(now) for peer in self._peers.resting(self)):
            self._session.polls.leave(self._peers.turn)

    def succeeded(self, command_id: str) -> bool:
        """Tell whether a pending command was seen in SUCCESS."""
        return self._pending[command_id].named_by is not None

    def overdue(self) -> list[str]:
        """Return the pending commands that had not ended by their deadline, as the list has told since."""
        return [one.command_id for one in self._pending.values() if one.was_pending_at_deadline]

    def out_of_time(self) -> list[str]:
        """Return the commands that are `overdue`, and those for which a poll has asked since and was told nothing."""
        return [
            one.command_id
            for one in self._pending.values()
            if one.was_pending_at_deadline or (one.tried >= one.deadline and one.asker is None)
        ]

    def take_ended(self) -> list[Command]:
        """Return the commands that have ended since this was last asked, in the order in which they did.

        They are kept until then: a poll that fails on a later page, or is cancelled, loses none of them.
        """
        if self._notes.ended and self._looks:
            # A peer's poll has told of it while this one waited for its turn, and whoever follows may take long.
            self.hand_back()
        return self._notes.take_ended()

    @property
    def next_poll_at(self) -> float:
        """When the next poll is due, by the monotonic clock; infinity where nothing is pending."""
        due = self._clock.monotonic() if self._looks else self.schedule.next_due
        turn = self._peers.turn
        return due if turn.time is None else max(due, turn.time)

    async def poll(self) -> None:
        """Ask the list for what is due, as far as the share of the rate limit goes; `take_ended` has what has ended.

        Where others have used that up, this queues up with them.  While a peer's poll is under way it asks for nothing.
        Raises `DexError`.  What could not be asked for is due again a little later.
        """
        if self._peers.wait_for_asker(self) is not None:
            return
        now = self._clock.monotonic()
        if not self._looks:
            # What is due while others have their turns is looked for together.
            if self.schedule.next_due > now or not self._is_turn(now):
                return
            self._looks.extend(self._plan(now))
        queues_up, self._polls = False, True
        with self._peers.ask(self):
            try:
                while self._looks and await self._finish(self._looks[0]):
                    look = self._looks.popleft()
                    self._pages = None
                    self._looks.extendleft(reversed(self.schedule.end(look, self._clock.monotonic())))
                queues_up = bool(self._looks) and self._asks_for_its_own(self._looks[0]) and not self._notes.ended
            except DexError:
                self._forget_looks()
                self.schedule.fail(self._clock.monotonic())
                raise
            finally:
                self._polls = False
                self._settle(queues_up=queues_up)

    def _plan(self, now: float) -> list[Look]:
        watches = [self, *self._peers.resting(self)]
        followed = sum(map(len, watches))
        for watch in watches:
            watch.schedule.rhythm.beside = followed - len(watch)
        return self.schedule.plan(now, [watch.schedule for watch in watches[1:]])

    def _settle(self, *, queues_up: bool) -> None:
        """Set the times of all that the poll has told of, and leave to the peers what it does not go on with."""
        for watch in (self, *(peer for peer in self._peers.resting(self) if peer.schedule.is_touched)):
            watch.settle()
        self._peers.known.forget()
        if not queues_up:
            # Whoever follows has something to deliver first, and may take long, or not come again.
            self.hand_back()
        if not self._looks:
            self._leave_turn()
        for peer in self._peers.resting(self):
            peer.wake_if_due()

    def settle(self) -> None:
        """Set the times of all that a poll has told of."""
        self._notes.settle()

    async def _finish(self, look: Look) -> bool:
        """Go on with a look to its end.

        Return False where the share of the rate limit is used up before, or what is left to ask for is of peers only:
        what becomes of that, and how long it takes, is theirs.
        """
        if self._pages is None:
            self._pages = self._walk(look)
        pages = self._pages
        # Another look, or the poll of a peer, may have shown what lies beside its own.
        while missing := self.schedule.open_of(look):
            look.missing = missing
            if not self._asks_for_its_own(look):
                return False
            if pages.ended:
                look.is_complete = True
                self._notes.expect_late(look, pages.served_at)
                return True
            if not self._take_turn(self._clock.monotonic()):
                return False
            try:
                rows = await pages.fresh_rows()
            except DexError as error:
                if not (look.filters and isinstance(error, BadRequestError)):
                    raise
                logger.warning("the list takes no filters, so it is walked without: %s", error)
                self.schedule.filters = False
                return True
            self._peers.note_progress(self)
            brought = self._note_rows(look, rows)
            look.brought = look.brought or brought
            if look.is_glance or (look.is_probe and not pages.ended and look.rows >= look.most_rows):
                return True
            if look.status is not None and not ((brought or look.is_probe) and self.schedule.filters):
                # A query that shows others' commands, a page of them, is not worth the next one.
                return True
        look.missing = missing
        look.is_complete = True
        return True

    def _asks_for_its_own(self, look: Look) -> bool:
        """Tell whether there is anything of its own to ask for, now that it is the turn of a look."""
        return look.is_glance or self.schedule.asks_for_own

    def _walk(self, look: Look) -> Walk:
        times = {"from": ("since", look.since), "to": ("until", look.until)}
        bounds = {name: format_time(side, time) for name, (side, time) in times.items() if time is not None}
        query = ListQuery("/dex/commands", MOST_PER_PAGE, {**look.filters, **bounds}, bound="to")
        return Walk(self._session, query, decode_commands, identity)

    def _is_turn(self, now: float) -> bool:
        """Tell whether one more request is within the share of the rate limit, or else queue up for it."""
        limit = self._session.settings.rate_limit
        return limit is None or self._session.polls.ask(self._peers.turn, limit, now) <= now

    def _take_turn(self, now: float) -> bool:
        """Count one request that goes out now, if it is within the share of the rate limit, or else queue up for it."""
        limit = self._session.settings.rate_limit
        return limit is None or self._session.polls.take(self._peers.turn, limit, now)

    def _note_rows(self, look: Look, rows: Sequence[Command]) -> bool:
        """Take over what a page tells, and tell whether it was of any that the look is for."""
        missing = len(look.missing)
        look.rows += len(rows)
        shown: dict[str, Command] = {}
        for command in rows:
            if look.status is not None and command.status in STATUSES - {look.status}:
                # It lets through what was not asked for, so it may as well hold back what was.
                self.schedule.filters = False
            if command.id is not None:
                shown[command.id] = command
                look.missing.pop(command.id, None)
        for watch in (self, *self._peers.resting(self)):
            watch.take_over(shown)
        return len(look.missing) < missing

    def take_over(self, shown: Mapping[str, Command]) -> None:
        """Take over what a page tells, of a poll of its own or of a peer's; who rests is woken once it is told all."""
        if self._notes.take_over(shown) and self._notes.ended and not self.schedule.waits_for_any:
            self.wake()
