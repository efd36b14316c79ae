"""JSON to models: the one cattrs converter, strict about types, and the names that the wire uses.

cattrs' own hooks for primitives coerce (None into "None", "false" into True), so they are replaced before any
model's hook is built.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from types import GenericAlias
from typing import Any, TypeVar, cast

from cattrs import Converter, transform_error
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from dexcmd.errors import ResponseDecodeError, one_line
from dexcmd.wire.times import parse_time

__all__ = [
    "register_args",
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
    # JSON has one kind of number: 100.0 is a whole one.
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
    raise TypeError(f"expected a time with its zone, found {shown(value)}")


def _time_or_text(value: object, _: object) -> datetime | str | None:
    """Structure what the schema calls a plain string: a time where it is one, else the string as it is."""
    if value is None:
        return None
    text = _str(value, str)
    try:
        return parse_time(text)
    except ValueError:
        return text


def _string_pairs(value: object, _: object) -> Mapping[str, str] | None:
    """Structure echoed args, which the service gives as strings.

    Another kind of value is shown as JSON, and null is left out.
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
    # Most of a page's values are these, so they are spared the second call.
    return value if value is None or isinstance(value, str) else _str(value, kind)


def shown(value: object) -> str:
    """Return a value and its type in a few words."""
    return f"{one_line(repr(value), 60)} ({type(value).__name__})"


def strict_converter() -> Converter:
    """Return a converter with strict primitives.

    Hooks for the optional ones spare cattrs a union dispatch a value.
    """
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


_converter = strict_converter()
_wire_names: dict[type[Any], Mapping[str, str]] = {}
"""What the fields of a model are called in an answer, where that differs: errors speak of the answer."""


def register_model(model: type[Any], **wire_names: str) -> None:
    """Make `model` decodable; `wire_names` maps its field names to the wire's where they differ."""
    overrides: dict[str, Any] = {field: override(rename=name) for field, name in wire_names.items()}
    _converter.register_structure_hook(model, make_dict_structure_fn(model, _converter, **overrides))
    _wire_names[model] = wire_names


def register_args(model: type[Any], **wire_names: str) -> None:
    """Make `model` encodable, what is None left out; `wire_names` maps its field names to the wire's."""
    overrides: dict[str, Any] = {field: override(rename=name) for field, name in wire_names.items()}
    hook = make_dict_unstructure_fn(model, _converter, _cattrs_omit_if_default=True, **overrides)
    _converter.register_unstructure_hook(model, hook)


def unstructure_args(args: object) -> dict[str, object]:
    """Return args of a registered model under the wire's names."""
    return cast("dict[str, object]", _converter.unstructure(args))


def structure(value: object, model: type[T], path: str) -> T:
    """Return `value` as `model`; raises `ResponseDecodeError` with the path below `path` for a wrong type."""
    if not isinstance(value, dict):
        raise ResponseDecodeError(f"expected an object, found {shown(value)}", path)
    try:
        return _converter.structure(value, model)
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
    for index, row in enumerate(cast("list[object]", rows)):
        if not isinstance(row, dict):
            raise ResponseDecodeError(f"expected an object, found {shown(row)}", f"{path}[{index}]")
    try:
        return _converter.structure(rows, cast("type[list[T]]", GenericAlias(list, (model,))))
    except Exception as error:  # noqa: BLE001 - cattrs raises groups of whatever the hooks raise
        raise _decode_error(error, path, model) from None


def _decode_error(error: Exception, path: str, model: type[Any]) -> ResponseDecodeError:
    messages = transform_error(error, path=path, format_exception=lambda inner, _: str(inner))
    first, _, where = messages[0].rpartition(" @ ")
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    parent, _, field = where.rpartition(".")
    return ResponseDecodeError(f"{first}{more}", f"{parent}.{_wire_names[model].get(field, field)}")
