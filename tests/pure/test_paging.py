"""Where a walk over pages ends and what it asks for, on a service that may tell the wrong thing."""

import asyncio
import math
from collections.abc import Sequence
from typing import cast

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dexcmd.errors import ConfigurationError
from dexcmd.paging import Listing, ListQuery
from dexcmd.session import Request, Session
from dexcmd.wire.envelope import Envelope, PageInfo
from dexcmd.wire.pages import RecentKeys, is_last_page, pages_to_ask_for


def last(
    *, page: int = 1, rows: int = 50, new: int | None = None, stale: int = 0, info: PageInfo | None = None
) -> bool:
    return is_last_page(
        page=page, rows=rows, new_rows=rows if new is None else new, stale_pages=stale, per_page=50, info=info
    )


class TestIsLastPage:
    @pytest.mark.parametrize(
        "info",
        [None, PageInfo(), PageInfo(total_count=10**6, total_pages=10**6), PageInfo(total_count=0)],
    )
    def test_an_empty_page_always_is(self, info: PageInfo | None):
        assert last(rows=0, info=info)
        assert last(page=7, rows=0, info=info)

    @pytest.mark.parametrize("info", [None, PageInfo(total_count=10**6, total_pages=10**6)])
    def test_the_second_page_without_news_is(self, info: PageInfo | None):
        assert not last(new=0, stale=0, info=info)
        assert last(new=0, stale=1, info=info)
        assert last(new=0, stale=2, info=info)
        assert not last(new=1, stale=1, info=info)

    @pytest.mark.parametrize(
        ("page", "rows", "info", "ends"),
        [
            pytest.param(1, 50, None, False, id="full, no info"),
            pytest.param(1, 3, None, False, id="short, no info: one more request tells"),
            pytest.param(1, 3, PageInfo(), False, id="short, empty info"),
            pytest.param(1, 3, PageInfo(page=1, per_page=50), False, id="short, no totals"),
            pytest.param(1, 3, PageInfo(total_count=3), True, id="short, count agrees"),
            pytest.param(1, 3, PageInfo(total_pages=1), True, id="short, pages agree"),
            pytest.param(1, 3, PageInfo(total_count=3, total_pages=1), True, id="short, both agree"),
            pytest.param(1, 3, PageInfo(total_count=9), False, id="short, count ignores filters"),
            pytest.param(1, 3, PageInfo(total_count=9, total_pages=1), True, id="short, pages know"),
            pytest.param(1, 3, PageInfo(total_count=3, total_pages=4), True, id="short, count knows"),
            pytest.param(1, 50, PageInfo(total_count=50, total_pages=1), False, id="full is no end"),
            pytest.param(1, 50, PageInfo(total_count=1, total_pages=1), False, id="full, totals lie"),
            pytest.param(1, 50, PageInfo(total_pages=0), False, id="full, no pages at all"),
            pytest.param(2, 7, PageInfo(total_count=57, total_pages=2), True, id="short second"),
            pytest.param(2, 7, PageInfo(total_count=58), False, id="short second, one more"),
            pytest.param(3, 7, PageInfo(total_pages=2), True, id="past the last page"),
            pytest.param(1, 20, PageInfo(per_page=20, total_count=20), False, id="full at a lower size"),
            pytest.param(1, 19, PageInfo(per_page=20, total_count=19), True, id="short at a lower size"),
            pytest.param(3, 19, PageInfo(per_page=20, total_count=59), True, id="short third, lower size"),
            pytest.param(3, 19, PageInfo(per_page=20, total_count=60), False, id="third, one more"),
            pytest.param(1, 20, PageInfo(per_page=100, total_count=20), True, id="a larger size is a lie"),
            pytest.param(1, 20, PageInfo(per_page=0, total_count=20), True, id="no size is a lie"),
            pytest.param(1, 20, PageInfo(per_page=-5, total_count=20), True, id="a negative size too"),
        ],
    )
    def test_short_and_full_pages(self, page: int, rows: int, info: PageInfo | None, ends: bool):
        assert last(page=page, rows=rows, info=info) is ends


class TestPagesToAskFor:
    @pytest.mark.parametrize(
        ("page", "asked", "info", "count"),
        [
            pytest.param(1, 1, PageInfo(total_count=5000, total_pages=100), 2, id="twice as many"),
            pytest.param(7, 4, PageInfo(total_count=5000, total_pages=100), 8, id="up to the most"),
            pytest.param(15, 8, PageInfo(total_count=5000, total_pages=100), 8, id="and no more"),
            pytest.param(95, 8, PageInfo(total_count=5000, total_pages=100), 5, id="up to the last page"),
            pytest.param(3, 2, PageInfo(total_count=250), 2, id="which is told by the rows"),
            pytest.param(3, 2, PageInfo(total_count=251), 3, id="of which one more is one page more"),
            pytest.param(3, 2, PageInfo(total_count=120, per_page=20), 3, id="at a lowered size"),
            pytest.param(3, 2, PageInfo(total_count=1000, total_pages=4), 1, id="the nearer end, by pages"),
            pytest.param(3, 2, PageInfo(total_count=200, total_pages=100), 1, id="the nearer end, by rows"),
            pytest.param(3, 2, PageInfo(total_count=5000, total_pages=3), 1, id="beyond it one by one"),
            pytest.param(3, 2, PageInfo(total_count=5000, total_pages=0), 1, id="a lie"),
            pytest.param(3, 2, PageInfo(total_pages=100), 1, id="a list that may change without a word"),
            pytest.param(3, 2, PageInfo(), 1, id="nothing is told"),
            pytest.param(3, 2, None, 1, id="nothing at all"),
        ],
    )
    def test_after_a_full_page(self, page: int, asked: int, info: PageInfo | None, count: int):
        assert pages_to_ask_for(page=page, asked=asked, most=8, rows=50, per_page=50, info=info) == count

    def test_after_a_short_page_or_where_one_is_the_most(self):
        info = PageInfo(total_count=5000)
        assert pages_to_ask_for(page=1, asked=4, most=8, rows=49, per_page=50, info=info) == 1
        assert pages_to_ask_for(page=1, asked=1, most=1, rows=50, per_page=50, info=info) == 1


class TestRecentKeys:
    def test_new_once(self):
        keys = RecentKeys()
        assert [keys.add(key) for key in ("a", "b", "a", ("a", None), ("a", None), None, None)] == [
            True,
            True,
            False,
            True,
            False,
            True,
            False,
        ]

    def test_the_oldest_is_forgotten(self):
        keys = RecentKeys(3)
        assert [keys.add(key) for key in "abcd"] == [True] * 4
        assert keys.add("a")
        assert not keys.add("d")

    def test_one_that_comes_again_is_young_again(self):
        keys = RecentKeys(3)
        for key in "abc":
            keys.add(key)
        assert not keys.add("a")
        assert keys.add("d")
        assert not keys.add("a")
        assert keys.add("b")

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 6))
    def test_it_knows_exactly_the_last_different_ones(self, added: list[int], size: int):
        keys, recent = RecentKeys(size), list[int]()
        for key in added:
            assert keys.add(key) is (key not in recent)
            recent = [*(other for other in recent if other != key), key][-size:]
            assert len(keys._keys) == len(recent)


class TestListQuery:
    @pytest.mark.parametrize("per_page", [1, 49, 50])
    def test_the_request_for_a_page(self, per_page: int):
        query = ListQuery("/dex/commands", per_page, {"status": "SUCCESS"})
        request = query.request(3, {"status": "FAILED", "to": "x"})
        assert (request.method, request.path) == ("GET", "/dex/commands")
        assert request.query == {"page": "3", "per_page": str(per_page), "status": "FAILED", "to": "x"}

    @pytest.mark.parametrize("per_page", [0, -1, 51, 1000, True, False, "50", 10.0, None])
    def test_page_sizes(self, per_page: object):
        with pytest.raises(ConfigurationError, match=f"per_page must be from 1 to 50, not {per_page!r}"):
            ListQuery("/dex/commands", per_page)

    def test_no_filters_are_shared(self):
        assert ListQuery("/a", 1).filters is not ListQuery("/a", 1).filters


@attrs.define
class Service:
    """A paged list as a service may serve it."""

    rows: int
    cap: int
    """The page size that it never goes beyond."""
    info: str
    fields: Sequence[str]
    """What of `result_info` it tells."""
    repeats: bool
    """Whether every page after the last is the last again."""
    pushed: Sequence[int] = ()
    """How many rows came in at the top before each answer."""
    turns: Sequence[int] = (0,)
    """How many turns of the loop each answer takes: those of pages that are asked for at once may come in any order."""
    _fresh: int = 0
    _answered: int = 0

    def page(self, page: int, per_page: int) -> tuple[list[int], PageInfo | None]:
        """Return the rows of a page, new ones negative, and what it tells of itself."""
        if self._answered < len(self.pushed):
            self._fresh += self.pushed[self._answered]
        self._answered += 1
        size = min(per_page, self.cap)
        listed = list(range(-self._fresh, self.rows))
        pages = math.ceil(len(listed) / size)
        start = (min(page, max(pages, 1)) if self.repeats else page) * size - size
        total = len(listed) + (1000 if self.info == "ignores filters" else 0)
        told = {
            "page": page,
            "per_page": size,
            "total_count": total,
            "total_pages": math.ceil(total / size),
        }
        info = None if self.info == "missing" else PageInfo(**{name: told[name] for name in self.fields})
        return listed[start : start + size], info


class Answers:
    """What `Pages` asks for a page, in place of a session: the answers of a `Service`, and a count of them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.asked = 0

    async def call(self, request: Request) -> Envelope:
        self.asked += 1
        assert self.asked < 1000, "the walk does not end"
        for _ in range(self._service.turns[self.asked % len(self._service.turns)]):
            await asyncio.sleep(0)
        rows, info = self._service.page(int(request.query["page"]), int(request.query["per_page"]))
        return Envelope(rows, info, None)


class Groups(Answers):
    """Counts as well how many pages are asked for at once, each time."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.sizes: list[int] = []
        self._under_way = 0

    async def call(self, request: Request) -> Envelope:
        if not self._under_way:
            self.sizes.append(0)
        self.sizes[-1] += 1
        self._under_way += 1
        try:
            return await super().call(request)
        finally:
            self._under_way -= 1


def listed(answers: Answers, per_page: int = 50, at_once: int = 1) -> list[int]:
    """Walk over what answers; return the rows."""
    query = ListQuery("/rows", per_page, at_once=at_once)
    listing = Listing[int](cast("Session", answers), query, lambda result: cast("list[int]", result), lambda row: row)

    async def rows() -> list[int]:
        return await listing

    return asyncio.run(rows())


def walk(service: Service, per_page: int = 50, at_once: int = 1) -> tuple[list[int], int]:
    """Walk over a service; return the rows and the number of requests."""
    answers = Answers(service)
    return listed(answers, per_page, at_once), answers.asked


services = st.builds(
    Service,
    rows=st.integers(0, 130),
    cap=st.integers(1, 50),
    info=st.sampled_from(["missing", "right", "ignores filters"]),
    # Without `per_page` a lowered page size can't be told; there is a test of its own for that.
    fields=st.sets(st.sampled_from(["page", "total_count", "total_pages"])).map(lambda names: ["per_page", *names]),
    repeats=st.booleans(),
)

at_once = st.integers(1, 8)


class TestWalk:
    @settings(deadline=None, max_examples=400)
    @given(services, st.integers(1, 50), at_once)
    def test_all_rows_come_exactly_once_and_it_ends(self, service: Service, per_page: int, at_once: int):
        found, requests = walk(service, per_page, at_once)
        assert found == list(range(service.rows))
        used = max(math.ceil(service.rows / min(per_page, service.cap)), 1) + 2
        # Where the end that is told is wrong, what was asked for in vain is less than what was used.
        assert requests <= (used if at_once == 1 else used + min(used, at_once) - 1)

    @settings(deadline=None, max_examples=100)
    @given(services.filter(lambda service: service.info == "right" and "total_count" in service.fields), at_once)
    def test_right_info_costs_no_request_more_than_an_end_at_a_page_border(self, service: Service, at_once: int):
        _, requests = walk(service, at_once=at_once)
        at_a_border = service.rows % service.cap == 0
        extra = (2 if service.repeats else 1) if at_a_border and service.rows else 0
        assert requests == max(math.ceil(service.rows / service.cap), 1) + extra

    @settings(deadline=None, max_examples=200)
    @given(
        # Fewer than a page between two pages that are used: who is overtaken can't tell that from a page that repeats.
        services.filter(lambda service: service.cap > 9),
        st.lists(st.integers(0, 1), max_size=30),
        st.lists(st.integers(0, 9), min_size=1, max_size=9),
        at_once,
    )
    def test_rows_that_come_in_meanwhile_hide_none(
        self, service: Service, pushed: list[int], turns: list[int], at_once: int
    ):
        service.pushed, service.turns = pushed, turns
        found, _ = walk(service, at_once=at_once)
        assert [row for row in found if row >= 0] == list(range(service.rows))
        assert len(set(found)) == len(found)

    def test_a_list_that_changed_is_asked_for_with_two_pages_again_before_there_are_more(self):
        # The second of the eight that are asked for at once tells of a row that was not there for the first.
        told = ["per_page", "total_count"]
        service = Service(1600, 50, "right", told, repeats=False, pushed=[*[0] * 8, 1], turns=(1,))
        groups = Groups(service)
        assert len(listed(groups, at_once=8)) == 1600
        assert groups.sizes == [1, 2, 4, 8, 2, 4, 8, 8, 3]

    @settings(deadline=None, max_examples=200)
    @given(services, at_once)
    @example(Service(rows=60, cap=20, info="right", fields=["total_count"], repeats=False), 1)
    def test_a_lowered_page_size_that_is_not_told_hides_no_rows(self, service: Service, at_once: int):
        """`per_page` may be missing from `result_info` like the rest of it."""
        service.fields = [name for name in service.fields if name != "per_page"]
        found, _ = walk(service, at_once=at_once)
        assert found == list(range(service.rows))
