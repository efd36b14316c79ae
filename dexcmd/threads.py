"""Blocking work in a thread, always run to completion."""

import asyncio
import errno
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
import attrs

__all__ = ["GroupThread", "Stopped", "let_go", "raise_if_stopped", "run_stoppable", "run_to_the_end", "starting"]

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - it never escapes
    """The call was cancelled."""


def raise_if_stopped(stop: threading.Event) -> None:
    """Raise `Stopped` if the event of `run_stoppable` is set."""
    if stop.is_set():
        raise Stopped


@contextmanager
def starting() -> Generator[None]:
    """Raise `OSError` in place of Python's `RuntimeError` if no thread can be started inside the block.

    The system may have threads again a moment later, so only the operation that needed one must fail.
    """
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error


async def run_to_the_end(function: Callable[[], T]) -> T:
    """Call `function` in a thread and return its result; a cancellation is delayed until it has returned.

    Work on a file can't be abandoned half-way: its thread would continue, and clash with the next use of the file.
    """
    return await _run(_Once(function), lambda: None)


async def let_go(function: Callable[[], None]) -> None:
    """Call `function`, which releases resources, as `run_to_the_end` does, or on the event loop if no thread can start.

    Otherwise files, locks and threads would leak for the life of the process; that is worse than blocking the loop.
    """
    once = _Once(function)
    try:
        with suppress(OSError):
            await _run(once, lambda: None)
    finally:
        once.call()
    once.result()


async def run_stoppable(function: Callable[[threading.Event], T], stop: threading.Event | None = None) -> T:
    """Call `function` in a thread and return its result; a cancellation sets the event that it is passed.

    The function checks the event between its steps and, once it is set, cleans up and returns or raises.  It is always
    awaited, so no thread is left running.  Pass `stop` if the event is shared with others.
    """
    stop = stop or threading.Event()
    return await _run(_Once(partial(function, stop)), stop.set)


async def _run(once: "_Once[T]", on_cancel: Callable[[], None]) -> T:
    cancelled: asyncio.CancelledError | None = None
    while True:
        hop = asyncio.ensure_future(anyio.to_thread.run_sync(once.call))
        try:
            await asyncio.wait([hop])
        except asyncio.CancelledError as error:
            on_cancel()
            cancelled = await _end_of(hop) or error
        if not hop.cancelled():
            break
        # When its main function ends, `asyncio.run` cancels all tasks, including `hop`, but the thread continues.  Wait
        # for it again: `_Once` does not call the function twice.
    if cancelled is not None:
        # The cancellation takes precedence over any exception.
        hop.exception()
        raise cancelled
    with starting():
        hop.result()
    return once.result()


class _Once(Generic[T]):
    """A function that is called only once, however often `call` is called."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._calling = threading.Lock()
        self._returned: list[T] = []
        self._raised: BaseException | None = None

    def call(self) -> None:
        """Call the function, or wait in this thread until another thread has."""
        with self._calling:
            if not self._returned and self._raised is None:
                try:
                    self._returned.append(self._function())
                except BaseException as error:  # noqa: BLE001 - raised by `result`
                    self._raised = error

    def result(self) -> T:
        """Return what the function returned, or raise what it raised."""
        if self._raised is not None:
            raise self._raised
        return self._returned[0]


async def _end_of(work: "asyncio.Future[Any]") -> asyncio.CancelledError | None:
    """Wait for `work` to end, and return the last cancellation received meanwhile."""
    # The shielded scope holds back only anyio's cancellations; those of `Task.cancel` have to be caught.
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    return cancelled


@attrs.define(eq=False)
class _Given(Generic[T]):
    item: T
    done: "asyncio.Future[None]"
    ended: bool = False
    error: Exception | None = None

    def end(self) -> None:
        """Wake the waiter, on the event loop."""
        self.ended = True
        # `done` is cancelled, and so already done, if the waiter was cancelled.
        if not self.done.done():
            if self.error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(self.error)


class GroupThread(Generic[T]):
    """Processes the items of one event loop in one thread, with all items that arrive while it is busy as one group.

    `work` is called in the thread, and returns for each item its error, or None.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[Exception | None]], name: str) -> None:
        self._work = work
        self._name = name
        self._given: list[_Given[T]] = []
        self._queue: queue.SimpleQueue[list[_Given[T]] | None] = queue.SimpleQueue()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._loop = asyncio.get_running_loop()

    async def do(self, item: T) -> None:
        """Wait until `item` is done; raises its error.

        A cancellation is delayed until then.
        """
        if self._closing:
            raise RuntimeError(f"{self._name} is closed")
        given = _Given(item, self._loop.create_future())
        if not self._given:
            # Items that other tasks add in this iteration of the loop join the group.
            self._loop.call_soon(self._hand_over)
        self._given.append(given)
        try:
            # Not shielded: without a cancellation, a shield would be most of the cost of a call.
            await given.done
        except asyncio.CancelledError:
            if not given.ended:
                given.done = self._loop.create_future()
                await _end_of(given.done)
            if not given.done.cancelled():
                # The cancellation takes precedence; retrieve the exception so that asyncio does not report it.
                given.done.exception()
            raise

    def close(self) -> None:
        """Let the thread end once it has processed all items.  Like `do`, called on the event loop."""
        self._closing = True
        self._hand_over()
        self._queue.put(None)

    def join(self) -> None:
        """Wait, blocking, until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def _hand_over(self) -> None:
        if not self._given:
            return
        group, self._given = self._given, []
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                with starting():
                    thread.start()
            except OSError as error:
                # The next item tries again.
                for given in group:
                    given.error = error
                _end_all(group)
                return
            self._thread = thread
        self._queue.put(group)

    # The methods below run in the thread.

    def _run(self) -> None:
        going_on = True
        while going_on:
            group: list[_Given[T]] = []
            given = self._queue.get()
            while given is not None:
                group += given
                if self._queue.empty():
                    break
                given = self._queue.get()
            going_on = given is not None
            if group:
                self._do(group)

    def _do(self, group: list[_Given[T]]) -> None:
        try:
            for given, error in zip(group, self._work([given.item for given in group]), strict=True):
                given.error = error
        except Exception as failure:  # noqa: BLE001 - whatever it is, no waiter may be left waiting forever
            for given in group:
                given.error = failure
        self._loop.call_soon_threadsafe(_end_all, group)


def _end_all(group: Sequence[_Given[Any]]) -> None:
    for given in group:
        given.end()
