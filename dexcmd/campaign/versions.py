"""Versions of the WARP client, and bounds on them.  Pure."""

import operator
import re
from collections.abc import Callable

import attrs

from dexcmd.validators import SeveralMistakesError

__all__ = ["VersionBounds", "parse_version"]

Version = tuple[int, ...]

_VERSION = re.compile(r"[vV]?(\d{1,9}(?:\.\d{1,9}){0,9})(?![\d.])")
_BOUND = re.compile(r"(>=|<=|==|!=|>|<)\s*(.+)")
_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def parse_version(text: str) -> Version | None:
    """Return the numbers of `2024.6.473.0`, ignoring what follows, such as `-beta`; None if it is not a version.

    Trailing zeros are cut, so that `2024.6` equals `2024.6.0`.
    """
    found = _VERSION.match(text.strip())
    if found is None:
        return None
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and not numbers[-1]:
        del numbers[-1]
    return tuple(numbers)


@attrs.frozen
class VersionBounds:
    """Bounds such as `>=2024.6, <2025.1`, all of which a version has to meet.  Made by `parse`."""

    text: str
    _bounds: tuple[tuple[str, Version], ...] = attrs.field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "VersionBounds":
        """Return the bounds in `text`.  Raises `ConfigurationError` for all invalid ones at once."""
        bounds: list[tuple[str, Version]] = []
        mistakes: list[str] = []
        for part in text.split(","):
            found = _BOUND.fullmatch(part.strip())
            version = None if found is None or not _is_version(found[2]) else parse_version(found[2])
            if found is None or version is None:
                mistakes.append(f"{part.strip()!r} is not a bound such as >=2024.6 or <2025.1")
            else:
                bounds.append((found[1], version))
        if mistakes:
            raise SeveralMistakesError(mistakes)
        return cls(text, tuple(bounds))

    def allow(self, version: str | None) -> bool:
        """Return whether a device's version meets all bounds; an unknown one does not."""
        numbers = None if version is None else parse_version(version)
        return numbers is not None and all(_COMPARE[sign](numbers, bound) for sign, bound in self._bounds)


def _is_version(text: str) -> bool:
    return _VERSION.fullmatch(text.strip()) is not None
