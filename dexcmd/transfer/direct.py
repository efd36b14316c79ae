"""Reading a response body; a long one directly from its connection, bypassing aiohttp's parser.

aiohttp's parser copies each piece that the connection delivers and passes it on separately, which is most of the cost
of receiving a long body (docs/benchmarks.md).  If the length is known, there is nothing left to parse, so an asyncio
protocol takes over the connection that aiohttp has opened.
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
"""A body of at least this many bytes is read directly.  Its connection can't be reused, as aiohttp has not seen the end
of the body; opening a new one costs little compared with that many bytes.
"""

GATHER = 1024 * 1024
"""Once this many bytes have arrived, they are passed on."""

GATHER_SECONDS = 0.05
"""How long arrived bytes wait for more before they are passed on anyway."""

SMALL_PIECE = 64 * 1024
"""If pieces are smaller than this on average, they are joined: processing each one would cost more than copying it."""

MAX_PIECES = 4096
"""Once there are this many pieces, they are passed on, however small: each one has a memory overhead."""


@asynccontextmanager
async def body_chunks(
    response: aiohttp.ClientResponse, *, decoder: Decoder | None, silence_seconds: float
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Return an iterator over the pieces of a response body as they arrive, decoded if there is a `decoder`.

    The iterator raises `TimeoutError` if nothing arrives for `silence_seconds`, `aiohttp.ClientError` or `OSError` if
    the connection ends before the body does, and `CodingError` if the body can't be decoded.
    """
    size = None if "Transfer-Encoding" in response.headers else response.content_length
    if decoder is not None or size is None or size < DIRECT_FROM:
        timed = _TimedChunks(response, silence_seconds)
        yield timed if decoder is None else _DecodedChunks(timed, decoder)
        return
    async with aclosing(_direct_chunks(response, size, silence_seconds)) as chunks:
        yield chunks


class _TimedChunks:
    """The chunks that aiohttp delivers, with a timeout for each.

    aiohttp's own read timeout would stay set after the body, and would get lost if the session is closed meanwhile.
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
            # aiohttp raises `RuntimeError` if its session has been closed.
            raise aiohttp.ClientPayloadError("the connection was closed") from None


class _DecodedChunks:
    """The decoded content of encoded chunks.

    Not a generator: a cancelled read would end that, which looks like the end of the body, the decoded length of which
    is unknown.
    """

    def __init__(self, chunks: AsyncIterator[bytes], decoder: Decoder) -> None:
        self._chunks = chunks
        self._decoder = decoder
        self._pieces: Iterator[bytes] = iter(())

    def __aiter__(self) -> "_DecodedChunks":
        return self

    async def __anext__(self) -> bytes:
        # A few bytes may decode to so many that the event loop would be blocked: let other tasks run in between.
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
    # What has arrived with the headers.  Until the protocol is replaced nothing may be awaited, or more could arrive.
    early: list[bytes] = []
    while piece := content.read_nowait():
        early.append(piece)
    left = size - content.total_bytes
    transport = response.connection and response.connection.transport
    if transport is None or left <= 0:
        # All of it has arrived, or the connection is already lost.
        for piece in early:
            yield piece
        async for piece in content.iter_any():
            yield piece
        return
    # Each reader is slow where the other is fast.  Without a buffer to decrypt into, asyncio's TLS joins the records,
    # of at most 16 KiB, itself; in plaintext, a buffer means an additional copy before the next bytes arrive.
    direct = (_BufferReader if transport.get_extra_info("sslcontext") else _PieceReader)(transport, left)
    try:
        for piece in early:
            yield piece
        while chunks := await direct.read(silence_seconds):
            for chunk in chunks:
                yield chunk
    finally:
        # Not `close`, as aiohttp would do: over TLS, that never finishes if the peer closed while nobody was reading.
        transport.abort()


class _DirectReader(asyncio.BaseProtocol, ABC):
    """Takes over a connection and reads the rest of a body from it."""

    def __init__(self, transport: asyncio.Transport, size: int) -> None:
        self._transport = transport
        self._original_protocol = transport.get_protocol()
        self._left = size
        self._waiting = 0
        """Bytes that have arrived and are not passed on yet."""

        self._ready = asyncio.Event()
        """Set if there are bytes to pass on, or no more will arrive."""

        self._gathering: asyncio.TimerHandle | None = None
        self._paused = False
        self._closed = False
        self._error: Exception | None = None
        transport.set_protocol(self)
        transport.resume_reading()

    @abstractmethod
    def _take(self) -> list[bytes]:
        """Return the bytes that have arrived, and remove them."""

    def _is_full(self) -> bool:
        """Return whether no more can be held, even below `GATHER` bytes."""
        return False

    async def read(self, silence_seconds: float) -> list[bytes]:
        """Return the next bytes, or nothing at the end.  Raises what the iterator of `body_chunks` does."""
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
        """Handle the end of the stream."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the loss of the connection, and tell aiohttp, which still counts it as open."""
        self._end(exc)
        self._original_protocol.connection_lost(exc)

    def _end(self, error: Exception | None = None) -> None:
        self._closed = True
        if self._left:
            # Once the whole body has arrived, it doesn't matter how the connection ends.
            self._error = error or aiohttp.ClientPayloadError("the connection was closed")
        self._stop_gathering()
        self._ready.set()

    def _stop_gathering(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None


class _PieceReader(_DirectReader, asyncio.Protocol):
    """Passes on pieces as they arrive, without copying large ones."""

    def __init__(self, transport: asyncio.Transport, size: int) -> None:
        self._pieces: list[bytes] = []
        super().__init__(transport, size)

    def data_received(self, data: bytes) -> None:
        """Keep a piece, without any bytes after the end of the body."""
        if len(data) > self._left:
            data = data[: self._left]
        self._pieces.append(data)
        self._arrived(len(data))

    def _is_full(self) -> bool:
        return len(self._pieces) >= MAX_PIECES

    def _take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces if self._waiting >= len(pieces) * SMALL_PIECE else [b"".join(pieces)]


class _BufferReader(_DirectReader, asyncio.BufferedProtocol):
    """Receives into a buffer, and passes on copies of its content."""

    def __init__(self, transport: asyncio.Transport, size: int) -> None:
        self._buffer = memoryview(bytearray(min(GATHER, size)))
        super().__init__(transport, size)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the space for the next bytes, no more than are left of the body."""
        return self._buffer[self._waiting : self._waiting + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """Count bytes that have arrived in the buffer."""
        self._arrived(nbytes)

    def _take(self) -> list[bytes]:
        return [bytes(self._buffer[: self._waiting])]
