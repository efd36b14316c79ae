"""Checks of the parts of a campaign, as attrs converters and validators; each raises `ConfigurationError`."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import attrs

from dexcmd.errors import ConfigurationError
from dexcmd.safe_text import repr_text
from dexcmd.validators import SeveralMistakesError, finite_number, identifier
from dexcmd.wire.times import format_time

if TYPE_CHECKING:
    from dexcmd.campaign.spec import Share

__all__ = [
    "MAX_AT_ONCE",
    "MAX_COUNTED",
    "account_name",
    "campaign_name",
    "deadline",
    "duration",
    "instance",
    "instances",
    "percent",
    "positive_duration",
    "repeated",
    "strings",
    "texts",
    "token_variable",
    "unsteady",
    "whole",
]

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]

MAX_NAME = 64
"""The longest name, in characters."""

MAX_AT_ONCE = 1000
"""The limit on concurrency: there is a task for each."""

MAX_COUNTED = 10**9
"""More than any fleet or quota."""

LONGEST = timedelta(days=3660)
"""Ten years: anything longer is a mistake, and would overflow the calendar."""

_CAMPAIGN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


# --- texts


def strings(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return a string as a tuple of one, rather than of its letters."""
    if isinstance(value, str):
        return (value,)
    # Anything that is not a sequence is left for the validator to reject.
    return tuple(value) if isinstance(value, list | tuple) else cast("tuple[str, ...]", value)


def texts(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept a tuple of non-empty strings."""
    if not isinstance(value, tuple):
        raise ConfigurationError(f"{attribute.name} must be a list of strings, not {value!r}")
    mistakes: list[str] = []
    for index, item in enumerate(cast("tuple[object, ...]", value)):
        try:
            identifier(f"{attribute.name}[{index}]", item)
        except ConfigurationError as mistake:
            mistakes.append(str(mistake))
    if mistakes:
        raise SeveralMistakesError(mistakes)


def campaign_name(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept names that are also valid file names."""
    if not isinstance(value, str) or not _CAMPAIGN.fullmatch(value) or set(value) == {"."}:
        raise ConfigurationError(
            f"{attribute.name} must be at most {MAX_NAME} letters, digits, '.', '_' and '-', not {value!r}"
        )


def account_name(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept what reports can show on one line."""
    name = identifier(attribute.name, value)
    if not name.isprintable() or name != name.strip() or len(name) > MAX_NAME:
        raise ConfigurationError(
            f"{attribute.name} must be at most {MAX_NAME} printable characters, with no blanks around them, "
            f"not {value!r}"
        )


def token_variable(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept names of environment variables."""
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        # The value is not shown: it may be the token itself, given by mistake.
        raise ConfigurationError(f"{attribute.name} must be the name of an environment variable, not the token itself")


# --- numbers


def whole(least: int, most: int = MAX_COUNTED) -> Validator:
    """Return a validator that accepts whole numbers from `least` to `most`."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigurationError(
                f"{attribute.name} must be a whole number of at least {least}, not {repr_text(value)}"
            )
        if value > most:
            raise ConfigurationError(f"{attribute.name} must be at most {most}, not {repr_text(value)}")

    return check


def percent(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept numbers from 0 to 100."""
    if not 0 <= finite_number(attribute.name, value) <= 100:
        raise ConfigurationError(f"{attribute.name} must be from 0 to 100, not {value!r}")


# --- times


def duration(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept durations of 0 or more."""
    if not isinstance(value, timedelta):
        raise ConfigurationError(f"{attribute.name} must be a timedelta, not {value!r}")
    if not timedelta(0) <= value <= LONGEST:
        raise ConfigurationError(f"{attribute.name} must be from 0 to {LONGEST.days} days, not {value}")


def positive_duration(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept durations above 0."""
    duration(_, attribute, value)
    if not value:
        raise ConfigurationError(f"{attribute.name} must be above 0")


def deadline(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept times with a zone, and durations above 0."""
    if isinstance(value, datetime):
        format_time(attribute.name, value)
    elif isinstance(value, timedelta):
        positive_duration(_, attribute, value)
    else:
        raise ConfigurationError(f"{attribute.name} must be a time with a time zone, or a duration, not {value!r}")


# --- parts


def instance(*kinds: type[Any]) -> Validator:
    """Return a validator that accepts instances of the classes."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ConfigurationError(f"{attribute.name} must be a {names}, not {value!r}")

    return check


def instances(kind: type[Any]) -> Validator:
    """Return a validator that accepts tuples of instances of the class."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, tuple) or any(
            not isinstance(item, kind) for item in cast("tuple[object, ...]", value)
        ):
            raise ConfigurationError(f"{attribute.name} must be a tuple of {kind.__name__}, not {value!r}")

    return check


def repeated(accounts: Sequence[tuple[object, object]]) -> list[str]:
    """Return a mistake for each account, given by name and id, that shares either with an earlier one."""
    mistakes: list[str] = []
    for part, key in enumerate(("name", "account_id")):
        seen: dict[str, int] = {}
        for index, account in enumerate(accounts):
            value = account[part]
            first = seen.setdefault(value.casefold(), index) if isinstance(value, str) else index
            if first != index:
                mistakes.append(f"accounts[{index}].{key} is the same as that of accounts[{first}]")
    return mistakes


def unsteady(sizes: "Sequence[Share | None]") -> list[str]:
    """Return the mistakes in the sizes of waves, with None for a size that is invalid by itself.

    Each has to be more than those before it.  A number is not compared with a percentage: that depends on the fleet.
    """
    mistakes: list[str] = []
    most_count, most_percent = 0, 0.0
    for index, size in enumerate(sizes):
        if size is None:
            continue
        if most_percent >= 100:
            mistakes.append(f"sizes[{index}] comes after a size of 100%: no targets are left for it")
        elif size.count is not None and size.count <= most_count:
            mistakes.append(f"sizes[{index}] must be more than {most_count}: sizes are cumulative")
        elif size.percent is not None and size.percent <= most_percent:
            mistakes.append(f"sizes[{index}] must be more than {most_percent:g}%: sizes are cumulative")
        most_count = max(most_count, size.count or 0)
        most_percent = max(most_percent, size.percent or 0.0)
    return mistakes
