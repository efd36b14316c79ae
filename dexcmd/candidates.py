"""Which rows of the list may be commands whose create response was lost, and which row is for which request.  Pure."""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from dexcmd.batches import is_for
from dexcmd.created import CreatedLog, Kind, Lost
from dexcmd.resources.command import Command
from dexcmd.resources.requests import id_key

__all__ = ["Candidates", "assign"]

OLDEST = datetime.min.replace(tzinfo=UTC)
NEWEST = datetime.max.replace(tzinfo=UTC)


class Candidates:
    """Rows of the list that may be the lost commands, by device and type; other rows are not kept."""

    def __init__(self, lost: Collection[Lost], created: CreatedLog) -> None:
        self._own: dict[Kind, dict[Lost, None]] = defaultdict(dict)
        for one in lost:
            self._own[one.kind][one] = None
        self._created = created
        self._rows: dict[Kind, list[Command]] = {each: [] for each in self._own}
        self._short = set(self._own)
        """The kinds with fewer rows than lost requests."""

        self._unclear: dict[tuple[str | None, str | None, str | None], datetime] = {}
        """When the newest of the rows without an id, a device or a type was created, by kind and registration."""

    @property
    def since(self) -> datetime:
        """The earliest creation time of the rows that `matches` must be able to choose from."""
        return min(
            (one.since for some in self._contenders().values() for one in some if one.since is not None), default=OLDEST
        )

    def _contenders(self) -> dict[Kind, list[Lost]]:
        """Return all lost requests that compete for rows, by kind, in the order in which they choose.

        They include the requests that other searches are looking for, so that their rows are left to them.  Requests
        whose settling time ends sooner choose first, as rows for the others may still appear.  Among equals, the more
        restricted ones choose first: those with a registration, and then the later ones, as rows must be newer for
        them.
        """
        contenders = {each: list(own) for each, own in self._own.items()}
        for one in self._created.sought():
            some = contenders.get(one.kind)
            if some is not None and one not in self._own[one.kind]:
                some.append(one)
        for some in contenders.values():
            if len(some) == 1:
                continue
            some.sort(key=_since, reverse=True)
            some.sort(key=lambda one: (one.until, one.request.registration_id is None))
        return contenders

    def of(self, rows: Iterable[Command]) -> list[Command]:
        """Return the rows with a device and type of the lost requests, and those that may be of any."""
        return [row for row in rows if _is_unclear(row) or _kind(row) in self._rows]

    def add(self, rows: Iterable[Command]) -> None:
        """Add rows, except those of other devices and types."""
        for row in self.of(rows):
            if _is_unclear(row):
                which = *_kind(row), id_key(row.registration_id)
                self._unclear[which] = max(self._unclear.get(which, OLDEST), row.created_date or NEWEST)
                continue
            own = _kind(row)
            self._rows[own].append(row)
            if len(self._rows[own]) == len(self._own[own]):
                self._short.discard(own)

    def is_unclear(self, one: Lost) -> bool:
        """Tell whether a row that lacks its id, device or type may be the command of a lost request.

        Such a row can't be adopted, but the request must not be sent again either.
        """
        wanted_device, wanted_type = one.kind
        wanted, since = id_key(one.request.registration_id), one.since or OLDEST
        return any(
            device in (None, wanted_device)
            and command_type in (None, wanted_type)
            and (None in (registration, wanted) or registration == wanted)
            and created >= since
            for (device, command_type, registration), created in self._unclear.items()
        )

    def all_matches(self) -> dict[Lost, Command] | None:
        """Return the same as `matches` if each of the lost requests has a row, else None."""
        if self._short:
            # This cheap check avoids `matches` on most pages: a walk may be for thousands of requests and have hundreds
            # of pages.
            return None
        found = self.matches(complete=False)
        return found if len(found) == sum(map(len, self._own.values())) else None

    def matches(self, *, complete: bool) -> dict[Lost, Command]:
        """Assign rows to the lost requests, each row to at most one, without rows that this client has claimed.

        While the walk is incomplete, kinds with a request that has no row yet are left out: the rows so far may be the
        only ones that match it, while the other requests may also match older rows, which are still to come.
        """
        found: dict[Lost, Command] = {}
        for each, contenders in self._contenders().items():
            own = self._own[each]
            # The oldest first: later ones may be someone else's, such as another process's.  Among rows without a date,
            # the order of the list decides.
            rows = sorted(
                (row for row in reversed(self._rows[each]) if row.id not in self._created),
                key=lambda row: row.created_date or OLDEST,
            )
            chosen = assign(contenders, rows)
            if not complete and len(chosen) < len(contenders):
                continue
            if len(chosen) > 1:
                # Assigned again in the order of the POSTs, as undated rows fit any.  If an earlier request took the
                # newer of two, the older one would be left to a later one, whose own search does not go back so far.
                taken = {row.id for row in chosen.values()}
                chosen = assign(sorted(chosen, key=_since), [row for row in rows if row.id in taken])
            found |= {one: row for one, row in chosen.items() if one in own}
        return found


def _kind(row: Command) -> Kind:
    return id_key(row.device_id), row.type


def _is_unclear(row: Command) -> bool:
    return row.id is None or row.device_id is None or row.type is None


def _since(one: Lost) -> datetime:
    return one.since or OLDEST


def assign(lost: Sequence[Lost], rows: Iterable[Command]) -> dict[Lost, Command]:
    """Assign rows to lost requests, all of one device and type, so that as many requests as possible have a row.

    If not all can have one, the first in order do.  A request with a choice gets a row with exactly the requested
    registration, if there is one, and of these the first.  A row without a date is accepted, as the service's filter
    let it through.
    """
    distinct = {row.id: row for row in rows}
    free = dict(distinct)
    chosen: dict[Lost, Command] = {}
    owners: dict[str | None, Lost] = {}
    in_vain: set[str | None] = set()
    for one in lost:
        if not free:
            break
        row = next(_eligible(one, free.values()), None)
        takers = {} if row is None else {row.id: one}
        # No free row is eligible: find the shortest chain of requests that can swap their rows so that one gets free
        # (an augmenting path of bipartite matching, by breadth-first search).
        queue = deque([one])
        while queue and row is None:
            taker = queue.popleft()
            for each in _eligible(taker, distinct.values()):
                if each.id in takers or each.id in in_vain:
                    continue
                takers[each.id] = taker
                if each.id in free:
                    row = each
                    break
                queue.append(owners[each.id])
        if row is None:
            # No later request can free one of these rows either.
            in_vain.update(takers)
            continue
        del free[row.id]
        while row is not None:
            taker = owners[row.id] = takers[row.id]
            before = chosen.get(taker)
            chosen[taker], row = row, before
    return chosen


def _eligible(one: Lost, rows: Iterable[Command]) -> Iterator[Command]:
    """Yield the rows that may belong to a lost request, those with exactly the requested registration first."""
    since = one.since
    if since is not None:
        for exact in (True, False):
            for row in rows:
                if (row.created_date is None or row.created_date >= since) and is_for(row, one.request, exact):
                    yield row
