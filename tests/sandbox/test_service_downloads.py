"""Downloads over a real socket: validators, ranges, codings, redirects, gigabytes in constant memory."""

import gzip
import io
import zipfile
import zlib
from typing import Any

import aiohttp
import attrs
import pytest

from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Sandbox
from dexcmd.sandbox.content import Content, CorruptContent, GzippedContent, Loaded, ShiftedContent, WrappedContent
from dexcmd.sandbox.ranges import ByteRange, choose_range
from tests.heap import measured_heap
from tests.sandbox.sandbox_api import Answer, Api

pytestmark = pytest.mark.anyio


def switch(api: Api, **changes: Any) -> None:
    api.sandbox.behaviour = attrs.evolve(api.sandbox.behaviour, **changes)


async def test_the_whole(api: Api, command: str):
    answer = await api.download(command)
    assert answer.status == 200
    assert zipfile.ZipFile(io.BytesIO(answer.body)).testzip() is None
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Encoding"] == "identity"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith('"')
    assert answer.headers["Last-Modified"].endswith(" GMT")
    assert "cf-ray" in answer.headers
    assert (await api.download(command)).body == answer.body
    assert api.sandbox.requests[-1].params["filename"] == f"{command}.zip"
    assert api.sandbox.requests[-1].processed


@pytest.mark.parametrize("path", ["nobody/downloads/nobody.zip", "{}/downloads/other.zip", "{}/downloads/{}"])
async def test_unknown_artifacts(api: Api, command: str, path: str):
    answer = await api.request("GET", f"{api.commands_url}/{path.format(command, command)}")
    assert (answer.status, answer.json["success"]) == (404, False)


async def test_not_before_success(api: Api, clock: ManualClock):
    switch(api, upload_seconds=(10.0, 10.0))
    (command_id,) = await api.make(1)
    assert (await api.download(command_id)).status == 404
    clock.advance(10)
    assert (await api.download(command_id)).status == 200


async def test_not_of_a_failure(api: Api):
    switch(api, failure_rate=1.0)
    (command_id,) = await api.make(1)
    assert (await api.download(command_id)).status == 404


@pytest.mark.parametrize("status", [404, 410])
async def test_expired(api: Api, clock: ManualClock, command: str, status: int):
    switch(api, expired_status=status)
    clock.advance(7 * 86400 - 1)
    assert (await api.download(command)).status == 200
    clock.advance(1)
    assert (await api.download(command)).status == status


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("Bytes = 100-", 100, None),
        ("bytes=-7", -7, None),
        ("bytes=5-99999999999", 5, None),
        ("bytes=-99999999999", 0, None),
    ],
)
async def test_ranges(api: Api, command: str, header: str, start: int, stop: int | None):
    whole = (await api.download(command)).body
    answer = await api.download(command, Range=header)
    first = start % len(whole)
    assert answer.status == 206
    assert answer.body == whole[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(answer.body) - 1}/{len(whole)}"
    assert answer.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize("header", ["bytes=5-4", "bytes=0-1,3-4", "lines=1-2", "bytes=-", "nonsense"])
async def test_ranges_that_are_not_understood(api: Api, command: str, header: str):
    answer = await api.download(command, Range=header)
    assert answer.status == 200
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0"])
async def test_unsatisfiable_ranges(api: Api, command: str, header: str):
    size = len((await api.download(command)).body)
    answer = await api.download(command, Range=header)
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert not api.sandbox.requests[-1].processed


async def test_if_range(api: Api, command: str):
    first = await api.download(command)
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for value, status in [
        (etag, 206),
        (f"W/{etag}", 200),
        ('"other"', 200),
        (modified, 206),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("nonsense", 200),
        (f"Thu, 01 Jan {10**30} 00:00:00 GMT", 200),
    ]:
        answer = await api.download(command, Range="bytes=10-", If_Range=value)
        assert (value, answer.status) == (value, status)
    switch(api, etag="weak")
    weak = (await api.download(command)).headers["ETag"]
    assert weak == f"W/{etag}"
    assert (await api.download(command, Range="bytes=10-", If_Range=weak)).status == 200
    switch(api, etag="none", last_modified=False)
    answer = await api.download(command, Range="bytes=10-", If_Range=modified)
    assert answer.status == 200
    assert not {"ETag", "Last-Modified"} & set(answer.headers)


async def test_ranges_ignored(api: Api, command: str):
    switch(api, ranges=False)
    answer = await api.download(command, Range="bytes=10-")
    assert answer.status == 200
    assert "Accept-Ranges" not in answer.headers


async def test_without_a_length(api: Api, command: str):
    whole = (await api.download(command)).body
    switch(api, download_length=False)
    answer = await api.download(command)
    assert "Content-Length" not in answer.headers
    assert answer.body == whole
    assert (await api.download(command, Range="bytes=3-")).body == whole[3:]


async def test_many_artifacts_are_still_the_same_later(api: Api):
    made = [each for _ in range(8) for each in await api.make(10, "speed-test")]
    first = (await api.download(made[0])).body
    assert len({(await api.download(each)).headers["ETag"] for each in made}) == 80
    assert (await api.download(made[0])).body == first


async def test_a_revision_is_another_artifact(api: Api, command: str):
    first = await api.download(command)
    api.sandbox.state.revise(command)
    second = await api.download(command)
    assert first.headers["ETag"] != second.headers["ETag"]
    assert first.body != second.body


class TestGzip:
    async def test_if_accepted(self, api: Api, command: str):
        plain = await api.download(command, Accept_Encoding="identity")
        switch(api, download_encoding="gzip-if-accepted")
        for header, coding in [
            ("gzip, deflate", "gzip"),
            ("br;q=1, *;q=0.1", "gzip"),
            ("*;q=0, gzip", "gzip"),
            ("gzip;q=0, *", "identity"),
            ("gzip;q=0, br", "identity"),
            ("gzip; q=0.0", "identity"),
            ("gzip;q=0.000", "identity"),
            ("gzip;q=0.001", "gzip"),
            ("identity", "identity"),
        ]:
            answer = await api.download(command, Accept_Encoding=header)
            assert (header, answer.headers["Content-Encoding"]) == (header, coding)
            assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.body == plain.body

    async def test_always(self, api: Api, command: str):
        plain = await api.download(command)
        switch(api, download_encoding="gzip-always")
        coded = await api.download(command, Accept_Encoding="identity")
        assert coded.headers["Content-Length"] == str(len(coded.body))
        assert coded.headers["ETag"] != plain.headers["ETag"]
        assert gzip.decompress(coded.body) == plain.body
        part = await api.download(command, Range="bytes=1000-1999")
        assert part.body == coded.body[1000:2000]
        assert part.headers["Content-Range"].endswith(f"/{len(coded.body)}")


class TestArtifact:
    async def test_is_what_is_downloaded(self, api: Api, command: str):
        answer = await api.download(command)
        artifact = api.sandbox.artifact(command)
        assert (b"".join(artifact.read()), artifact.etag) == (answer.body, answer.headers["ETag"])
        api.sandbox.state.revise(command)
        assert b"".join(api.sandbox.artifact(command).read()) == (await api.download(command)).body != answer.body
        assert len(api.sandbox.requests) == 3

    async def test_of_nobody(self, api: Api):
        with pytest.raises(KeyError):
            api.sandbox.artifact("nobody")


class TestRedirect:
    async def fetch(self, api: Api, url: str, **headers: str) -> Answer:
        async with api.session.get(url, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read(), None)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_to_another_origin(self, api: Api, command: str, status: int):
        plain = await api.download(command)
        switch(api, download_redirect=status)
        answer = await api.download(command)
        location = answer.headers["Location"]
        assert (answer.status, answer.body) == (status, b"")
        assert location.startswith(api.sandbox.storage_origin)
        assert not location.startswith(api.sandbox.base_url.removesuffix("/client/v4"))
        assert (await self.fetch(api, location)).body == plain.body
        assert (await self.fetch(api, location, Range="bytes=9-")).body == plain.body[9:]
        hop = api.sandbox.requests[-1]
        assert (hop.operation, hop.status, hop.processed) == ("storage", 206, True)
        origins = [api.sandbox.base_url.removesuffix("/client/v4"), api.sandbox.storage_origin]
        assert [each.origin for each in api.sandbox.requests[-2:]] == [origins[1]] * 2
        assert {each.origin for each in api.sandbox.requests if each.operation == "download"} == {origins[0]}
        assert "Authorization" not in hop.headers
        assert "cf-ray" in answer.headers
        stored = await self.fetch(api, location)
        assert "cf-ray" not in stored.headers
        assert (answer.headers["Server"], stored.headers["Server"]) == ("cloudflare", "storage")

    async def test_only_what_is_signed_and_without_the_token(self, api: Api, command: str):
        switch(api, download_redirect=302)
        location = (await api.download(command)).headers["Location"]
        for url, headers, status in [
            (location.partition("?")[0], {}, 403),
            (location + "0", {}, 403),
            (location, {"Authorization": f"Bearer {api.sandbox.token}"}, 400),
            (location.replace(".zip", ".exe"), {}, 404),
            (f"{api.sandbox.storage_origin}/elsewhere", {}, 404),
            (f"{api.sandbox.storage_origin}/x/y/z", {}, 404),
        ]:
            assert ((await self.fetch(api, url, **headers)).status, url) == (status, url)
            assert not api.sandbox.requests[-1].processed


async def test_gigabytes_in_constant_memory(clock: ManualClock, session: aiohttp.ClientSession):
    size = 3_000_000_000
    behaviour = Behaviour.instant(oversized_capture="uploaded")
    async with Sandbox(3, clock=clock, behaviour=behaviour, artifact_size=size) as sandbox:
        api = Api(sandbox, session)
        (command_id,) = await api.make(1)
        part = await api.download(command_id, Range="bytes=2000000000-2003999999")
        assert len(part.body) == 4_000_000
        assert part.headers["Content-Range"] == f"bytes 2000000000-2003999999/{size}"
        # Who reads slowly is not sent faster: the body waits in neither the sandbox nor the sockets.
        url = f"{api.commands_url}/{command_id}/downloads/{command_id}.zip"
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        with measured_heap() as heap:
            async with session.get(url, headers=headers) as response:
                assert response.content_length == size
                read = 0
                async for chunk in response.content.iter_chunked(1 << 20):
                    read += len(chunk)
                    if read > 30_000_000:
                        break
        assert heap.peak < 24_000_000


class TestContents:
    @pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 200_000])
    def test_gzip_is_readable_from_anywhere(self, size: int):
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        content = GzippedContent(Loaded(data))
        encoded = b"".join(content.read())
        assert len(encoded) == content.size
        assert zlib.decompress(encoded, wbits=31) == data
        for start, stop in [(0, 5), (5, 12), (9, None), (content.size - 3, None), (50, 70_000)]:
            assert b"".join(content.read(start, stop)) == encoded[start:stop]

    def test_corruption_is_where_it_was_put(self):
        data = bytes(600_000)
        for position in (0, 262_143, 262_144, 599_999):
            content = CorruptContent(Loaded(data), position)
            corrupt = b"".join(content.read())
            assert [index for index in (0, 262_143, 262_144, 599_999) if corrupt[index]] == [position]
            assert content.size == len(corrupt) == len(data)
            assert b"".join(content.read(position, position + 1)) == b"\xff"

    @pytest.mark.parametrize(
        ("content", "whole"),
        [
            (ShiftedContent(Loaded(b"0123456789"), 3), b"3456789012"),
            (ShiftedContent(Loaded(b"0123456789"), -13), b"7890123456"),
            (WrappedContent(Loaded(b"0123456789"), 2, 8, before=b"<<", after=b">"), b"<<234567>"),
            (WrappedContent(Loaded(b"0123456789"), 0, 10), b"0123456789"),
        ],
    )
    def test_what_is_made_of_another(self, content: Content, whole: bytes):
        assert content.size == len(whole)
        for start in range(len(whole) + 1):
            assert b"".join(content.read(start)) == whole[start:]
            for stop in range(start, len(whole) + 1):
                assert b"".join(content.read(start, stop)) == whole[start:stop]


@pytest.mark.parametrize("header", ["bytes={}-", "bytes=0-{}", "bytes=-{}"])
def test_numbers_that_no_size_has_are_not_understood(header: str):
    assert choose_range(header.format("9" * 5000), 5) is None


def test_a_range_of_nothing():
    assert choose_range("bytes=0-", 0) == ByteRange(0, 0)
    assert choose_range(None, 5) is None
