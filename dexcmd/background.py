"""Results that tasks produce while they are iterated over."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import anyio

from dexcmd.async_only import AsyncOnlyContext, AsyncOnlyIteration
from dexcmd.loading import load

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["Background", "Results"]

T = TypeVar("T")

BUFFERED_RESULTS = 16
"""Results that may wait for the consumer before the tasks do: a slow consumer slows them down, and memory
stays flat.
"""


class Results(Generic[T]):
    """What is produced, on its way to whoever iterates.

    anyio's streams hand an item to a task that waits, and lose it if that is cancelled before it runs.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[T, ...]] = asyncio.Queue(BUFFERED_RESULTS)
        """Each alone in a tuple; an empty one is the end."""

        self._turn = asyncio.Lock()
        """Of those that wait for room: a queue lets others in before them."""

    async def send(self, result: T) -> None:
        """Hand on a result, once there is room."""
        async with self._turn:
            await self._queue.put((result,))

    async def end(self) -> None:
        """Tell that no more come, once there is room."""
        await self._queue.put(())

    def drop(self) -> None:
        """Forget what nobody has taken, and end.  Nothing may be sent any more."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(())

    async def receive(self) -> T:
        """Return the next; raises `StopAsyncIteration` at the end, to each who asks."""
        for result in await self._queue.get():
            return result
        self._queue.put_nowait(())
        raise StopAsyncIteration


class Background(AsyncOnlyContext, AsyncOnlyIteration, ABC, Generic[T]):
    """An `async with` object to be iterated over with `async for`.

    Leaving the block ends what runs behind it.
    """

    def __init__(self) -> None:
        self._entered = False
        self._group: TaskGroup | None = None
        self._sent: Results[T] | None = None
        """There once it is entered."""

        self._left = False
        self._failure: Exception | None = None

    @abstractmethod
    async def _produce(self, results: Results[T]) -> None:
        """Send all results and return."""

    async def __aenter__(self) -> Self:
        """Start producing."""
        if self._entered:
            raise RuntimeError(f"a {type(self).__name__} can be entered once")
        self._entered = True
        await load("anyio")
        self._sent = Results[T]()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._run, self._sent)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is under way and wait until it has cleaned up."""
        if self._group is not None and self._sent is not None:
            self._left = True
            self._group.cancel_scope.cancel()
            try:
                # The body's exception is left out, so that it comes to the caller as it is and not in a group.
                await self._group.__aexit__(None, None, None)
            finally:
                self._sent.drop()

    def __aiter__(self) -> Self:
        """Return itself: each result comes once."""
        return self

    async def __anext__(self) -> T:
        """Return the next result as soon as there is one.

        A wait that is cancelled loses none.
        """
        if self._sent is None:
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
            await self._produce(results)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever iterates
            self._failure = error
        await results.end()
