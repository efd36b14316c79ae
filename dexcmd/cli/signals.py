"""Signal handling: the first Ctrl-C ends gently if there is something to finish, any other signal cancels the work."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TypeVar

from dexcmd.cli.exits import Stopped

__all__ = ["GentleStop", "run_until_stopped"]

T = TypeVar("T")

STOPPING = tuple(number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP"))
"""SIGHUP means that the terminal, or the connection to it, was closed; not every system has it."""


class GentleStop:
    """The request made by the first Ctrl-C: start nothing new, and finish what is in progress.

    Work that supports this receives one, and checks `requested` or registers a callback.
    """

    def __init__(self, *callbacks: Callable[[], object]) -> None:
        """Take the functions to call, on the event loop, when it is requested."""
        self._callbacks = list(callbacks)
        self.requested: bool = False
        """Whether it was requested."""

    def then(self, callback: Callable[[], object]) -> None:
        """Call `callback` when it is requested; at once if it already was."""
        if self.requested:
            callback()
        else:
            self._callbacks.append(callback)

    def request(self) -> None:
        """Request it; call this on the event loop."""
        self.requested = True
        while self._callbacks:
            self._callbacks.pop(0)()


def run_until_stopped(work: Callable[[], Coroutine[object, object, T]], gently: GentleStop | None = None) -> T:
    """Run `work` on an event loop of its own and return what it returns.

    The first Ctrl-C, SIGTERM or SIGHUP cancels it; with `gently`, the first Ctrl-C only requests that, and the next
    signal cancels.  Any further signal is ignored until the process ends: it must neither interrupt the cleanup nor
    leave a traceback.  If SIGHUP is already ignored, as by `nohup`, it stays ignored.  Raises `Stopped` if the work was
    cancelled.
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
                # This also wakes the loop, which `task.cancel` alone would not.
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
