"""Turns what a converter raises into lines that say where in a campaign file the mistakes are.  Pure."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import attrs
from cattrs import ClassValidationError, ForbiddenExtraKeysError

from dexcmd.safe_text import one_line
from dexcmd.validators import SeveralMistakesError

__all__ = ["ItemsError", "Sections", "at", "hint", "mistakes_of"]

Sections = Mapping[str, tuple[str, ...]]
"""The keys of each table of the file, by the table's name; the top level has an empty name."""

MAX_LINE = 300
"""The longest line, in characters."""

_NAMED = re.compile(r"(\w+)((?:\[\d+\])?(?:\.\w+)?):? (.+)", re.DOTALL)


class ItemsError(Exception):
    """The errors of a list's items, each with its index."""

    def __init__(self, errors: Sequence[tuple[int, Exception]]) -> None:
        super().__init__(f"{len(errors)} items are wrong")
        self.errors = errors


def at(path: str, message: str) -> str:
    """Return one mistake as a line.

    Messages of the classes' checks start with the attribute's name, possibly followed by a place in it, as in `sizes[2]
    must be more than 5`: that is moved into the path.
    """
    name = path.rpartition(".")[2]
    found = _NAMED.fullmatch(message)
    if found is not None and found[1] == name:
        path, message = path + found[2], found[3]
    return _line(path, message)


def _line(path: str, message: str) -> str:
    return one_line(f"{path}: {message}" if path else message, MAX_LINE)


def mistakes_of(error: Exception, sections: Sections, path: str = "") -> Iterator[str]:
    """Yield a line for each mistake that a converter with detailed validation found."""
    match error:
        case ClassValidationError():
            fields, others = error.group_exceptions()
            for inner, note in fields:
                yield from mistakes_of(inner, sections, f"{path}.{note.name}" if path else note.name)
            for inner in others:
                yield from mistakes_of(inner, sections, path)
        case ExceptionGroup():
            for inner in error.exceptions:
                yield from mistakes_of(inner, sections, path)
        case ItemsError():
            for index, inner in error.errors:
                yield from mistakes_of(inner, sections, f"{path}[{index}]")
        case ForbiddenExtraKeysError():
            known = tuple(attribute.alias for attribute in attrs.fields(cast("Any", error.cl)))
            for key in sorted(error.extra_fields, key=str):
                yield _line(f"{path}.{key}" if path else key, f"unknown key{hint(key, known, sections)}")
        case SeveralMistakesError():
            for mistake in error.mistakes:
                yield at(path, mistake)
        case KeyError():
            yield _line(path, "missing")
        case _:
            yield at(path, str(error))


def hint(key: str, known: tuple[str, ...], sections: Sections) -> str:
    """Return, as the end of a sentence, what a key that its table does not know may have been meant to be."""
    wanted = key.replace("-", "_").lower()
    if wanted in known:
        return f"; did you mean {wanted}?"
    if "token" in wanted:
        return "; a token is never in the file: token_env of an account names the environment variable that holds it"
    for section, keys in sections.items():
        if wanted in keys:
            return f"; it belongs in [{section}]" if section else "; it belongs at the top, before the first table"
    if near := difflib.get_close_matches(wanted, known, 1):
        return f"; did you mean {near[0]}?"
    homes = {name: section for section, keys in sections.items() for name in keys}
    if near := difflib.get_close_matches(wanted, homes, 1, 0.8):
        home = homes[near[0]]
        return f"; did you mean {near[0]} in [{home}]?" if home else f"; did you mean {near[0]}, at the top?"
    return f"; the known keys are {', '.join(known)}" if known else "; this table has no keys"
