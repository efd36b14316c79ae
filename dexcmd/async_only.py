"""A plain mistake with a plain answer: sync `with` and `for` on what is async."""

from typing import NoReturn

__all__ = ["AsyncOnlyContext", "AsyncOnlyIteration"]


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
