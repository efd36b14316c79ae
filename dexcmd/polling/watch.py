"""The engine that follows commands: it polls the list as scheduled, together with its peers and on their behalf."""

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
from dexcmd.wire.pages import MAX_PER_PAGE
from dexcmd.wire.times import format_time

__all__ = ["Watch"]

logger: logging.Logger = logging.getLogger(__name__)


class Watch:
    """The pending commands of one follower, and the polls for them.

    There is no call for a single command, so following means listing.  The follower awaits `rest`, or sleeps until
    `next_poll_at`, and then awaits `poll`, which requests what is due by then.

    Each poll also covers the due commands of resting `peers`, and passes its results on to them.  Meanwhile they send
    no requests.  When it ends, for whatever reason, the next of them requests what it has not shown.

    A command in SUCCESS whose file name is missing counts as pending for another `filename_grace` seconds.
    `on_first_seen` measures the list's lag: it is called once the list shows a command that was added as new, with its
    id and an upper bound for the seconds since its creation.  It is not called if that says nothing about the lag
    because nobody looked for the command sooner.
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
        """The walk of the first look, once it has begun."""

        self._polls = False
        """Whether a poll is in progress."""

    def __len__(self) -> int:
        """Return how many commands are pending."""
        return len(self._pending)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the pending commands."""
        return tuple(self._pending)

    @property
    def unlisted(self) -> tuple[str, ...]:
        """The ids of the pending commands that the list has never shown, although it was searched."""
        return tuple(one.command_id for one in self._pending.values() if one.is_stray)

    @property
    def last_seen(self) -> tuple[Command, ...]:
        """The pending commands as the list last showed them, without those it has never shown."""
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

        `created` is its creation time from the list, `not_before` a time before which it did not exist.  At `deadline`,
        by the monotonic clock, it is looked for once more, and then it is `overdue`.  If `is_new`, it was created just
        now, so it is not looked for at once.
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
        """Set this deadline for all pending commands."""
        self.schedule.give_until(deadline)

    def drop(self, command_id: str) -> Command | None:
        """Stop watching a command, and return it as the list last showed it."""
        seen = self.schedule.drop(command_id).seen
        if self._pending:
            # The follower reports this command before it polls again, and that may take long: let the peers poll.
            self.give_up_peers()
        else:
            # Nothing is left to poll.
            self.leave()
        return seen

    def leave(self) -> None:
        """Withdraw from all polls for now; its next poll queues up again."""
        self.schedule.forgo()
        if not self._polls:
            # If its own poll is in progress, that does the same when it ends, which is soon.
            self.hand_back()
            self._leave_turn()

    def is_due(self, now: float) -> bool:
        """Tell whether there is something to request."""
        return bool(self._looks) or self.schedule.next_due <= now

    def wake(self) -> None:
        """End the rest in progress."""
        self._nap.end()

    async def rest(self, most: float = math.inf) -> None:
        """Return when a poll is due, when a peer's poll has shown an end, or when woken; perhaps sooner.

        While a peer's poll is in progress, it waits for that even if something is due.  Otherwise it sleeps at most
        `most` seconds.
        """
        if self.schedule.is_touched:
            # A peer's poll showed some of its commands, but when that poll ended, this watch was not resting any more.
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
        """End the rest in progress if it would be too long."""
        if self._notes.ended or self.next_poll_at < self._nap.ends:
            self.wake()

    def hand_back(self) -> None:
        """Give the commands of peers that its poll has not shown yet back to the peers.

        If only such commands are left, one of the peers takes over the poll.
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
        """Tell whether the rate limit blocks it now, and opens again before its deadline."""
        now = self._clock.monotonic()
        return now < self._session.opens_at(now) < self.schedule.deadline

    def give_up_peers(self) -> None:
        """Stop covering its peers' commands with its poll."""
        if self.schedule.release():
            for peer in self._peers.resting(self):
                peer.wake_if_due()

    def can_go_on_for(self, other: Schedule) -> bool:
        """Tell whether it waits for the poll of `other`, and has none of its own to continue."""
        return not self._looks and self.schedule.waits_for(other)

    def go_on_with(self, looks: deque[Look], pages: Walk | None) -> None:
        """Take over the poll of a peer, with the walk of its first look if that has begun."""
        self._looks, self._pages = looks, pages
        if pages is not None:
            pages.go_on_by(self._session)
        self.wake()

    def _forget_looks(self) -> None:
        self._looks.clear()
        self._pages = None

    def _leave_turn(self) -> None:
        """Release the peers' turn if none of them needs it, as it would be wasted."""
        if self._peers.turn.time is None:
            return
        now = self._clock.monotonic()
        if not any(peer.is_due(now) for peer in self._peers.resting(self)):
            self._session.polls.leave(self._peers.turn)

    def succeeded(self, command_id: str) -> bool:
        """Tell whether a pending command was seen in SUCCESS."""
        return self._pending[command_id].named_by is not None

    def overdue(self) -> list[str]:
        """Return the pending commands that, as the list has shown since, had not ended by their deadline."""
        return [one.command_id for one in self._pending.values() if one.was_pending_at_deadline]

    def out_of_time(self) -> list[str]:
        """Return the commands that are `overdue`, and those that a poll has requested since without a result."""
        return [
            one.command_id
            for one in self._pending.values()
            if one.was_pending_at_deadline or (one.tried >= one.deadline and one.asker is None)
        ]

    def take_ended(self) -> list[Command]:
        """Return the commands that have ended since the last call, in the order in which they ended.

        They are kept until then: a poll that fails on a later page, or is cancelled, loses none of them.
        """
        if self._notes.ended and self._looks:
            # A peer's poll showed them while this one's own poll waited for its turn.  The follower now delivers them,
            # which may take long.
            self.hand_back()
        return self._notes.take_ended()

    @property
    def next_poll_at(self) -> float:
        """When the next poll is due, by the monotonic clock; infinity if nothing is pending."""
        due = self._clock.monotonic() if self._looks else self.schedule.next_due
        turn = self._peers.turn
        return due if turn.time is None else max(due, turn.time)

    async def poll(self) -> None:
        """Request what is due, as far as the share of the rate limit allows; `take_ended` returns what has ended.

        If others have used up the share, it queues up with them.  While a peer's poll is in progress it requests
        nothing.  Raises `DexError`.  What could not be requested is due again a little later.
        """
        if self._peers.wait_for_asker(self) is not None:
            return
        now = self._clock.monotonic()
        if not self._looks:
            # The poll is planned only when its turn comes, so that commands that become due until then are included.
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
        """Reschedule all commands that the poll has shown, and leave the rest to the peers unless it continues."""
        for watch in (self, *(peer for peer in self._peers.resting(self) if peer.schedule.is_touched)):
            watch.settle()
        self._peers.known.forget()
        if not queues_up:
            # The follower now delivers what has ended.  It may take long, or never poll again.
            self.hand_back()
        if not self._looks:
            self._leave_turn()
        for peer in self._peers.resting(self):
            peer.wake_if_due()

    def settle(self) -> None:
        """Reschedule all commands that a poll has shown."""
        self._notes.settle()

    async def _finish(self, look: Look) -> bool:
        """Continue a look to its end.

        Returns False if the share of the rate limit is used up before, or if only commands of peers are left, which the
        peers can request.
        """
        if self._pages is None:
            self._pages = self._walk(look)
        pages = self._pages
        # Another look, or a peer's poll, may have shown some of its commands.
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
                logger.warning("the service refused the filters, so the list is read without them: %s", error)
                self.schedule.filters = False
                return True
            self._peers.note_progress(self)
            brought = self._note_rows(look, rows)
            look.brought = look.brought or brought
            if look.is_glance or (look.is_probe and not pages.ended and look.rows >= look.most_rows):
                return True
            if look.status is not None and not ((brought or look.is_probe) and self.schedule.filters):
                # If a page of a query shows only other commands, its next page is not worth a request.
                return True
        look.missing = missing
        look.is_complete = True
        return True

    def _asks_for_its_own(self, look: Look) -> bool:
        """Tell whether the poll, of which this look is next, still covers any of its own commands."""
        return look.is_glance or self.schedule.asks_for_own

    def _walk(self, look: Look) -> Walk:
        times = {"from": ("since", look.since), "to": ("until", look.until)}
        bounds = {name: format_time(side, time) for name, (side, time) in times.items() if time is not None}
        query = ListQuery("/dex/commands", MAX_PER_PAGE, {**look.filters, **bounds}, bound="to")
        return Walk(self._session, query, decode_commands, identity)

    def _is_turn(self, now: float) -> bool:
        """Tell whether the share of the rate limit allows one more request; otherwise queue up for it."""
        limit = self._session.settings.rate_limit
        return limit is None or self._session.polls.ask(self._peers.turn, limit, now) <= now

    def _take_turn(self, now: float) -> bool:
        """Count one request as sent now if the share of the rate limit allows it; otherwise queue up for it."""
        limit = self._session.settings.rate_limit
        return limit is None or self._session.polls.take(self._peers.turn, limit, now)

    def _note_rows(self, look: Look, rows: Sequence[Command]) -> bool:
        """Process a page, and tell whether it showed any commands of the look."""
        missing = len(look.missing)
        look.rows += len(rows)
        shown: dict[str, Command] = {}
        for command in rows:
            if look.status is not None and command.status in STATUSES - {look.status}:
                # The filter does not work: it lets other statuses through, so it may also hide matching rows.
                self.schedule.filters = False
            if command.id is not None:
                shown[command.id] = command
                look.missing.pop(command.id, None)
        for watch in (self, *self._peers.resting(self)):
            watch.take_over(shown)
        return len(look.missing) < missing

    def take_over(self, shown: Mapping[str, Command]) -> None:
        """Process a page of its own or a peer's poll.

        If that shows ended commands, and no more is expected from a poll, a resting watch is woken.
        """
        if self._notes.take_over(shown) and self._notes.ended and not self.schedule.waits_for_any:
            self.wake()
