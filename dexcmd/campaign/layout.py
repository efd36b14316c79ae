"""The layout of a campaign in a file and in the journal's JSON: the same for both, by one converter.

Durations are texts such as `1h30m`, shares are `5` or `"10%"`, and a command is its args next to its `type`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, cast, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from dexcmd.campaign.checks import MAX_COUNTED, repeated, unsteady
from dexcmd.campaign.durations import format_duration, parse_duration
from dexcmd.campaign.mistakes import ItemsError, Sections, at, mistakes_of
from dexcmd.campaign.spec import (
    AbortRule,
    AccountSpec,
    ArtifactsSpec,
    CampaignSpec,
    Pace,
    Retries,
    Share,
    Targeting,
    Waves,
)
from dexcmd.errors import CampaignFileError, ConfigurationError
from dexcmd.resources.requests import CommandArgs, Pcap, SpeedTest, WarpDiag
from dexcmd.safe_text import repr_text
from dexcmd.validators import SeveralMistakesError
from dexcmd.wire.converter import shown, strict_converter
from dexcmd.wire.times import parse_time

__all__ = ["account_names", "fingerprint", "spec_from", "spec_from_json", "spec_to_json"]

COMMANDS: dict[str, type[Any]] = {kind.type: kind for kind in (Pcap, WarpDiag, SpeedTest)}

TABLES: dict[str, type[Any]] = {
    "": CampaignSpec,
    "accounts": AccountSpec,
    "targets": Targeting,
    "waves": Waves,
    "pace": Pace,
    "abort": AbortRule,
    "retries": Retries,
    "artifacts": ArtifactsSpec,
}

_AnyArgs: type[Any] = attrs.make_class(
    "_AnyArgs",
    {
        attribute.name: attrs.field(default=None, type=attribute.type, validator=attribute.validator)
        for kind in COMMANDS.values()
        for attribute in attrs.fields(kind)
    },
)
"""The args of all types, to find other mistakes when the type is wrong."""

_PERCENT = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?) ?%")


def _keys(kind: type[Any]) -> tuple[str, ...]:
    return tuple(attribute.name for attribute in attrs.fields(kind))


SECTIONS: Sections = {
    **{name: _keys(kind) for name, kind in TABLES.items()},
    **{f"command of type {name}": _keys(kind) for name, kind in COMMANDS.items()},
}


def spec_from(document: object) -> tuple[CampaignSpec | None, list[str]]:
    """Return the campaign described by a document, or None, and a line for each mistake."""
    mistakes: list[str] = []
    spec = None
    try:
        spec = _reader.structure(document, CampaignSpec)
    except Exception as error:  # noqa: BLE001 - cattrs raises groups of whatever the hooks raise
        mistakes.extend(mistakes_of(error, SECTIONS))
    if isinstance(document, dict):
        mistakes.extend(_between(cast("dict[str, object]", document)))
    # A value by itself and a comparison of several may reveal the same mistake.
    return (None if mistakes else spec), list(dict.fromkeys(mistakes))


def account_names(document: Mapping[str, object]) -> list[str] | None:
    """Return the names of a document's accounts, whatever else is wrong with it; None if they can't be determined."""
    accounts = document.get("accounts")
    if not isinstance(accounts, list) or not accounts:
        return None
    names: list[str] = []
    for table in cast("list[object]", accounts):
        if isinstance(table, dict) and "name" in table:
            # The name is known whatever else is wrong; and were it missing, an unknown key might be meant as the name.
            table = {"account_id": "0" * 32, "name": cast("dict[str, object]", table)["name"]}
        try:
            names.append(_reader.structure(table, AccountSpec).name)
        except Exception:  # noqa: BLE001 - it is told with all other mistakes
            return None
    return names


def spec_to_json(spec: CampaignSpec) -> str:
    """Return a campaign as JSON, the same for equal campaigns, without any token."""
    return _encoded(_writer, spec)


def spec_from_json(text: str, source: str = "the journaled campaign") -> CampaignSpec:
    """Return the campaign that `spec_to_json` wrote.  Raises `CampaignFileError` for anything else."""
    try:
        document: object = json.loads(text)
    except ValueError as error:
        raise CampaignFileError(source, (f"not valid JSON: {error}",)) from None
    spec, mistakes = spec_from(document)
    if spec is None:
        raise CampaignFileError(source, tuple(mistakes))
    return spec


def fingerprint(spec: CampaignSpec) -> str:
    """Return a hash of a campaign.

    Settings at their defaults do not count, so that a setting added by a later version changes no hash.
    """
    return sha256(_encoded(_brief_writer, spec).encode()).hexdigest()


def _encoded(writer: Converter, spec: CampaignSpec) -> str:
    return json.dumps(writer.unstructure(spec), sort_keys=True, separators=(",", ":"))


def _between(document: Mapping[str, object]) -> Iterator[str]:
    """Yield the mistakes that only show between values, even if some values have mistakes of their own."""
    accounts = document.get("accounts")
    if isinstance(accounts, list):
        tables = [
            cast("dict[str, object]", table) if isinstance(table, dict) else {}
            for table in cast("list[object]", accounts)
        ]
        pairs = [(table.get("name", table.get("account_id")), table.get("account_id")) for table in tables]
        for mistake in repeated(pairs):
            yield at("accounts", mistake)
    waves = document.get("waves")
    sizes = cast("dict[str, object]", waves).get("sizes") if isinstance(waves, dict) else None
    if isinstance(sizes, list):
        for mistake in unsteady([_share_or_none(size) for size in cast("list[object]", sizes)]):
            yield at("waves.sizes", mistake)


# --- reading


def _number(value: object, _: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, found {shown(value)}")
    return value


def _strings(value: object, _: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise TypeError(f"expected a string or a list of strings, found {shown(value)}")
    return _each(cast("list[object]", value), _text)


def _text(value: object) -> str:
    text = _reader.structure(value, str)
    if not text.strip():
        raise ConfigurationError("must not be empty")
    return text


def _each(values: list[object], structure: Callable[[object], object]) -> tuple[Any, ...]:
    """Return each of `values` structured; all that are wrong are reported at once."""
    structured: list[object] = []
    errors: list[tuple[int, Exception]] = []
    for index, value in enumerate(values):
        try:
            structured.append(structure(value))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            errors.append((index, error))
    if errors:
        raise ItemsError(errors)
    return tuple(structured)


def _list_hook(kind: Any) -> Callable[[object, object], tuple[Any, ...]]:
    item = get_args(kind)[0]
    if item is str:
        return _strings
    what = next((f"tables, each under [[{name}]]" for name, table in TABLES.items() if table is item), "a list")

    def structure(value: object, _: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError(f"expected {what}, found {shown(value)}")
        return _each(cast("list[object]", value), lambda one: _reader.structure(one, item))

    return structure


def _duration(value: object, _: object) -> timedelta:
    if isinstance(value, str):
        return parse_duration(value)
    raise TypeError(f'expected a duration such as "90s", "15m" or "36h", found {shown(value)}')


def _deadline(value: object, _: object) -> datetime | timedelta | None:
    if isinstance(value, datetime) or value is None:
        # TOML has times.  One without a zone is left for the class to reject.
        return value
    if isinstance(value, str):
        for parse in (parse_time, parse_duration):
            with suppress(ValueError):
                return parse(value)
        raise ValueError(
            f"{value!r} is neither a time with a time zone, such as 2026-12-01T18:00:00Z, nor a duration such as 36h"
        )
    raise TypeError(f'expected a time with a time zone, or a duration such as "36h", found {shown(value)}')


def _share(value: object, _: object) -> Share:
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())) is not None:
        percent = float(found[1])
        if not 0 < percent <= 100:
            raise ConfigurationError(f"a percentage must be above 0 and at most 100, not {percent:g}")
        return Share(percent=percent)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f'expected a whole number or a percentage such as "10%", found {shown(value)}')
    if value < 1:
        raise ConfigurationError(f"must be at least 1, not {value}")
    if value > MAX_COUNTED:
        raise ConfigurationError(f"must be at most {MAX_COUNTED}, not {repr_text(value)}")
    return Share(count=value)


def _share_or_none(value: object) -> Share | None:
    try:
        return _share(value, Share)
    except (TypeError, ConfigurationError):
        return None


def _optional_share(value: object, kind: object) -> Share | None:
    return None if value is None else _share(value, kind)


def _word(value: object, kind: Any) -> object:
    words = get_args(kind)
    if value not in words:
        raise TypeError(f"must be one of {', '.join(words)}, not {shown(value)}")
    return value


def _command(value: object, _: object) -> CommandArgs:
    if not isinstance(value, dict):
        raise TypeError(f"expected a table, found {shown(value)}")
    table = dict(cast("dict[str, object]", value))
    kind = COMMANDS.get(str(table.pop("type", "")))
    if kind is None:
        mistake = SeveralMistakesError([f"command.type must be one of {', '.join(COMMANDS)}"])
        try:
            _reader.structure(table, _AnyArgs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            raise ExceptionGroup("the type and the args are wrong", [mistake, error]) from None
        raise mistake
    return cast("CommandArgs", _reader.structure(table, kind))


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_interfaces(kind: Any) -> bool:
    return bool(kind == attrs.fields(SpeedTest).interfaces.type)


def _is_word(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _table_hook(kind: type[Any]) -> Callable[[object, object], Any]:
    """Return a hook that turns a table into an object of `kind`.

    Each value is also checked by its field's validator as it is read, as the constructor would stop at the first
    mistake.
    """
    overrides: dict[str, Any] = {
        attribute.name: override(struct_hook=_field_hook(attribute)) for attribute in attrs.fields(kind)
    }
    structure_table = make_dict_structure_fn(
        kind, _reader, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **overrides
    )

    def structure(value: object, _: object) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected a table, found {shown(value)}")
        return structure_table(cast("dict[str, Any]", value), kind)

    return structure


def _field_hook(attribute: "attrs.Attribute[Any]") -> Callable[[object, object], object]:
    kind: Any = attribute.type
    # Every field has one.
    validate: Any = attribute.validator

    def structure(value: object, _: object) -> object:
        structured = _reader.structure(value, kind)
        validate(None, attribute, structured)
        return structured

    return structure


def _new_reader() -> Converter:
    reader = strict_converter()
    reader.register_structure_hook_factory(attrs.has, _table_hook)
    reader.register_structure_hook_factory(_is_list, _list_hook)
    reader.register_structure_hook_func(_is_word, _word)
    reader.register_structure_hook_func(_is_interfaces, _strings)
    reader.register_structure_hook(float, _number)
    reader.register_structure_hook(timedelta, _duration)
    reader.register_structure_hook(Share, _share)
    reader.register_structure_hook(Share | None, _optional_share)
    reader.register_structure_hook(CommandArgs, _command)
    reader.register_structure_hook(datetime | timedelta | None, _deadline)
    return reader


# --- writing


def _plain_number(value: float) -> float:
    # Write 5 and 5.0 the same.
    return int(value) if float(value).is_integer() else value


def _plain_share(share: Share) -> object:
    return share.count if share.percent is None else f"{_plain_number(share.percent)!r}%"


def _plain_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _new_writer(*, brief: bool) -> Converter:
    writer = Converter(omit_if_default=brief)
    writer.register_unstructure_hook(float, _plain_number)
    writer.register_unstructure_hook(timedelta, format_duration)
    writer.register_unstructure_hook(datetime, _plain_time)
    writer.register_unstructure_hook(Share, _plain_share)
    for name, kind in COMMANDS.items():
        plain_args = make_dict_unstructure_fn(kind, writer, _cattrs_omit_if_default=True)

        def plain_command(args: Any, name: str = name, plain_args: Callable[[Any], Any] = plain_args) -> object:
            return {"type": name, **plain_args(args)}

        writer.register_unstructure_hook(kind, plain_command)
    return writer


_reader = _new_reader()
_writer = _new_writer(brief=False)
_brief_writer = _new_writer(brief=True)
