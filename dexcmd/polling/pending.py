"""What is known about a command that has not ended, and where in the list it must be."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from dexcmd.polling.durations import Durations
from dexcmd.resources.command import Command

if TYPE_CHECKING:
    from dexcmd.polling.schedule import Schedule

__all__ = ["MARGIN_SECONDS", "Pending", "created_between", "shifted"]

MARGIN_SECONDS = 1.0
"""The margin of `created_between` on each side: whether the service's bounds are inclusive is not documented."""


@attrs.define(eq=False, kw_only=True)
class Pending:
    """What is known about a command that has not ended.  Times given as floats are of the monotonic clock."""

    command_id: str
    created: datetime | None = None
    """When it was created, once the list has shown it."""

    not_before: datetime | None = None
    """A time before which it did not exist, if known."""

    command_type: str | None = None
    device_id: str | None = None
    added: float = 0.0
    """When following it began."""

    born: float | None = None
    """When it was created, as far as is known."""

    is_new: bool = False
    """Whether it has been followed since its creation."""

    deadline: float = math.inf
    """When the follower must learn that it has not ended."""

    seen: Command | None = None
    """How the list last showed it."""

    named_by: float | None = None
    """Until when to wait for its file name, if it was seen in SUCCESS without one."""

    looked: float | None = None
    """When the list was last read where its row must be, whether that showed it or not."""

    is_stray: bool = False
    """Whether the list has never shown it, although it was read where the row must be.

    The list lags, or there is no such command.
    """

    probed: float = -math.inf
    """When the last probe began that did not show it, and so suggests that it has not ended."""

    probes: int = 0
    """How many such probes there have been since its row was last looked for."""

    tried: float = -math.inf
    """When the last poll for it began."""

    due: float = -math.inf
    """When to look for it next."""

    schedule: "Schedule | None" = None
    """The schedule that it belongs to, once it is followed."""

    asker: "Schedule | None" = None
    """The schedule, its own or a peer's, whose current poll still has to show it."""

    @property
    def place(self) -> float:
        """Its position in the list, as a time: when it was created or, if that is unknown, when following it began."""
        return self.added if self.born is None else self.born

    @property
    def last_touched(self) -> float:
        """When it began to wait for its next look."""
        return self.added if self.looked is None else self.looked

    @property
    def was_pending(self) -> bool:
        """Whether the list has shown it as running, which a query by status can confirm."""
        return self.seen is not None and not self.seen.ended

    @property
    def was_pending_at_deadline(self) -> bool:
        """Whether the list was read for its row after its deadline.  As it is pending, that did not show an end."""
        return self.last_touched >= self.deadline and self.looked is not None and not self.probes

    def age(self, now: float) -> float:
        """Return for how many seconds, at least, it has existed."""
        return max(0.0, now - self.place)

    def chance(self, durations: Durations, now: float) -> float:
        """Return the probability that it has ended since it was last looked for."""
        return durations.chance(self.command_type, self.age(self.last_touched), self.age(now))


def created_between(pending: Iterable[Pending]) -> tuple[datetime | None, datetime | None]:
    """Return the period in which all of `pending` were created, with a margin; None for an unknown bound."""
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
    since = None if open_start or not earliest else shifted(min(earliest), -MARGIN_SECONDS)
    until = None if open_end or not latest else shifted(max(latest), MARGIN_SECONDS)
    return since, until


def shifted(time: datetime, seconds: float) -> datetime | None:
    """Return a time shifted by `seconds`; None if out of range."""
    try:
        return time + timedelta(seconds=seconds)
    except OverflowError:
        # Some services send the minimum time in place of a missing one, and nothing comes before that.
        return None
