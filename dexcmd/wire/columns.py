"""A fast path that reads well-formed rows a column at a time.

Nearly all rows are well-formed, and a column needs only one built-in call per check for all of its values.  Anything
unusual is rejected without an explanation, and left to the code that reads field by field.
"""

from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any, cast

import attrs

from dexcmd.wire.times import parse_times

__all__ = ["Columns", "Reader", "each", "only", "times"]

Reader = Callable[[Sequence[object]], Sequence[object]]
"""Converts wire values to a field's values; raises `TypeError`, `ValueError` or `RecursionError` if one is unusual."""

_OBJECTS = frozenset({dict})


def only(*kinds: type[Any]) -> Reader:
    """Return a reader for values of exactly these types: a boolean is not an integer."""
    allowed = frozenset(kinds)

    def read(values: Sequence[object]) -> Sequence[object]:
        if not allowed.issuperset(map(type, values)):
            raise TypeError
        return values

    return read


def each(hook: Callable[[object, object], object]) -> Reader:
    """Return a reader that calls a cattrs hook for each value except None."""
    return lambda values: [None if value is None else hook(value, None) for value in values]


def times(values: Sequence[object]) -> Sequence[object]:
    """Read times with zones, and None."""
    return parse_times(cast("Sequence[str | None]", values))


@attrs.frozen
class _Column:
    name: str
    absent: EllipsisType | None
    reader: Reader

    def read(self, rows: Sequence[dict[str, object]]) -> Sequence[object]:
        return self.reader([row.get(self.name, self.absent) for row in rows])


class Columns:
    """Reads rows into models of one class, whose fields have neither converters nor validators."""

    def __init__(self, model: type[Any], wire_names: Mapping[str, str], readers: Mapping[Any, Reader]) -> None:
        self._model = model
        self._open = _open(model)
        self._columns = [
            # For a required field, or one with a default other than None, a missing value is read as an ellipsis, which
            # no reader accepts.
            _Column(wire_names.get(field.name, field.name), None if field.default is None else ..., readers[field.type])
            for field in attrs.fields(model)
        ]

    def read(self, rows: Sequence[object]) -> list[Any] | None:
        """Return the rows as models; None if anything about them is unusual."""
        if not _OBJECTS.issuperset(map(type, rows)):
            return None
        try:
            columns = [column.read(cast("Sequence[dict[str, object]]", rows)) for column in self._columns]
        except (TypeError, ValueError, RecursionError):
            return None
        models = list(map(self._open, *columns))
        for model in models:
            model.__class__ = self._model
        return models


def _open(model: type[Any]) -> type[Any]:
    """Return a mutable copy of a frozen class with slots, with positional arguments.

    Its instances have the same memory layout, so assigning `__class__` turns them into instances of `model`.  The
    `__init__` of `model` takes four times as long, as it has to bypass the class's immutability for each field.
    """
    return attrs.make_class(
        f"_Open{model.__name__}",
        {field.name: attrs.field() for field in attrs.fields(model)},
        bases=(model,),
        # Python only takes its fast path for assignments if both are its own methods.
        class_body={"__setattr__": object.__setattr__, "__delattr__": object.__delattr__},
        slots=True,
        eq=False,
        repr=False,
    )
