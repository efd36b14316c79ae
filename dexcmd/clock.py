"""The clock used by all of dexcmd, replaceable so that a test or a sandbox can run time faster."""

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

__all__ = ["Clock", "ManualClock", "ScaledClock", "SystemClock", "default_clock", "use_clock"]


class Clock(Protocol):
    """The clock interface.  Pass your own to `DexClient` to control waiting in tests."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never goes backwards."""
        ...

    def now(self) -> datetime:
        """Return the wall-clock time, timezone-aware in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` of this clock have passed."""
        ...


# On Linux `time.monotonic` stops while the machine is suspended, but time goes on for the service.
_seconds_passed = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Return monotonic seconds, including time spent suspended where the system supports it."""
        return _seconds_passed()

    def now(self) -> datetime:
        """Return the machine's time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)


class ScaledClock:
    """A clock that starts now and runs `speed` times as fast as the machine's.

    Raises `ValueError` unless `speed` is above 0.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed!r}")
        self.speed = speed
        self._started = time.monotonic()
        self._epoch = datetime.now(UTC)

    def monotonic(self) -> float:
        """Return scaled seconds since this clock was made."""
        return (time.monotonic() - self._started) * self.speed

    def now(self) -> datetime:
        """Return the scaled time in UTC."""
        return self._epoch + timedelta(seconds=self.monotonic())

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` of scaled time."""
        await asyncio.sleep(seconds / self.speed)


class ManualClock:
    """A clock that stands still until something sleeps on it or advances it, and then jumps.

    It jumps to the earliest wake-up time of its sleepers, but first gives socket I/O in progress a millisecond of real
    time and a few iterations of the event loop.  So sleepers wake in the right order, and hours pass in an instant.
    Event loops in several threads can share one clock.
    """

    SETTLE_SECONDS = 0.001
    # On a busy machine, that time may pass before anything has run.
    _SETTLE_ROUNDS = 10

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self._epoch = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        # Each loop with a sleeper has its own timer: one loop may stop at any time, and time must go on for the others.
        self._armed: set[asyncio.AbstractEventLoop] = set()
        self._jumped = 0.0
        self._lock = threading.Lock()
        self.slept: list[float] = []
        """The duration of each sleep in seconds, in the order in which they started."""

    def monotonic(self) -> float:
        """Return how many seconds this clock has advanced."""
        return self._elapsed

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._epoch + timedelta(seconds=self._elapsed)

    def advance(self, seconds: float) -> None:
        """Advance the clock by `seconds`."""
        with self._lock:
            self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has advanced by `seconds`, which it does by itself."""
        loop = asyncio.get_running_loop()
        end = loop.create_future()
        with self._lock:
            self.slept.append(seconds)
            heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._count), end))
            self._arm(loop, self.SETTLE_SECONDS)
        await end

    def _arm(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        if loop not in self._armed:
            self._armed = {other for other in self._armed if not other.is_closed()} | {loop}
            loop.call_later(seconds, self._settle, loop, self._SETTLE_ROUNDS)

    def _settle(self, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
        """Let the loop run what is ready, then jump."""
        if rounds:
            loop.call_soon(self._settle, loop, rounds - 1)
        else:
            self._jump(loop)

    def _jump(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._armed.discard(loop)
            left = self.SETTLE_SECONDS - (time.monotonic() - self._jumped)
            if left > 0:
                # Another loop's timer has just made the clock jump, and the woken sleepers may not have run yet.
                self._arm(loop, left)
                return
            while self._sleepers and _is_over(self._sleepers[0][2]):
                # This sleep was cancelled, so time must not jump to its end.
                heapq.heappop(self._sleepers)
            if self._sleepers:
                self._elapsed = max(self._elapsed, self._sleepers[0][0])
            while self._sleepers and self._sleepers[0][0] <= self._elapsed:
                _wake(heapq.heappop(self._sleepers)[2], loop)
            self._jumped = time.monotonic()
            if any(end.get_loop() is loop for _, _, end in self._sleepers):
                self._arm(loop, self.SETTLE_SECONDS)


def _is_over(end: "asyncio.Future[None]") -> bool:
    return end.done() or end.get_loop().is_closed()


def _wake(end: "asyncio.Future[None]", loop: asyncio.AbstractEventLoop) -> None:
    """Wake a sleeper from `loop`, even if it sleeps on another loop."""
    if end.get_loop() is loop:
        _finish(end)
        return
    # A loop that is closed by now has no sleeper left to wake.
    with suppress(RuntimeError):
        end.get_loop().call_soon_threadsafe(_finish, end)


def _finish(end: "asyncio.Future[None]") -> None:
    if not end.done():
        end.set_result(None)


_default: Clock = SystemClock()


def default_clock() -> Clock:
    """Return the default clock: the machine's, unless `use_clock` has replaced it."""
    return _default


@contextmanager
def use_clock(clock: Clock) -> Generator[None]:
    """Make `clock` the default for everything created inside the block, in all threads; for tests."""
    global _default
    before, _default = _default, clock
    try:
        yield
    finally:
        _default = before
