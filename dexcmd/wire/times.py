"""Conversion of times between the wire and Python; always timezone-aware."""

from collections.abc import Sequence
from datetime import UTC, datetime

from dexcmd.errors import ConfigurationError

__all__ = ["format_time", "parse_time", "parse_times"]


def parse_time(text: str) -> datetime:
    """Parse an ISO 8601 time such as `2019-12-27T18:11:19.117Z` or `2023-10-11 00:00:00+00`, and return it in UTC.

    Digits beyond microseconds are dropped.  Raises `ValueError` for anything else, including a time without a zone.
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return parsed if parsed.tzinfo is UTC else parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is out of range") from None


def parse_times(texts: Sequence[str | None]) -> list[datetime | None]:
    """Apply `parse_time` to each text, keeping None; raises `TypeError` for other types, `ValueError` as that does."""
    parsed: list[datetime | None] = []
    for text in texts:
        time = None if text is None else datetime.fromisoformat(text)
        # Most are in UTC and are spared the call.
        parsed.append(time if text is None or (time is not None and time.tzinfo is UTC) else parse_time(text))
    return parsed


def format_time(name: str, value: datetime) -> str:
    """Format `value` for the service, in UTC, with microseconds if there are any.

    Raises `ConfigurationError`, naming the argument `name`, unless `value` is a timezone-aware datetime.
    """
    if not isinstance(value, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{name} must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ConfigurationError(f"{name} must be timezone-aware: {value.isoformat()} has no time zone")
    try:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ConfigurationError(f"{name} is out of range: {value.isoformat()}") from None
