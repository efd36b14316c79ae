"""Ctrl-C and SIGTERM as a clean cancellation."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TypeVar

from dexcmd.cli.exits import by_signal

__all__ = ["Stopped", "run_until_stopped"]

T = TypeVar("T")

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A signal ended the work, which has cleaned up behind itself."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number
        """The signal."""

    @property
    def exit_code(self) -> int:
        """Return the exit code that tells of the signal."""
        return by_signal(self.number)


def run_until_stopped(work: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run `work` on an event loop of its own and return what it returns.

    The first Ctrl-C or SIGTERM cancels it.  Any further one is ignored, up to the end of the process: it must
    neither tear the cleaning up apart nor leave a traceback.  Raises `Stopped`.
    """
    received: list[int] = []

    async def watched() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int, _: FrameType | None) -> None:
            if not received and task is not None:
                # Wakes the loop, too, which `task.cancel` alone would not.
                loop.call_soon_threadsafe(task.cancel)
            received.append(number)

        before = {number: signal.signal(number, stop) for number in STOPPING}
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
