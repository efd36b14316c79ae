"""The words for requests that got no answer, each failure made over a real socket."""

import asyncio
import os
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme

from dexcmd import DexClient, DownloadLimits, TransportError, TruncatedArtifactError
from dexcmd.transfer.direct import DIRECT_FROM
from tests.service import ONCE

pytestmark = pytest.mark.anyio

NOT_ENDED = "the connection was closed before the body had ended"


def client(base_url: str, session: aiohttp.ClientSession | None = None) -> DexClient:
    return DexClient(
        api_token="a-token-of-its-own",
        account_id="0" * 32,
        base_url=base_url,
        session=session,
        retry=ONCE,
        rate_limit=None,
    )


async def words(base_url: str, session: aiohttp.ClientSession | None = None) -> str:
    """Return what is told of a request."""
    async with client(base_url, session) as dex:
        with pytest.raises(TransportError) as caught:
            await dex.quota.get()
    told, begin = str(caught.value), "GET /dex/commands/quota: "
    assert told.startswith(begin)
    assert "\n" not in told
    return told.removeprefix(begin)


@asynccontextmanager
async def peer(
    answer: bytes | None, *, reset: bool = False, context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Answer each request with some bytes, or nothing, and end the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        if answer is not None:
            writer.write(answer)
            await writer.drain()
        if reset:
            # Without lingering a close is a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "the connection was closed before a response came"),
        (b"HTTP/1.1 200 O", "the connection was closed before a response came"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", NOT_ENDED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", NOT_ENDED),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
            "the encoded body is damaged: Error -3 while decompressing data: incorrect header check",
        ),
    ],
    ids=["nothing", "half-a-line", "half-a-body", "half-a-chunk", "no-gzip"],
)
async def test_an_answer_that_does_not_come_whole(answer: bytes | None, told: str) -> None:
    async with peer(answer) as place:
        assert await words(f"http://{place}") == told


async def test_what_is_not_http() -> None:
    async with peer(b"SSH-2.0-OpenSSH\r\n\r\n") as place:
        assert (await words(f"http://{place}")).startswith("what came is not HTTP: ")


async def test_a_reset() -> None:
    async with peer(None, reset=True) as place:
        assert await words(f"http://{place}") == "the connection was lost: Connection reset by peer"


async def test_a_reset_of_a_long_body() -> None:
    begun = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n0" % DIRECT_FROM)
        await begun.wait()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with client(base_url) as dex, dex.downloads.open(command_id="c" * 36, filename="a.bin") as artifact:
            await anext(artifact)
            begun.set()
            with pytest.raises(TruncatedArtifactError, match=r": the connection was lost: Connection reset by peer$"):
                await anext(artifact)


async def test_what_comes_over_tls_is_broken() -> None:
    authority = trustme.CA()
    context, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(trusting)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        os.write(writer.get_extra_info("socket").fileno(), b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    connector = aiohttp.TCPConnector(ssl=trusting)
    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        told = await words(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", session)
    # OpenSSL's words differ by version.  Its numbers are none of the system's.
    assert re.fullmatch(r"the connection was lost: [A-Z0-9_]+", told)


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


async def test_nobody_listens() -> None:
    port = unused_port()
    assert await words(f"http://127.0.0.1:{port}") == f"can't connect to 127.0.0.1:{port}: Connection refused"


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    told = await words("https://dex.invalid")
    assert told == f"can't connect to the proxy 127.0.0.1:{port}: Connection refused"


async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as place:
        monkeypatch.setenv("https_proxy", f"http://{place}")
        assert await words("https://dex.invalid") == "the proxy refused: 407 Proxy Authentication Required"


async def test_a_name_that_nobody_knows() -> None:
    class Nobody(aiohttp.ThreadedResolver):
        async def resolve(self, *_: object, **__: object) -> list[aiohttp.abc.ResolveResult]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Nobody())) as session:
        told = await words("https://dex.invalid", session)
    assert told == "the name dex.invalid can't be resolved: Name or service not known"


async def test_a_socket_file_that_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "dex.sock")
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        told = await words("http://localhost", session)
    assert told == f"can't connect to {path}: No such file or directory"


async def test_a_certificate_of_nobody_known() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with peer(None, context=context) as place:
        told = await words(f"https://{place}")
    assert told == f"the certificate of {place} can't be trusted: unable to get local issuer certificate"


async def test_a_certificate_with_another_fingerprint() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    connector = aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(bytes(32)))
    async with peer(None, context=context) as place, aiohttp.ClientSession(connector=connector) as session:
        assert await words(f"https://{place}", session) == f"the certificate of {place} has another fingerprint"


async def test_a_service_without_tls() -> None:
    async with peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as place:
        assert (await words(f"https://{place}")).startswith(f"no TLS connection with {place}: ")


async def test_a_service_that_hangs_up_instead_of_speaking_tls() -> None:
    async with peer(None) as place:
        assert await words(f"https://{place}") == f"can't connect to {place}: the connection was closed"


@asynccontextmanager
async def silence() -> AsyncIterator[str]:
    """Take connections and say nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_connection_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dexcmd.session.CONNECT_SECONDS", 0.05)
    async with silence() as place:
        assert await words(f"https://{place}") == "no connection in time"


async def test_a_download_of_which_nothing_comes(tmp_path: Path) -> None:
    limits = DownloadLimits(stall_seconds=0.05)
    async with silence() as place, client(f"http://{place}") as dex:
        with pytest.raises(TransportError, match=r"a\.pcap: no response within 0\.05 s$"):
            await dex.downloads.save(command_id="c" * 36, filename="a.pcap", into=tmp_path, limits=limits)
