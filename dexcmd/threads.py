"""Blocking work in a thread, seen through to its end."""

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


class Stopped(Exception):  # noqa: N818 - it is seen by nobody
    """The call was cancelled."""


def raise_if_stopped(stop: threading.Event) -> None:
    """Raise `Stopped` if the event of `run_stoppable` is set."""
    if stop.is_set():
        raise Stopped


@contextmanager
def starting() -> Generator[None]:
    """Raise an `OSError`, which is what it is, where the system has no more threads to start.

    It may have some a moment later: so it costs what needed it, and nothing else.
    """
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error


async def run_to_the_end(function: Callable[[], T]) -> T:
    """Call `function` in a thread and return what it returns; a cancellation is held back until it has.

    Work on a file can't be left half-way: its thread would go on, and meet whatever is done next to the same file.
    """
    return await _run(_Once(function), lambda: None)


async def let_go(function: Callable[[], None]) -> None:
    """Call `function`, which gives up what is held, as `run_to_the_end` does; where there is no thread, without one.

    Files, locks and threads would stay as long as the process: better hold the event loop up.
    """
    once = _Once(function)
    try:
        with suppress(OSError):
            await _run(once, lambda: None)
    finally:
        once.call()
    once.result()


async def run_stoppable(function: Callable[[threading.Event], T], stop: threading.Event | None = None) -> T:
    """Call `function` in a thread and return what it returns; a cancellation sets the event that it gets.

    The function looks at the event between its steps, and clears up and returns or raises where it is set.  It is
    waited for: the thread is not left to go on alone.  `stop` is the event where others look at it as well.
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
        # `asyncio.run` cancels all tasks when its main function is over, and so this one, but no thread.
    if cancelled is not None:
        # What it raised, if anything, gives way to the cancellation.
        hop.exception()
        raise cancelled
    with starting():
        hop.result()
    return once.result()


class _Once(Generic[T]):
    """A function that is called once, however often that is asked for."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._calling = threading.Lock()
        self._returned: list[T] = []
        self._raised: BaseException | None = None

    def call(self) -> None:
        """Call it, or wait in this thread until another one has."""
        with self._calling:
            if not self._returned and self._raised is None:
                try:
                    self._returned.append(self._function())
                except BaseException as error:  # noqa: BLE001 - it is of whoever waits
                    self._raised = error

    def result(self) -> T:
        """Return what it returned; raises what it raised."""
        if self._raised is not None:
            raise self._raised
        return self._returned[0]


async def _end_of(work: "asyncio.Future[Any]") -> asyncio.CancelledError | None:
    """Wait for `work` to end, and return the last cancellation that came meanwhile."""
    # A shielded scope holds back anyio's cancellations only, so those of `Task.cancel` are taken in.
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
        """Tell whoever waits for it, on the event loop."""
        self.ended = True
        # It is not pending where who waited for it was cancelled.
        if not self.done.done():
            if self.error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(self.error)


class GroupThread(Generic[T]):
    """Has one thread do what one event loop gives it: in one go all that has come while it was busy.

    `work` is called in the thread, and returns for each item what went wrong with it, None where nothing did.
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
        """Return when `item` is done; raises what went wrong with it.

        Seen through to its end, whatever is cancelled meanwhile.
        """
        if self._closing:
            raise RuntimeError(f"{self._name} is closed")
        given = _Given(item, self._loop.create_future())
        if not self._given:
            # What other tasks give in this turn of the loop goes along.
            self._loop.call_soon(self._hand_over)
        self._given.append(given)
        try:
            # Not shielded, for that is most of what it takes where nothing is cancelled.
            await given.done
        except asyncio.CancelledError:
            if not given.ended:
                given.done = self._loop.create_future()
                await _end_of(given.done)
            if not given.done.cancelled():
                # It gives way to the cancellation, and has to be looked at to be forgotten.
                given.done.exception()
            raise

    def close(self) -> None:
        """Have the thread end, once it has done all that it was given.  Like `do`, for the event loop."""
        self._closing = True
        self._hand_over()
        self._queue.put(None)

    def join(self) -> None:
        """Return when the thread has ended.  Blocking."""
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
                # The next one that is given something tries again.
                for given in group:
                    given.error = error
                _end_all(group)
                return
            self._thread = thread
        self._queue.put(group)

    # From here on in the thread.

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
        except Exception as failure:  # noqa: BLE001 - whatever it is, nobody must wait for ever
            for given in group:
                given.error = failure
        self._loop.call_soon_threadsafe(_end_all, group)


def _end_all(group: Sequence[_Given[Any]]) -> None:
    for given in group:
        given.end()
