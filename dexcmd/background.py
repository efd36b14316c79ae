"""Results that tasks produce while they are iterated over."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import anyio

from dexcmd.async_only import AsyncOnlyContext, AsyncOnlyIteration
from dexcmd.loading import load

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

__all__ = ["Background"]

T = TypeVar("T")

BUFFERED_RESULTS = 16
"""Results that may wait for the consumer before the tasks do: a slow consumer slows them down, and memory
stays flat.
"""


class Background(AsyncOnlyContext, AsyncOnlyIteration, ABC, Generic[T]):
    """An `async with` object to be iterated over with `async for`.

    Leaving the block ends what runs behind it.
    """

    def __init__(self) -> None:
        self._entered = False
        self._group: TaskGroup | None = None
        self._receive: MemoryObjectReceiveStream[T] | None = None
        self._failure: Exception | None = None

    @abstractmethod
    async def _produce(self, results: "MemoryObjectSendStream[T]") -> None:
        """Send all results and return."""

    async def __aenter__(self) -> Self:
        """Start producing."""
        if self._entered:
            raise RuntimeError(f"a {type(self).__name__} can be entered once")
        self._entered = True
        await load("anyio.streams.memory")
        send, self._receive = anyio.create_memory_object_stream[T](BUFFERED_RESULTS)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._run, send)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is under way and wait until it has cleaned up."""
        if self._group is not None and self._receive is not None:
            self._receive.close()
            self._group.cancel_scope.cancel()
            # The body's exception is left out, so that it comes to the caller as it is and not in a group.
            await self._group.__aexit__(None, None, None)

    def __aiter__(self) -> Self:
        """Return itself: each result comes once."""
        return self

    async def __anext__(self) -> T:
        """Return the next result as soon as there is one."""
        if self._receive is None:
            raise RuntimeError(f"{type(self).__name__}: enter it with `async with` before iterating over it")
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            if self._failure is not None:
                raise self._failure from None
            raise StopAsyncIteration from None
        except anyio.ClosedResourceError:
            raise RuntimeError(f"{type(self).__name__}: iterate over it inside its `async with` block") from None

    async def _run(self, send: "MemoryObjectSendStream[T]") -> None:
        async with send:
            try:
                await self._produce(send)
            except anyio.BrokenResourceError:
                # The consumer has left, and the cancellation is on its way.
                return
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever iterates
                self._failure = error
