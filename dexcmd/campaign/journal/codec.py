"""Events as JSON and back, and times as whole numbers."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_origin

from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn

from dexcmd.campaign import events as module
from dexcmd.campaign.events import CampaignEvent
from dexcmd.errors import CampaignError

__all__ = ["decode", "encode", "from_micros", "kind_of", "micros"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)


def micros(time: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (time - _EPOCH) // _MICRO


def from_micros(value: int) -> datetime:
    """Return the time, in UTC, that a number of microseconds since 1970 stands for."""
    return _EPOCH + timedelta(microseconds=value)


def _as_it_is(value: Any, _: object) -> Any:
    return value


def _new_converter() -> Converter:
    converter = Converter(detailed_validation=False)
    converter.register_unstructure_hook(datetime, micros)
    converter.register_structure_hook(datetime, lambda value, _: from_micros(value))
    # What stands in a journal was checked when it was written; a word of another version stays what it is.
    converter.register_structure_hook_func(
        lambda kind: kind in (str, int, float, bool) or get_origin(kind) is Literal, _as_it_is
    )
    return converter


_converter = _new_converter()
_KINDS: dict[str, type[CampaignEvent]] = {
    name: kind
    for name in module.__all__
    if isinstance(kind := getattr(module, name), type) and issubclass(kind, CampaignEvent)
}
"""By the names that stand in journals: a class that is renamed keeps its old one here."""

_NAMES = {kind: name for name, kind in _KINDS.items()}
_ENCODERS = {kind: make_dict_unstructure_fn(kind, _converter, _cattrs_omit_if_default=True) for kind in _NAMES}


def kind_of(event: type[CampaignEvent]) -> str:
    """Return what journals call a kind of event."""
    return _NAMES[event]


def encode(event: CampaignEvent) -> tuple[str, str]:
    """Return what journals call an event's kind, and its fields as JSON."""
    kind = type(event)
    return _NAMES[kind], json.dumps(_ENCODERS[kind](event), separators=(",", ":"))


def decode(name: str, data: str) -> CampaignEvent:
    """Return an event; fields that this version doesn't know are left out.

    Raises `CampaignError` for a kind that it doesn't know.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise CampaignError(f"the journal has an event {name!r} that this version of dexcmd does not know")
    return _converter.structure(json.loads(data), kind)
