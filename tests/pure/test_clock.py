"""Clocks: the machine's, a fast one, and one that stands still."""

import asyncio
import math
import threading
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta

import pytest

from dexcmd.clock import ManualClock, ScaledClock, SystemClock, default_clock, use_clock


class TestSystemClock:
    def test_it_is_the_machines(self):
        clock = SystemClock()
        before, found, after = time.monotonic(), clock.monotonic(), time.monotonic()
        assert before <= found <= after
        earlier, now, later = datetime.now(UTC), clock.now(), datetime.now(UTC)
        assert earlier <= now <= later
        assert now.tzinfo is UTC

    def test_sleeping_lets_others_run(self):
        turns: list[str] = []

        async def other() -> None:
            turns.append("other")

        async def main() -> None:
            task = asyncio.create_task(other())
            await SystemClock().sleep(0)
            turns.append("main")
            await task

        asyncio.run(main())
        assert turns == ["other", "main"]


class TestScaledClock:
    @pytest.mark.parametrize("speed", [0, -1, 0.0, math.nan, -math.inf])
    def test_impossible_speeds(self, speed: float):
        with pytest.raises(ValueError, match="speed must be above 0"):
            ScaledClock(speed)

    def test_it_runs_as_fast_as_asked_for(self):
        started = time.monotonic()
        clock = ScaledClock(1000.0)
        ready = time.monotonic()
        first = clock.monotonic()
        seen = time.monotonic()
        assert 0 <= first <= (seen - started) * 1000.0
        second = clock.monotonic()
        assert second >= first
        assert second <= (time.monotonic() - started) * 1000.0
        assert second >= (seen - ready) * 1000.0

    def test_now_goes_along(self):
        clock = ScaledClock(3600.0)
        before, now, after = clock.monotonic(), clock.now(), clock.monotonic()
        assert now.tzinfo is UTC
        assert clock._epoch + timedelta(seconds=before) <= now <= clock._epoch + timedelta(seconds=after)

    def test_a_long_sleep_is_short(self):
        clock = ScaledClock(1e7)
        before = clock.monotonic()
        asyncio.run(asyncio.wait_for(clock.sleep(3600.0), timeout=5.0))
        assert clock.monotonic() - before >= 3600.0


class TestManualClock:
    def test_what_has_come_is_dealt_with_before_it_jumps(self):
        clock = ManualClock()
        at: list[float] = []

        async def main() -> None:
            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readline()
                at.append(clock.monotonic())
                writer.write(b"answer\n")
                # A busy machine: by the time the loop gets on, more has passed than the clock would give it.
                time.sleep(0.02)  # noqa: ASYNC251 - it is held up
                await clock.sleep(10.0)
                writer.close()

            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"request\n")
                sleeping = asyncio.create_task(clock.sleep(5.0))
                await reader.readline()
                at.append(clock.monotonic())
                await sleeping
                assert await reader.read() == b""
                writer.close()

        asyncio.run(main())
        assert at == [0.0, 0.0]
        assert clock.monotonic() == 10.0

    def test_it_stands_still(self):
        clock = ManualClock(datetime(2030, 5, 6, tzinfo=UTC))
        assert clock.monotonic() == clock.monotonic() == 0.0
        assert clock.now() == clock.now() == datetime(2030, 5, 6, tzinfo=UTC)

    def test_advance(self):
        clock = ManualClock()
        start = clock.now()
        clock.advance(1.5)
        clock.advance(2.0)
        assert clock.monotonic() == 3.5
        assert clock.now() - start == timedelta(seconds=3.5)
        assert clock.slept == []

    def test_a_sleeper_moves_it(self):
        clock = ManualClock()
        asyncio.run(clock.sleep(300.0))
        assert clock.monotonic() == 300.0
        assert clock.slept == [300.0]

    def test_others_have_their_turn_first(self):
        clock, seen = ManualClock(), list[float]()

        async def other() -> None:
            seen.append(clock.monotonic())

        async def main() -> None:
            task = asyncio.create_task(other())
            await clock.sleep(10.0)
            await task

        asyncio.run(main())
        assert seen == [0.0]

    def test_sleepers_at_once_share_the_time(self):
        clock = ManualClock()

        async def main() -> None:
            await asyncio.gather(clock.sleep(5.0), clock.sleep(20.0), clock.sleep(1.0))

        asyncio.run(main())
        assert clock.monotonic() == 20.0
        assert clock.slept == [5.0, 20.0, 1.0]

    def test_it_never_goes_back(self):
        clock = ManualClock()

        async def main() -> None:
            task = asyncio.create_task(clock.sleep(5.0))
            await asyncio.sleep(0)
            clock.advance(100.0)
            await task

        asyncio.run(main())
        assert clock.monotonic() == 100.0

    @pytest.mark.parametrize("cancelled", [5.0, 20.0, 50.0])
    def test_time_does_not_pass_for_a_sleeper_that_was_cancelled(self, cancelled: float):
        clock = ManualClock()

        async def main() -> None:
            task = asyncio.create_task(clock.sleep(cancelled))
            await asyncio.sleep(0)
            task.cancel()
            await clock.sleep(20.0)
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert clock.monotonic() == 20.0

    def test_sleepers_wake_in_the_order_of_their_times(self):
        clock, woken = ManualClock(), list[tuple[float, float]]()

        async def sleeper(seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((seconds, clock.monotonic()))

        async def main() -> None:
            await asyncio.gather(*(sleeper(seconds) for seconds in (30.0, 10.0, 20.0, 10.0)))

        asyncio.run(main())
        assert woken == [(10.0, 10.0), (10.0, 10.0), (20.0, 20.0), (30.0, 30.0)]

    def test_a_cancelled_sleeper_between_others(self):
        clock = ManualClock()

        async def main() -> None:
            first, second = (asyncio.create_task(clock.sleep(10.0)) for _ in range(2))
            third = asyncio.create_task(clock.sleep(10.0))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(first, third)
            assert second.cancelled()

        asyncio.run(main())
        assert clock.monotonic() == 10.0

    def test_loops_of_two_threads_share_it(self):
        clock, both = ManualClock(), threading.Barrier(2)
        woken: dict[str, list[float]] = {"this": [], "other": []}

        def run(name: str, *naps: float) -> None:
            async def main() -> None:
                both.wait()
                for seconds in naps:
                    await clock.sleep(seconds)
                    woken[name].append(clock.monotonic())

            asyncio.run(main())

        other = threading.Thread(target=run, args=("other", 30.0))
        other.start()
        run("this", 10.0, 10.0)
        other.join()
        assert sorted(clock.slept) == [10.0, 10.0, 30.0]
        # A thread may be late to go to sleep or to wake, and time pass meanwhile; nobody wakes too early.
        [first, second], [third] = woken["this"], woken["other"]
        assert (first >= 10.0, second - first >= 10.0, third >= 30.0) == (True, True, True)
        assert 30.0 <= clock.monotonic() <= 50.0

    @pytest.mark.parametrize("closed", [True, False])
    def test_a_sleeper_whose_loop_has_stopped_holds_nobody_up(self, closed: bool):
        clock = ManualClock()
        stopped = asyncio.new_event_loop()
        sleeper = stopped.create_task(clock.sleep(5.0))
        stopped.call_soon(stopped.stop)
        stopped.run_forever()
        if closed:
            sleeper.cancel()
            stopped.run_until_complete(asyncio.wait([sleeper]))
            stopped.close()
        asyncio.run(clock.sleep(20.0))
        assert clock.monotonic() == 20.0
        if not closed:
            # Its time has come meanwhile.
            stopped.run_until_complete(sleeper)
            stopped.close()
        assert clock.monotonic() == 20.0

    def test_time_does_not_pass_for_a_sleeper_whose_loop_is_closed(self):
        clock = ManualClock()
        gone = asyncio.new_event_loop()
        # Held, for a task that is destroyed while it is pending says so.
        sleeper = clock.sleep(50.0)
        end = sleeper_begun(gone, sleeper)
        gone.close()
        asyncio.run(clock.sleep(20.0))
        asyncio.run(clock.sleep(40.0))
        assert clock.monotonic() == 60.0
        assert not end.done()
        sleeper.close()


def sleeper_begun(loop: asyncio.AbstractEventLoop, sleeper: Coroutine[object, None, None]) -> "asyncio.Future[None]":
    """Run a sleeper up to its sleep, without a task."""
    begun: list[asyncio.Future[None]] = []

    # A single turn of the loop, which has no room for a timer.
    loop.call_soon(lambda: begun.append(sleeper.send(None)))
    loop.call_soon(loop.stop)
    loop.run_forever()
    return begun[0]


class TestDefaultClock:
    def test_it_is_the_machines(self):
        assert isinstance(default_clock(), SystemClock)

    def test_another_one_for_a_while(self):
        clock = ManualClock()
        before = default_clock()
        with pytest.raises(RuntimeError, match="inside"), use_clock(clock):
            assert default_clock() is clock
            raise RuntimeError("inside")
        assert default_clock() is before
