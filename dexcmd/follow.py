"""Following commands to their end with one shared poll.

There is no call for a single command, so following means listing.  A poll costs pages, not commands: it asks
for the stretch of time in which the pending commands were made, newest first, and stops as soon as it has
seen each of them.
"""

import math
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import attrs

from dexcmd.async_only import AsyncOnlyContext, AsyncOnlyIteration
from dexcmd.clock import Clock
from dexcmd.errors import ConfigurationError, DexError, WaitTimeoutError
from dexcmd.events import CommandFinished
from dexcmd.paging import MOST_PER_PAGE, Listing, ListQuery
from dexcmd.resources.command import Command, decode_commands, identity
from dexcmd.session import Session
from dexcmd.validators import finite_number
from dexcmd.wire.times import format_time
from dexcmd.wire.window import RateLimit

__all__ = ["POLL_SHARE", "Follow", "Pending", "PollPace", "Watch", "created_between"]

POLL_SHARE = 0.25
"""The most that polling takes of the rate limit; the rest is for creating and downloading."""

SLOWEST_FACTOR = 5.0
"""Polls that bring nothing come up to so many times as far apart as asked for."""

GROWTH = 1.5


@attrs.define
class PollPace:
    """How long to wait before the next poll.

    Longer while nothing changes, and never too dear for the rate limit.
    """

    interval: float
    rate_limit: RateLimit | None
    _factor: float = 1.0

    def after(self, *, pages: int, changed: bool) -> float:
        """Return the seconds from a poll that took `pages` requests to the next."""
        self._factor = 1.0 if changed else min(SLOWEST_FACTOR, self._factor * GROWTH)
        wait = self.interval * self._factor
        return wait if self.rate_limit is None else max(wait, self.rate_limit.seconds_for(pages, POLL_SHARE))


@attrs.define
class Pending:
    """What is known of a command that has not ended."""

    created: datetime | None = None
    """When it was created, once the list has told."""

    not_before: datetime | None = None
    """A time before which it did not exist, where one is known."""

    seen: Command | None = None
    """What the list last told of it."""

    succeeded_at: float | None = None
    """When it was first seen in SUCCESS, by this machine's clock."""


def created_between(pending: Iterable[Pending]) -> tuple[datetime | None, datetime | None]:
    """Return the stretch of time in which all of `pending` were created; None for a side that is not known.

    A second is added on both sides: whether the service's bounds include their ends is not documented.
    """
    earliest: list[datetime] = []
    latest: list[datetime] = []
    open_start = open_end = False
    for one in pending:
        start = one.created or one.not_before
        if start is None:
            open_start = True
        else:
            earliest.append(start)
        if one.created is None:
            open_end = True
        else:
            latest.append(one.created)
    since = None if open_start or not earliest else _shifted(min(earliest), -1)
    until = None if open_end or not latest else _shifted(max(latest), 1)
    return since, until


def _shifted(time: datetime, seconds: float) -> datetime | None:
    try:
        return time + timedelta(seconds=seconds)
    except OverflowError:
        # Some services say the first moment of all where they have no time, and nothing is before that.
        return None


class Watch:
    """The pending commands of one follower, and a poll for all of them.

    A command in SUCCESS whose file name is missing counts as pending for `filename_grace` seconds more.
    """

    def __init__(self, session: Session, *, filename_grace: float = 0.0) -> None:
        self._session = session
        self._filename_grace = filename_grace
        self._pending: dict[str, Pending] = {}
        self._ended: list[Command] = []

    def __len__(self) -> int:
        """Return how many commands are pending."""
        return len(self._pending)

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of the pending commands."""
        return tuple(self._pending)

    def add(self, command_id: str, created: datetime | None = None, not_before: datetime | None = None) -> None:
        """Watch one more command."""
        self._pending.setdefault(command_id, Pending(created, not_before))

    def drop(self, command_id: str) -> Command | None:
        """Stop watching a command, and return the last that the list told of it."""
        return self._pending.pop(command_id).seen

    def succeeded(self, command_id: str) -> bool:
        """Tell whether a pending command was seen in SUCCESS."""
        seen = self._pending[command_id].seen
        return seen is not None and seen.succeeded

    def take_ended(self) -> list[Command]:
        """Return the commands that have ended since this was last asked.

        They are kept until then: a poll that fails on a later page, or is cancelled, loses none of them.
        """
        ended, self._ended = self._ended, []
        return ended

    async def poll(self) -> "Poll":
        """Look for the pending commands once; `take_ended` has those that have ended.  Raises `DexError`."""
        since, until = created_between(self._pending.values())
        filters: dict[str, str] = {}
        if since is not None:
            filters["from"] = format_time("since", since)
        if until is not None:
            filters["to"] = format_time("until", until)
        query = ListQuery("/dex/commands", MOST_PER_PAGE, filters, bound="to")
        pages = Listing(self._session, query, decode_commands, identity).pages()
        unseen = set(self._pending)
        changed = False
        while unseen and (rows := await anext(pages, None)) is not None:
            for command in rows:
                if command.id in unseen:
                    unseen.discard(command.id)
                    if command.id not in self._pending:
                        # It was dropped meanwhile.
                        continue
                    changed = self._note(command.id, command) or changed
        self._expect_late(unseen, pages.served_at)
        return Poll(pages.fetched, changed)

    def _note(self, command_id: str, command: Command) -> bool:
        """Take over what the list tells of a command, and tell whether it is something new."""
        pending = self._pending[command_id]
        changed = pending.seen is None or pending.seen.status != command.status
        pending.seen = command
        pending.created = command.created_date or pending.created
        if command.ended and not self._waits_for_filename(pending, command):
            del self._pending[command_id]
            self._ended.append(command)
            self._session.emit(CommandFinished(command_id, command.status or ""))
        return changed

    def _waits_for_filename(self, pending: Pending, command: Command) -> bool:
        if not command.succeeded or command.filename is not None:
            return False
        now = self._session.settings.clock.monotonic()
        if pending.succeeded_at is None:
            pending.succeeded_at = now
        return now - pending.succeeded_at < self._filename_grace

    def _expect_late(self, unseen: Iterable[str], walked_at: datetime | None) -> None:
        """Note that commands which a whole walk did not show must be recent: the list shows them late."""
        if walked_at is None:
            return
        for command_id in unseen & self._pending.keys():
            pending = self._pending[command_id]
            if pending.created is None and pending.not_before is None:
                pending.not_before = _shifted(walked_at, -self._session.settings.settle_seconds)


@attrs.frozen
class Poll:
    """What one poll took and brought."""

    pages: int
    changed: bool
    """Whether any pending command has another status than at the last poll."""


class Follow(AsyncOnlyContext, AsyncOnlyIteration):
    """Commands, each once, as they reach SUCCESS or FAILED.

        async with dex.commands.follow(ids) as commands:
            async for command in commands: ...

    It polls only while it is iterated, so a slow consumer costs no requests, and there is no task to leave
    behind.
    """

    def __init__(self, session: Session, watch: Watch, *, timeout: float, poll_interval: float) -> None:
        for name, value in (("timeout", timeout), ("poll_interval", poll_interval)):
            if not finite_number(name, value) > 0:
                raise ConfigurationError(f"{name} must be above 0, not {value!r}")
        self._clock: Clock = session.settings.clock
        self._watch = watch
        self._timeout = timeout
        self._deadline: float | None = None
        self._pace = PollPace(poll_interval, session.settings.rate_limit)
        self._next_poll = -math.inf
        self._last_poll = -math.inf
        self._ended: deque[Command] = deque()

    async def __aenter__(self) -> Self:
        """Start the time that `timeout` counts."""
        self._deadline = self._clock.monotonic() + self._timeout
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: leaving early leaves nothing behind, and the commands themselves go on."""

    def __aiter__(self) -> Self:
        """Return itself: following goes on where it stands."""
        return self

    async def __anext__(self) -> Command:
        """Return the next command that has ended.

        Raises `WaitTimeoutError` once the time is over, with the ids that are still pending, and `DexError`.
        """
        if self._deadline is None:
            raise RuntimeError("Follow: enter it with `async with` before iterating over it")
        while not self._ended:
            if not len(self._watch):
                raise StopAsyncIteration
            await self._wait(self._deadline)
            self._last_poll = self._clock.monotonic()
            try:
                poll = await self._watch.poll()
            except DexError:
                # What has ended comes first; if the trouble lasts, the next poll tells.
                self._ended.extend(self._watch.take_ended())
                if not self._ended:
                    raise
            else:
                self._ended.extend(self._watch.take_ended())
                self._next_poll = self._clock.monotonic() + self._pace.after(pages=poll.pages, changed=poll.changed)
        return self._ended.popleft()

    async def _wait(self, deadline: float) -> None:
        # Only a poll at the end of the time, or later, can tell that something has not ended in time: whoever iterates
        # may have been busy for long.
        if self._last_poll >= deadline:
            raise WaitTimeoutError(
                f"{len(self._watch)} commands have not ended after {self._timeout:g} s", self._watch.ids
            )
        wait = min(self._next_poll, deadline) - self._clock.monotonic()
        if wait > 0:
            await self._clock.sleep(wait)
