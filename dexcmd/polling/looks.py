"""What to request from the list so that few requests show the state of many commands."""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from dexcmd.polling.durations import Durations
from dexcmd.polling.pending import MARGIN_SECONDS, Pending, created_between
from dexcmd.resources.command import FAILED, PENDING_EXEC, PENDING_UPLOAD, SUCCESS
from dexcmd.wire.pages import MAX_PER_PAGE

__all__ = ["Look", "Rows", "Run", "ask", "choose_looks", "glance", "looks_after", "runs"]

ASK_FROM = 3.0
"""A second query by status is made only if it may save this many requests: it costs one, and may not show all."""

ASKED = (PENDING_EXEC, PENDING_UPLOAD, FAILED)
"""The statuses to query, in this order.  Most commands that take long wait for their device, or failed with it."""

PROBED = (SUCCESS, FAILED)
PROBE_SAVES = 2.0
"""How many requests a probe must be likely to save: if it doesn't, it costs one or two more."""

PROBE_UNSEEN_FROM = 5.0
"""From how many pages on a run with commands never seen is probed, if it has few other rows of ours."""

MAX_PROBES = 2
"""After this many probes in a row, a command's own row is looked for: the service may not support the filter."""

QUIET = 0.25
"""Commands less likely than this to have ended may join a query by status for others."""


@attrs.define(eq=False)
class Look:
    """One walk over the list, or a filtered part of it, which ends as soon as nothing is missing."""

    missing: dict[str, Pending]
    """The commands it is for, except those it has shown."""

    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    device_id: str | None = None
    is_glance: bool = False
    """Whether it ends with its first page."""

    is_probe: bool = False
    """Whether it covers all commands with that status, so that those it does not show have another."""

    most_rows: float = math.inf
    """After how many rows a probe is abandoned: a walk over everything would have been cheaper."""

    begun: float = -math.inf
    """When a probe was planned: it need not show commands that end later, however long it takes."""

    brought: bool = False
    """Whether it has shown any of its commands yet."""

    start: float = -math.inf
    """The creation time of its first command, by the monotonic clock."""

    end: float = math.inf
    """The creation time of its last command."""

    rows: int = 0
    """How many rows it has shown."""

    is_complete: bool = False
    """Whether it has reached the end of what it requested."""

    @property
    def is_walk(self) -> bool:
        """Whether it shows everything, so that commands missing at its end are not in the list."""
        return self.status is None and not self.is_glance

    @property
    def filters(self) -> dict[str, str]:
        """The filters other than the times."""
        given = {"status": self.status, "device_id": self.device_id}
        return {name: value for name, value in given.items() if value is not None}


class Rows:
    """The known distribution of the list's rows over time: our rows, and how many rows there are for each of ours.

    "Our" rows are those of followed commands, ended or not.  Places are times of the monotonic clock.
    """

    def __init__(self) -> None:
        self._places: list[float] = []
        self._ended: list[float] = []
        self._crowd = 1.0

    def add(self, place: float) -> None:
        """Add a row of ours."""
        insort(self._places, place)

    def move(self, old: float, new: float) -> None:
        """Move a row of ours."""
        del self._places[bisect_left(self._places, old)]
        insort(self._places, new)

    def end(self, place: float) -> None:
        """Record that the command of a row of ours has ended."""
        insort(self._ended, place)

    def forget_before(self, place: float) -> None:
        """Drop the rows before `place`, which are too old to matter."""
        del self._places[: bisect_left(self._places, place)]
        del self._ended[: bisect_left(self._ended, place)]

    def learn(self, walk: Look) -> None:
        """Learn from how many rows a walk showed."""
        ours = self.ours(walk.start, walk.end)
        if walk.device_id is None and ours > 1:
            self._crowd = max(1.0, walk.rows / ours)

    def pages(self, start: float, end: float) -> float:
        """Estimate how many pages the rows from `start` to `end` fill."""
        return max(1.0, self.ours(start, end) * self._crowd / MAX_PER_PAGE)

    def ended(self, start: float, end: float) -> float:
        """Estimate how many rows from `start` to `end` may be of ended commands: ours known to be, and all others."""
        known = bisect_right(self._ended, end) - bisect_left(self._ended, start)
        return known + (self._crowd - 1.0) * self.ours(start, end)

    def apart(self, earlier: float, later: float) -> bool:
        """Tell whether a page or more probably lies between two commands, so that two walks are cheaper than one."""
        seconds = later - earlier
        between = (self.ours(earlier, later) - 1) * self._crowd
        return seconds > 2 * MARGIN_SECONDS and between * (1 - 2 * MARGIN_SECONDS / seconds) > MAX_PER_PAGE

    def ours(self, start: float, end: float) -> int:
        """Return how many rows of ours lie from `start` to `end`, including ended ones."""
        return bisect_right(self._places, end) - bisect_left(self._places, start)


@attrs.frozen(eq=False)
class Run:
    """Commands that lie together in the list, from `start` to `end` of the monotonic clock."""

    commands: tuple[Pending, ...]
    start: float
    end: float
    pages: float
    """The estimated number of requests for a walk over them."""

    @property
    def is_cheaper_by_device(self) -> bool:
        """Whether querying the device of each takes fewer requests than a walk."""
        return len(self.commands) < self.pages and all(one.device_id is not None for one in self.commands)

    @property
    def cost(self) -> float:
        """The estimated number of requests to look for all of them."""
        return len(self.commands) if self.is_cheaper_by_device else self.pages

    def ends(self, durations: Durations, now: float) -> float:
        """Estimate how many of them have ended since they were last looked for."""
        return sum(one.chance(durations, now) for one in self.commands)


def runs(pending: Iterable[Pending], rows: Rows) -> list[Run]:
    """Group the commands into runs, each worth a walk of its own."""
    known: list[Pending] = []
    unknown: list[Pending] = []
    strays: list[Pending] = []
    for one in pending:
        (known if one.created is not None else strays if one.is_stray else unknown).append(one)
    # A walk for commands created at an unknown time starts at the newest row, and so passes these as well.
    passed = min(map(_start, unknown), default=math.inf)
    unknown += [one for one in known if one.place >= passed]
    groups = [group for group in (unknown, strays) if group]
    last: Pending | None = None
    for one in sorted((one for one in known if one.place < passed), key=_start):
        if last is None or rows.apart(last.place, one.place):
            groups.append([])
        groups[-1].append(one)
        last = one
    return [_run(group, rows) for group in groups]


def choose_looks(
    due: Sequence[Pending], others: Iterable[Pending], rows: Rows, durations: Durations, now: float, *, filters: bool
) -> list[Look]:
    """Return the looks that show the state of the due commands with the fewest requests.

    If only few of many have probably ended, a query by status shows those that are still pending, and only the rest is
    looked up then.  That query may include `others`, which are not due yet.  `filters` says whether the service
    supports such queries.
    """
    found = runs(due, rows)
    if not filters:
        return [_walk(run) for run in found]
    quiet = [
        run for run in found if all(one.was_pending for one in run.commands) and run.ends(durations, now) < run.cost
    ]
    asked = [one for run in quiet for one in run.commands]
    direct = sum(run.cost for run in quiet)
    ends = sum(run.ends(durations, now) for run in quiet)
    joining = [one for one in others if one.was_pending and one.chance(durations, now) < QUIET]
    joining = joining[: max(0, MAX_PER_PAGE - len(asked))]
    if not asked or 1 + len(asked) / MAX_PER_PAGE + ends >= direct + bool(joining):
        return _looks(found, rows, durations, now)
    rest = [run for run in found if run not in quiet]
    return [ask([*asked, *joining], ASKED[0]), *_looks(rest, rows, durations, now)]


def ask(commands: Sequence[Pending], status: str) -> Look:
    """Return the look that shows which of the commands have the given status."""
    since, until = created_between(commands)
    return Look({one.command_id: one for one in commands}, since, until, status)


def looks_after(look: Look, rows: Rows, durations: Durations, now: float, *, filters: bool) -> list[Look]:
    """Return the looks for what a query by status did not show, or for a query that the service refused."""
    if look.is_glance or (look.is_walk and look.is_complete) or not look.missing:
        return []
    missing = list(look.missing.values())
    found = runs(missing, rows)
    if not filters or (look.is_probe and not look.is_complete):
        return [_walk(run) for run in found]
    if look.is_probe:
        if look.status != PROBED[0]:
            return []
        return [attrs.evolve(look, status=PROBED[1], most_rows=look.most_rows - look.rows, rows=0, is_complete=False)]
    status = next(iter(ASKED[ASKED.index(look.status) + 1 :]), None) if look.status in ASKED else None
    if status is not None and sum(run.cost for run in found) >= ASK_FROM:
        return [ask(missing, status)]
    return _looks(found, rows, durations, now)


def glance(unseen: Iterable[Pending]) -> Look:
    """Return the look at the newest page, which shows how soon new commands appear in the list."""
    commands = {one.command_id: one for one in unseen}
    return Look(commands, created_between(commands.values())[0], is_glance=True)


def _start(one: Pending) -> float:
    return one.place if one.created is not None or one.not_before is not None else -math.inf


def _run(group: Sequence[Pending], rows: Rows) -> Run:
    start = min(map(_start, group)) - MARGIN_SECONDS
    is_closed = all(one.created is not None for one in group)
    end = max(one.place for one in group) + MARGIN_SECONDS if is_closed else math.inf
    return Run(tuple(group), start, end, rows.pages(start, end))


def _looks(found: Iterable[Run], rows: Rows, durations: Durations, now: float) -> list[Look]:
    looks: list[Look] = []
    for run in found:
        if run.is_cheaper_by_device:
            looks += [_device(one) for one in run.commands]
        elif (most_rows := _worth_of_a_probe(run, rows, durations, now)) > 0:
            looks.append(attrs.evolve(_walk(run), status=PROBED[0], is_probe=True, most_rows=most_rows, begun=now))
        else:
            looks.append(_walk(run))
    return looks


def _worth_of_a_probe(run: Run, rows: Rows, durations: Durations, now: float) -> float:
    """Return how many rows a probe may show before it stops being worthwhile; 0 if it never is."""
    if any(one.probes >= MAX_PROBES or now >= one.deadline for one in run.commands):
        return 0.0
    if not all(one.was_pending for one in run.commands):
        # A walk tells more about these: creation times and devices.  A probe pays off only if hardly any has ended yet.
        others = rows.ours(run.start, run.end) - len(run.commands)
        is_quiet = run.pages >= PROBE_UNSEEN_FROM and others < MAX_PER_PAGE / 2
        return float(MAX_PER_PAGE) if is_quiet else 0.0
    # A probe for SUCCESS and one for FAILED need at least a page each.
    pages = 2.0 + (rows.ended(run.start, run.end) + run.ends(durations, now)) / MAX_PER_PAGE
    return run.pages * MAX_PER_PAGE if pages + PROBE_SAVES <= run.pages else 0.0


def _walk(run: Run) -> Look:
    since, until = created_between(run.commands)
    return Look({one.command_id: one for one in run.commands}, since, until, start=run.start, end=run.end)


def _device(one: Pending) -> Look:
    since, until = created_between([one])
    return Look({one.command_id: one}, since, until, device_id=one.device_id)
