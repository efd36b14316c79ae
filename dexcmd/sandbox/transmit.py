"""Sends a reply over an aiohttp connection, with whatever ending it has."""

import asyncio
import itertools
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import NoReturn

from aiohttp import web

from dexcmd.sandbox.reply import Reply

__all__ = ["send"]


# Bodies up to this size are made on the event loop; larger ones in another thread, in steps of some pieces.
# A hop costs about 150 µs, which a step of 1 MiB makes up for.
_INLINE = 512 * 1024
_PIECES_PER_STEP = 4


class _UntilClose(web.StreamResponse):
    """A response whose headers are left as they are: the end of the connection ends its body."""

    _length_check = False


async def send(request: web.BaseRequest, reply: Reply, executor: Executor) -> web.StreamResponse:
    """Send the reply and return the finished response.

    For a reply that ends in silence or with a dropped connection this never returns: it is cancelled when the
    connection is gone, which the client, the sandbox's end or the drop itself sees to.
    """
    if not reply.head:
        await _end(request, reply)
    if reply.framing == "length" and reply.ending == "complete" and reply.sent <= _INLINE:
        body = b"".join(reply.content.read(reply.start, reply.start + reply.sent))
        # One write for headers and body; what is declared is what is sent, `lie` included.
        return web.Response(status=reply.status, headers=reply.headers, body=body)
    response = _head(reply)
    try:
        await response.prepare(request)
        await _send_body(response, reply, executor)
        if reply.ending != "complete":
            await _end(request, reply)
        await response.write_eof()
    except ConnectionError:
        # The client has gone, which is no error of the sandbox: the cancellation is on its way.
        await _wait_for_cancellation()
    return response


def _head(reply: Reply) -> web.StreamResponse:
    match reply.framing:
        case "length":
            response = web.StreamResponse(status=reply.status, headers=reply.headers)
            response.content_length = reply.length + reply.lie
        case "chunked":
            response = web.StreamResponse(status=reply.status, headers=reply.headers)
            response.enable_chunked_encoding()
        case "close":
            response = _UntilClose(status=reply.status, headers=reply.headers)
            response.force_close()
    return response


async def _send_body(response: web.StreamResponse, reply: Reply, executor: Executor) -> None:
    # `write` waits while the connection's buffer is full, so that at most one step is held in memory.
    pieces = reply.content.read(reply.start, reply.start + reply.sent)
    if reply.sent <= _INLINE:
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
    if reply.ending == "drop" and request.transport is not None:
        # What is written goes out first.
        request.transport.close()
    await _wait_for_cancellation()


async def _wait_for_cancellation() -> NoReturn:
    while True:
        await asyncio.get_running_loop().create_future()
