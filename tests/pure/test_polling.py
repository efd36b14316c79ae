"""How often to look, for which stretch of time, and how many to create at once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.fanout import plan_batches
from dexcmd.follow import GROWTH, POLL_SHARE, SLOWEST_FACTOR, Pending, PollPace, created_between
from dexcmd.wire.window import RateLimit

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class TestPollPace:
    def test_slower_while_nothing_changes_and_at_once_again_when_something_does(self):
        pace = PollPace(2.0, None)
        quiet = [pace.after(pages=1, changed=False) for _ in range(6)]
        assert quiet == [3.0, 4.5, 6.75, 10.0, 10.0, 10.0]
        assert pace.after(pages=1, changed=True) == 2.0
        assert pace.after(pages=1, changed=False) == 3.0

    @pytest.mark.parametrize(
        ("pages", "limit", "wait"),
        [
            (1, None, 2.0),
            (1000, None, 2.0),
            (1, RateLimit(), 2.0),
            (2, RateLimit(), 2.0),
            (3, RateLimit(), 3.0),
            (40, RateLimit(), 40.0),
            (0, RateLimit(), 2.0),
            (1, RateLimit(requests=10, seconds=100.0), 40.0),
        ],
    )
    def test_many_pages_are_polled_less_often(self, pages: int, limit: RateLimit | None, wait: float):
        assert PollPace(2.0, limit).after(pages=pages, changed=True) == wait

    @settings(deadline=None, max_examples=150)
    @given(
        interval=st.floats(0.1, 60),
        requests=st.integers(1, 5000),
        polls=st.lists(st.tuples(st.integers(1, 200), st.booleans()), min_size=1, max_size=20),
    )
    def test_it_takes_no_more_than_its_share(self, interval: float, requests: int, polls: list[tuple[int, bool]]):
        limit = RateLimit(requests=requests)
        pace, asked, seconds = PollPace(interval, limit), 0, 0.0
        for pages, changed in polls:
            wait = pace.after(pages=pages, changed=changed)
            assert wait >= interval
            assert not changed or wait <= max(interval, pages * 300.0 / requests / POLL_SHARE)
            asked += pages
            seconds += wait
        assert asked / seconds <= POLL_SHARE * requests / 300.0 * (1 + 1e-9)

    def test_the_constants_make_sense(self):
        assert 0 < POLL_SHARE < 1 < GROWTH < SLOWEST_FACTOR


class TestCreatedBetween:
    @pytest.mark.parametrize(
        ("pending", "since", "until"),
        [
            pytest.param([], None, None, id="none"),
            pytest.param([Pending()], None, None, id="nothing known"),
            pytest.param([Pending(created=at(5))], at(4), at(6), id="one"),
            pytest.param([Pending(not_before=at(5))], at(4), None, id="not before"),
            pytest.param([Pending(created=at(9), not_before=at(1))], at(8), at(10), id="created counts more"),
            pytest.param(
                [Pending(created=at(5)), Pending(created=at(1)), Pending(created=at(9))],
                at(0),
                at(10),
                id="several",
            ),
            pytest.param([Pending(created=at(5)), Pending()], None, None, id="one unknown opens both sides"),
            pytest.param([Pending(created=at(5)), Pending(not_before=at(2))], at(1), None, id="one opens the end"),
            pytest.param([Pending(created=at(5)), Pending(not_before=at(7))], at(4), None, id="whichever is earlier"),
        ],
    )
    def test_table(self, pending: list[Pending], since: datetime | None, until: datetime | None):
        assert created_between(pending) == (since, until)
        assert created_between(iter(pending[::-1])) == (since, until)

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.builds(
                Pending,
                created=st.none() | st.integers(0, 100).map(at),
                not_before=st.none() | st.integers(0, 100).map(at),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def test_no_command_is_outside(self, pending: list[Pending]):
        since, until = created_between(pending)
        for one in pending:
            start = one.created or one.not_before
            assert since is None or (start is not None and since <= start - SECOND)
            assert until is None or (one.created is not None and one.created + SECOND <= until)
        if all(one.created for one in pending):
            assert since is not None
            assert until is not None


class TestPlanBatches:
    @pytest.mark.parametrize(
        ("count", "sizes"),
        [
            (0, []),
            (1, [1]),
            (9, [9]),
            (10, [10]),
            (11, [10, 1]),
            (20, [10, 10]),
            (25, [10, 10, 5]),
            (800, [10] * 80),
        ],
    )
    def test_sizes(self, count: int, sizes: list[int]):
        assert [len(batch) for batch in plan_batches(range(count))] == sizes

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.integers(), max_size=60))
    def test_nothing_is_lost_doubled_or_moved(self, indices: list[int]):
        batches = plan_batches(indices)
        assert [index for batch in batches for index in batch] == indices
        assert all(1 <= len(batch) <= 10 for batch in batches)
        assert all(len(batch) == 10 for batch in batches[:-1])
