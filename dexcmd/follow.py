"""Following commands to their end, as something to iterate."""

import asyncio
from collections import Counter, deque
from types import TracebackType
from typing import Self

from dexcmd.amounts import listed
from dexcmd.async_only import AsyncOnlyContext, AsyncOnlyIteration, running_loop
from dexcmd.clock import Clock
from dexcmd.errors import DexError, WaitTimeoutError
from dexcmd.polling.watch import Watch
from dexcmd.resources.command import Command

__all__ = ["Follow"]


class Follow(AsyncOnlyContext, AsyncOnlyIteration):
    """Commands, each once, as they reach SUCCESS or FAILED.

        async with dex.commands.follow(ids) as commands:
            async for command in commands: ...

    It polls only while it is iterated, so a slow consumer costs no requests, and there is no task to leave
    behind.  Several tasks may share the iteration: each command comes to one of them.
    """

    def __init__(self, clock: Clock, watch: Watch, *, timeout: float) -> None:
        self._clock = clock
        self._watch = watch
        self._timeout = timeout
        self._entered = False
        self._ended: deque[Command] = deque()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Start the time that `timeout` counts."""
        running_loop()
        self._watch.give_until(self._clock.monotonic() + self._timeout)
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up its place among those that poll.  The commands themselves go on."""
        self._watch.leave()

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Return the ids of those that the list has never shown, although it was looked through.

        It shows new commands late.  One that it does not show for minutes is of another account, or not an id.
        """
        return self._watch.unlisted

    def __aiter__(self) -> Self:
        """Return itself: following goes on where it stands."""
        return self

    async def __anext__(self) -> Command:
        """Return the next command that has ended.

        Raises `WaitTimeoutError` once the time is over, with the ids that are still pending, and `DexError`.
        """
        if not self._entered:
            raise RuntimeError("Follow: enter it with `async with` before iterating over it")
        # A poll can't be done by two tasks at a time.
        async with self._turn:
            try:
                return await self._next()
            except BaseException:
                # Nobody may come for more, and others may wait for what it was about to ask.
                self._watch.hand_back()
                raise

    async def _next(self) -> Command:
        while True:
            # What an earlier poll was told before it failed, or was cancelled, or what that of a peer was told.
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
                # What has ended comes first; if the trouble lasts, the next poll tells.
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
