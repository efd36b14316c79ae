"""Forecasts of what a campaign takes: days of quota, requests, time and bytes.  Pure."""

import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

import attrs

from dexcmd.campaign.turns import Wave
from dexcmd.resources.quota import Quota
from dexcmd.resources.requests import MAX_PER_POST, CommandArgs, Pcap
from dexcmd.wire.pages import MAX_PER_PAGE
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
"""Rules of thumb for how often each page of commands is polled: commands that take seconds, or a quarter of an hour.

With a thousand commands, runs polled each page 2.9 times (commands ended at once), 3.4 (seconds), 5.9 (one to two
minutes) and 11.4 times (two to fifteen minutes).
"""

DAY = timedelta(days=1)
MEGABYTE = 1_000_000
USUAL_MEGABYTES = 5.0
"""The size below which the service keeps a pcap by default."""


@attrs.frozen(kw_only=True)
class QuotaForecast:
    """How far an account's quota goes."""

    quota: int | None
    """Commands per day, according to the service; None if it does not say."""

    usage: int | None
    """How many of these have been created already."""

    reset_time: datetime | None
    """When the next day begins."""

    today: int | None
    """Commands that can be created before the reset, leaving `leave_quota`; None if the quota is unknown."""

    per_day: int | None
    """Commands that can be created on each day after that."""

    days: int | None
    """Days on which commands are created, not counting those that would be too late.

    None if the quota is unknown, or if it never suffices because `per_day` is 0.
    """

    last_reset: datetime | None
    """The reset that the last commands wait for; None if they wait for none, or it is unknown."""

    late: int
    """Commands that the quota leaves for after the deadline, and that are therefore not created."""


@attrs.frozen(kw_only=True)
class Requests:
    """Numbers of requests.

    A run also asks for the quota: when it starts or resumes, and after each reset that it waited for.  These are not
    counted, as they depend on how often it is resumed.
    """

    planning: int = 0
    """Requests that this plan took, not counting retries: quota, pages of devices and of recent commands."""

    create: int = 0
    """POSTs of up to ten commands, at the fewest.

    Exact if `most_create` is the same, provided that none is refused or lost, and that a run waits for the next day
    only because of the quota.
    """

    most_create: int = 0
    """The same, at the most: registrations of one device may have to wait for one another, and whether those of several
    devices share a POST depends on when what they wait for ends.
    """

    download: int = 0
    """One for each target.  Exact if all succeed and none is interrupted."""

    polls: int = 0
    """Pages of the list of commands that are read to follow them, if they take seconds.  An estimate."""

    most_polls: int = 0
    """The same, if they take a quarter of an hour."""

    audit: int = 0
    """Pages of the list that the final audit reads.  An estimate: other people's commands are among them."""

    @property
    def total(self) -> int:
        """Return the sum, an estimate, with the fewest POSTs and commands that take seconds."""
        return self.planning + self.create + self.download + self.polls + self.audit

    @property
    def most(self) -> int:
        """Return the sum, an estimate, with the most POSTs and slow commands."""
        return self.total - self.create + self.most_create - self.polls + self.most_polls

    def __add__(self, other: "Requests") -> "Requests":
        """Return the sum of both, number by number."""
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
    """The total size of the artifacts."""

    kind: Literal["mean", "at_most", "unknown"]
    """`mean`: from artifacts of this type in the journal; `at_most`: from the args; `unknown`: from neither."""

    each: float | None
    """Bytes of one artifact; None if unknown."""

    total: int | None
    """Bytes of all artifacts; None if unknown."""

    n: int = 0
    """How many artifacts the mean is taken over."""


def quota_forecast(
    commands: int, quota: Quota, *, leave: int, now: datetime, deadline: datetime | None
) -> QuotaForecast:
    """Return how far a quota goes for `commands` commands, with `leave` of it left to others each day."""
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
        # The service may name a time beyond the calendar.
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
    """Return the requests for the targets of some waves, not counting those that would be too late.

    A POST holds commands of one wave only, and no more than may be in flight or than the day's quota has room for.
    """
    commands = left = sum(wave.size for wave in waves) - quota.late
    room = quota.today
    create = most_create = pages = most_pages = 0
    for wave in waves:
        part = wave.first(left)
        least, most = _groups(part, room, quota.per_day, min(MAX_PER_POST, in_flight))
        create, most_create = create + least, most_create + most
        least, most = _groups(part, room, quota.per_day, min(MAX_PER_PAGE, in_flight))
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
        audit=-(-commands // MAX_PER_PAGE) + 1 if commands else 0,
    )


def _groups(wave: Wave, room: int | None, per_day: int | None, size: int) -> tuple[int, int]:
    """Return the fewest and the most groups of up to `size` in which a wave is created.

    Targets that wait go out last, at worst one by one: once a group is not full, everything left is waiting.
    """
    least = _groups_of(wave.size, room, per_day, size)
    most = _groups_of(wave.size - wave.waiting, room, per_day, size) + wave.waiting
    return max(least, wave.turns), most


def _groups_of(targets: int, room: int | None, per_day: int | None, size: int) -> int:
    """Return in how many groups the targets are created, each within one day."""
    if room is None or not per_day:
        # If the quota never suffices, they are created once there is one that does.
        return -(-targets // size)
    today = min(targets, room)
    days, rest = divmod(targets - today, per_day)
    return -(-today // size) + days * -(-per_day // size) + -(-rest // size)


def _room_after(targets: int, room: int | None, per_day: int | None) -> int | None:
    """Return the quota left on the day on which the last of the targets is created."""
    if room is None or not per_day:
        return room
    return room - targets if targets <= room else -(targets - room) % per_day


def least_seconds(requests: int, limit: RateLimit) -> float:
    """Return the least time in which that many requests of one token can be sent."""
    if requests < 1:
        return 0.0
    windows, others = divmod(requests - 1, limit.requests)
    return windows * limit.seconds + float(others // limit.per_second)


def size_forecast(args: CommandArgs, targets: int, known: int, mean: float) -> SizeForecast:
    """Return the size of the artifacts of `targets` targets.

    The journal has `known` artifacts of the type, of `mean` bytes on average.  `max_file_size_mb` bounds one pcap.
    """
    if known:
        return SizeForecast(kind="mean", each=mean, total=round(mean * targets), n=known)
    if isinstance(args, Pcap):
        each = (args.max_file_size_mb or USUAL_MEGABYTES) * MEGABYTE
        # The args may name a bound beyond any number.
        if each * max(1, targets) <= sys.float_info.max:
            return SizeForecast(kind="at_most", each=each, total=math.ceil(each * targets))
    return SizeForecast(kind="unknown", each=None, total=None)
