"""Checks of arguments, as attrs validators; each raises `ConfigurationError` before anything is sent."""

import math
from typing import Any

import attrs

from dexcmd.errors import ConfigurationError

__all__ = ["above_zero", "finite_number", "identifier"]


def finite_number(name: str, value: object) -> float:
    """Return `value` if it is a finite number, and no boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{name} must be a finite number, not {value!r}")
    return value


def above_zero(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Accept finite numbers above 0."""
    if not finite_number(attribute.name, value) > 0:
        raise ConfigurationError(f"{attribute.name} must be above 0, not {value!r}")


def identifier(name: str, value: object) -> str:
    """Return `value` if it is a string that holds something."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be a string that is not empty, not {value!r}")
    return value
