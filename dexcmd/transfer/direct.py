"""A long body, read from its connection into one buffer, past aiohttp's parser.

aiohttp hands each piece that the connection gives on as an object of its own, and over TLS joins it from small ones
first: that is most of what receiving a long body costs (docs/benchmarks.md).  Where the length is known nothing is left
to parse, and asyncio's own way for bulk data does, on the connection that aiohttp has made.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import aiohttp

__all__ = ["body_chunks"]

DIRECT_FROM = 32 * 1024 * 1024
"""From so many bytes on a body is read directly.  Its connection can't be used again, for aiohttp has not seen the body
end: what making the next one takes is little beside that.
"""

BUFFER = 1024 * 1024
"""The most bytes that are handed on at a time."""

GATHER_SECONDS = 0.05
"""How long what has arrived waits for more."""


@asynccontextmanager
async def body_chunks(
    response: aiohttp.ClientResponse, *, encoded: bool, silence_seconds: float
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Give the pieces of an answer's body as they arrive; `encoded` is to be decoded.

    The iterator raises `TimeoutError` where none come for `silence_seconds`, and `aiohttp.ClientError` or `OSError`
    where the connection ends before the body does.
    """
    size = None if encoded or "Transfer-Encoding" in response.headers else response.content_length
    if size is None or size < DIRECT_FROM:
        # Its silence is watched by aiohttp, which was told when it was asked for.
        yield response.content.iter_any()
        return
    async with aclosing(_direct_chunks(response, size, silence_seconds)) as chunks:
        yield chunks


async def _direct_chunks(response: aiohttp.ClientResponse, size: int, silence_seconds: float) -> AsyncGenerator[bytes]:
    content = response.content
    # What has come with the headers.  Nothing must be awaited in here, or more might come.
    early: list[bytes] = []
    while piece := content.read_nowait():
        early.append(piece)
    left = size - content.total_bytes
    transport = response.connection and response.connection.transport
    if transport is None or left <= 0:
        # It is all there, or its connection is lost already.
        for piece in early:
            yield piece
        async for piece in content.iter_any():
            yield piece
        return
    direct = _DirectReader(transport, left)
    try:
        for piece in early:
            yield piece
        while chunk := await direct.read(silence_seconds):
            yield chunk
    finally:
        # aiohttp would close it.  asyncio's TLS never ends that where the other side has closed while nobody reads.
        transport.abort()


class _DirectReader(asyncio.BufferedProtocol):
    """Takes a connection over and reads the next bytes of it."""

    def __init__(self, transport: asyncio.Transport, size: int) -> None:
        self._transport = transport
        self._before = transport.get_protocol()
        self._left = size
        self._buffer = memoryview(bytearray(min(BUFFER, size)))
        self._filled = 0
        self._ready = asyncio.Event()
        """Whether there is something to hand on, or nothing more will come."""

        self._gathering: asyncio.TimerHandle | None = None
        self._closed = False
        self._error: Exception | None = None
        transport.set_protocol(self)
        transport.resume_reading()

    async def read(self, silence_seconds: float) -> bytes:
        """Return the next bytes, none at the end; raises as `body_chunks` does."""
        if not self._ready.is_set():
            async with asyncio.timeout(silence_seconds):
                await self._ready.wait()
        chunk = bytes(self._buffer[: self._filled])
        if not chunk and self._error is not None:
            raise self._error
        was_full, self._filled = self._filled == len(self._buffer), 0
        if self._left and not self._closed:
            self._stop_gathering()
            self._ready.clear()
            if was_full:
                self._transport.resume_reading()
        return chunk

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: no more than belong to the body."""
        return self._buffer[self._filled : self._filled + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that have arrived."""
        self._filled += nbytes
        self._left -= nbytes
        if self._filled == len(self._buffer) or not self._left:
            self._transport.pause_reading()
            self._ready.set()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._ready.set)

    def eof_received(self) -> None:
        """Take note that no more bytes come."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone, and tell aiohttp, which still counts it."""
        self._end(exc)
        self._before.connection_lost(exc)

    def _end(self, error: Exception | None = None) -> None:
        self._closed = True
        if self._left:
            # Once all has come it is no matter how the connection ends.
            self._error = error or aiohttp.ClientPayloadError("the connection was closed")
        self._stop_gathering()
        self._ready.set()

    def _stop_gathering(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
