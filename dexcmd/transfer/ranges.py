"""Range requests: which bytes of which version to request, and what the response's headers announce.

RFC 9110, sections 8.8.3 (ETag), 13.1.5 (If-Range), 14 (ranges).
"""

import re
from collections.abc import Mapping

import attrs

from dexcmd.errors import ArtifactChangedError
from dexcmd.safe_text import one_line
from dexcmd.wire.coding import content_coding

__all__ = ["Ask", "Body", "Have", "Joint", "Version", "describe_body", "is_strong", "what_to_ask"]

OVERLAP = 64 * 1024
"""How many bytes are requested again and compared if no strong ETag identifies the version."""

_STRONG_ETAG = re.compile(r'"[!#-~]*"')
"""Only characters allowed in a request header: a state file, or the service, may contain anything."""

_LENGTH = re.compile(r"[0-9]{1,19}")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


@attrs.frozen
class Version:
    """What distinguishes versions of an artifact."""

    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None
    """Bytes of the whole artifact; None if not announced."""

    def joinable(self, *, checked: bool) -> bool:
        """Tell whether a partial download of it can be resumed at all.

        A strong ETag identifies the bytes.  Without one, a download is resumed only if an overlap can be compared, the
        size is known, and the whole is `checked` in the end, with every checksum in the zip.
        """
        return is_strong(self.etag) or (checked and self.size is not None)


@attrs.frozen
class Have:
    """The bytes already stored: the first `offset` of a version."""

    offset: int = 0
    version: Version = Version()

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.offset > 0 and self.offset == self.version.size

    def can_go_on(self, *, checked: bool) -> bool:
        """Tell whether the download can be resumed, or nothing is missing."""
        enough = self.offset > (0 if is_strong(self.version.etag) or self.whole else OVERLAP)
        return enough and self.version.joinable(checked=checked)


@attrs.frozen
class Ask:
    """A request for the bytes from `start` on."""

    start: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


@attrs.frozen
class Body:
    """An announced body: the bytes from `offset` to the end of a version of the artifact."""

    offset: int
    version: Version
    coding: str | None = None
    """Its content coding, to be decoded: length and ranges then count encoded bytes."""

    @property
    def size(self) -> int | None:
        """Bytes of the whole artifact; None if not announced."""
        return self.version.size


class Joint:
    """The junction of stored and new bytes, which must be equal where they overlap."""

    def __init__(self, tail: bytes) -> None:
        self._tail = tail

    def join(self, chunk: bytes) -> bytes:
        """Return the part of `chunk` after the overlap.

        Raises `ArtifactChangedError` if the overlap differs from the stored bytes.
        """
        if not self._tail:
            return chunk
        count = min(len(chunk), len(self._tail))
        if self._tail[:count] != chunk[:count]:
            raise ArtifactChangedError("the artifact changed: the bytes where the download resumed are different")
        self._tail = self._tail[count:]
        return chunk[count:]


def is_strong(etag: str | None) -> bool:
    """Tell whether an ETag is strong: it identifies the exact bytes, not just equivalent content."""
    return etag is not None and _STRONG_ETAG.fullmatch(etag) is not None


def what_to_ask(have: Have, *, checked: bool) -> Ask:
    """Return the request that resumes from the stored bytes if `Have.can_go_on` allows, else one for everything."""
    if not have.can_go_on(checked=checked):
        return Ask()
    etag = have.version.etag
    if etag is not None and is_strong(etag):
        return Ask(have.offset, {"Range": f"bytes={have.offset}-", "If-Range": etag})
    # A weak ETag is not allowed in `If-Range`: the response's validators and an overlap have to do.
    start = have.offset - OVERLAP
    return Ask(start, {"Range": f"bytes={start}-"})


def describe_body(status: int, headers: Mapping[str, str], ask: Ask, version: Version) -> Body:
    """Return the body of a response with status 200 or 206 to `ask`, for bytes of `version`.

    Raises `ArtifactChangedError` if it is a part that can't be appended to the stored bytes: of another version, or not
    the requested range.
    """
    coding = content_coding(headers)
    answered = Version(headers.get("ETag"), headers.get("Last-Modified"), None if coding else _length(headers))
    if status == 200:
        return Body(0, answered, coding)
    part = headers.get("Content-Range", "").strip()
    found = _CONTENT_RANGE.fullmatch(part)
    total = None if found is None or found[3] == "*" else int(found[3])
    if found is None or coding or int(found[1]) != ask.start or not _fits(int(found[1]), int(found[2]), total):
        raise ArtifactChangedError(f"requested the bytes from {ask.start} on, got {part[:200]!r}")
    if ask.start == 0:
        # No part was requested, and there are no stored bytes that it must match.
        return Body(0, attrs.evolve(answered, size=total))
    if total is None and (version.size is None or not is_strong(version.etag)):
        # The total size is unknown, so this part may be truncated.
        raise ArtifactChangedError(f"requested the bytes from {ask.start} on, got {part[:200]!r} without a total size")
    if answered.etag != version.etag:
        raise _changed("ETag", version.etag, answered.etag)
    if not is_strong(version.etag) and answered.last_modified != version.last_modified:
        raise _changed("Last-Modified", version.last_modified, answered.last_modified)
    if total is not None and version.size is not None and total != version.size:
        raise ArtifactChangedError(f"the artifact changed from {version.size} to {total} bytes")
    return Body(ask.start, attrs.evolve(version, size=version.size if total is None else total))


def _fits(first: int, last: int, total: int | None) -> bool:
    return first <= last and (total is None or last < total)


def _changed(header: str, was: str | None, now: str | None) -> ArtifactChangedError:
    old, new = (one_line(value or "missing", 100) for value in (was, now))
    return ArtifactChangedError(f"the artifact changed: {header} was {old}, and is now {new}")


def _length(headers: Mapping[str, str]) -> int | None:
    value = headers.get("Content-Length", "")
    return int(value) if _LENGTH.fullmatch(value) else None
