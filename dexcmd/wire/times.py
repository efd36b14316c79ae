"""Times between the wire and Python: always timezone-aware."""

from collections.abc import Sequence
from datetime import UTC, datetime

from dexcmd.errors import ConfigurationError

__all__ = ["format_time", "parse_time", "parse_times"]


def parse_time(text: str) -> datetime:
    """Return what an ISO 8601 text such as `2019-12-27T18:11:19.117Z` or `2023-10-11 00:00:00+00` says, in UTC.

    Digits past the microsecond are cut.  Raises `ValueError` for anything else, a time without a zone included.
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return parsed if parsed.tzinfo is UTC else parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is out of range") from None


def parse_times(texts: Sequence[str | None]) -> list[datetime | None]:
    """Return what `parse_time` does for each text, and None for None; raises `TypeError` for anything else."""
    parsed: list[datetime | None] = []
    for text in texts:
        time = None if text is None else datetime.fromisoformat(text)
        # Most are in UTC, and are spared the call.
        parsed.append(time if text is None or (time is not None and time.tzinfo is UTC) else parse_time(text))
    return parsed


def format_time(name: str, value: datetime) -> str:
    """Return `value` as the service takes it, in UTC with microseconds where there are any.

    Raises `ConfigurationError`, naming the argument `name`, where `value` is no timezone-aware datetime.
    """
    if not isinstance(value, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{name} must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ConfigurationError(f"{name} must be timezone-aware: {value.isoformat()} says no zone")
    try:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ConfigurationError(f"{name} is out of range: {value.isoformat()}") from None
