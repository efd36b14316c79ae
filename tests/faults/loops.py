"""An event loop on which a time limit costs no time."""

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.to_thread
import pytest

from dexcmd.threads import GroupThread

__all__ = ["HastyLoop", "LoopClock", "StillLoop", "wait_for_threads"]


class _Selector(selectors.DefaultSelector):
    """Tells its loop to skip a wait during which nothing happens."""

    IDLE_SECONDS = 0.001
    """Client and service share the loop, so what was sent is there at once."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0
        self.threads: anyio.CapacityLimiter | None = None
        self.executing = 0

    def busy(self) -> bool:
        """Tell whether a thread is at work that the loop is waiting for, which takes real time."""
        return bool(self.executing) or (self.threads is not None and self.threads.borrowed_tokens > 0)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= self.IDLE_SECONDS or self.busy():
            return super().select(timeout)
        events = super().select(self.IDLE_SECONDS)
        if not events:
            self.skipped += timeout - self.IDLE_SECONDS
        return events


class HastyLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer as soon as nothing happens on any socket.

    Time limits on sockets are real time and no `ManualClock` reaches them.  Here they can be as generous as
    in production, so that a slow machine fails no test, and a silent service is found out in milliseconds.
    """

    selector_class = _Selector

    def __init__(self) -> None:
        self.selector = self.selector_class()
        super().__init__(self.selector)

    def time(self) -> float:
        """Return the loop's time, with what was skipped."""
        return super().time() + self.selector.skipped

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """Call it in a thread, and skip no time meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self.selector.executing += 1
        future.add_done_callback(self._executed)
        return future

    def _executed(self, _: object) -> None:
        self.selector.executing -= 1

    def run_forever(self) -> None:
        """Run, and skip no time while a thread that commits is waited for."""
        do = GroupThread[Any].do

        async def counted(thread: GroupThread[Any], item: Any) -> None:
            self.selector.executing += 1
            try:
                await do(thread, item)
            finally:
                self.selector.executing -= 1

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(GroupThread, "do", counted)
            super().run_forever()


class _StillSelector(_Selector):
    MORE_SECONDS = 1e-6
    """Skipped in addition: a time that is less than what was waited for by a rounding error would stay so for ever."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        while True:
            events = super().select(self.IDLE_SECONDS)
            if events:
                return events
            if not self.busy():
                self.skipped += timeout + self.MORE_SECONDS
                return events


class StillLoop(HastyLoop):
    """A `HastyLoop` whose time is only what it skips: work takes none, so a slow machine is as fast as any."""

    selector_class = _StillSelector

    def time(self) -> float:
        return self.selector.skipped


def wait_for_threads() -> None:
    """Let the running loop skip no time while a thread of anyio's is at work, for that takes real time."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, HastyLoop):
        loop.selector.threads = anyio.to_thread.current_default_thread_limiter()


class LoopClock:
    """The time of the running loop as everybody's: the limits of sockets are in it, and what is slept on this clock."""

    def __init__(self, start: datetime) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoch, self._began = start, self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time() - self._began

    def now(self) -> datetime:
        return self._epoch.astimezone(UTC) + timedelta(seconds=self.monotonic())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
