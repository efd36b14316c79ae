"""Following commands to their end, as an async iterator."""

import asyncio
from collections import Counter, deque
from types import TracebackType
from typing import Self

from dexcmd.amounts import listed
from dexcmd.async_only import AsyncOnlyContext, AsyncOnlyIteration, LazyStart, running_loop
from dexcmd.clock import Clock
from dexcmd.errors import DexError, WaitTimeoutError
from dexcmd.polling.watch import Watch
from dexcmd.resources.command import Command

__all__ = ["Follow"]


class Follow(LazyStart, AsyncOnlyContext, AsyncOnlyIteration):
    """Commands, each once, as they reach SUCCESS or FAILED.

        async with dex.commands.follow(ids) as commands:
            async for command in commands: ...

    It polls only while it is iterated, so a slow consumer costs no requests, and no task is left behind.  Several tasks
    may share the iteration: each command goes to one of them.
    """

    def __init__(self, clock: Clock, watch: Watch, *, timeout: float) -> None:
        self._clock = clock
        self._watch = watch
        self._timeout = timeout
        self._entered = False
        self._ended: deque[Command] = deque()
        self._turn = asyncio.Lock()
        self._unstarted = "was never entered with `async with`: nothing was waited for"

    async def __aenter__(self) -> Self:
        """Start the `timeout`."""
        self._unstarted = None
        running_loop()
        self._watch.give_until(self._clock.monotonic() + self._timeout)
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop polling.  The commands themselves keep running."""
        self._watch.leave()

    @property
    def unlisted(self) -> tuple[str, ...]:
        """The ids of commands that the list has never shown, although it was searched.

        New commands appear late.  One that is missing for minutes belongs to another account, or is not a command id.
        """
        return self._watch.unlisted

    def __aiter__(self) -> Self:
        """Return itself: iteration continues where it left off."""
        return self

    async def __anext__(self) -> Command:
        """Return the next command that has ended.

        Raises `WaitTimeoutError`, with the ids still pending, once the timeout has expired, and `DexError`.
        """
        if not self._entered:
            self._unstarted = None
            raise RuntimeError("Follow: enter it with `async with` before iterating over it")
        # Two tasks can't poll at once.
        async with self._turn:
            try:
                return await self._next()
            except BaseException:
                # The caller may not iterate any further, and peers may be waiting for what this was about to poll.
                self._watch.hand_back()
                raise

    async def _next(self) -> Command:
        while True:
            # Some may have ended already: shown by an earlier poll that then failed or was cancelled, or by a peer's.
            self._ended.extend(self._watch.take_ended())
            if self._ended:
                return self._ended.popleft()
            if not len(self._watch):
                raise StopAsyncIteration
            if len(self._watch.out_of_time()) == len(self._watch):
                raise self._late()
            try:
                await self._watch.rest()
                await self._watch.poll()
            except DexError:
                # Return what has ended first.  If the error persists, the next poll raises it.
                self._ended.extend(self._watch.take_ended())
                if not self._ended:
                    raise

    def _late(self) -> WaitTimeoutError:
        count, unlisted, seen = len(self._watch), self._watch.unlisted, self._watch.last_seen
        what = "1 command has" if count == 1 else f"{count} commands have"
        shown = Counter(command.status or "no status" for command in seen)
        states = ", ".join(f"{number} in {status}" for status, number in sorted(shown.items()))
        last = f"; last seen: {states}" if states else ""
        never = f"; {listed(unlisted)} {'was' if len(unlisted) == 1 else 'were'} never in the list" if unlisted else ""
        message = f"{what} not ended after {self._timeout:g} s{last}{never}"
        return WaitTimeoutError(message, self._watch.ids, unlisted, seen)
