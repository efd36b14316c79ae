"""Response bodies: a size, and the bytes of any range in pieces."""

import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import attrs

__all__ = [
    "PIECE",
    "Content",
    "CorruptContent",
    "GzippedContent",
    "Loaded",
    "ShiftedContent",
    "WrappedContent",
    "checked_stop",
]

PIECE = 256 * 1024
"""Maximum size of a piece in bytes."""


class Content(Protocol):
    """Anything that can be sent as a body."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop` (None for the end) in pieces of at most `PIECE`."""
        ...


def checked_stop(size: int, start: int, stop: int | None) -> int:
    """Return where a range ends.  Raises `ValueError` if it is not within `size` bytes."""
    stop = size if stop is None else stop
    if not 0 <= start <= stop <= size:
        raise ValueError(f"[{start}, {stop}) is not a range of {size} bytes")
    return stop


@attrs.frozen
class Loaded:
    """Content held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.data)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop`.  Raises `ValueError` up front if the range is out of bounds."""
        stop = checked_stop(self.size, start, stop)
        return (self.data[at : min(at + PIECE, stop)] for at in range(start, stop, PIECE))

    def crc32(self) -> int:
        """Return the CRC-32 of all the bytes."""
        return zlib.crc32(self.data)


@attrs.frozen
class CorruptContent:
    """Another content with one byte flipped at `position`."""

    source: Content
    position: int

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.source.size

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop`."""
        for piece in self.source.read(start, stop):
            offset = self.position - start
            start += len(piece)
            if 0 <= offset < len(piece):
                yield piece[:offset] + bytes([piece[offset] ^ 0xFF]) + piece[offset + 1 :]
            else:
                yield piece


@attrs.frozen
class ShiftedContent:
    """Another content, rotated: it starts `shift` bytes later (earlier, if negative) and wraps around at its end."""

    source: Content
    shift: int

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.source.size

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop`."""
        stop = self.size if stop is None else stop
        while start < stop:
            begin = (start + self.shift) % self.size
            end = min(begin + stop - start, self.size)
            yield from self.source.read(begin, end)
            start += end - begin


@attrs.frozen
class WrappedContent:
    """The bytes of another content from `start` up to `stop`, with other bytes before and after them."""

    source: Content
    start: int
    stop: int
    before: bytes = b""
    after: bytes = b""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.before) + self.stop - self.start + len(self.after)

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop`; everything before `start` is read as well."""
        pieces = itertools.chain((self.before,), self.source.read(self.start, self.stop), Loaded(self.after).read())
        return _between(pieces, start, self.size if stop is None else stop)


@attrs.frozen
class GzippedContent:
    """Another content as gzip (RFC 1952) with stored blocks, so that its size is known without reading it."""

    source: Content

    _HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    _BLOCK = 0xFFFF

    @property
    def size(self) -> int:
        """Bytes in all, encoded."""
        blocks = max(-(-self.source.size // self._BLOCK), 1)
        return len(self._HEADER) + self.source.size + 5 * blocks + 8

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the encoded bytes from `start` up to `stop`; everything before `start` is encoded as well."""
        return _between(self._encode(), start, self.size if stop is None else stop)

    def _encode(self) -> Iterator[bytes]:
        yield self._HEADER
        crc = 0
        left = self.source.size
        buffer = bytearray()
        pieces = self.source.read()
        while True:
            want = min(left, self._BLOCK)
            while len(buffer) < want:
                piece = next(pieces)
                crc = zlib.crc32(piece, crc)
                buffer += piece
            left -= want
            yield struct.pack("<BHH", left == 0, want, want ^ 0xFFFF) + bytes(buffer[:want])
            del buffer[:want]
            if left == 0:
                break
        yield struct.pack("<II", crc, self.source.size & 0xFFFFFFFF)


def _between(pieces: Iterable[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` up to `stop` of the concatenated pieces."""
    position = 0
    for piece in pieces:
        part = piece[max(start - position, 0) : max(stop - position, 0)]
        position += len(piece)
        if part:
            yield part
        if position >= stop:
            break
