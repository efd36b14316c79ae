"""Blocking work in a thread, seen through to its end."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

__all__ = ["Stopped", "go_on", "run_stoppable", "run_to_the_end", "wait_to_the_end"]

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - it is seen by nobody
    """The call was cancelled."""


def go_on(stop: threading.Event) -> None:
    """Raise `Stopped` if the event of `run_stoppable` is set."""
    if stop.is_set():
        raise Stopped


async def run_to_the_end(function: Callable[[], T]) -> T:
    """Call `function` in a thread and return what it returns; a cancellation is held back until it has."""
    return await wait_to_the_end(asyncio.ensure_future(anyio.to_thread.run_sync(function)))


async def wait_to_the_end(work: "asyncio.Future[T]") -> T:
    """Return the result of work that a thread does; a cancellation is held back until it is done.

    Work on a file can't be left half-way: its thread would go on, and meet whatever is done next to the same file.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError as error:
        cancelled = await _end_of(work) or error
    # What it raised, if anything, gives way to the cancellation, and has to be looked at to be forgotten.
    work.exception()
    raise cancelled


async def run_stoppable(function: Callable[[threading.Event], T]) -> T:
    """Call `function` in a thread and return what it returns; a cancellation sets the event that it gets.

    The function looks at the event between its steps, and clears up and returns or raises where it is set.  It is
    waited for: the thread is not left to go on alone.
    """
    stop = threading.Event()
    work = asyncio.ensure_future(anyio.to_thread.run_sync(partial(function, stop)))
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError:
        stop.set()
        await _end_of(work)
        work.exception()
        raise
    return work.result()


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
