"""What a campaign will take: days of quota, requests, time and bytes.  Pure."""

import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

import attrs

from dexcmd.campaign.turns import Wave
from dexcmd.resources.quota import Quota
from dexcmd.resources.requests import MOST_PER_POST, CommandArgs, Pcap
from dexcmd.wire.pages import MOST_PER_PAGE
from dexcmd.wire.window import RateLimit

__all__ = [
    "QuotaForecast",
    "Requests",
    "SizeForecast",
    "least_seconds",
    "quota_forecast",
    "request_forecast",
    "size_forecast",
]

POLLS_OF_A_PAGE = (2, 12)
"""How often a page of commands is looked at, as a rule of thumb, where they take seconds, and a quarter of an hour.

Of a thousand, runs have looked at each page 2.9 times (they were done at once), 3.4 (seconds), 5.9 (one to two minutes)
and 11.4 times (two to fifteen minutes).
"""

DAY = timedelta(days=1)
MEGABYTE = 1_000_000
USUAL_MEGABYTES = 5.0
"""What the service keeps a pcap below where nothing else is asked for."""


@attrs.frozen(kw_only=True)
class QuotaForecast:
    """How far an account's quota goes."""

    quota: int | None
    """Commands a day, as the service says; None where it doesn't."""

    usage: int | None
    """Of these, how many are created already."""

    reset_time: datetime | None
    """When the next day begins."""

    today: int | None
    """Commands that can be created before the reset, with `leave_quota` left; None where the quota is not told."""

    per_day: int | None
    """Commands that can be created on each day that follows."""

    days: int | None
    """Days on which commands are created, without those that come too late.

    None where the quota is not told, or where it never suffices, for `per_day` is 0.
    """

    last_reset: datetime | None
    """The reset that the last of the commands wait for; None where they wait for none, or it can't be told."""

    late: int
    """Commands that the quota leaves for after the deadline, so that they are not created."""


@attrs.frozen(kw_only=True)
class Requests:
    """How many requests there are.

    A run also asks for the quota: when it begins or goes on, and after each reset that it waited for.  As that depends
    on how often it goes on, it is not counted.
    """

    planning: int = 0
    """What this plan took, without what had to be sent again: quota, pages of devices and of recent commands."""

    create: int = 0
    """POSTs of up to ten commands, as few as it can be.

    Exact where `most_create` is the same, as long as none is refused or lost, and only the quota makes a run wait for
    the next day.
    """

    most_create: int = 0
    """Likewise, as many as it can be: registrations of one device may have to wait for one another, and whether those
    of several devices go out together depends on when what they wait for ends.
    """

    download: int = 0
    """One for each target.  Exact, as long as all succeed and none breaks off."""

    polls: int = 0
    """Pages of the list of commands that are read to follow them, where they take seconds.  An estimate."""

    most_polls: int = 0
    """Likewise, where they take a quarter of an hour."""

    audit: int = 0
    """Pages of the list that are looked through in the end.  An estimate: commands of others are among them."""

    @property
    def total(self) -> int:
        """Return all of them together, which is an estimate, with as few POSTs as it can be and commands of seconds."""
        return self.planning + self.create + self.download + self.polls + self.audit

    @property
    def most(self) -> int:
        """Return all of them together, which is an estimate, with as many POSTs as it can be and slow commands."""
        return self.total - self.create + self.most_create - self.polls + self.most_polls

    def __add__(self, other: "Requests") -> "Requests":
        """Return those of both."""
        return Requests(
            planning=self.planning + other.planning,
            create=self.create + other.create,
            most_create=self.most_create + other.most_create,
            download=self.download + other.download,
            polls=self.polls + other.polls,
            most_polls=self.most_polls + other.most_polls,
            audit=self.audit + other.audit,
        )


@attrs.frozen(kw_only=True)
class SizeForecast:
    """How many bytes the artifacts will have."""

    kind: Literal["mean", "at_most", "unknown"]
    """`mean`: as those of this type that the journal knows; `at_most`: by the args; `unknown`: neither."""

    each: float | None
    """Bytes of one artifact; None where unknown."""

    total: int | None
    """Bytes of all of them."""

    n: int = 0
    """How many artifacts the mean is of."""


def quota_forecast(
    commands: int, quota: Quota, *, leave: int, now: datetime, deadline: datetime | None
) -> QuotaForecast:
    """Return how far a quota goes for so many commands, `leave` of which are left to others each day."""
    remaining = quota.remaining
    today = None if remaining is None else max(0, remaining - leave)
    per_day = None if quota.quota is None else max(0, quota.quota - leave)
    late = _late(commands, today, per_day, quota.reset_time, now, deadline)
    days = resets = None
    if today is not None and per_day is not None and (per_day or commands <= today):
        in_time = commands - late
        left = max(0, in_time - today)
        resets = -(-left // per_day) if left else 0
        days = resets + (1 if in_time and today else 0)
    last_reset = None
    if resets and quota.reset_time is not None:
        # What it says may be as good as never.
        with suppress(OverflowError):
            last_reset = quota.reset_time + (resets - 1) * DAY
    return QuotaForecast(
        quota=quota.quota,
        usage=quota.quota_usage,
        reset_time=quota.reset_time,
        today=today,
        per_day=per_day,
        days=days,
        last_reset=last_reset,
        late=late,
    )


def _late(
    commands: int,
    today: int | None,
    per_day: int | None,
    reset_time: datetime | None,
    now: datetime,
    deadline: datetime | None,
) -> int:
    if deadline is None:
        return 0
    if now >= deadline:
        return commands
    if today is None or per_day is None:
        return 0
    resets = math.ceil((deadline - reset_time) / DAY) if reset_time is not None else 0
    return max(0, commands - today - max(0, resets) * per_day)


def request_forecast(waves: Sequence[Wave], quota: QuotaForecast, *, in_flight: int, planning: int = 0) -> Requests:
    """Return the requests for the targets of some waves that do not come too late.

    A POST holds commands of one wave, as many as may be in flight, and only as many as the day's quota has room for.
    """
    commands = left = sum(wave.size for wave in waves) - quota.late
    room = quota.today
    create = most_create = pages = most_pages = 0
    for wave in waves:
        part = wave.first(left)
        least, most = _groups(part, room, quota.per_day, min(MOST_PER_POST, in_flight))
        create, most_create = create + least, most_create + most
        least, most = _groups(part, room, quota.per_day, min(MOST_PER_PAGE, in_flight))
        pages, most_pages = pages + least, most_pages + most
        room = _room_after(part.size, room, quota.per_day)
        left -= part.size
    few, many = POLLS_OF_A_PAGE
    return Requests(
        planning=planning,
        create=create,
        most_create=most_create,
        download=commands,
        polls=pages * few,
        most_polls=most_pages * many,
        audit=-(-commands // MOST_PER_PAGE) + 1 if commands else 0,
    )


def _groups(wave: Wave, room: int | None, per_day: int | None, size: int) -> tuple[int, int]:
    """Return how few and how many groups of up to `size` a wave is created in.

    Those that wait are the last to go out, at worst each by itself: once a group is smaller than it might be, all that
    is left waits.
    """
    least = _groups_of(wave.size, room, per_day, size)
    most = _groups_of(wave.size - wave.waiting, room, per_day, size) + wave.waiting
    return max(least, wave.turns), most


def _groups_of(targets: int, room: int | None, per_day: int | None, size: int) -> int:
    """Return in how many groups so many targets are created, each within a day."""
    if room is None or not per_day:
        # Where the quota never suffices, they are created whenever there is one that does.
        return -(-targets // size)
    today = min(targets, room)
    days, rest = divmod(targets - today, per_day)
    return -(-today // size) + days * -(-per_day // size) + -(-rest // size)


def _room_after(targets: int, room: int | None, per_day: int | None) -> int | None:
    """Return what is left of the day on which the last of so many targets is created."""
    if room is None or not per_day:
        return room
    return room - targets if targets <= room else -(targets - room) % per_day


def least_seconds(requests: int, limit: RateLimit) -> float:
    """Return the least time in which so many requests of one token can go out."""
    if requests < 1:
        return 0.0
    windows, others = divmod(requests - 1, limit.requests)
    return windows * limit.seconds + float(others // limit.per_second)


def size_forecast(args: CommandArgs, targets: int, known: int, mean: float) -> SizeForecast:
    """Return the size of the artifacts of so many targets.

    The journal knows so many of the type, with that mean.  `max_file_size_mb` bounds one pcap.
    """
    if known:
        return SizeForecast(kind="mean", each=mean, total=round(mean * targets), n=known)
    if isinstance(args, Pcap):
        each = (args.max_file_size_mb or USUAL_MEGABYTES) * MEGABYTE
        # What the args say may be as good as no bound.
        if each * max(1, targets) <= sys.float_info.max:
            return SizeForecast(kind="at_most", each=each, total=math.ceil(each * targets))
    return SizeForecast(kind="unknown", each=None, total=None)
