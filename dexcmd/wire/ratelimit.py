"""What the service says about its rate limit, parsed from headers.

https://developers.cloudflare.com/fundamentals/api/reference/limits/ documents the limits (1200 requests in 5 minutes
per user, 200 per second per address) and the headers `Ratelimit`, `Ratelimit-Policy` and `Retry-After`.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from dexcmd.wire.answer import parse_http_date

__all__ = ["LONGEST_RESET", "Allowance", "parse_ratelimit", "parse_retry_after"]

LONGEST_RESET = 3600.0
"""The most seconds until a reset that are believed: all calls of a token wait for it, and the period is 5 minutes."""

_PARAMETER = re.compile(r";\s*([a-z]+)\s*=\s*(\d{1,9})(?![\d.])")


@attrs.frozen
class Allowance:
    """The rest of a limit: `remaining` requests for the next `reset_after` seconds."""

    remaining: int
    reset_after: float


def parse_ratelimit(value: str) -> Allowance | None:
    """Return the tightest allowance of a `Ratelimit` header such as `"default";r=50;t=30`.

    Of several limits, the one with the fewest remaining requests counts, and among equals the one with the latest
    reset.  None if it is empty or can't be parsed: the header is advice, never a reason to fail, or to wait for hours.
    """
    found: list[Allowance] = []
    for item in value.split(","):
        parameters = dict(_PARAMETER.findall(item))
        if "r" in parameters and "t" in parameters:
            found.append(Allowance(int(parameters["r"]), min(float(parameters["t"]), LONGEST_RESET)))
    return min(found, key=lambda one: (one.remaining, -one.reset_after), default=None)


def parse_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return `Retry-After` in seconds, from either of its forms: seconds, or a date, minus `now`.

    None if it is missing or can't be parsed.
    """
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parse_http_date(value) - now).total_seconds()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
