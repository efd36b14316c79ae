"""Clear errors for common mistakes: sync `with` and `for` on async objects, and async without asyncio."""

import asyncio
from typing import NoReturn

from dexcmd.errors import ConfigurationError

__all__ = ["AsyncOnlyContext", "AsyncOnlyIteration", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop; raises `ConfigurationError` if asyncio isn't running one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError("no asyncio event loop is running, and dexcmd requires one") from None


class AsyncOnlyContext:
    """Supports only `async with`."""

    def __enter__(self) -> NoReturn:
        """Raise `TypeError`: write `async with`."""
        raise TypeError(f"{type(self).__name__} is asynchronous: write `async with`, not `with`")

    def __exit__(self, *_: object) -> None:
        """Do nothing: entering raised."""


class AsyncOnlyIteration:
    """Supports only `async for`."""

    def __iter__(self) -> NoReturn:
        """Raise `TypeError`: write `async for`."""
        raise TypeError(f"{type(self).__name__} is asynchronous: write `async for`, not `for`")
