"""Durations as people write them: `90s`, `15m`, `36h`, `7d`, `1h30m`.  Pure."""

import re
from datetime import timedelta

__all__ = ["format_duration", "parse_duration"]

_SECONDS = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
# A blank may separate a number from its unit, but not one number from another.
_DURATION = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?) *{unit} *)?" for unit in _SECONDS))


def parse_duration(text: str) -> timedelta:
    """Return the duration of a text such as `1w2d3h4m5.5s`, any part of which may be missing; raises `ValueError`."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is not a duration such as 90s, 15m, 36h, 7d or 1h30m")
    try:
        return timedelta(microseconds=sum(map(_microseconds, found.groups("0"), _SECONDS.values())))
    except (OverflowError, ValueError):
        # ValueError: more digits than Python accepts.
        raise ValueError("a duration can't be that long") from None


def _microseconds(number: str, unit: int) -> int:
    # A float would round long durations with a fraction.
    whole, _, fraction = number.partition(".")
    scale: int = 10 ** len(fraction)
    return int(whole + fraction) * unit * 1_000_000 // scale


def format_duration(duration: timedelta) -> str:
    """Return a text that `parse_duration` reads back as `duration`, which must not be negative."""
    seconds = duration.days * _SECONDS["d"] + duration.seconds
    text = ""
    for unit in "dhm":
        n, seconds = divmod(seconds, _SECONDS[unit])
        text += f"{n}{unit}" if n else ""
    fraction = f".{duration.microseconds:06}".rstrip("0") if duration.microseconds else ""
    return text + (f"{seconds}{fraction}s" if seconds or fraction or not text else "")
