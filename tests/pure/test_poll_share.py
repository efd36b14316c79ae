"""Whose turn it is to poll."""

import heapq
import itertools
import math
import random
from collections import defaultdict

import pytest

from dexcmd.polling.share import POLL_SHARE, PollShare, Turn
from dexcmd.wire.window import RateLimit

FOUR = RateLimit(requests=16, seconds=100.0)
"""Of which polling takes four."""


def most_in_any_stretch(times: list[float], seconds: float) -> int:
    return max(sum(start <= time < start + seconds for time in times) for start in times)


def takes(share: PollShare, turn: Turn, now: float) -> bool:
    return share.take(turn, FOUR, now)


@pytest.mark.parametrize(("requests", "polls"), [(1, 1), (4, 1), (7, 1), (8, 2), (80, 20)])
def test_a_quarter_and_one_at_the_least(requests: int, polls: int):
    share, limit, turns = PollShare(), RateLimit(requests=requests), [Turn(), Turn()]
    assert [share.take(turns[number % 2], limit, 0.0) for number in range(polls)] == [True] * polls
    assert not share.take(turns[0], limit, 299.0)
    assert share.take(turns[0], limit, 300.0)


def test_a_part_goes_out_at_will_and_the_rest_is_spread():
    share, limit, turn = PollShare(), RateLimit(), Turn()
    sent, now = list[float](), 0.0
    while now < 700.0:
        now = share.ask(turn, limit, now)
        if share.take(turn, limit, now):
            sent.append(now)
    assert sent[:77] == [0.0] * 75 + [1.0, 2.0]
    assert most_in_any_stretch(sent, 300.0) == 300
    # As much as there may be, and evenly from then on.
    assert [time for time in sent if time >= 300.0] == [float(second) for second in range(300, 701)]


def test_many_watches_do_not_all_look_away_at_once():
    share, limit = PollShare(), RateLimit()
    turns = [Turn() for _ in range(50)]
    sent = defaultdict[int, list[float]](list)
    queue = [(number / 10, number) for number in range(50)]
    while queue[0][0] < 2000.0:
        now, number = heapq.heappop(queue)
        if share.take(turns[number], limit, now):
            sent[number].append(now)
            heapq.heappush(queue, (now + 25.0, number))
        else:
            heapq.heappush(queue, (turns[number].time or now, number))
    times = [time for one in sent.values() for time in one]
    assert most_in_any_stretch(times, 300.0) == 300
    waits = [later - earlier for one in sent.values() for earlier, later in itertools.pairwise(one) if earlier > 300.0]
    assert max(waits) == pytest.approx(50.0, abs=1.0), "each in turn, one a second"


def test_asking_takes_nothing():
    share, turn = PollShare(), Turn()
    assert [share.ask(turn, FOUR, 0.0) for _ in range(10)] == [0.0] * 10
    assert turn.time is None
    assert [takes(share, turn, 0.0) for _ in range(5)] == [True] * 4 + [False]
    assert turn.time == share.ask(turn, FOUR, 50.0) == 100.0


def test_who_has_had_a_turn_waits_behind_the_others():
    share, walk, *others = PollShare(), Turn(), Turn(), Turn(), Turn()
    for second in range(4):
        assert takes(share, walk, float(second))
    assert [share.ask(turn, FOUR, 4.0) for turn in others] == [100.0, 101.0, 102.0]
    assert not takes(share, walk, 4.0)
    assert walk.time == 103.0
    assert share.ask(others[0], FOUR, 100.0) == 100.0
    assert takes(share, others[0], 100.0), "to ask loses nothing"
    assert not takes(share, others[0], 100.0)
    assert others[0].time == 200.0, "behind the walk"
    # A newcomer does not come before those that wait, though there is room for one.
    assert share.ask(Turn(), FOUR, 101.0) > 101.0
    assert takes(share, others[1], 101.0)


def test_a_turn_that_is_given_up_is_free():
    share, turn, later = PollShare(), Turn(), Turn()
    for _ in range(4):
        takes(share, Turn(), 0.0)
    for _ in range(4):
        share.ask(Turn(), FOUR, 1.0)
    assert share.ask(turn, FOUR, 1.0) == 200.0
    share.leave(turn)
    assert turn.time is None
    assert share.ask(later, FOUR, 1.0) == 200.0
    share.leave(Turn())


def test_turns_for_which_nobody_comes_hold_nobody_back_and_are_forgotten():
    share, waiting = PollShare(), Turn()
    for _ in range(4):
        takes(share, Turn(), 0.0)
    forgotten = [Turn() for _ in range(8)]
    for turn in forgotten:
        share.ask(turn, FOUR, 1.0)
    assert share.ask(waiting, FOUR, 1.0) == 300.0
    assert takes(share, waiting, 300.0)
    assert takes(share, waiting, 300.0)
    assert takes(share, Turn(), 500.0)
    assert share._window._planned == []
    for _ in range(3):
        assert takes(share, Turn(), 500.0)
    share.ask(waiting, FOUR, 500.0)
    share.leave(forgotten[0])
    assert share._window._planned == [waiting.time], "what is forgotten takes nobody's place with it"


@pytest.mark.parametrize("watches", [3, 4, 5, 30])
@pytest.mark.parametrize("lateness", [0.0, 5.0, 60.0])
def test_however_many_want_all_of_it_each_has_its_turns(watches: int, lateness: float):
    rng = random.Random(f"{watches} {lateness}")
    share, sent = PollShare(), defaultdict[int, list[float]](list)
    turns = [Turn() for _ in range(watches)]
    queue = [(0.0, number) for number in range(watches)]
    while queue[0][0] < 50 * FOUR.seconds:
        now, number = heapq.heappop(queue)
        if takes(share, turns[number], now):
            sent[number].append(now)
            heapq.heappush(queue, (now + rng.uniform(0.0, 1.0), number))
        else:
            heapq.heappush(queue, ((turns[number].time or now) + rng.uniform(0.0, lateness), number))
    times = sorted(time for one in sent.values() for time in one)
    most = FOUR.requests * POLL_SHARE
    assert most_in_any_stretch(times, FOUR.seconds) == most
    assert len(sent) == watches
    rounds = math.ceil(watches / most)
    waits = [later - earlier for one in sent.values() for earlier, later in itertools.pairwise(one)]
    assert max(waits) <= 2 * rounds * (FOUR.seconds + lateness)
