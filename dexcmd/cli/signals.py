"""Signals as a clean end: Ctrl-C gently at first where there is something to finish, all else as a cancellation."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TypeVar

from dexcmd.cli.exits import Stopped

__all__ = ["GentleStop", "run_until_stopped"]

T = TypeVar("T")

STOPPING = tuple(number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP"))
"""SIGHUP is the end of a terminal, or of the connection to it; not every system has it."""


class GentleStop:
    """What the first Ctrl-C asks for: begin nothing new, and finish what is under way.

    Work that can do so is given one, and looks at `requested`, or is called back.
    """

    def __init__(self, *callbacks: Callable[[], object]) -> None:
        """Take what is called, on the event loop, when it is requested."""
        self._callbacks = list(callbacks)
        self.requested: bool = False
        """Whether it was asked for."""

    def then(self, callback: Callable[[], object]) -> None:
        """Call `callback` when it is asked for; at once if it was already."""
        if self.requested:
            callback()
        else:
            self._callbacks.append(callback)

    def request(self) -> None:
        """Ask for it; on the event loop."""
        self.requested = True
        while self._callbacks:
            self._callbacks.pop(0)()


def run_until_stopped(work: Callable[[], Coroutine[object, object, T]], gently: GentleStop | None = None) -> T:
    """Run `work` on an event loop of its own and return what it returns.

    The first Ctrl-C, SIGTERM or SIGHUP cancels it; with `gently`, the first Ctrl-C only requests that, and the next
    signal cancels.  Any further one is ignored, up to the end of the process: it must neither tear the cleaning up
    apart nor leave a traceback.  A SIGHUP that is ignored already, as by `nohup`, stays so.  Raises `Stopped` for what
    was cancelled.
    """
    received: list[int] = []
    asked: list[int] = []

    async def watched() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int, _: FrameType | None) -> None:
            if gently is not None and number == signal.SIGINT and not asked:
                asked.append(number)
                loop.call_soon_threadsafe(gently.request)
                return
            if not received and task is not None:
                # Wakes the loop, too, which `task.cancel` alone would not.
                loop.call_soon_threadsafe(task.cancel)
            received.append(number)

        before = {number: signal.signal(number, stop) for number in STOPPING if not _by_nohup(number)}
        try:
            return await work()
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if received else handler)

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        if not received:
            raise
        raise Stopped(received[0]) from None


def _by_nohup(number: signal.Signals) -> bool:
    return number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN
