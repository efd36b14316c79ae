"""Where downloads are redirected to: what is followed, in which form, and what is refused."""

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from dexcmd import DownloadError, RetryPolicy, ServerError, TransportTimeoutError
from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Fault
from tests.conftest import Rig
from tests.service import Service

pytestmark = pytest.mark.anyio


async def test_a_download_is_redirected_without_token_and_user_headers(rig: Rig) -> None:
    async with aiohttp.ClientSession(headers={"X-Secret-Of-The-User": "s3"}) as session:
        await rig.start(behaviour=Behaviour.instant(download_redirect=302), session=session)
        [command] = await rig.dex.commands.create(rig.requests(1))
        async with rig.dex.downloads.open(command) as artifact:
            body = b"".join([chunk async for chunk in artifact])
        await rig.dex.close()
    assert len(body) == artifact.size
    asked, stored = rig.sandbox.requests[-2:]
    assert (asked.operation, stored.operation) == ("download", "storage")
    assert asked.headers["Authorization"] == f"Bearer {rig.sandbox.token}"
    assert asked.headers["X-Secret-Of-The-User"] == "s3"
    assert set(stored.headers) <= {"Host", "User-Agent", "Accept", "Accept-Encoding"}


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("http://192.0.2.1/artifact.zip", "refusing a redirect to 'http://192.0.2.1/artifact.zip'"),
        ("http://u:s3cret@192.0.2.1/a.zip?X-Amz-Signature=s3cret", "refusing a redirect to 'http://192.0.2.1/a.zip'"),
        ("ftp://h/a.zip?X-Amz-Signature=s3cret#s3cret", "refusing a redirect to 'ftp://h/a.zip'"),
        ("https://h:99999/a.zip?sig='s3cret'", "refusing a redirect to 'https://h:99999/a.zip'"),
        ("file:///etc/passwd", "refusing a redirect"),
        # Names that no resolver can be asked for.
        (f"https://{'a' * 64}.example/a.zip", "refusing a redirect"),
        ("https://a..b/a.zip", "refusing a redirect"),
        ("https://.../a.zip", "refusing a redirect"),
        ("https://xn--a/a.zip", "refusing a redirect"),
        ("https://\u00fc..b/a.zip", "refusing a redirect"),
        # What yarl takes for localhost is asked of a resolver, which may say otherwise.
        ("http://xn--localhost-/a.zip", "refusing a redirect"),
        ("", "refusing a redirect to ''"),
        ("http://[bad", "refusing a redirect"),
        ("/again", "more than 5 redirects"),
    ],
)
async def test_redirects_that_are_refused(location: str, says: str) -> None:
    seen: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": location} if location else {})

    async with Service(handler) as service, service.client() as dex:
        with pytest.raises(DownloadError, match=says.replace("[", r"\[")) as caught:
            async with dex.downloads.open(command_id="c", filename="f.zip"):
                pass
    assert "s3cret" not in str(caught.value)
    assert len(seen) == (6 if location == "/again" else 1)


async def test_not_even_a_redirect_to_the_same_origin_carries_the_token() -> None:
    seen: list[tuple[str, bool]] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.path, "Authorization" in request.headers))
        if request.path == "/elsewhere":
            return web.Response(body=b"bytes", content_type="application/zip")
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with Service(handler) as service, service.client() as dex, dex.downloads.open("c") as artifact:
        assert [chunk async for chunk in artifact] == [b"bytes"]
    assert seen == [(f"/accounts/{'0' * 32}/dex/commands/c/downloads/c.zip", True), ("/elsewhere", False)]


async def test_a_redirect_to_no_host_costs_one_artifact(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    commands = await rig.dex.commands.create(rig.requests(3))
    rig.sandbox.faults.add(Fault.redirect(to="https://a..b/a.zip"), on="download")
    async with rig.dex.downloads.save_many(commands, tmp_path, concurrency=1) as results:
        errors = [result.error async for result in results]
    assert len(errors) == 3
    assert [type(error) for error in errors if error is not None] == [DownloadError]


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        # What is signed is the text, and percent-encoding that means the same is another text.
        ("/b/1%3D2%7E.zip?until=T00%3A00%3A00Z&verify=1-ab%2Fcd%2Bef%3D", None),
        ("{origin}/b/1%3d2~.zip?until=T00:00&verify=a+b/c==", None),
        ("//{host}/b/x;v=1/a.zip?a=%25&&b", "/b/x;v=1/a.zip?a=%25&&b"),
        ("{origin}/a.zip?a=b#part", "/a.zip?a=b"),
        ("/b/../a.zip", "/a.zip"),
        ("?again=%2F", "/accounts/{account}/dex/commands/c/downloads/c.zip?again=%2F"),
        # What no request may hold is encoded.
        ("/a b.zip?for=<me>", "/a%20b.zip?for=%3Cme%3E"),
        ("/\u00fc.zip?a=b", "/%C3%BC.zip?a=b"),
    ],
)
async def test_a_redirect_is_asked_for_as_it_is_told(location: str, asked: str | None) -> None:
    seen: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.raw_path)
        if len(seen) > 1:
            return web.Response(body=b"bytes", content_type="application/zip")
        return web.Response(status=302, headers={"Location": told})

    async with Service(handler) as service, service.client() as dex:
        told = location.format(origin=service.origin, host=service.origin.removeprefix("http://"))
        async with dex.downloads.open("c") as artifact:
            assert [chunk async for chunk in artifact] == [b"bytes"]
        expected = told.removeprefix(service.origin) if asked is None else asked.format(account="0" * 32)
    assert seen[1:] == [expected]


async def test_all_hops_share_the_time_of_a_call(clock: ManualClock) -> None:
    seen: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        clock.advance(1.5)
        if len(seen) > 3:
            return web.Response(body=b"bytes", content_type="application/zip")
        return web.Response(status=302, headers={"Location": f"/{len(seen)}"})

    policy = RetryPolicy(attempts=3, total_seconds=4, attempt_seconds=4)
    async with Service(handler) as service, service.client(clock=clock, retry=policy) as dex:
        with pytest.raises(TransportTimeoutError, match="not sent: the time for the call is used up"):
            async with dex.downloads.open("c"):
                pass
    assert seen[1:] == ["/1", "/2"]


async def test_all_hops_share_the_attempts_of_a_call(clock: ManualClock) -> None:
    seen: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        if len(seen) == 2:
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        return web.Response(status=503)

    policy = RetryPolicy(attempts=3)
    async with Service(handler) as service, service.client(clock=clock, retry=policy) as dex:
        with pytest.raises(ServerError):
            async with dex.downloads.open("c"):
                pass
    assert seen[2:] == ["/elsewhere"] * 2
