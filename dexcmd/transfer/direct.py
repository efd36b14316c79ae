"""A long body, read from its connection past aiohttp's parser.

aiohttp's parser copies each piece that the connection gives, and hands it on alone: that is most of what receiving a
long body costs (docs/benchmarks.md).  Where the length is known nothing is left to parse, and asyncio's own protocols
do, on the connection that aiohttp has made.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager

import aiohttp

from dexcmd.middleware.limit import TimeLimit
from dexcmd.wire.coding import Decoder

__all__ = ["body_chunks"]

DIRECT_FROM = 32 * 1024 * 1024
"""From so many bytes on a body is read directly.  Its connection can't be used again, for aiohttp has not seen the body
end: what making the next one takes is little beside that.
"""

GATHER = 1024 * 1024
"""From so many bytes on what has arrived is handed on."""

GATHER_SECONDS = 0.05
"""How long what has arrived waits for more."""

SMALL_PIECE = 64 * 1024
"""Pieces that are smaller are joined: each one costs whoever takes it more than copying it does."""

MOST_PIECES = 4096
"""So many are handed on as well, however small: each one takes memory of its own."""


@asynccontextmanager
async def body_chunks(
    response: aiohttp.ClientResponse, *, decoder: Decoder | None, silence_seconds: float
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Give the pieces of an answer's body as they arrive, decoded if need be.

    The iterator raises `TimeoutError` where none come for `silence_seconds`, and `aiohttp.ClientError` or `OSError`
    where the connection ends before the body does, and `CodingError` where what came can't be decoded.
    """
    size = None if "Transfer-Encoding" in response.headers else response.content_length
    if decoder is not None or size is None or size < DIRECT_FROM:
        timed = _TimedChunks(response, silence_seconds)
        yield timed if decoder is None else _DecodedChunks(timed, decoder)
        return
    async with aclosing(_direct_chunks(response, size, silence_seconds)) as chunks:
        yield chunks


class _TimedChunks:
    """Chunks, none of which is waited for too long.

    A limit of aiohttp's would outlive the body, and be forgotten with it where its session is closed meanwhile.
    """

    def __init__(self, response: aiohttp.ClientResponse, seconds: float) -> None:
        self._response = response
        self._chunks = response.content.iter_any()
        self._seconds = seconds

    def __aiter__(self) -> "_TimedChunks":
        return self

    async def __anext__(self) -> bytes:
        try:
            async with TimeLimit(self._seconds):
                return await anext(self._chunks)
        except RuntimeError:
            connection = self._response.connection
            if connection is not None and connection.transport is not None:
                raise
            # So aiohttp says that its session was closed before.
            raise aiohttp.ClientPayloadError("the connection was closed") from None


class _DecodedChunks:
    """What encoded chunks stand for.

    No generator, which a cancelled read would end: that looks like the end of a body, and nothing tells how long it is.
    """

    def __init__(self, chunks: AsyncIterator[bytes], decoder: Decoder) -> None:
        self._chunks = chunks
        self._decoder = decoder
        self._pieces: Iterator[bytes] = iter(())

    def __aiter__(self) -> "_DecodedChunks":
        return self

    async def __anext__(self) -> bytes:
        # A little data may stand for so much that decoding it would hold the event loop up.
        await asyncio.sleep(0)
        while True:
            for piece in self._pieces:
                return piece
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self._decoder.end()
                raise
            self._pieces = self._decoder.feed(chunk)


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
    # Each way is slow where the other is quick: TLS joins what are records of 16 KiB at most, unless it is given a
    # buffer for them; and a buffer's content must be copied before the next bytes come.
    direct = (_BufferReader if transport.get_extra_info("sslcontext") else _PieceReader)(transport, left)
    try:
        for piece in early:
            yield piece
        while chunks := await direct.read(silence_seconds):
            for chunk in chunks:
                yield chunk
    finally:
        # aiohttp would close it.  asyncio's TLS never ends that where the other side has closed while nobody reads.
        transport.abort()


class _DirectReader(asyncio.BaseProtocol, ABC):
    """Takes a connection over and reads the next bytes of it."""

    def __init__(self, transport: asyncio.Transport, size: int) -> None:
        self._transport = transport
        self._original_protocol = transport.get_protocol()
        self._left = size
        self._waiting = 0
        """Bytes that have arrived and are still to be handed on."""

        self._ready = asyncio.Event()
        """Whether there is something to hand on, or nothing more will come."""

        self._gathering: asyncio.TimerHandle | None = None
        self._paused = False
        self._closed = False
        self._error: Exception | None = None
        transport.set_protocol(self)
        transport.resume_reading()

    @abstractmethod
    def _take(self) -> list[bytes]:
        """Return what has arrived, and forget it."""

    def _is_full(self) -> bool:
        """Return whether no more can be kept, though it is not much."""
        return False

    async def read(self, silence_seconds: float) -> list[bytes]:
        """Return the next bytes, none at the end; raises as `body_chunks` does."""
        if not self._ready.is_set():
            async with TimeLimit(silence_seconds):
                await self._ready.wait()
        if not self._waiting:
            if self._error is not None:
                raise self._error
            return []
        chunks = self._take()
        self._waiting = 0
        if self._left and not self._closed:
            self._stop_gathering()
            self._ready.clear()
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
        return chunks

    def _arrived(self, size: int) -> None:
        self._waiting += size
        self._left -= size
        if self._waiting >= GATHER or not self._left or self._is_full():
            self._paused = True
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
        self._original_protocol.connection_lost(exc)

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


class _PieceReader(_DirectReader, asyncio.Protocol):
    """Hands on the pieces as they came."""

    def __init__(self, transport: asyncio.Transport, size: int) -> None:
        self._pieces: list[bytes] = []
        super().__init__(transport, size)

    def data_received(self, data: bytes) -> None:
        """Take a piece, of which no more belongs to the body than is left of that."""
        if len(data) > self._left:
            data = data[: self._left]
        self._pieces.append(data)
        self._arrived(len(data))

    def _is_full(self) -> bool:
        return len(self._pieces) >= MOST_PIECES

    def _take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces if self._waiting >= len(pieces) * SMALL_PIECE else [b"".join(pieces)]


class _BufferReader(_DirectReader, asyncio.BufferedProtocol):
    """Has the bytes put into a buffer."""

    def __init__(self, transport: asyncio.Transport, size: int) -> None:
        self._buffer = memoryview(bytearray(min(GATHER, size)))
        super().__init__(transport, size)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: no more than belong to the body."""
        return self._buffer[self._waiting : self._waiting + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that have arrived."""
        self._arrived(nbytes)

    def _take(self) -> list[bytes]:
        return [bytes(self._buffer[: self._waiting])]
