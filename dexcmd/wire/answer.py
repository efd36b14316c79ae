"""An answer of the service as plain data, and what its headers say."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

import attrs

__all__ = ["Answer", "parse_http_date", "service_time"]


@attrs.frozen
class Answer:
    """A whole answer.  `headers` is case-insensitive."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)

    @property
    def ray_id(self) -> str | None:
        """Return the `cf-ray`, which identifies a request to Cloudflare's support."""
        return self.headers.get("cf-ray")


def service_time(headers: Mapping[str, str]) -> datetime | None:
    """Return the service's time of an answer, in UTC, cut to whole seconds; None where it doesn't say."""
    return _parsed(headers.get("Date", ""))


@lru_cache(maxsize=8)
def _parsed(date: str) -> datetime | None:
    # Many answers come within a second, and reading a date takes longer than all else that is done with a header.
    try:
        return parse_http_date(date).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_http_date(text: str) -> datetime:
    """Return the time that a header says, in any of the forms that HTTP allows (RFC 9110, section 5.6.7).

    Raises `ValueError` or `OverflowError`.
    """
    parsed = parsedate_to_datetime(text)
    # The standard library gives it no zone where it says none, as C's asctime does, or "-0000": either means UTC.
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed
