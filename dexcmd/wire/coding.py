"""Decoding bodies that have a content coding, though none was requested, with a check that they are complete.

aiohttp decodes them as well, but accepts truncated gzip data as complete.
"""

import zlib
from collections.abc import Iterator, Mapping

from dexcmd.wire import deflate

__all__ = ["CODINGS", "CodingError", "Decoder", "content_coding", "decoded"]

CODINGS = ("gzip", "x-gzip", "deflate")
"""The supported codings.  RFC 9110, section 8.4.1."""

MAX_AT_ONCE = 256 * 1024
"""How many bytes are decoded at once, as a little data may decode to very much."""

GZIP = 16 + zlib.MAX_WBITS


class CodingError(Exception):
    """The data does not match the coding, or ends early."""


def content_coding(headers: Mapping[str, str]) -> str | None:
    """Return the content coding of a body, None if it has none."""
    coding = headers.get("Content-Encoding", "").strip().lower()
    return None if coding in ("", "identity") else coding


class Decoder:
    """Decodes a body piece by piece."""

    def __init__(self, coding: str) -> None:
        """Start decoding one of `CODINGS`.  Raises `CodingError` for any other."""
        if coding not in CODINGS:
            raise CodingError(f"the body has a content coding that was not requested: {coding}")
        self._gzip = coding in ("gzip", "x-gzip")
        self._inflate: deflate.Unpacker | None = None
        self._whole = False
        """Whether the data so far may be complete."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode the next bytes, yielding at most `MAX_AT_ONCE` at a time.  Raises `CodingError`."""
        full = False
        while data or full:
            if self._inflate is None:
                self._inflate = self._begin(data)
            try:
                piece = self._inflate.decompress(data, MAX_AT_ONCE)
            except deflate.DeflateError as error:
                raise CodingError(f"the encoded body is damaged: {error}") from None
            if piece:
                yield piece
            full, data = len(piece) == MAX_AT_ONCE, self._inflate.unconsumed_tail
            if self._inflate.eof:
                full, data, self._inflate, self._whole = False, self._inflate.unused_data, None, True

    def end(self) -> None:
        """Raise `CodingError` if the data is incomplete."""
        if self._inflate is not None or not self._whole:
            raise CodingError("the encoded body ends early")

    def _begin(self, data: bytes) -> deflate.Unpacker:
        if self._whole and not self._gzip:
            raise CodingError("there is data after the encoded body")
        if self._gzip:
            # Several members in a row are valid as well (RFC 1952, section 2.2).
            return deflate.unpacker(GZIP)
        # Some servers send raw data, without the zlib header and checksum (RFC 1950) that `deflate` implies.
        return deflate.unpacker(zlib.MAX_WBITS if data[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS)


def decoded(body: bytes, coding: str, most: int) -> bytes:
    """Decode a body, stopping once it exceeds `most` bytes.  Raises `CodingError`."""
    pieces: list[bytes] = []
    size = 0
    decoder = Decoder(coding)
    for piece in decoder.feed(body):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            return b"".join(pieces)
    decoder.end()
    return b"".join(pieces)
