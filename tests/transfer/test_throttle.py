"""A limit on bytes a second, by a clock that stands still."""

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.clock import ManualClock
from dexcmd.transfer.throttle import BURST_SECONDS, Throttle

pytestmark = pytest.mark.anyio


async def test_bytes_take_their_time(clock: ManualClock) -> None:
    throttle = Throttle(1000.0, clock)
    for _ in range(10):
        await throttle.take(500)
    assert clock.monotonic() == pytest.approx(5.0)


async def test_what_was_not_used_may_be_used_at_once_but_not_all_of_it(clock: ManualClock) -> None:
    throttle = Throttle(1000.0, clock)
    clock.advance(1000.0)
    await throttle.take(250)
    assert clock.slept == []
    await throttle.take(250)
    assert clock.slept == [pytest.approx(0.25)]
    assert clock.monotonic() == pytest.approx(1000.25)


async def test_what_comes_slower_is_never_held_back(clock: ManualClock) -> None:
    throttle = Throttle(1000.0, clock)
    for _ in range(100):
        clock.advance(0.1)
        await throttle.take(100)
    assert clock.slept == [] or max(clock.slept) < 1e-6


async def test_many_share_it(clock: ManualClock) -> None:
    throttle = Throttle(1000.0, clock)

    async def download() -> None:
        for _ in range(10):
            await throttle.take(100)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(download)
    assert clock.monotonic() == pytest.approx(5.0)


async def test_a_chunk_larger_than_a_second_is_waited_for(clock: ManualClock) -> None:
    throttle = Throttle(10.0, clock)
    await throttle.take(1000)
    assert clock.monotonic() == pytest.approx(100.0)


async def test_it_holds_nobody_longer_than_told(clock: ManualClock) -> None:
    throttle = Throttle(10.0, clock)
    await throttle.take(1000, until=30.0)
    assert clock.monotonic() == 30.0
    # What was taken counts all the same.
    await throttle.take(10)
    assert clock.monotonic() == pytest.approx(101.0)
    await throttle.take(10, until=50.0)
    assert clock.monotonic() == pytest.approx(101.0)


class Steps:
    """A clock on which a sleep is over at once."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


@settings(deadline=None, max_examples=200)
@given(rate=st.floats(1.0, 1e6), chunks=st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 5)), min_size=1))
def test_it_is_never_exceeded(rate: float, chunks: list[tuple[int, float]]) -> None:
    steps = Steps()
    throttle = Throttle(rate, steps)  # type: ignore[arg-type]
    taken = 0
    for size, pause in chunks:
        take = throttle.take(size)
        with pytest.raises(StopIteration):
            take.send(None)
        taken += size
        assert taken <= rate * (steps.time + BURST_SECONDS) * (1 + 1e-9)
        steps.time += pause
