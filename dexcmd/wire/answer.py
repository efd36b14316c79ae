"""A response of the service as plain data, and what its headers say."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

import attrs

__all__ = ["Answer", "parse_http_date", "service_time"]


@attrs.frozen
class Answer:
    """A complete response.  `headers` is case-insensitive."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)

    @property
    def ray_id(self) -> str | None:
        """The `cf-ray`, which identifies a request to Cloudflare's support."""
        return self.headers.get("cf-ray")


def service_time(headers: Mapping[str, str]) -> datetime | None:
    """Return the service's time of a response, in UTC, truncated to seconds; None if it doesn't say."""
    return _parsed(headers.get("Date", ""))


@lru_cache(maxsize=8)
def _parsed(date: str) -> datetime | None:
    # Many responses arrive within a second, and parsing a date is the slowest part of reading the headers.
    try:
        return parse_http_date(date).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_http_date(text: str) -> datetime:
    """Parse the time in a header, in any of the forms that HTTP allows (RFC 9110, section 5.6.7).

    Raises `ValueError` or `OverflowError`.
    """
    parsed = parsedate_to_datetime(text)
    # The standard library returns a naive time if the zone is missing, as in asctime's form, or "-0000": both mean UTC.
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed
