"""Events as rows: their names, and their contents as JSON.

What all events have (time, account, target) has columns of its own; the rest is an object without default values.
Events written by older versions are read: a removed field is ignored, and a new one takes its default.  So a new field
needs a default, and no default may ever change.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from dexcmd.campaign import events
from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.journal.times import micros, micros_or_none, moment
from dexcmd.errors import CampaignError
from dexcmd.wire.converter import shown, strict_converter

__all__ = ["decode", "encoder_of", "kind_of"]

KINDS: dict[str, type[CampaignEvent]] = {
    # Names are permanent: what is written under one is never rewritten.
    "CampaignPlanned": events.CampaignPlanned,
    "RunStarted": events.RunStarted,
    "RunEnded": events.RunEnded,
    "ControlRequested": events.ControlRequested,
    "WaveOpened": events.WaveOpened,
    "QuotaSeen": events.QuotaSeen,
    "QuotaWaited": events.QuotaWaited,
    "AccountStopped": events.AccountStopped,
    "SurplusFound": events.SurplusFound,
    "ForeignFound": events.ForeignFound,
    "Audited": events.Audited,
    "TargetPlanned": events.TargetPlanned,
    "IntentOpened": events.IntentOpened,
    "IntentClosed": events.IntentClosed,
    "CommandKnown": events.CommandKnown,
    "CommandEnded": events.CommandEnded,
    "CommandOverdue": events.CommandOverdue,
    "ArtifactSaved": events.ArtifactSaved,
    "ArtifactFailed": events.ArtifactFailed,
    "TargetRetried": events.TargetRetried,
    "TargetDropped": events.TargetDropped,
    "AccountStarted": events.AccountStarted,
    "CreatingAborted": events.CreatingAborted,
    "AuditFailed": events.AuditFailed,
}

T = TypeVar("T")


def _same(value: T, _: object) -> T:
    return value


def _time(value: object, _: object) -> datetime:
    if not isinstance(value, int):
        raise TypeError(f"expected a time as a whole number, found {shown(value)}")
    return moment(value)


def _time_or_none(value: object, kind: object) -> datetime | None:
    return None if value is None else _time(value, kind)


def _converter() -> Converter:
    converter = strict_converter()
    # Times are stored as in the tables.  Hooks for optional ones save a dispatch by class.
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(datetime | None, _time_or_none)
    converter.register_unstructure_hook(datetime, micros)
    converter.register_unstructure_hook(datetime | None, micros_or_none)
    for plain in (str, int, float):
        converter.register_unstructure_hook(plain | None, converter.get_unstructure_hook(plain))
    return converter


_events = _converter()
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _columns(kind: type[CampaignEvent]) -> list[str]:
    return [name for name in ("at", "account", "target") if hasattr(kind, name)]


def _encoder(kind: type[CampaignEvent]) -> Callable[[Any], dict[str, Any]]:
    # `SurplusFound` has a target without being a target event: it has the column all the same.
    omitted: dict[str, Any] = {name: override(omit=True) for name in _columns(kind)}
    return make_dict_unstructure_fn(kind, _events, _cattrs_omit_if_default=True, **omitted)


def _decoder(kind: type[CampaignEvent]) -> Callable[[dict[str, Any], Any], CampaignEvent]:
    given: dict[str, Any] = {name: override(struct_hook=_same) for name in _columns(kind)}
    return make_dict_structure_fn(kind, _events, _cattrs_detailed_validation=False, **given)


_NAMES = {kind: name for name, kind in KINDS.items()}
_ENCODERS = {kind: _encoder(kind) for kind in _NAMES}
_DECODERS = {kind: _decoder(kind) for kind in _NAMES}


def kind_of(event: type[CampaignEvent]) -> str:
    """Return the name of an event class in the journal.  Raises `TypeError` for any other class."""
    try:
        return _NAMES[event]
    except KeyError:
        raise TypeError(f"{event.__name__} is not a campaign event") from None


def encoder_of(event: type[CampaignEvent]) -> Callable[[CampaignEvent], str]:
    """Return a function that encodes, as JSON, what events of a class say beyond their columns."""
    fields = _ENCODERS[event]
    return lambda event: _to_json(fields(event))


def decode(kind: str, at: datetime, account: str | None, target: int | None, data: str) -> CampaignEvent:
    """Return an event.  Raises `CampaignError` for what no version up to this one can have written."""
    try:
        cls = KINDS[kind]
        fields = {**json.loads(data), "at": at, "account": account, "target": target}
        return _DECODERS[cls](fields, cls)
    except Exception as error:
        raise CampaignError(f"an event of the journal can't be read: {kind} of {at}: {error!r}") from error
