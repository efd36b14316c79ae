"""Proxies that the environment names: how they are used, and that what lets anybody through them is told nowhere."""

import asyncio
import base64
import socket
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from dexcmd import ConfigurationError, TransportError
from dexcmd.sandbox import Fault
from tests.conftest import Rig
from tests.service import ONCE

pytestmark = pytest.mark.anyio

ELSEWHERE = "https://dex.invalid/client/v4"


class Proxy:
    """Lets nobody through, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0
        self.redirects_to: str | None = None
        """What it answers in the place of services that are asked in the clear."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        if self.redirects_to is not None and not self.asked[-1].startswith("CONNECT "):
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {self.redirects_to}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.answer, "127.0.0.1", 0)
    async with server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_a_proxy_gets_its_password_and_no_error_does(
    rig: Rig, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("https_proxy", f"{scheme}us%40er:s3%2Fcr%C3%A9t@127.0.0.1:{proxy.port}")
    await rig.start()
    with pytest.raises(TransportError, match="407") as caught:
        await rig.client(base_url=ELSEWHERE, retry=ONCE).quota.get()
    assert not caught.value.sent
    for secret in ("us@er", "us%40er", "s3/cr", "s3%2Fcr"):
        assert secret not in str(caught.value)
    [asked] = proxy.asked
    assert asked.startswith("CONNECT dex.invalid:443 ")
    assert "Authorization: Bearer" not in asked
    [credentials] = [line.split()[-1] for line in asked.splitlines() if line.startswith("Proxy-Authorization: Basic ")]
    assert base64.b64decode(credentials).decode() == "us@er:s3/crét"


async def test_a_proxy_without_a_password_gets_none(rig: Rig, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    await rig.start()
    with pytest.raises(TransportError, match="407"):
        await rig.client(base_url=ELSEWHERE, retry=ONCE).quota.get()
    assert "Authorization" not in proxy.asked[0]


@pytest.mark.parametrize(
    "text",
    [
        "http://user:s3cret@proxy.corp:99999",
        "http://user:s3cret@[::1",
        "http://user:s3cret@a..b:3128",
        "http://user:s3cret@xn--a:3128",
        "socks5://user:s3cret@proxy.corp:1080",
        "http://user:s3cret@",
    ],
)
async def test_a_proxy_that_can_not_be_used_is_named_by_its_variable(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("https_proxy", text)
    await rig.start()
    dex = rig.client(base_url=ELSEWHERE, retry=ONCE)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        await dex.quota.get()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    # That is known before anything is sent: nothing is ambiguous.
    bulk = await dex.commands.create_many(rig.requests(1))
    assert bulk.outcomes[0].state == "not_attempted"
    assert isinstance(bulk.outcomes[0].error, ConfigurationError)


async def test_the_environment_is_asked_for_a_proxy_once(
    rig: Rig, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start()
    dex = rig.client(base_url=ELSEWHERE, retry=ONCE)
    for later in (f"http://127.0.0.1:{proxy.port}", "http://127.0.0.1:1"):
        monkeypatch.setenv("https_proxy", later)
        with pytest.raises(TransportError, match="407"):
            await dex.quota.get()
    assert len(proxy.asked) == 2


@pytest.mark.parametrize("broken", ["", "user:s3cret@proxy.corp:3128", "http://user:s3cret@[::1"])
async def test_the_password_of_the_proxy_of_an_injected_session_is_not_told(
    rig: Rig, proxy: Proxy, broken: str
) -> None:
    named = broken or f"http://user:s3cret@127.0.0.1:{proxy.port}"
    await rig.start()
    async with aiohttp.ClientSession(proxy=named) as session:
        dex = rig.client(base_url=ELSEWHERE, session=session, retry=ONCE)
        with pytest.raises(TransportError) as caught:
            await dex.quota.get()
        await dex.close()
    assert not caught.value.sent
    assert "s3cret" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("where", ["environment", "proxy", "proxy_auth"])
async def test_a_redirect_goes_through_the_proxy_of_an_injected_session_as_well(
    rig: Rig, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    proxy.redirects_to = "https://storage.invalid/a.zip"
    named, options = f"http://user:s3cret@127.0.0.1:{proxy.port}", dict[str, Any]()
    if where == "environment":
        monkeypatch.delenv("no_proxy", raising=False)
        for variable in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(variable, named)
        options = {"trust_env": True}
    elif where == "proxy":
        options = {"proxy": named}
    else:
        options = {"proxy": f"http://127.0.0.1:{proxy.port}", "proxy_auth": aiohttp.BasicAuth("user", "s3cret")}
    await rig.start()
    async with aiohttp.ClientSession(headers={"X-Secret-Of-The-User": "s3"}, **options) as session:
        dex = rig.client(base_url="http://127.0.0.1:9", session=session, retry=ONCE)
        with pytest.raises(TransportError, match="407") as caught:
            await dex.downloads.save(command_id="c", filename="a.zip", into=tmp_path)
        await dex.close()
    assert "s3cret" not in str(caught.value)
    home, elsewhere = proxy.asked
    assert home.startswith("GET http://127.0.0.1:9/")
    assert elsewhere.startswith("CONNECT storage.invalid:443 ")
    assert f"Proxy-Authorization: {aiohttp.encode_basic_auth('user', 's3cret')}" in elsewhere
    assert "s3\r" not in elsewhere


class NoNames(AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        raise OSError(f"nobody is called {host}")

    async def close(self) -> None:
        pass


async def test_a_redirect_goes_through_no_proxy_that_an_injected_session_does_not_use(
    rig: Rig, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    await rig.start()
    rig.sandbox.faults.add(Fault.redirect("https://storage.invalid/a.zip"), on="download")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=NoNames())) as session:
        dex = rig.client(session=session, retry=ONCE)
        with pytest.raises(TransportError, match=r"storage\.invalid"):
            await dex.downloads.save(command_id="c", filename="a.zip", into=tmp_path)
        await dex.close()
    assert not proxy.asked
