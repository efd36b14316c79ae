"""Sends a reply over an aiohttp connection, including an abnormal ending."""

import asyncio
import itertools
import os
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import NoReturn

from aiohttp import web

from dexcmd.clock import Clock
from dexcmd.sandbox.content import Content
from dexcmd.sandbox.reply import Reply, Trickle

__all__ = ["send"]


# Bodies up to this size are generated on the event loop; larger ones in another thread, a few pieces at a time.
# A thread hop costs about 150 µs, which is worth it for a step of 1 MiB.
_INLINE = 512 * 1024
_PIECES_PER_STEP = 4
# The value for SO_LINGER that closes a socket at once, with a reset, and discards unsent data.
_RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


# Headers that aiohttp adds to responses without them.
_ADDED = ("Content-Type", "Date", "Server")


class _WithItsHeaders(web.StreamResponse):
    """A response with only the headers given and those of the framing."""

    async def _prepare_headers(self) -> None:
        added = [name for name in _ADDED if name not in self.headers]
        await super()._prepare_headers()
        for name in added:
            self.headers.pop(name, None)


class _AtOnce(_WithItsHeaders, web.Response):
    """A response whose headers and body are sent in one write."""


class _AsItIs(_WithItsHeaders):
    """A response that sends exactly the bytes it is given, whatever its headers say."""

    _length_check = False


async def send(request: web.BaseRequest, reply: Reply, executor: Executor, clock: Clock) -> web.StreamResponse:
    """Send the reply and return the finished response.

    For a reply that ends in silence or with a dropped connection this never returns: it is cancelled when the
    connection is closed, by the client, by the end of the sandbox or by the drop itself.
    """
    if not reply.head:
        await _end(request, reply)
    if _is_plain(reply):
        body = b"".join(reply.content.read(reply.start, reply.start + reply.sent))
        return _AtOnce(status=reply.status, headers=reply.headers, body=body)
    response = _head(reply)
    try:
        await response.prepare(request)
        await _send_body(response, reply, executor, clock)
        if reply.ending != "complete":
            await _end(request, reply)
        await response.write_eof()
    except ConnectionError:
        # The client has disconnected, which is not an error of the sandbox: the cancellation is on its way.
        await _wait_for_cancellation()
    return response


def _is_plain(reply: Reply) -> bool:
    whole = reply.ending == "complete" and reply.framing == "length" and reply.sent == reply.declared
    return whole and reply.sent <= _INLINE and reply.trickle is None


def _head(reply: Reply) -> web.StreamResponse:
    response = _AsItIs(status=reply.status, headers=reply.headers)
    match reply.framing:
        case "length":
            response.content_length = reply.declared
        case "chunked":
            response.enable_chunked_encoding()
        case "close":
            response.force_close()
    return response


async def _send_body(response: web.StreamResponse, reply: Reply, executor: Executor, clock: Clock) -> None:
    start, stop = reply.start, reply.start + reply.sent
    trickle = reply.trickle
    if trickle is None:
        await _send_at_once(response, reply.content, start, stop, executor)
    else:
        await _send_at_once(response, reply.content, start, start + trickle.at, executor)
        await _send_slowly(response, reply.content.read(start + trickle.at, stop), trickle, clock)


async def _send_slowly(response: web.StreamResponse, pieces: Iterator[bytes], trickle: Trickle, clock: Clock) -> None:
    sleep = asyncio.sleep if trickle.real_time else clock.sleep
    for piece in pieces:
        for start in range(0, len(piece), trickle.piece):
            part = piece[start : start + trickle.piece]
            await sleep(len(part) / trickle.rate)
            await response.write(part)


async def _send_at_once(
    response: web.StreamResponse, content: Content, start: int, stop: int, executor: Executor
) -> None:
    # `write` waits while the connection's buffer is full, so at most one step is held in memory.
    pieces = content.read(start, stop)
    if stop - start <= _INLINE:
        for piece in pieces:
            await response.write(piece)
        return
    loop = asyncio.get_running_loop()
    while step := await loop.run_in_executor(executor, _take, pieces):
        for piece in step:
            await response.write(piece)


def _take(pieces: Iterator[bytes]) -> list[bytes]:
    return list(itertools.islice(pieces, _PIECES_PER_STEP))


async def _end(request: web.BaseRequest, reply: Reply) -> NoReturn:
    if reply.ending != "silence" and request.transport is not None:
        if reply.ending == "reset":
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # Pending data is sent first.
        request.transport.close()
    await _wait_for_cancellation()


async def _wait_for_cancellation() -> NoReturn:
    while True:
        await asyncio.get_running_loop().create_future()
