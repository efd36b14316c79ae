"""What the headers of a download say: which bytes come, of how many, of which version of the artifact.

RFC 9110, sections 8.8.3 (ETag), 13.1.5 (If-Range), 14 (ranges).
"""

import re
from collections.abc import Mapping

import attrs

from dexcmd.errors import ArtifactChangedError

__all__ = ["Body", "describe_body", "is_strong", "range_headers"]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


@attrs.frozen
class Body:
    """A body that is about to come: bytes from `offset` up to the end of an artifact of `size` bytes."""

    offset: int
    size: int | None
    """Of the whole artifact; None where it is not announced."""

    etag: str | None
    encoded: bool = False
    """Whether it comes in a content coding, to be decoded: its ranges then count encoded bytes."""


def is_strong(etag: str | None) -> bool:
    """Tell whether an ETag stands for the same bytes, and not just for the same content."""
    return etag is not None and len(etag) >= 2 and etag[0] == etag[-1] == '"'


def range_headers(offset: int, etag: str | None) -> dict[str, str]:
    """Return the headers that ask for the bytes from `offset` on, of this very version.

    Without a strong ETag nothing can vouch for the version, so the whole artifact is asked for.
    """
    if offset == 0 or etag is None or not is_strong(etag):
        return {}
    return {"Range": f"bytes={offset}-", "If-Range": etag}


def describe_body(status: int, headers: Mapping[str, str], offset: int, etag: str | None) -> Body:
    """Return what an answer with status 200 or 206 brings, after asking for `offset` of the version `etag`.

    Raises `ArtifactChangedError` where a part comes that can't be joined to what is there: one of another
    version, or other bytes than those that were asked for.
    """
    answered = headers.get("ETag")
    encoded = headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
    if status == 200:
        return Body(0, None if encoded else _length(headers), answered, encoded)
    if answered is not None and answered != etag:
        raise ArtifactChangedError(f"the artifact changed from {etag} to {answered}")
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    total = None if found is None or found[3] == "*" else int(found[3])
    if found is None or encoded or int(found[1]) != offset or (total is not None and int(found[2]) != total - 1):
        raise ArtifactChangedError(f"asked for the bytes from {offset} on, got {headers.get('Content-Range')!r}")
    return Body(offset, total, etag)


def _length(headers: Mapping[str, str]) -> int | None:
    value = headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None
