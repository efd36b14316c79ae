"""Clear words for common mistakes: sync `with` and `for` on async objects, no asyncio, and no `await` at all."""

import asyncio
import warnings
from typing import NoReturn

from dexcmd.errors import ConfigurationError

__all__ = ["AsyncOnlyContext", "AsyncOnlyIteration", "LazyStart", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop; raises `ConfigurationError` if asyncio isn't running one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError("no asyncio event loop is running, and dexcmd requires one") from None


class LazyStart:
    """Does nothing until it is awaited or entered, and warns, as Python does for a coroutine, if it never was."""

    _unstarted: str | None = None
    """What is missing, for as long as that is so and nobody was told; None before the object is complete."""

    def __del__(self) -> None:
        """Warn if it was never started."""
        if self._unstarted is not None:
            warnings.warn(f"{type(self).__name__} {self._unstarted}", RuntimeWarning, stacklevel=2, source=self)


class AsyncOnlyContext:
    """Supports only `async with`."""

    def __enter__(self) -> NoReturn:
        """Raise `TypeError`: write `async with`."""
        _is_told_of(self)
        raise TypeError(f"{type(self).__name__} is asynchronous: write `async with`, not `with`")

    def __exit__(self, *_: object) -> None:
        """Do nothing: entering raised."""


class AsyncOnlyIteration:
    """Supports only `async for`."""

    def __iter__(self) -> NoReturn:
        """Raise `TypeError`: write `async for`."""
        _is_told_of(self)
        raise TypeError(f"{type(self).__name__} is asynchronous: write `async for`, not `for`")


def _is_told_of(something: object) -> None:
    if isinstance(something, LazyStart):
        something._unstarted = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
