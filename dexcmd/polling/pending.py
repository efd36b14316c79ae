"""What is known of a command that has not ended, and where in the list it must be."""

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
"""What `created_between` adds on each side: whether the service's bounds include their ends is not documented."""


@attrs.define(eq=False, kw_only=True)
class Pending:
    """What is known of a command that has not ended.  Times that are floats are of the monotonic clock."""

    command_id: str
    created: datetime | None = None
    """When it was created, once the list has told."""

    not_before: datetime | None = None
    """A time before which it did not exist, where one is known."""

    command_type: str | None = None
    device_id: str | None = None
    added: float = 0.0
    """When it came to be followed."""

    born: float | None = None
    """When it was created, as near as that is known."""

    is_new: bool = False
    """Whether it was followed from its creation on."""

    deadline: float = math.inf
    """When whoever follows it wants to be told that it has not ended."""

    seen: Command | None = None
    """What the list last told of it."""

    named_by: float | None = None
    """How long to wait for the name of its file, where it was seen in SUCCESS without."""

    looked: float | None = None
    """When the list last told of it, or did not show it where it must be."""

    is_stray: bool = False
    """Whether the list did not show it where it must be, nor ever: it lags, or there is no such command."""

    probed: float = -math.inf
    """When the last probe began that did not show it among those that have ended."""

    probes: int = 0
    """How often that was all there was to go by, since its row was last looked for."""

    tried: float = -math.inf
    """When the last poll began that was to tell of it."""

    due: float = -math.inf
    """When it is to be looked for next."""

    schedule: "Schedule | None" = None
    """What says when it is due, once it is followed."""

    asker: "Schedule | None" = None
    """By which a poll has begun that has still to tell of it: its own, or that of a peer."""

    @property
    def place(self) -> float:
        """Where it stands among the others in time."""
        return self.added if self.born is None else self.born

    @property
    def last_touched(self) -> float:
        """Since when it has been waiting to be looked for."""
        return self.added if self.looked is None else self.looked

    @property
    def was_pending(self) -> bool:
        """Tell whether the list has told of it, and that it is at work: what a query by status can tell anew."""
        return self.seen is not None and not self.seen.ended

    @property
    def was_pending_at_deadline(self) -> bool:
        """Tell whether the list has told, after its deadline, that it has not ended, or did not show its row."""
        return self.last_touched >= self.deadline and self.looked is not None and not self.probes

    def age(self, now: float) -> float:
        """Return for how many seconds it has existed, at least."""
        return max(0.0, now - self.place)

    def chance(self, durations: Durations, now: float) -> float:
        """Return how likely it has ended since it was last looked for."""
        return durations.chance(self.command_type, self.age(self.last_touched), self.age(now))


def created_between(pending: Iterable[Pending]) -> tuple[datetime | None, datetime | None]:
    """Return the stretch of time in which all of `pending` were created, with a margin; None for what is not known."""
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
    """Return a time so many seconds later; None where there is none."""
    try:
        return time + timedelta(seconds=seconds)
    except OverflowError:
        # Some services say the first moment of all where they have no time, and nothing is before that.
        return None
