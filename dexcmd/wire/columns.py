"""Rows that are as they should be, read a column at a time.

Nearly all are, and of a column each check is one call of a built-in for all of its values.  What is the least bit odd
is refused without a word, for those who read field by field to take it or to tell what is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any, cast

import attrs

from dexcmd.wire.times import parse_times

__all__ = ["Columns", "Reader", "each", "only", "times"]

Reader = Callable[[Sequence[object]], Sequence[object]]
"""Returns the values of a field for those of the wire; raises `TypeError` or `ValueError` where one is odd."""

_OBJECTS = frozenset({dict})


def only(*kinds: type[Any]) -> Reader:
    """Return a reader of values that are exactly of these types: a boolean is no whole number."""
    allowed = frozenset(kinds)

    def read(values: Sequence[object]) -> Sequence[object]:
        if not allowed.issuperset(map(type, values)):
            raise TypeError
        return values

    return read


def each(hook: Callable[[object, object], object]) -> Reader:
    """Return a reader that asks a hook of cattrs for each value but None."""
    return lambda values: [None if value is None else hook(value, None) for value in values]


def times(values: Sequence[object]) -> Sequence[object]:
    """Read times with their zones, and None."""
    return parse_times(cast("Sequence[str | None]", values))


@attrs.frozen
class _Column:
    name: str
    absent: EllipsisType | None
    reader: Reader

    def read(self, rows: Sequence[dict[str, object]]) -> Sequence[object]:
        return self.reader([row.get(self.name, self.absent) for row in rows])


class Columns:
    """Reads rows as models of one class, whose fields have neither converters nor validators."""

    def __init__(self, model: type[Any], wire_names: Mapping[str, str], readers: Mapping[Any, Reader]) -> None:
        self._model = model
        self._open = _open(model)
        self._columns = [
            # No reader takes the dots: they stand for what must be there, or has a default of its own.
            _Column(wire_names.get(field.name, field.name), None if field.default is None else ..., readers[field.type])
            for field in attrs.fields(model)
        ]

    def read(self, rows: Sequence[object]) -> list[Any] | None:
        """Return the rows as models; None where anything about them is odd."""
        if not _OBJECTS.issuperset(map(type, rows)):
            return None
        try:
            columns = [column.read(cast("Sequence[dict[str, object]]", rows)) for column in self._columns]
        except (TypeError, ValueError):
            return None
        models = list(map(self._open, *columns))
        for model in models:
            model.__class__ = self._model
        return models


def _open(model: type[Any]) -> type[Any]:
    """Return a frozen class with slots once more, to be written to, with positions for its arguments.

    An instance is the same in memory, and can be made one of `model`.  The `__init__` of that has to get around the
    lock, field by field, and takes four times as long.
    """
    return attrs.make_class(
        f"_Open{model.__name__}",
        {field.name: attrs.field() for field in attrs.fields(model)},
        bases=(model,),
        # Both, or Python takes neither for its own, and each assignment is a call.
        class_body={"__setattr__": object.__setattr__, "__delattr__": object.__delattr__},
        slots=True,
        eq=False,
        repr=False,
    )
