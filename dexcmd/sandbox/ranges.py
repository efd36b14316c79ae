"""Single byte ranges, as specified by RFC 9110, sections 13 and 14."""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

import attrs

__all__ = ["ByteRange", "choose_range", "if_range_holds"]

_SINGLE = re.compile(r"bytes\s*=\s*(?:(\d{1,40})-(\d{0,40})|-(\d{1,40}))\s*", re.ASCII | re.IGNORECASE)
"""Numbers with more digits than any size are not understood."""


@attrs.frozen
class ByteRange:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int


def choose_range(header: str | None, size: int) -> ByteRange | None:
    """Return the part of a `Range` header's range that lies within `size` bytes.

    None means the whole content: there is no header, it isn't understood, or it asks for several ranges, which a
    server may all ignore.  For a range past the end the result is empty, and the response should be a 416.
    """
    match = _SINGLE.fullmatch(header or "")
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return ByteRange(size - length, size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return ByteRange(start, start)
    return ByteRange(start, min(int(last) + 1, size) if last else size)


def if_range_holds(header: str | None, etag: str | None, modified: datetime | None) -> bool:
    """Return whether an `If-Range` header allows a range: it needs the strong ETag or the exact `Last-Modified`."""
    if header is None:
        return True
    if '"' in header:
        return header == etag and not header.startswith("W/")
    try:
        asked = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return False
    return modified is not None and asked == modified
