"""A plain mistake with a plain answer: sync `with` and `for` on what is async, and async without asyncio."""

import asyncio
from typing import NoReturn

from dexcmd.errors import ConfigurationError

__all__ = ["AsyncOnlyContext", "AsyncOnlyIteration", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs; raises `ConfigurationError` where it is none of asyncio's."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError("no event loop of asyncio runs here, and dexcmd runs on no other") from None


class AsyncOnlyContext:
    """Has `async with` only."""

    def __enter__(self) -> NoReturn:
        """Raise `TypeError`: write `async with`."""
        raise TypeError(f"{type(self).__name__} is asynchronous: write `async with`, not `with`")

    def __exit__(self, *_: object) -> None:
        """Do nothing: entering raised."""


class AsyncOnlyIteration:
    """Has `async for` only."""

    def __iter__(self) -> NoReturn:
        """Raise `TypeError`: write `async for`."""
        raise TypeError(f"{type(self).__name__} is asynchronous: write `async for`, not `for`")
