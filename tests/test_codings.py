"""Bodies that come encoded, over real sockets: decoded where they are whole, and never taken for whole otherwise."""

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dexcmd import (
    InvalidArtifactError,
    NotFoundError,
    ResponseDecodeError,
    RetryPolicy,
    ServerError,
    TransportError,
    TruncatedArtifactError,
)
from dexcmd.middleware.attempt import MAX_JSON_BYTES
from tests.service import Service

pytestmark = pytest.mark.anyio

BODY = b"0123456789" * 10_000
ARTIFACT: dict[str, Any] = {"command_id": "c" * 36, "filename": "a.bin"}
TWICE = RetryPolicy(attempts=2, attempt_seconds=5.0, backoff_seconds=0.01)
QUOTA = json.dumps({"success": True, "errors": [], "messages": [], "result": {"quota": 5, "quota_usage": 1}}).encode()

Handler = Callable[[web.BaseRequest], Any]


def sending(body: bytes, coding: str, status: int = 200) -> Handler:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body, headers={"Content-Encoding": coding})

    return handler


def bare(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


@pytest.mark.parametrize(
    ("coding", "encode"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)],
    ids=["gzip", "x-gzip", "capitals", "deflate"],
)
async def test_an_artifact_is_saved_as_what_was_encoded(
    tmp_path: Path, coding: str, encode: Callable[[bytes], bytes]
) -> None:
    async with Service(sending(encode(BODY), coding)) as service, service.client() as dex:
        saved = await dex.downloads.save(**ARTIFACT, into=tmp_path, verify="size")
    assert saved.path.read_bytes() == BODY


@pytest.mark.parametrize("end", [-1, -8, -9, 20])
@pytest.mark.parametrize(
    ("coding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)], ids=["gzip", "deflate"]
)
async def test_an_artifact_whose_encoded_bytes_end_early_is_not_whole(
    tmp_path: Path, coding: str, encode: Callable[[bytes], bytes], end: int
) -> None:
    # What is announced all comes: it was cut before.
    async with Service(sending(encode(BODY)[:end], coding)) as service, service.client(retry=TWICE) as dex:
        with pytest.raises(TruncatedArtifactError, match="ends early"):
            await dex.downloads.save(**ARTIFACT, into=tmp_path, verify="size")
    assert list(tmp_path.iterdir()) == []


async def test_a_read_that_was_cancelled_is_not_the_end_of_an_encoded_artifact() -> None:
    # Random, so that what has come stands for something.
    body = random.Random(0).randbytes(100_000)
    encoded = gzip.compress(body)
    rest = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": "gzip", "Content-Length": str(len(encoded))})
        await response.prepare(request)
        await response.write(encoded[:50_000])
        await rest.wait()
        await response.write(encoded[50_000:])
        return response

    async with Service(handler) as service, service.client() as dex, dex.downloads.open(**ARTIFACT) as artifact:
        received = await anext(artifact)
        while len(received) < 49_000:
            received += await anext(artifact)
        reading = asyncio.ensure_future(anext(artifact))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        rest.set()
        async for chunk in artifact:
            received += chunk
    assert received == body


async def test_a_little_that_stands_for_much_leaves_the_event_loop_to_others() -> None:
    turns = pieces = 0

    async def another() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    much = sending(gzip.compress(bytes(32 * 1024 * 1024)), "gzip")
    async with Service(much) as service, service.client() as dex, dex.downloads.open(**ARTIFACT) as artifact:
        await anext(artifact)
        task = asyncio.ensure_future(another())
        async for _ in artifact:
            pieces += 1
        task.cancel()
    assert turns >= pieces > 100


async def test_an_artifact_whose_checksum_is_wrong_has_no_end() -> None:
    # More than is decoded at once, so that some of it comes before that is seen.
    encoded = gzip.compress(BODY * 10)
    damaged = sending(encoded[:-8] + bytes(4) + encoded[-4:], "gzip")
    async with Service(damaged) as service, service.client() as dex, dex.downloads.open(**ARTIFACT) as artifact:
        for _ in range(2):
            with pytest.raises(TruncatedArtifactError):
                async for _ in artifact:
                    pass


async def test_a_coding_that_was_not_asked_for_is_no_artifact(tmp_path: Path) -> None:
    async with Service(sending(BODY, "br")) as service, service.client() as dex:
        with pytest.raises(InvalidArtifactError, match="a content coding that was not requested: br"):
            await dex.downloads.save(**ARTIFACT, into=tmp_path, verify="size")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_an_answer_is_read_as_what_was_encoded(coding: str) -> None:
    encoded = gzip.compress(QUOTA) if coding == "gzip" else bare(QUOTA)
    async with Service(sending(encoded, coding)) as service, service.client() as dex:
        assert (await dex.quota.get()).quota == 5


async def test_only_codings_that_can_be_read_are_asked_for() -> None:
    asked: list[str] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.append(request.headers["Accept-Encoding"])
        return web.Response(body=QUOTA)

    async with Service(handler) as service, service.client() as dex:
        await dex.quota.get()
    assert asked == ["gzip, deflate"]


@pytest.mark.parametrize(
    ("body", "coding", "says"),
    [
        (gzip.compress(QUOTA)[:-1], "gzip", "the encoded body ends early"),
        (QUOTA, "gzip", "the encoded body is damaged"),
        (QUOTA, "zstd", "the body has a content coding that was not requested: zstd"),
    ],
    ids=["early", "damaged", "unknown"],
)
async def test_an_answer_that_can_not_be_decoded_is_none(body: bytes, coding: str, says: str) -> None:
    async with Service(sending(body, coding)) as service, service.client() as dex:
        with pytest.raises(TransportError, match=says):
            await dex.quota.get()


async def test_an_answer_that_stands_for_too_much_is_refused() -> None:
    encoded = gzip.compress(bytes(MAX_JSON_BYTES + 1))
    async with Service(sending(encoded, "gzip")) as service, service.client() as dex:
        with pytest.raises(ResponseDecodeError, match="larger than"):
            await dex.quota.get()


async def test_what_a_refusal_says_is_decoded(tmp_path: Path) -> None:
    said = json.dumps({"success": False, "errors": [{"code": 7003, "message": "gone"}], "result": None}).encode()
    async with Service(sending(gzip.compress(said), "gzip", 404)) as service, service.client() as dex:
        with pytest.raises(NotFoundError, match="gone"):
            await dex.downloads.save(**ARTIFACT, into=tmp_path)


async def test_a_refusal_that_can_not_be_decoded_is_told_by_its_status() -> None:
    async with Service(sending(BODY, "br", 503)) as service, service.client() as dex:
        with pytest.raises(ServerError, match="503"):
            await dex.quota.get()
