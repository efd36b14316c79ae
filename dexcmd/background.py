"""Results produced by background tasks while the caller iterates over them."""

import asyncio
from abc import ABC, abstractmethod
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import anyio

from dexcmd.async_only import AsyncOnlyContext, AsyncOnlyIteration, LazyStart
from dexcmd.loading import load
from dexcmd.tasks import run_unsilenced

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["Background", "Results"]

T = TypeVar("T")

BUFFERED_RESULTS = 16
"""How many results are buffered before the tasks wait: a slow consumer slows them down, and memory use stays
constant.
"""


class Results(Generic[T]):
    """The queue from the producing tasks to the consumer.

    anyio's streams hand an item to a waiting task, and lose it if that task is cancelled before it runs.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[T, ...]] = asyncio.Queue(BUFFERED_RESULTS)
        """Each result in a tuple of its own; an empty tuple marks the end."""

        self._turn = asyncio.Lock()
        """Held by the sender that waits for room: a queue alone would let others overtake it."""

    async def send(self, result: T) -> None:
        """Send a result, waiting for room."""
        async with self._turn:
            await self._queue.put((result,))

    async def end(self) -> None:
        """Mark the end, waiting for room."""
        await self._queue.put(())

    def drop(self) -> None:
        """Discard unread results, and end.  Nothing may be sent afterwards."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(())

    async def receive(self) -> T:
        """Return the next result; at the end raises `StopAsyncIteration`, for every caller."""
        for result in await self._queue.get():
            return result
        self._queue.put_nowait(())
        raise StopAsyncIteration


class Background(LazyStart, AsyncOnlyContext, AsyncOnlyIteration, ABC, Generic[T]):
    """An `async with` object to be iterated over with `async for`.

    Leaving the block stops its background tasks.
    """

    def __init__(self) -> None:
        self._entered = False
        self._group: TaskGroup | None = None
        self._sent: Results[T] | None = None
        """Set once entered."""

        self._left = False
        self._failure: Exception | None = None

    @abstractmethod
    async def _produce(self, results: Results[T]) -> None:
        """Send all results and return."""

    async def __aenter__(self) -> Self:
        """Start producing."""
        if self._entered:
            raise RuntimeError(f"a {type(self).__name__} can be entered only once: create another one")
        self._entered = True
        self._unstarted = None
        await load("anyio")
        self._sent = Results[T]()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._run, self._sent)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what is in progress and wait until it has cleaned up."""
        if self._group is not None and self._sent is not None:
            self._left = True
            self._group.cancel_scope.cancel()
            try:
                # Without the body's exception, so that it reaches the caller as it is and not in a group.
                await self._group.__aexit__(None, None, None)
            finally:
                self._sent.drop()

    def __aiter__(self) -> Self:
        """Return itself: each result is returned once."""
        return self

    async def __anext__(self) -> T:
        """Wait for the next result and return it.

        Cancelling the wait loses no result.
        """
        if self._sent is None:
            self._unstarted = None
            raise RuntimeError(f"{type(self).__name__}: enter it with `async with` before iterating over it")
        try:
            return await self._sent.receive()
        except StopAsyncIteration:
            if self._left:
                raise RuntimeError(f"{type(self).__name__}: iterate over it inside its `async with` block") from None
            if self._failure is not None:
                raise self._failure from None
            raise

    async def _run(self, results: Results[T]) -> None:
        try:
            await run_unsilenced(partial(self._produce, results))
        except Exception as error:  # noqa: BLE001 - raised for the consumer
            self._failure = error
        await results.end()
