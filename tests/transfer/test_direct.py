"""Long bodies read directly from their connection: in the clear and over TLS, no more than there is room for."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import chain, repeat
from typing import Any

import aiohttp
import anyio
import pytest
import trustme

from dexcmd.transfer import direct
from dexcmd.transfer.direct import DIRECT_FROM, GATHER, SMALL_PIECE, body_chunks
from tests.loops import ON_EACH_LOOP

pytestmark = [pytest.mark.anyio, ON_EACH_LOOP]

SIZE = DIRECT_FROM + 12_345
PIECE = bytes(range(256)) * 256
MAX_AT_ONCE = GATHER + 256 * 1024
"""What asyncio reads at a time may come when there is not quite enough to hand on."""

SECONDS = 30.0

Send = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@pytest.fixture(params=["clear", "tls"])
def contexts(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext | None, ssl.SSLContext | bool]:
    """Return what the service and what the client are to use."""
    if request.param == "clear":
        return None, True
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def answering(
    send: Send, contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | bool], size: int = SIZE
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Give the answer of a service that announces `size` bytes and sends what `send` does."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await send(writer)
        # The connection may well be aborted as soon as the body is there.
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=contexts[0])
    scheme, port = "http" if contexts[0] is None else "https", server.sockets[0].getsockname()[1]
    url = f"{scheme}://127.0.0.1:{port}/"
    async with server, aiohttp.ClientSession() as session, session.get(url, ssl=contexts[1]) as response:
        yield response


async def whole(writer: asyncio.StreamWriter) -> None:
    left = SIZE
    for piece in chain(repeat(PIECE, SIZE // len(PIECE)), [PIECE[: SIZE % len(PIECE)]]):
        writer.write(piece)
        left -= len(piece)
        await writer.drain()
    assert not left


def chunks_of(
    response: aiohttp.ClientResponse, silence: float = SECONDS
) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    return body_chunks(response, decoder=None, silence_seconds=silence)


async def test_every_byte_comes_in_its_order(contexts: Any) -> None:
    async with answering(whole, contexts) as response, chunks_of(response) as chunks:
        body, sizes = bytearray(), list[int]()
        async for chunk in chunks:
            body += chunk
            sizes.append(len(chunk))
    assert body == PIECE * (SIZE // len(PIECE)) + PIECE[: SIZE % len(PIECE)]
    assert max(sizes) <= MAX_AT_ONCE


async def test_what_comes_after_the_body_is_none_of_it(contexts: Any) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        await whole(writer)
        writer.write(b"more" * 10_000)

    async with answering(send, contexts) as response, chunks_of(response) as chunks:
        received = 0
        async for chunk in chunks:
            received += len(chunk)
    assert received == SIZE


async def test_a_body_that_came_with_the_headers_is_whole(contexts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "DIRECT_FROM", 1)

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(b"0123456789")

    async with answering(send, contexts, size=10) as response, chunks_of(response) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"0123456789"


async def test_nothing_is_read_that_there_is_no_room_for(contexts: Any) -> None:
    async with answering(whole, contexts) as response, chunks_of(response) as chunks:
        transport = transport_of(response)
        received = taken = 0
        while received < 2 * GATHER:
            received += len(await anext(chunks))
        with anyio.fail_after(SECONDS):
            while transport.is_reading():
                await asyncio.sleep(0)
        # What there is room for has come, and waits for whoever takes it: what is being handed on, and what is next.
        while not transport.is_reading():
            taken += len(await anext(chunks))
        assert 0 < taken <= MAX_AT_ONCE + GATHER
        with anyio.fail_after(SECONDS):
            async for chunk in chunks:
                received += len(chunk)
    assert received + taken == SIZE


async def test_many_small_pieces_come_as_one(contexts: Any) -> None:
    count = 50

    async def send(writer: asyncio.StreamWriter) -> None:
        await small_pieces(writer, count)

    async with answering(send, contexts) as response, chunks_of(response) as chunks:
        received = number = 0
        while received < 10 * count:
            received += len(await anext(chunks))
            number += 1
    assert 10 * count < SMALL_PIECE
    assert number < count / 2


@pytest.mark.parametrize("contexts", ["clear"], indirect=True)
async def test_small_pieces_are_not_kept_without_end(contexts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Over TLS they are put into one buffer.
    monkeypatch.setattr(direct, "MAX_PIECES", 20)

    async def send(writer: asyncio.StreamWriter) -> None:
        await small_pieces(writer, 50)

    async with answering(send, contexts) as response, chunks_of(response) as chunks:
        received = len(await anext(chunks))
        with anyio.fail_after(SECONDS):
            while transport_of(response).is_reading():
                await asyncio.sleep(0)
        while received < 10 * 50:
            received += len(await anext(chunks))


async def test_what_has_come_does_not_wait_for_ever_for_more(contexts: Any) -> None:
    more = asyncio.Event()

    async def send(writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            writer.write(b"0123456789")
            await writer.drain()
            await more.wait()
            more.clear()

    async with answering(send, contexts) as response, chunks_of(response) as chunks:
        for _ in range(3):
            assert await anext(chunks) == b"0123456789"
            more.set()


async def test_silence_is_a_timeout(contexts: Any) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(PIECE)

    async with answering(send, contexts) as response, chunks_of(response, 0.2) as chunks:
        received = 0
        with pytest.raises(TimeoutError):
            async for chunk in chunks:
                received += len(chunk)
    assert received == len(PIECE)


async def test_an_early_end_is_an_error_after_what_came(contexts: Any) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(PIECE * 40)
        await writer.drain()
        writer.close()

    async with answering(send, contexts) as response, chunks_of(response) as chunks:
        received = 0
        with pytest.raises(aiohttp.ClientPayloadError):
            async for chunk in chunks:
                received += len(chunk)
    assert received == len(PIECE) * 40


async def test_a_reset_is_told(contexts: Any) -> None:
    go = asyncio.Event()

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(PIECE)
        await go.wait()
        reset(writer)

    async with answering(send, contexts) as response, chunks_of(response) as chunks:
        received = 0
        while received < len(PIECE):
            received += len(await anext(chunks))
        go.set()
        with pytest.raises((aiohttp.ClientError, OSError)):
            await anext(chunks)


async def test_a_reset_after_the_last_byte_is_no_error(contexts: Any) -> None:
    # Seen over TLS, whose connection is read from even while nobody takes what comes: ConnectionResetError.
    go, gone = asyncio.Event(), asyncio.Event()

    async def send(writer: asyncio.StreamWriter) -> None:
        await whole(writer)
        await go.wait()
        reset(writer)
        gone.set()

    async with answering(send, contexts) as response, chunks_of(response) as chunks:
        received = 0
        while received < SIZE:
            received += len(await anext(chunks))
        go.set()
        await gone.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


@pytest.mark.parametrize("end", [SIZE, GATHER])
async def test_no_connection_is_left_where_the_other_side_closes_while_nobody_reads(contexts: Any, end: int) -> None:
    # Seen over TLS: asyncio waited for a reader before it closed, so that each download left an open socket.
    go, gone = asyncio.Event(), asyncio.Event()

    async def send(writer: asyncio.StreamWriter) -> None:
        sending = asyncio.ensure_future(whole(writer))
        await go.wait()
        sending.cancel()
        writer.transport.abort()
        gone.set()

    async with answering(send, contexts) as response, chunks_of(response) as chunks:
        connection, received = transport_of(response).get_extra_info("socket"), 0
        while received < end:
            received += len(await anext(chunks))
        go.set()
        await gone.wait()
        for _ in range(100):
            await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert connection.fileno() == -1


async def small_pieces(writer: asyncio.StreamWriter, count: int) -> None:
    """Send so many of ten bytes, each of which the other side reads before the next one comes."""
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(count):
        writer.write(b"0123456789")
        for _ in range(10):
            await asyncio.sleep(0)


def transport_of(response: aiohttp.ClientResponse) -> asyncio.Transport:
    assert response.connection is not None
    assert response.connection.transport is not None
    return response.connection.transport


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side is told of an error."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
