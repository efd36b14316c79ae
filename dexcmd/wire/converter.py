"""JSON to models: the one cattrs converter, strict about types, and the wire names.

cattrs' own hooks for primitives coerce (None to "None", "false" to True), so they are replaced before any model's hook
is built.  Well-formed rows don't need cattrs: `dexcmd.wire.columns` reads them in a third of the time.  cattrs handles
all others, and is imported when the first one occurs.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, cached_property
from types import GenericAlias, NoneType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dexcmd.errors import ResponseDecodeError
from dexcmd.safe_text import one_line, repr_text
from dexcmd.wire.columns import Columns, Reader, each, only, times
from dexcmd.wire.times import parse_time

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "register_model",
    "shown",
    "strict_converter",
    "structure",
    "structure_rows",
    "unstructure_args",
]

T = TypeVar("T")


def _str(value: object, _: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {shown(value)}")
    return value


def _int(value: object, _: object) -> int:
    # JSON has only one number type: 100.0 is an integer.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, found {shown(value)}")
    return value


def _bool(value: object, _: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected a boolean, found {shown(value)}")
    return value


def _time(value: object, _: object) -> datetime:
    if isinstance(value, str):
        try:
            return parse_time(value)
        except ValueError:
            pass
    raise TypeError(f"expected a time with a time zone, found {shown(value)}")


def _time_or_text(value: object, _: object) -> datetime | str | None:
    """Structure a field that the schema calls a plain string: as a time if possible, else as the string itself."""
    if value is None:
        return None
    text = _str(value, str)
    try:
        return parse_time(text)
    except ValueError:
        return text


def _string_pairs(value: object, _: object) -> Mapping[str, str] | None:
    """Structure echoed args, which the service sends as strings.

    Any other value becomes JSON text, and null is left out.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {shown(value)}")
    pairs = cast("dict[str, object]", value)
    return {
        name: item if isinstance(item, str) else json.dumps(item) for name, item in pairs.items() if item is not None
    }


def _or_none(hook: Callable[[object, object], T]) -> Callable[[object, object], T | None]:
    def optional(value: object, kind: object) -> T | None:
        return None if value is None else hook(value, kind)

    return optional


def _str_or_none(value: object, kind: object) -> str | None:
    # Most values of a page are of this type, so they are spared the second call.
    return value if value is None or isinstance(value, str) else _str(value, kind)


def shown(value: object) -> str:
    """Describe a value and its type briefly."""
    return f"{one_line(repr_text(value), 60)} ({type(value).__name__})"


def strict_converter() -> "Converter":
    """Return a converter with strict primitives.

    Hooks for the optional types save cattrs a union dispatch per value.
    """
    from cattrs import Converter

    converter = Converter(detailed_validation=True)
    hooks: list[tuple[Any, Callable[[object, object], object]]] = [
        (str, _str),
        (int, _int),
        (bool, _bool),
        (datetime, _time),
    ]
    for kind, hook in hooks:
        converter.register_structure_hook(kind, hook)
        converter.register_structure_hook(kind | None, _str_or_none if hook is _str else _or_none(hook))
    converter.register_structure_hook(datetime | str | None, _time_or_text)
    converter.register_structure_hook(Mapping[str, str] | None, _string_pairs)
    return converter


_READERS: dict[Any, Reader] = {
    str: only(str),
    str | None: only(str, NoneType),
    int: only(int),
    int | None: only(int, NoneType),
    bool | None: only(bool, NoneType),
    datetime | None: times,
    datetime | str | None: each(_time_or_text),
    Mapping[str, str] | None: each(_string_pairs),
}
"""The reader for a column of each field type that occurs in models."""

_models = cache(strict_converter)


class _Model:
    """How a class is read and written; built on first use, as errors and POSTs are rare and cattrs is slow to start."""

    def __init__(self, model: type[Any], wire_names: Mapping[str, str]) -> None:
        self._model = model
        self.wire_names = wire_names

    @cached_property
    def columns(self) -> Columns:
        return Columns(self._model, self.wire_names, _READERS)

    @cached_property
    def converter(self) -> "Converter":
        from cattrs.gen import make_dict_structure_fn

        converter = _models()
        converter.register_structure_hook(
            self._model, make_dict_structure_fn(self._model, converter, **self._overrides())
        )
        return converter

    @cached_property
    def unstructure(self) -> Callable[[Any], dict[str, object]]:
        from cattrs.gen import make_dict_unstructure_fn

        return make_dict_unstructure_fn(self._model, _models(), _cattrs_omit_if_default=True, **self._overrides())

    def _overrides(self) -> dict[str, Any]:
        from cattrs.gen import override

        return {field: override(rename=name) for field, name in self.wire_names.items()}


_registered: dict[type[Any], _Model] = {}


def register_model(model: type[Any], **wire_names: str) -> None:
    """Make a class decodable and encodable; `wire_names` maps field names to wire names where they differ."""
    _registered[model] = _Model(model, wire_names)


def unstructure_args(args: object) -> dict[str, object]:
    """Return args of a registered class under their wire names, without default values."""
    return _registered[type(args)].unstructure(args)


def structure(value: object, model: type[T], path: str) -> T:
    """Return `value` as `model`; raises `ResponseDecodeError` with the path below `path` for a wrong type."""
    if not isinstance(value, dict):
        raise ResponseDecodeError(f"expected an object, found {shown(value)}", path)
    if (found := _registered[model].columns.read([cast("object", value)])) is not None:
        return cast("T", found[0])
    try:
        return _registered[model].converter.structure(value, model)
    except Exception as error:  # noqa: BLE001 - cattrs raises groups of whatever the hooks raise
        raise _decode_error(error, path, model) from None


def structure_rows(result: object, name: str, model: type[T]) -> list[T]:
    """Return the rows that a result holds under `name`, each as `model`.

    Raises `ResponseDecodeError` with a path such as `$.result.commands[3].created_date`.
    """
    path = f"$.result.{name}"
    if result is None:
        return []
    if not isinstance(result, dict):
        raise ResponseDecodeError(f"expected an object, found {shown(result)}", "$.result")
    rows = cast("dict[str, object]", result).get(name)
    if not isinstance(rows, list):
        raise ResponseDecodeError(f"expected a list, found {shown(rows)}", path)
    found = _registered[model].columns.read(cast("list[object]", rows))
    return _rows_one_by_one(cast("list[object]", rows), model, path) if found is None else found


def _rows_one_by_one(rows: list[object], model: type[T], path: str) -> list[T]:
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ResponseDecodeError(f"expected an object, found {shown(row)}", f"{path}[{index}]")
    try:
        return _registered[model].converter.structure(rows, cast("type[list[T]]", GenericAlias(list, (model,))))
    except Exception as error:  # noqa: BLE001 - cattrs raises groups of whatever the hooks raise
        raise _decode_error(error, path, model) from None


def _decode_error(error: Exception, path: str, model: type[Any]) -> ResponseDecodeError:
    from cattrs import transform_error

    messages = transform_error(error, path=path, format_exception=lambda inner, _: str(inner))
    first, _, where = messages[0].rpartition(" @ ")
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    parent, _, field = where.rpartition(".")
    return ResponseDecodeError(f"{first}{more}", f"{parent}.{_registered[model].wire_names.get(field, field)}")
