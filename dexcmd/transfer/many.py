"""Many concurrent downloads, each with its own result."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import Generic, Protocol

import anyio
import attrs

from dexcmd.background import Background, Results
from dexcmd.errors import DexError
from dexcmd.resources.command import Command
from dexcmd.tasks import run_as_needed
from dexcmd.transfer.names import Parts
from dexcmd.transfer.saved import R, R_co
from dexcmd.transfer.sharing import NotStartedError

__all__ = ["Save", "SaveMany", "SaveResult", "SaveTotals"]

MAX_AHEAD = 1000
"""How many ordered results may wait for an earlier one before no more downloads start, to bound memory."""


@attrs.frozen
class SaveResult(Generic[R]):
    """The result for one artifact of `save_many`: the saved artifact, or an error."""

    command: Command | str
    """The command or id, as given."""

    artifact: R | None = None
    error: DexError | None = None


@attrs.frozen
class SaveTotals:
    """The totals of `save_many` so far."""

    saved: int = 0
    """Artifacts that were downloaded."""

    skipped: int = 0
    """Artifacts that were already there."""

    failed: int = 0
    size: int = 0
    """Bytes of the artifacts that were downloaded."""

    def including(self, result: SaveResult[R]) -> "SaveTotals":
        """Return the totals including one more result."""
        artifact = result.artifact
        if artifact is None:
            return attrs.evolve(self, failed=self.failed + 1)
        if artifact.skipped:
            return attrs.evolve(self, skipped=self.skipped + 1)
        return attrs.evolve(self, saved=self.saved + 1, size=self.size + artifact.size)


class Save(Protocol[R_co]):
    """Saves artifacts, one at a time or concurrently."""

    def __call__(self, command: Command | str, place: Parts | None = None) -> Awaitable[R_co]:
        """Save one artifact at `place` below the sink, or under its own name.  Raises `DexError`."""
        ...


class SaveMany(Background[SaveResult[R]]):
    """The results of `save_many`, each as soon as its artifact is saved or has failed."""

    def __init__(
        self,
        commands: Iterable[Command | str] | AsyncIterable[Command | str],
        open_saver: Callable[[asyncio.Event], AbstractAsyncContextManager[Save[R]]],
        *,
        concurrency: int,
        ordered: bool,
    ) -> None:
        super().__init__()
        self._commands = commands
        self._open_saver = open_saver
        self._stopped = asyncio.Event()
        self._concurrency = concurrency
        self._ordered = ordered
        self.totals: SaveTotals = SaveTotals()
        """The totals of all results so far, including those not iterated over yet."""

        self._unstarted = "was never entered with `async with`: nothing was saved"

    def stop(self) -> None:
        """Start no more downloads; those in progress are completed, and then the iteration ends.

        Artifacts not started give no result.  If `commands` is being waited on for its next item, that wait goes on:
        end that iterable, too.
        """
        self._stopped.set()

    async def _produce(self, results: Results[SaveResult[R]]) -> None:
        taking = anyio.Lock(fast_acquire=True)
        in_order = _InOrder(results, self._concurrency + MAX_AHEAD) if self._ordered else None
        failure: Exception | None = None

        async def work(
            commands: AsyncGenerator[tuple[int, Command | str]], save: Save[R], start_one: Callable[[], None]
        ) -> None:
            nonlocal failure
            is_newest = True
            while not self._stopped.is_set():
                # Two tasks can't advance an async iterable at once.
                async with taking:
                    if in_order is not None:
                        await in_order.wait_for_room()
                    try:
                        number, command = await anext(commands)
                    except StopAsyncIteration:
                        return
                    except Exception as error:  # noqa: BLE001 - raised when the downloads in progress have ended
                        failure = error
                        return
                if is_newest:
                    # One by one, as there may be fewer commands than slots.
                    start_one()
                    is_newest = False
                result: SaveResult[R] | None
                try:
                    result = SaveResult(command, await save(command))
                except NotStartedError:
                    result = None
                except DexError as error:
                    result = SaveResult[R](command, error=error)
                if result is not None:
                    self.totals = self.totals.including(result)
                if in_order is not None:
                    await in_order.add(number, result)
                elif result is not None:
                    await results.send(result)

        async with self._open_saver(self._stopped) as save, aclosing(_numbered(self._commands)) as commands:
            await run_as_needed(partial(work, commands, save), self._concurrency)
        if failure is not None:
            raise failure


class _InOrder(Generic[R]):
    """Sends results in the order in which their downloads started, whichever ends first."""

    def __init__(self, results: Results[SaveResult[R]], most: int) -> None:
        self._results = results
        self._room = anyio.Semaphore(most, fast_acquire=True)
        """Limits the downloads that have started but whose results are not sent yet."""

        self._waiting: dict[int, SaveResult[R] | None] = {}
        self._next = 0

    async def wait_for_room(self) -> None:
        """Return when one more may start."""
        await self._room.acquire()

    async def add(self, number: int, result: SaveResult[R] | None) -> None:
        """Add a result, or None if there is none, and send all results that are now next in order."""
        self._waiting[number] = result
        while self._next in self._waiting:
            first = self._waiting.pop(self._next)
            self._next += 1
            if first is not None:
                await self._results.send(first)
            self._room.release()


async def _numbered(
    commands: Iterable[Command | str] | AsyncIterable[Command | str],
) -> AsyncGenerator[tuple[int, Command | str]]:
    number = 0
    if isinstance(commands, AsyncIterable):
        async for command in commands:
            yield number, command
            number += 1
    else:
        for command in commands:
            yield number, command
            number += 1
