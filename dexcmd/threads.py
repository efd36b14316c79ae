"""Blocking work in a thread, seen through to its end."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

__all__ = ["run_to_the_end", "wait_to_the_end"]

T = TypeVar("T")


async def run_to_the_end(function: Callable[[], T]) -> T:
    """Call `function` in a thread and return what it returns; a cancellation is held back until it has."""
    return await wait_to_the_end(asyncio.ensure_future(anyio.to_thread.run_sync(function)))


async def wait_to_the_end(work: "asyncio.Future[T]") -> T:
    """Return the result of work that a thread does; a cancellation is held back until it is done.

    Work on a file can't be left half-way: its thread would go on, and meet whatever is done next to the same file.  A
    shielded scope holds back anyio's cancellations only, so those of `Task.cancel` are taken in and raised again.
    """
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is None:
        return work.result()
    # What it raised, if anything, gives way to the cancellation, and has to be looked at to be forgotten.
    work.exception()
    raise cancelled
