"""Times and durations as they are typed and shown.  Pure."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from dexcmd.campaign.durations import parse_duration

__all__ = ["age_text", "duration_text", "parse_moment", "parse_typed_duration", "time_text"]

LONGEST = timedelta(days=3650)


def parse_typed_duration(text: str) -> timedelta:
    """Return a duration above 0, written as in a campaign file (`1h30m`) or as a number of seconds (`90`).

    Raises `ValueError`.
    """
    duration = parse_duration(f"{text.strip()}s" if re.fullmatch(r" *[0-9]+(\.[0-9]+)? *", text) else text)
    if not timedelta(0) < duration <= LONGEST:
        raise ValueError(f"{text!r} must be above 0 and at most ten years")
    return duration


def parse_moment(text: str, now: datetime) -> datetime:
    """Return a time, given as an age (`2h`, `3d`, also `2h ago`) or as a date or time (`2026-01-31T09:30`).

    Without a zone, it is in this machine's time zone.  Raises `ValueError`.
    """
    written = text.strip()
    # Digits alone are a date, as in 20260131.
    if not written.isdecimal():
        with suppress(ValueError):
            return now - parse_typed_duration(written.removesuffix("ago"))
    try:
        return datetime.fromisoformat(written).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is not a time; write 2h (ago), or 2026-01-31, or 2026-01-31T09:30") from None


def time_text(moment: datetime) -> str:
    """Return a time for display, in this machine's time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def duration_text(seconds: float) -> str:
    """Return a duration for display, in its two largest units: `8 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, unit)
        if number or (unit == 1 and not parts):
            parts.append(f"{number} {name}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def age_text(moment: datetime, now: datetime) -> str:
    """Return the age of a time in a few characters: `45s`, `12m`, `5h`, `3d`."""
    seconds = max(0, round((now - moment).total_seconds()))
    for unit, name, most in ((1, "s", 60), (60, "m", 60), (3600, "h", 48)):
        if seconds < unit * most:
            return f"{seconds // unit}{name}"
    return f"{seconds // 86400}d"
