"""Staying under a rate limit: the window, and what the service says."""

import heapq
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import ConfigurationError
from dexcmd.middleware.pacer import Pacer, Place
from dexcmd.wire.ratelimit import Allowance
from dexcmd.wire.window import RateLimit, ServiceView, Window

# Eighths of a second, which floats hold exactly: the property is about the arithmetic, not about rounding.
eighths = st.integers(0, 400).map(lambda count: count / 8)


def most_in_any_stretch(times: list[float], seconds: float) -> int:
    """Count the fullest half-open stretch; the fullest one can be made to begin at one of the times."""
    return max((sum(start <= time < start + seconds for time in times) for start in times), default=0)


class TestRateLimit:
    def test_defaults_are_what_is_documented(self):
        assert RateLimit() == RateLimit(requests=1200, seconds=300.0, per_second=200)

    @pytest.mark.parametrize("field", ["requests", "seconds", "per_second"])
    @pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "10", None])
    def test_impossible_values(self, field: str, value: object):
        with pytest.raises(ConfigurationError, match=field):
            RateLimit(**{field: value})


class TestWindow:
    def test_there_is_room_until_the_limit(self):
        window = Window()
        for _ in range(3):
            assert window.earliest(100.0, 3, 10.0) == 100.0
            window.send(100.0, 10.0)
        assert window.earliest(100.0, 3, 10.0) == 110.0
        assert window.earliest(105.0, 3, 10.0) == 110.0
        assert window.earliest(111.0, 3, 10.0) == 111.0

    def test_plans_queue_behind_each_other(self):
        window = Window()
        for at in (0.0, 10.0, 20.0):
            assert window.plan(0.0, 1, 10.0) == at
            window.reserve(at)
        assert window.plan(25.0, 1, 10.0) == 30.0

    def test_plans_queue_behind_what_went_out(self):
        window = Window()
        window.send(3.0, 10.0)
        assert window.plan(4.0, 1, 10.0) == 13.0
        window.reserve(13.0)
        assert window.plan(4.0, 1, 10.0) == 23.0

    def test_a_plan_alone_holds_nobody_back(self):
        window = Window()
        window.reserve(5.0)
        assert window.earliest(4.0, 1, 10.0) == 4.0
        assert window.earliest(6.0, 1, 10.0) == 6.0

    def test_one_window_serves_limits_of_different_size(self):
        window = Window()
        for at in (0.0, 1.0, 2.0, 3.0):
            window.send(at, 10.0)
        assert window.earliest(3.0, 2, 10.0) == 12.0
        assert window.earliest(3.0, 4, 10.0) == 10.0
        assert window.earliest(3.0, 5, 10.0) == 3.0

    def test_a_plan_that_is_released_is_free(self):
        window = Window()
        for at in (5.0, 1.0, 5.0):
            window.reserve(at)
        window.release(5.0)
        assert window.plan(5.0, 2, 10.0) == 11.0
        window.release(5.0)
        assert window.plan(5.0, 2, 10.0) == 5.0

    def test_what_is_just_within_the_time_is_not_forgotten(self):
        window = Window()
        for at in (1.0, 2.0, 12.0):
            window.send(at, 10.0)
        # 1.0 is longer ago than 10 seconds before 12.0, and 2.0 is not.
        assert window.earliest(12.0, 2, 11.0) == 13.0
        assert window.earliest(12.0, 3, 11.0) == 12.0

    def test_what_a_shorter_limit_forgets_still_counts_for_a_longer_one(self):
        window = Window()
        window.send(0.0, 10.0)
        window.send(5.0, 1.0)
        assert window.earliest(5.0, 2, 10.0) == 10.0

    def test_it_does_not_grow(self):
        window = Window()
        for second in range(1000):
            window.send(float(second), 10.0)
        assert len(window._sent) <= 11
        assert window._planned == []

    @settings(deadline=None, max_examples=200)
    @given(
        gaps=st.lists(eighths, max_size=40),
        requests=st.integers(1, 6),
        seconds=st.integers(1, 80).map(lambda count: count / 8),
    )
    def test_never_more_than_the_limit_in_any_stretch(self, gaps: list[float], requests: int, seconds: float):
        window, now, sent = Window(), 0.0, list[float]()
        for gap in gaps:
            now = window.earliest(now + gap / 8, requests, seconds)
            window.send(now, seconds)
            sent.append(now)
        assert most_in_any_stretch(sent, seconds) <= requests
        assert sent == sorted(sent)

    @settings(deadline=None, max_examples=200)
    @given(
        gaps=st.lists(eighths, max_size=40),
        requests=st.integers(1, 6),
        fates=st.lists(st.sampled_from(["kept", "released", "sent"]), min_size=40, max_size=40),
    )
    def test_plans_keep_the_limit_together_with_what_went_out(self, gaps: list[float], requests: int, fates: list[str]):
        window, now, taken = Window(), 0.0, list[float]()
        for gap, fate in zip(gaps, fates, strict=False):
            now += gap / 8
            at = window.plan(now, requests, 10.0)
            assert at >= now
            if fate == "sent" and at == now:
                window.send(now, 10.0)
            else:
                window.reserve(at)
            if fate == "released" and at > now:
                window.release(at)
            else:
                taken.append(at)
        assert most_in_any_stretch(taken, 10.0) <= requests

    @settings(deadline=None, max_examples=100)
    @given(times=st.lists(eighths, max_size=20), now=eighths, requests=st.integers(1, 5))
    def test_no_time_is_wasted(self, times: list[float], now: float, requests: int):
        window = Window()
        for at in sorted(times):
            window.send(at, 1000.0)
        at = window.earliest(now, requests, 10.0)
        # As soon as that, and no sooner: an eighth before it there are too many in the last 10 seconds.
        assert at == now or sum(time > at - 0.125 - 10.0 for time in times) >= requests
        assert sum(time > at - 10.0 for time in times) < requests or at == now


class TestPacer:
    @settings(deadline=None, max_examples=200)
    @given(
        arrivals=st.lists(eighths, max_size=25),
        lateness=st.lists(eighths.map(lambda late: late / 16), min_size=25, max_size=25),
        requests=st.integers(1, 4),
    )
    def test_late_sleepers_keep_the_limit(self, arrivals: list[float], lateness: list[float], requests: int):
        pacer, limit = Pacer(Window()), RateLimit(requests=requests, seconds=10.0)
        # (when it asks, its own number, its place): each asks again at the time it was told, or later.
        queue = [(at, index, Place(limit)) for index, at in enumerate(arrivals)]
        heapq.heapify(queue)
        sent = list[float]()
        while queue:
            now, index, place = heapq.heappop(queue)
            at = pacer.ask(place, now)
            if at <= now:
                sent.append(now)
            else:
                heapq.heappush(queue, (at + lateness[index], index, place))
        assert len(sent) == len(arrivals)
        assert most_in_any_stretch(sent, 10.0) <= requests

    def test_a_place_that_was_used_is_planned_no_more(self):
        pacer, limit = Pacer(Window()), RateLimit(requests=2, seconds=10.0)
        for _ in range(2):
            assert pacer.ask(Place(limit), 0.0) == 0.0
        waiting = Place(limit)
        assert [pacer.ask(waiting, now) for now in (0.0, 10.0)] == [10.0, 10.0]
        assert pacer.ask(Place(limit), 10.0) == 10.0

    def test_the_request_that_was_answered_is_not_taken_off_what_its_answer_says_is_left(self):
        pacer, limit = Pacer(Window()), RateLimit()
        pacer.ask(Place(limit), 0.0)
        pacer.answered(0.0, Allowance(1, 60.0))
        assert pacer.ask(Place(limit), 0.0) == 0.0
        pacer.answered(0.0, Allowance(0, 60.0))
        assert pacer.ask(Place(limit), 0.0) == 60.0


class TestServiceView:
    def test_it_knows_nothing_at_first(self):
        view = ServiceView()
        assert view.earliest(5.0, 1200) == 5.0
        view.take(5.0)
        assert view.earliest(5.0, 1200) == 5.0

    def test_a_pause_holds_all_back_and_is_never_shortened(self):
        view = ServiceView()
        view.pause(300.0)
        view.pause(10.0)
        assert view.earliest(0.0, 1200) == 300.0
        assert view.earliest(5.0, 1200) == 300.0
        assert view.earliest(300.0, 1200) == 300.0
        assert view.earliest(301.0, 1200) == 301.0

    @pytest.mark.parametrize(
        ("remaining", "in_flight", "earliest"),
        [(500, 0, 10.0), (500, 100, 10.0), (0, 0, 40.0), (7, 7, 40.0), (7, 8, 40.0), (8, 7, 10.0)],
    )
    def test_requests_under_way_are_taken_off(self, remaining: int, in_flight: int, earliest: float):
        view = ServiceView()
        view.learn(Allowance(remaining, 30.0), 10.0, in_flight)
        assert view.earliest(10.0, 1200) == earliest

    def test_when_nothing_is_left_it_is_the_reset_and_no_later(self):
        view = ServiceView()
        view.learn(Allowance(0, 30.0), 10.0, 0)
        assert view.earliest(39.0, 1200) == 40.0
        assert view.earliest(40.0, 1200) == 40.0
        assert view.earliest(50.0, 1200) == 50.0

    def test_a_reset_that_comes_during_a_pause_does_not_end_the_pause(self):
        view = ServiceView()
        view.learn(Allowance(0, 30.0), 0.0, 0)
        view.pause(100.0)
        assert view.earliest(0.0, 1200) == 100.0

    def test_a_pause_that_ends_before_the_reset_does_not_make_room(self):
        view = ServiceView()
        view.learn(Allowance(0, 30.0), 0.0, 0)
        view.pause(10.0)
        assert view.earliest(0.0, 1200) == 30.0

    def test_above_a_tenth_nothing_is_held_back(self):
        view = ServiceView()
        view.learn(Allowance(13, 60.0), 0.0, 0)
        for _ in range(4):
            assert view.earliest(0.0, 100) == 0.0
            view.take(0.0)

    def test_the_last_tenth_is_spread_over_the_time_left(self):
        view = ServiceView()
        view.learn(Allowance(4, 60.0), 0.0, 0)
        now, times = 0.0, list[float]()
        for _ in range(4):
            now = view.earliest(now, 100)
            view.take(now)
            times.append(now)
        assert times == [0.0, 15.0, 30.0, 45.0]
        assert view.earliest(now, 100) == 60.0

    def test_after_the_reset_it_is_forgotten(self):
        view = ServiceView()
        view.learn(Allowance(1, 60.0), 0.0, 0)
        view.take(0.0)
        assert view.earliest(0.0, 100) == 60.0
        view.take(60.0)
        assert view.earliest(61.0, 100) == 61.0

    def test_a_later_answer_corrects_an_earlier_one(self):
        view = ServiceView()
        view.learn(Allowance(0, 300.0), 0.0, 0)
        view.learn(Allowance(1000, 30.0), 1.0, 0)
        assert view.earliest(1.0, 1200) == 1.0
        view.learn(Allowance(0, 30.0), 2.0, 0)
        assert view.earliest(2.0, 1200) == 32.0

    @settings(deadline=None, max_examples=200)
    @given(remaining=st.integers(0, 30), reset_after=st.integers(1, 60), gaps=st.lists(eighths, max_size=50))
    def test_never_more_than_remain_before_the_reset(self, remaining: int, reset_after: int, gaps: list[float]):
        view = ServiceView()
        view.learn(Allowance(remaining, float(reset_after)), 0.0, 0)
        now, before = 0.0, 0
        for gap in gaps:
            now = view.earliest(now + gap / 50, 100)
            view.take(now)
            before += now < reset_after
        assert before <= remaining
