"""Checks of arguments, plain or as attrs validators; each raises `ConfigurationError` before anything is sent."""

import inspect
import math
from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import Any, cast

import attrs

from dexcmd.async_only import AsyncOnlyIteration
from dexcmd.errors import ConfigurationError
from dexcmd.safe_text import brief_repr

__all__ = [
    "SeveralMistakesError",
    "above_zero",
    "as_text",
    "count",
    "encodable_text",
    "finite_number",
    "folder_path",
    "function",
    "identifier",
    "number_above_zero",
    "one_of",
    "several",
    "whole_number",
    "yes_or_no",
]


class SeveralMistakesError(ConfigurationError):
    """Several mistakes in one value."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes: tuple[str, ...] = tuple(mistakes)
        super().__init__("; ".join(self.mistakes))


def finite_number(name: str, value: object) -> float:
    """Return `value` if it is a finite number and not a boolean."""
    if not isinstance(value, bool) and isinstance(value, int | float):
        # An int may exceed all floats, which is as bad as infinite.
        try:
            if math.isfinite(value):
                return value
        except OverflowError:
            raise ConfigurationError(f"{name} is too large") from None
    raise ConfigurationError(f"{name} must be a finite number, not {value!r}")


def number_above_zero(name: str, value: object) -> float:
    """Return `value` if it is a finite number above 0."""
    number = finite_number(name, value)
    if not number > 0:
        raise ConfigurationError(f"{name} must be above 0, not {value!r}")
    return number


def above_zero(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept finite numbers above 0."""
    number_above_zero(attribute.name, value)


def whole_number(name: str, value: object) -> int:
    """Return `value` if it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def count(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept integers of at least 1."""
    whole_number(attribute.name, value)


def one_of(*words: str) -> Callable[[Any, "attrs.Attribute[Any]", Any], None]:
    """Return a validator that accepts one of `words`."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if value not in words:
            raise ConfigurationError(f"{attribute.name} must be one of {', '.join(words)}, not {value!r}")

    return check


def identifier(name: str, value: object) -> str:
    """Return `value` if it is a string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be a non-blank string, not {value!r}")
    return value


def as_text(name: str, value: object) -> str:
    """Return `value` if it is a string."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {value!r}")
    return value


def encodable_text(name: str, value: object) -> str:
    """Return `value` if it is a string that can be encoded, unlike a program argument with undecodable bytes."""
    text = as_text(name, value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} must be text, not {value!r}") from None
    return text


def several(name: str, value: object, what: str, *, asynchronous: bool = False) -> None:
    """Raise if `value` is a string or not iterable; async iterables are accepted only if `asynchronous`."""
    given = value
    is_asynchronous = isinstance(value, AsyncOnlyIteration) or not isinstance(value, Iterable)
    if isinstance(value, AsyncIterable) and is_asynchronous and not asynchronous:
        raise ConfigurationError(
            f"{name} must be an iterable of {what}, not asynchronous: "
            "collect them first, as in `[one async for one in ...]`"
        )
    # Each letter of an id would count as an item.
    if isinstance(value, str | bytes) or not (
        isinstance(value, Iterable) or (asynchronous and isinstance(value, AsyncIterable))
    ):
        raise ConfigurationError(f"{name} must be an iterable of {what}, not {brief_repr(given)}")


def function(name: str, value: object) -> None:
    """Raise if `value` is not callable, or is async: its result would not be awaited."""
    if not callable(value):
        raise ConfigurationError(f"{name} must be a function, not {value!r}")
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__):
        raise ConfigurationError(f"{name} must be a plain function, not async: its result is not awaited")


def yes_or_no(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept booleans."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} must be True or False, not {value!r}")


def folder_path(name: str, value: object) -> Path:
    """Return `value` as a path if it is a path made of text.

    An empty string is an error, not the current folder, which is ".".
    """
    try:
        path = Path(cast("str", value))
    except TypeError:
        path = None
    if path is None or value == "":
        raise ConfigurationError(f"{name} must be a folder, not {value!r}")
    return path
