"""Durations as people write them: `90s`, `15m`, `36h`, `7d`, `1h30m`.  Pure."""

import re
from datetime import timedelta

__all__ = ["format_duration", "parse_duration"]

_DURATION = re.compile(r"(?:(\d+) *d *)?(?:(\d+) *h *)?(?:(\d+) *m *)?(?:(\d+)(?:\.(\d{1,6}))? *s)?")
_UNITS = {"d": 86400, "h": 3600, "m": 60}


def parse_duration(text: str) -> timedelta:
    """Return the duration of `1d2h3m4.5s`, of which any part may be missing; raises `ValueError`."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is no duration such as 90s, 15m, 36h, 7d or 1h30m")
    days, hours, minutes, seconds, fraction = found.groups()
    try:
        return timedelta(
            days=int(days or 0),
            hours=int(hours or 0),
            minutes=int(minutes or 0),
            seconds=int(seconds or 0),
            microseconds=int((fraction or "").ljust(6, "0")),
        )
    except (OverflowError, ValueError):
        # The latter for more digits than Python takes.
        raise ValueError("a duration can't be that long") from None


def format_duration(duration: timedelta) -> str:
    """Return what `parse_duration` reads as the same; `duration` is not negative."""
    seconds = duration.days * _UNITS["d"] + duration.seconds
    text = ""
    for unit, size in _UNITS.items():
        n, seconds = divmod(seconds, size)
        text += f"{n}{unit}" if n else ""
    fraction = f".{duration.microseconds:06}".rstrip("0") if duration.microseconds else ""
    return text + (f"{seconds}{fraction}s" if seconds or fraction or not text else "")
