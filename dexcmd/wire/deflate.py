"""CRC-32 and the unpacking of deflated data: by zlib-ng where the extra `speedups` is installed, otherwise by zlib.

All of an artifact's bytes pass through them, and zlib-ng takes much less time (docs/benchmarks.md).
"""

import zlib
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["DeflateError", "Unpacker", "crc32", "unpacker"]


class Unpacker(Protocol):
    """What unpacks one stream: the interface of zlib's decompression objects, whose type has no public name."""

    eof: bool
    """Whether the end of the stream has been reached."""

    unused_data: bytes
    """What was passed in after the end of the stream."""

    unconsumed_tail: bytes
    """What was passed in but not consumed, because the output reached `max_length`."""

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """Unpack more of the stream, to at most `max_length` bytes; `DeflateError` if it is damaged."""
        ...


def _library() -> Any:
    try:
        from zlib_ng import zlib_ng
    except ModuleNotFoundError:
        return zlib
    return zlib_ng


_chosen = _library()

DeflateError: type[Exception] = _chosen.error
"""The data is damaged."""

crc32: Callable[[bytes | memoryview, int], int] = _chosen.crc32
"""Return the CRC-32 of data, continuing from that of the data before it (0 at the start)."""

unpacker: Callable[[int], Unpacker] = _chosen.decompressobj
"""Return an object that unpacks one stream, in the format that zlib's `wbits` describes."""
