"""The response to a download: coding, validators, ranges.  Pure except for the artifact it refers to."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from dexcmd.sandbox.behaviour import Behaviour
from dexcmd.sandbox.content import Content, GzippedContent
from dexcmd.sandbox.faults import Framing
from dexcmd.sandbox.ranges import choose_range, if_range_holds
from dexcmd.sandbox.reply import Reply

__all__ = ["file_reply", "http_date"]


def http_date(moment: datetime) -> str:
    """Return a time in the format of HTTP headers."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def file_reply(
    artifact: Content,
    *,
    etag: str,
    modified: datetime,
    content_type: str,
    request_headers: Mapping[str, str],
    behaviour: Behaviour,
) -> Reply:
    """Return the response that sends an artifact, or the requested range of it.

    `etag` is the strong ETag of the unencoded artifact.
    """
    content = artifact
    headers = {"Content-Type": content_type, "Content-Encoding": "identity"}
    if behaviour.download_encoding == "gzip-always" or (
        behaviour.download_encoding == "gzip-if-accepted" and _accepts_gzip(request_headers.get("Accept-Encoding", ""))
    ):
        content = GzippedContent(artifact)
        headers["Content-Encoding"] = "gzip"
        etag = f'{etag[:-1]}-gzip"'
    if behaviour.download_encoding == "gzip-if-accepted":
        headers["Vary"] = "Accept-Encoding"
    if behaviour.etag != "none":
        etag = etag if behaviour.etag == "strong" else f"W/{etag}"
        headers["ETag"] = etag
    if behaviour.last_modified:
        headers["Last-Modified"] = http_date(modified)
    framing: Framing = "length" if behaviour.download_length else "chunked"
    if not behaviour.ranges:
        return Reply(status=200, headers=headers, content=content, framing=framing)

    headers["Accept-Ranges"] = "bytes"
    asked = choose_range(request_headers.get("Range"), content.size)
    known_etag, known_modified = headers.get("ETag"), modified if behaviour.last_modified else None
    if asked is None or not if_range_holds(request_headers.get("If-Range"), known_etag, known_modified):
        return Reply(status=200, headers=headers, content=content, framing=framing)
    if asked.start == asked.stop:
        return Reply(status=416, headers={"Content-Range": f"bytes */{content.size}"})
    headers["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{content.size}"
    return Reply(status=206, headers=headers, content=content, start=asked.start, stop=asked.stop, framing=framing)


def _accepts_gzip(header: str) -> bool:
    accepted: dict[str, bool] = {}
    for part in header.lower().split(","):
        coding, _, quality = part.partition(";")
        accepted[coding.strip()] = quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    # `*` stands for codings that are not named.
    return accepted.get("gzip", accepted.get("*", False))
