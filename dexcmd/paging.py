"""Walking a paged list that may not know where it ends: `dexcmd.wire.pages` decides."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, Literal, TypeVar

import attrs

from dexcmd.async_only import AsyncOnlyIteration
from dexcmd.errors import ConfigurationError
from dexcmd.session import Request, Session
from dexcmd.validators import encodable_text
from dexcmd.wire.envelope import PageInfo
from dexcmd.wire.pages import MAX_PER_PAGE, RecentKeys, fit_together, is_last_page, pages_to_ask_for
from dexcmd.wire.times import format_time

__all__ = ["MAX_AT_ONCE", "ListQuery", "Listing", "given_filters"]

T = TypeVar("T")

MAX_AT_ONCE = 8
"""The most pages that a walk over a whole list requests at once.

Requested one after the other, each page would cost a round trip.  Up to this many pages are held in memory.
"""


def _page_size(_: object, __: object, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PER_PAGE:
        raise ConfigurationError(f"per_page must be from 1 to {MAX_PER_PAGE}, not {value!r}")


def _text_filters(_: object, __: object, value: Mapping[str, object]) -> None:
    for name, text in value.items():
        encodable_text(name, text)


def given_filters(filters: Mapping[str, str | None]) -> dict[str, str]:
    """Return the filters that are not None; raises `ConfigurationError` for an empty one.

    The service may treat an empty filter as none, and return everybody's rows instead of one user's.
    """
    for name, text in filters.items():
        if text == "":
            raise ConfigurationError(f"{name} is empty: omit it, or pass None, to list all")
    return {name: text for name, text in filters.items() if text is not None}


@attrs.frozen
class ListQuery:
    """What a walk requests for each page."""

    path: str
    per_page: int = attrs.field(validator=_page_size)
    filters: Mapping[str, str] = attrs.field(factory=dict[str, str], validator=_text_filters)
    bound: Literal["to"] | None = None
    """The query parameter with which later pages exclude rows created during the walk, if the endpoint has one."""

    at_once: int = 1
    """The most pages requested at once: 1 if the walk is likely to be left early."""

    def request(self, page: int, filters: Mapping[str, str]) -> Request:
        """Return the request for a page, counted from 1."""
        return Request("GET", self.path, {"page": str(page), "per_page": str(self.per_page), **filters})


class Listing(AsyncOnlyIteration, Generic[T]):
    """A list on the service, fetched page by page during iteration; each iteration starts from the beginning.

        async for row in listing: ...           # row by row, up to eight pages in memory
        rows = await listing                    # all of them, as a list
        async for page in listing.pages(): ...  # lists of rows, as the service pages them

    A row that moves to another page during the walk is returned once.  Rows created after the walk began are excluded
    if the endpoint supports it.  The first page is requested alone, the next ones two, four and then eight at once, as
    far as the service says they exist.  Iterating raises `DexError`, after the rows of the pages before.  Several tasks
    may share one iteration: each row goes to one of them.  `asyncio.gather`, `wait_for` and `ensure_future` accept a
    listing directly; `create_task` and task groups accept only coroutines.
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
        """Iterate over pages, each a list with at least one row that was not on an earlier page."""
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

    This is an iterator, not an async generator, so there is nothing to close if it is left early.
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
        self._answers: deque[_Page[T] | Exception] = deque()
        self._turn = asyncio.Lock()
        self._page = 1
        self._asked = 0
        self._to_ask_for = 1
        self._stale_pages = 0
        self.ended: bool = False
        """Whether there is no next page."""
        self.fetched: int = 0
        """How many pages have been fetched."""
        self.served_at: datetime | None = None
        """The service's time when it served the first page."""

    def __aiter__(self) -> "Pages[T]":
        """Return itself: a walk continues where it left off."""
        return self

    async def __anext__(self) -> list[T]:
        """Return the new rows of the next page that has any.  Raises `DexError`."""
        while not self.ended:
            if fresh := await self.fresh_rows():
                return fresh
        raise StopAsyncIteration

    async def fresh_rows(self) -> list[T]:
        """Return the new rows of the next page, perhaps none.  Raises `DexError`.

        Takes one request if pages are requested one at a time, and none if there is no next page.
        """
        # Without the lock, two tasks that share a walk would request the same page and skip the next one.
        async with self._turn:
            if self.ended:
                return []
            if not self._answers:
                self._answers.extend(await self._ask())
            answer = self._answers.popleft()
            if isinstance(answer, Exception):
                self._answers.clear()
                self._to_ask_for = 1
                raise answer
            return self._take(answer)

    async def _ask(self) -> "list[_Page[T] | Exception]":
        """Fetch the next pages concurrently; nothing is left running afterwards."""
        self._asked = self._to_ask_for
        if self._asked == 1:
            return [await self._fetch(self._page)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._fetch(self._page + ahead)) for ahead in range(self._asked)]
        answers = [task.result() for task in tasks]
        if not fit_together(answer.info for answer in answers if isinstance(answer, _Page)):
            # The list has changed.  Only the first page surely continues the walk; the others are requested again.
            self._asked = 1
            del answers[1:]
        return answers

    async def _fetch(self, page: int) -> "_Page[T] | Exception":
        try:
            envelope = await self._session.call(self._query.request(page, self._filters))
            rows = self._decode(envelope.result)
        except Exception as error:  # noqa: BLE001 - raised when the iteration reaches this page
            return error
        self.fetched += 1
        return _Page(rows, envelope.page_info, envelope.served_at)

    def _take(self, answer: "_Page[T]") -> list[T]:
        """Advance by a page, and return its new rows."""
        fresh = [row for row in answer.rows if self._recent.add(self._identity(row))]
        page, rows, per_page = self._page, len(answer.rows), self._query.per_page
        self.ended = is_last_page(
            page=page,
            rows=rows,
            new_rows=len(fresh),
            stale_pages=self._stale_pages,
            per_page=per_page,
            info=answer.info,
        )
        if page == 1:
            self.served_at = answer.served_at
            if self._query.bound is not None:
                _bound(self._filters, self._query.bound, answer.served_at)
        self._to_ask_for = pages_to_ask_for(
            page=page, asked=self._asked, most=self._query.at_once, rows=rows, per_page=per_page, info=answer.info
        )
        self._stale_pages = 0 if fresh else self._stale_pages + 1
        self._page += 1
        return fresh


@attrs.frozen
class _Page(Generic[T]):
    rows: list[T]
    info: PageInfo | None
    served_at: datetime | None


class Rows(AsyncOnlyIteration, Generic[T]):
    """One walk over the rows of a `Listing`."""

    def __init__(self, pages: Pages[T]) -> None:
        self._pages = pages
        self._rows: Iterator[T] = iter(())
        self._turn = asyncio.Lock()

    def __aiter__(self) -> "Rows[T]":
        """Return itself: a walk continues where it left off."""
        return self

    async def __anext__(self) -> T:
        """Return the next row.  Raises `DexError`."""
        for row in self._rows:
            return row
        async with self._turn:
            # Another task may have fetched a page meanwhile, whose rows come first.
            for row in self._rows:
                return row
            # `Pages` never returns an empty page.
            self._rows = iter(await anext(self._pages))
            return next(self._rows)


def _bound(filters: dict[str, str], name: str, served_at: datetime | None) -> None:
    """Bound the pages after the first by the time at which the service served that one.

    By the service's clock, not this machine's: a bound set too early would hide rows.  `Date` is truncated to the
    second, so the next second is the earliest that certainly includes all of the first page.
    """
    if served_at is not None and name not in filters:
        filters[name] = format_time(name, served_at.astimezone(UTC) + timedelta(seconds=1))
