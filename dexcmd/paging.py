"""Walking a paged list that may not know where it ends."""

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, Literal, TypeVar

import attrs

from dexcmd.async_only import AsyncOnlyIteration
from dexcmd.errors import ConfigurationError
from dexcmd.session import Request, Session
from dexcmd.wire.envelope import PageInfo
from dexcmd.wire.times import format_time

__all__ = ["MOST_PER_PAGE", "ListQuery", "Listing", "RecentKeys", "is_last_page"]

T = TypeVar("T")

MOST_PER_PAGE = 50
"""What the service allows, and the default: the fewest requests a walk."""


def _page_size(_: object, __: object, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PER_PAGE:
        raise ConfigurationError(f"per_page must be from 1 to {MOST_PER_PAGE}, not {value!r}")


@attrs.frozen
class ListQuery:
    """What a walk asks for on each page."""

    path: str
    per_page: int = attrs.field(validator=_page_size)
    filters: Mapping[str, str] = attrs.field(factory=dict[str, str])
    bound: Literal["to"] | None = None
    """The query parameter that keeps rows made during the walk out of it, where the endpoint has one."""

    def request(self, page: int, filters: Mapping[str, str]) -> Request:
        """Return the request for a page, from 1."""
        return Request("GET", self.path, {"page": str(page), "per_page": str(self.per_page), **filters})


class RecentKeys:
    """Remembers the last `size` keys, so that a walk of any length tells repeated rows in bounded memory."""

    def __init__(self, size: int = 20 * MOST_PER_PAGE) -> None:
        self._size = size
        self._keys: OrderedDict[object, None] = OrderedDict()

    def add(self, key: object) -> bool:
        """Note `key` and tell whether it is new."""
        if key in self._keys:
            self._keys.move_to_end(key)
            return False
        self._keys[key] = None
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)
        return True


def is_last_page(
    *, page: int, rows: int, new_rows: int, stale_pages: int, per_page: int, info: PageInfo | None
) -> bool:
    """Decide whether a walk ends with this page.

    No single sign is trusted.  `total_count` is documented as ignoring the filters, `total_pages` can be
    wrong or missing, a short page may come from a service that lowered `per_page`, and a page without new
    rows from rows that moved.  So a walk ends on an empty page; on the second page in a row that brings
    nothing new (`stale_pages` were so before this one: services have repeated the last page for ever); and on
    a page that is short while `result_info` agrees that it is the last.  Where `result_info` is missing, one
    more request tells.
    """
    if rows == 0:
        return True
    if new_rows == 0 and stale_pages > 0:
        return True
    if info is None:
        return False
    told = min(per_page, info.per_page) if info.per_page is not None and info.per_page > 0 else None
    if rows >= (told or per_page):
        return False
    if info.total_pages is not None and page >= info.total_pages:
        return True
    # The service may have lowered `per_page`: without being told it, what earlier pages held is not known.
    before = 0 if page == 1 else None if told is None else (page - 1) * told
    return info.total_count is not None and before is not None and before + rows >= info.total_count


class Listing(AsyncOnlyIteration, Generic[T]):
    """A list on the service, fetched page by page as it is iterated; each iteration starts anew.

        async for row in listing: ...           # row by row, one page in memory
        rows = await listing                    # all of them, as a list
        async for page in listing.pages(): ...  # lists of rows, as the service pages them

    A row that moved to another page during the walk comes once.  Rows made after the walk began are kept out
    where the endpoint can do so.  Iterating raises `DexError`.
    """

    def __init__(
        self,
        session: Session,
        query: ListQuery,
        decode: Callable[[object], list[T]],
        identity: Callable[[T], object],
    ) -> None:
        self._new_walk = partial(Pages[T], session, query, decode, identity)

    def pages(self) -> "Pages[T]":
        """Iterate over pages; each is a list with at least one row that was not on an earlier page."""
        return self._new_walk()

    def __aiter__(self) -> "Rows[T]":
        """Iterate over rows."""
        return Rows(self.pages())

    async def _all(self) -> list[T]:
        return [row async for row in self]

    def __await__(self) -> Generator[object, None, list[T]]:
        """Fetch all pages and return their rows."""
        return self._all().__await__()


class Pages(AsyncOnlyIteration, Generic[T]):
    """One walk over the pages of a `Listing`.

    An iterator and no generator: one that is left early holds nothing, so there is nothing to close.
    """

    def __init__(
        self,
        session: Session,
        query: ListQuery,
        decode: Callable[[object], list[T]],
        identity: Callable[[T], object],
    ) -> None:
        self._session = session
        self._query = query
        self._decode = decode
        self._identity = identity
        self._filters = dict(query.filters)
        self._recent = RecentKeys()
        self._page = 1
        self._stale_pages = 0
        self._ended = False
        self.served_at: datetime | None = None
        """The service's time of the first page."""

    @property
    def fetched(self) -> int:
        """Return how many requests this walk has made."""
        return self._page - 1

    def __aiter__(self) -> "Pages[T]":
        """Return itself: a walk goes on where it stands."""
        return self

    async def __anext__(self) -> list[T]:
        """Return the next page that has rows not seen before.  Raises `DexError`."""
        while not self._ended:
            if fresh := await self._fetch():
                return fresh
        raise StopAsyncIteration

    async def _fetch(self) -> list[T]:
        envelope = await self._session.call(self._query.request(self._page, self._filters))
        rows = self._decode(envelope.result)
        fresh = [row for row in rows if self._recent.add(self._identity(row))]
        self._ended = is_last_page(
            page=self._page,
            rows=len(rows),
            new_rows=len(fresh),
            stale_pages=self._stale_pages,
            per_page=self._query.per_page,
            info=envelope.page_info,
        )
        if self._page == 1:
            self.served_at = envelope.served_at
            if self._query.bound is not None:
                _bound(self._filters, self._query.bound, envelope.served_at)
        self._stale_pages = 0 if fresh else self._stale_pages + 1
        self._page += 1
        return fresh


class Rows(AsyncOnlyIteration, Generic[T]):
    """One walk over the rows of a `Listing`."""

    def __init__(self, pages: Pages[T]) -> None:
        self._pages = pages
        self._rows: Iterator[T] = iter(())

    def __aiter__(self) -> "Rows[T]":
        """Return itself: a walk goes on where it stands."""
        return self

    async def __anext__(self) -> T:
        """Return the next row.  Raises `DexError`."""
        for row in self._rows:
            return row
        # A page that `Pages` gives is never empty.
        self._rows = iter(await anext(self._pages))
        return next(self._rows)


def _bound(filters: dict[str, str], name: str, served_at: datetime | None) -> None:
    """Bound the pages after the first by the time at which the service answered that one.

    The service's clock, not this machine's: a bound set too early would hide rows.  Its `Date` is cut to the
    second, so the next second is the earliest that surely leaves all of the first page in.
    """
    if served_at is not None and name not in filters:
        filters[name] = format_time(name, served_at.astimezone(UTC) + timedelta(seconds=1))
