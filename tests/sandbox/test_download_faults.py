"""What a downloader must survive, over a real socket: slow, short and long bodies, ranges, redirects, TLS."""

import asyncio
import gzip
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import attrs
import pytest
import trustme
from yarl import URL

from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Fault, RecordedRequest, Sandbox
from tests.sandbox.sandbox_api import Answer, Api, open_body, until

pytestmark = pytest.mark.anyio

FILES: tuple[Any, ...] = ("download", "storage")


async def wire(api: Api, command_id: str, **headers: str) -> tuple[bytes, bytes]:
    """Return the head and all that comes after it, up to the connection's end, as it is on the wire."""
    url = URL(api.download_url(command_id))
    reader, writer = await asyncio.open_connection(url.host, url.port)
    lines = [
        f"GET {url.raw_path} HTTP/1.1",
        f"Host: {url.host}",
        f"Authorization: Bearer {api.sandbox.token}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head, _, rest = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head, rest


async def hop(api: Api, url: str, **headers: str) -> Answer:
    """Send a request that has no token, and return its answer, which may be a redirect."""
    async with api.session.get(url, headers=headers, allow_redirects=False) as response:
        return Answer(response.status, response.headers, await response.read(), None)


class TestTrickle:
    async def test_a_piece_a_second(self, api: Api, command: str, whole: bytes, clock: ManualClock):
        api.sandbox.faults.add(Fault.trickle(10_000), on="download")
        answer = await api.download(command)
        assert answer.body == whole
        assert answer.headers["Content-Length"] == str(len(whole))
        assert max(clock.slept) == 1.0
        assert sum(clock.slept) == pytest.approx(len(whole) / 10_000)

    @pytest.mark.parametrize(("at", "slow"), [(-500, 500), (0.5, None), (1.0, 0), (10**9, 0)])
    async def test_from_somewhere_on(
        self, api: Api, command: str, whole: bytes, clock: ManualClock, at: float, slow: int | None
    ):
        slow = len(whole) - len(whole) // 2 if slow is None else slow
        api.sandbox.faults.add(Fault.trickle(2000, at=len(whole) + at if at < 0 else at, piece=5000))
        assert (await api.download(command)).body == whole
        assert sum(clock.slept) == pytest.approx(slow / 2000)

    async def test_pieces_arrive_one_by_one(self, api: Api, command: str, whole: bytes, clock: ManualClock):
        # Nobody moves the clock but the sandbox's sleeps: what has come by now tells how far it is.
        api.sandbox.faults.add(Fault.trickle(100, piece=200, at=len(whole) - 1000))
        headers = {"Authorization": f"Bearer {api.sandbox.token}"}
        async with api.session.get(api.download_url(command), headers=headers) as response:
            got = await response.content.readexactly(len(whole) - 1000)
            seen = []
            while chunk := await response.content.readany():
                got += chunk
                seen.append((len(got) - len(whole) + 1000, clock.monotonic()))
        assert got == whole
        assert clock.slept == [2.0] * 5
        assert all(seconds >= count / 100 for count, seconds in seen)

    async def test_of_json_in_chunks(self, api: Api, clock: ManualClock):
        api.sandbox.faults.add(Fault.trickle(0.5, framing="chunked"))
        answer = await api.quota()
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.result["quota"] == 800
        assert set(clock.slept) == {2.0}

    async def test_in_real_time(self, api: Api, command: str, whole: bytes, clock: ManualClock):
        loop = asyncio.get_running_loop()
        api.sandbox.faults.add(Fault.trickle(1000, at=len(whole) - 30, piece=10, real_time=True))
        started = loop.time()
        assert (await api.download(command)).body == whole
        assert loop.time() - started >= 0.03
        assert clock.slept == []

    async def test_of_a_large_artifact(self, session: aiohttp.ClientSession, clock: ManualClock):
        async with Sandbox(1, clock=clock, behaviour=Behaviour.instant(), artifact_size=3_000_000) as sandbox:
            api = Api(sandbox, session)
            (command,) = await api.make(1, "warp-diag")
            sandbox.faults.add(Fault.trickle(200_000, at=2_000_000))
            assert (await api.download(command)).body == b"".join(sandbox.artifact(command).read())
            assert sum(clock.slept) == pytest.approx(5.0)

    async def test_ends_when_the_client_leaves(self, api: Api, command: str):
        before = asyncio.all_tasks()
        api.sandbox.faults.add(Fault.trickle(1, real_time=True))
        headers = {"Authorization": f"Bearer {api.sandbox.token}"}
        response = await api.session.get(api.download_url(command), headers=headers)
        assert api.sandbox.open_connections == 1
        response.close()
        await until(lambda: api.sandbox.open_connections == 0)
        await until(lambda: asyncio.all_tasks() == before)


class TestLengths:
    """(a) less declared than sent, (b) more declared than sent, (c) more than there is, undeclared."""

    async def test_a_surplus_after_the_declared_length(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.surplus(7))
        head, body = await wire(api, command)
        assert f"Content-Length: {len(whole)}\r\n".encode() in head + b"\r\n"
        assert body == whole + bytes(7)

    async def test_a_surplus_after_a_part(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.surplus(2))
        head, body = await wire(api, command, Range="bytes=100-199")
        assert b"Content-Length: 100\r\n" in head + b"\r\n"
        assert body == whole[100:200] + bytes(2)

    @pytest.mark.parametrize("framing", ["chunked", "close"])
    async def test_a_surplus_that_nothing_tells(self, api: Api, command: str, whole: bytes, framing: Any):
        api.sandbox.faults.add(Fault.surplus(1000, framing=framing))
        response, got = await open_body(api, command)
        assert "Content-Length" not in response.headers
        assert got == whole + bytes(1000)

    async def test_a_surplus_spoils_what_the_connection_brings_next(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.surplus(5))
        url = URL(api.download_url(command))
        reader, writer = await asyncio.open_connection(url.host, url.port)
        request = f"GET {url.raw_path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.sandbox.token}\r\n\r\n"
        writer.write(request.encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(whole)) == whole
        writer.write(request.encode())
        assert (await reader.readexactly(13)) == bytes(5) + b"HTTP/1.1"
        writer.close()
        await writer.wait_closed()

    async def test_too_short_a_length_with_the_rest(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.lying_length(-10, rest=True))
        head, body = await wire(api, command)
        assert f"Content-Length: {len(whole) - 10}\r\n".encode() in head + b"\r\n"
        assert body == whole

    async def test_too_short_a_length_without_it(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.lying_length(-10))
        assert (await wire(api, command))[1] == whole[:-10]

    async def test_too_long_a_length(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.lying_length(10))
        head, body = await wire(api, command)
        assert f"Content-Length: {len(whole) + 10}\r\n".encode() in head + b"\r\n"
        assert body == whole

    @pytest.mark.parametrize("behaviour", [Behaviour.instant(), Behaviour.instant(download_length=False)])
    async def test_empty(self, api: Api, command: str, whole: bytes, behaviour: Behaviour):
        api.sandbox.behaviour = behaviour
        api.sandbox.faults.add(Fault.empty(), times=3)
        answer = await api.download(command)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Length"] == "0"
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["ETag"] == api.sandbox.artifact(command).etag
        part = await api.download(command, Range="bytes=5-")
        assert (part.status, part.body) == (206, b"")
        async with api.session.get(
            f"{api.commands_url}/quota", headers={"Authorization": f"Bearer {api.sandbox.token}"}
        ) as response:
            assert (response.content_type, await response.read()) == ("application/json", b"")


class TestResets:
    async def lost(self, api: Api, command: str) -> tuple[bytes, BaseException | None]:
        url = URL(api.download_url(command))
        reader, writer = await asyncio.open_connection(url.host, url.port)
        request = f"GET {url.raw_path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.sandbox.token}\r\n\r\n"
        writer.write(request.encode())
        got = b""
        try:
            while piece := await reader.read(100_000):
                got += piece
        except ConnectionResetError as error:
            return got, error
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        return got, None

    @pytest.mark.parametrize("reset", [False, True])
    async def test_in_the_middle(self, api: Api, command: str, whole: bytes, reset: bool):
        api.sandbox.faults.add(Fault.cut(2000, reset=reset), on="download")
        got, error = await self.lost(api, command)
        assert got.partition(b"\r\n\r\n")[2] == whole[:2000]
        assert isinstance(error, ConnectionResetError) == reset
        await until(lambda: api.sandbox.open_connections == 0)

    @pytest.mark.parametrize("reset", [False, True])
    async def test_instead_of_an_answer(self, api: Api, command: str, reset: bool):
        api.sandbox.faults.add(Fault.drop(reset=reset), on="download")
        got, error = await self.lost(api, command)
        assert got == b""
        assert isinstance(error, ConnectionResetError) == reset


class TestHeaders:
    async def test_others_than_are_true(self, api: Api, command: str, whole: bytes):
        changes = {"content-type": "text/html", "Content-Encoding": "br", "ETag": None, "X-New": "1"}
        api.sandbox.faults.add(Fault.headers(changes), on="download")
        answer = await api.download(command)
        assert answer.body == whole
        assert answer.headers.getall("Content-Type") == ["text/html"]
        assert (answer.headers["Content-Encoding"], answer.headers["X-New"]) == ("br", "1")
        assert "ETag" not in answer.headers
        assert answer.headers["Accept-Ranges"] == "bytes"

    @pytest.mark.parametrize("value", [None, "of the test"])
    @pytest.mark.parametrize("name", ["content-type", "date", "server", "cf-ray", "ratelimit"])
    async def test_those_that_every_answer_has(self, api: Api, command: str, name: str, value: str | None):
        api.sandbox.faults.add(Fault.headers({name: value}), times=3)
        wanted = [] if value is None else [value]
        assert (await api.quota()).headers.getall(name, []) == wanted
        assert (await api.download(command)).headers.getall(name, []) == wanted
        # No more than a hop, and from the storage.
        api.sandbox.behaviour = Behaviour.instant(download_redirect=302)
        assert (await api.download(command)).headers.getall(name, []) == wanted

    async def test_of_a_large_artifact(self, api: Api, clock: ManualClock):
        async with Sandbox(1, clock=clock, behaviour=Behaviour.instant(), artifact_size=1_000_000) as sandbox:
            other = Api(sandbox, api.session)
            [command] = await other.make(1)
            sandbox.faults.add(Fault.headers({"Date": None, "Content-Type": None}), on="download")
            answer = await other.download(command)
            assert len(answer.body) == 1_000_000
            assert not {"Date", "Content-Type"} & set(answer.headers)


class TestVersions:
    @pytest.mark.parametrize("at", [None, 0.5])
    async def test_another_etag_for_the_same_bytes(self, api: Api, command: str, whole: bytes, at: float | None):
        first = await api.download(command)
        api.sandbox.faults.add(Fault.revise(at, same_bytes=True), on="download")
        struck, got = await open_body(api, command)
        assert got == (whole if at is None else whole[: len(whole) // 2] + b"<broken off>")
        assert (struck.headers["ETag"] == first.headers["ETag"]) == (at is not None)
        later = await api.download(command, Range="bytes=100-", If_Range=first.headers["ETag"])
        assert (later.status, later.body) == (200, whole)
        part = await api.download(command, Range="bytes=100-", If_Range=later.headers["ETag"])
        assert (part.status, part.body) == (206, whole[100:])
        assert later.headers["ETag"] == part.headers["ETag"] != first.headers["ETag"]
        api.sandbox.state.revise(command, same_bytes=True)
        assert (await api.download(command)).headers["ETag"] != later.headers["ETag"]

    @pytest.mark.parametrize("same_bytes", [False, True])
    async def test_if_range_ignored(self, session: aiohttp.ClientSession, clock: ManualClock, same_bytes: bool):
        async with Sandbox(1, clock=clock, behaviour=Behaviour.instant(), artifact_size=50_000) as sandbox:
            api = Api(sandbox, session)
            (command,) = await api.make(1, "warp-diag")
            rule = sandbox.faults.add(Fault.ignore_if_range(same_bytes=same_bytes), on="download")
            first = await api.download(command)
            assert rule.hits == 0
            part = await api.download(command, Range="bytes=100-", If_Range=first.headers["ETag"])
            assert (part.status, part.headers["Content-Range"]) == (206, "bytes 100-49999/50000")
            assert part.headers["ETag"] != first.headers["ETag"]
            assert (part.body == first.body[100:]) == same_bytes
            now = await api.download(command)
            assert (now.body[100:], now.headers["ETag"]) == (part.body, part.headers["ETag"])
            again = await api.download(command, Range="bytes=100-", If_Range=first.headers["ETag"])
            assert again.status == 200

    @pytest.mark.parametrize("framing", ["length", "chunked", "close"])
    async def test_one_answer_encoded(self, api: Api, command: str, whole: bytes, framing: Any):
        plain = await api.download(command)
        api.sandbox.faults.add(Fault.encoded(framing=framing), on="download")
        response, got = await open_body(api, command, Accept_Encoding="identity")
        assert response.headers["Content-Encoding"] == "gzip"
        assert ("Content-Length" in response.headers) == (framing == "length")
        assert response.headers["ETag"] != plain.headers["ETag"]
        assert gzip.decompress(got) == whole
        assert (await api.download(command)).headers["Content-Encoding"] == "identity"

    async def test_a_part_encoded(self, api: Api, command: str):
        plain = await api.download(command)
        api.sandbox.faults.add(Fault.encoded(), times=2)
        coded = await api.download(command)
        part = await api.download(command, Range="bytes=100-199")
        assert (part.status, part.body) == (206, coded.body[100:200])
        api.sandbox.faults.add(Fault.encoded())
        other = await api.download(command, Range="bytes=100-199", If_Range=plain.headers["ETag"])
        assert (other.status, other.body) == (200, coded.body)

    async def test_what_is_not_there_stays_as_it_is(self, api: Api):
        for fault in (Fault.encoded(framing="chunked"), Fault.unasked_range()):
            api.sandbox.faults.add(fault)
            answer = await api.download("nobody")
            assert (answer.status, answer.json["success"]) == (404, False)
            assert "Content-Length" in answer.headers
        for fault in (Fault.ignore_if_range(), Fault.unsatisfiable()):
            api.sandbox.faults.add(fault)
            answer = await api.download("nobody", Range="bytes=1-")
            assert (answer.status, answer.json["success"]) == (404, False)
            assert "Content-Length" in answer.headers


class TestRanges:
    async def strike(self, api: Api, command: str, fault: Fault, asked: str = "bytes=100-199", **headers: str):
        """Check that a fault spares a request without a range, then return what it makes of one with."""
        rule = api.sandbox.faults.add(fault, on="download")
        assert (await api.download(command)).status == 200
        assert rule.hits == 0
        answer = await api.download(command, Range=asked, **headers)
        assert rule.hits == 1
        assert answer.headers["Content-Length"] == str(len(answer.body))
        return answer

    async def test_ignored(self, api: Api, command: str, whole: bytes):
        answer = await self.strike(api, command, Fault.ignore_range())
        assert (answer.status, answer.body) == (200, whole)
        assert "Content-Range" not in answer.headers
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert (await api.download(command, Range="bytes=100-199")).status == 206

    @pytest.mark.parametrize("total", [0, 9, -9, None])
    async def test_unsatisfiable(self, api: Api, command: str, whole: bytes, total: int | None):
        answer = await self.strike(api, command, Fault.unsatisfiable(total))
        assert (answer.status, answer.body) == (416, b"")
        label = None if total is None else f"bytes */{len(whole) + total}"
        assert answer.headers.get("Content-Range") == label

    async def test_unsatisfiable_whatever_if_range_says(self, api: Api, command: str):
        answer = await self.strike(api, command, Fault.unsatisfiable(), If_Range='"other"')
        assert answer.status == 416

    @pytest.mark.parametrize(
        ("shift", "end", "start", "stop"),
        [(0, -10, 100, 190), (0, 10, 100, 210), (50, -99, 100, 101), (-100, -(10**9), 0, 1), (5, 10**9, 105, None)],
    )
    async def test_another_end(
        self, api: Api, command: str, whole: bytes, shift: int, end: int, start: int, stop: int | None
    ):
        answer = await self.strike(api, command, Fault.wrong_range(shift, end=end))
        assert answer.body == whole[start:stop]
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(answer.body) - 1}/{len(whole)}"

    @pytest.mark.parametrize(
        ("lies", "label"),
        [
            ({"start": 1}, "bytes 101-199/{size}"),
            ({"start": -1, "end": -1}, "bytes 99-198/{size}"),
            ({"end": 10**6}, "bytes 100-1000199/{size}"),
            ({"total": 1}, "bytes 100-199/{more}"),
            ({"form": "bytes {start}-{end}/*"}, "bytes 100-199/*"),
            ({"form": "{start}-{end}/{total}", "start": 2}, "102-199/{size}"),
            ({"form": "bytes a-b/c"}, "bytes a-b/c"),
            ({"form": None}, None),
        ],
    )
    async def test_mislabelled(self, api: Api, command: str, whole: bytes, lies: dict[str, Any], label: str | None):
        answer = await self.strike(api, command, Fault.mislabelled_range(**lies))
        assert (answer.status, answer.body) == (206, whole[100:200])
        expected = None if label is None else label.format(size=len(whole), more=len(whole) + 1)
        assert answer.headers.get("Content-Range") == expected

    @pytest.mark.parametrize("body", [1, -1, -150])
    async def test_other_bytes_than_labelled(self, api: Api, command: str, whole: bytes, body: int):
        answer = await self.strike(api, command, Fault.mislabelled_range(body=body))
        assert answer.headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
        assert answer.body == (whole + whole)[len(whole) + 100 + body :][:100]

    async def test_other_bytes_up_to_the_end(self, api: Api, command: str, whole: bytes):
        answer = await self.strike(api, command, Fault.mislabelled_range(body=3), asked="bytes=-10")
        assert answer.body == whole[-7:] + whole[:3]

    async def test_multipart(self, api: Api, command: str, whole: bytes):
        answer = await self.strike(api, command, Fault.multipart_range())
        assert answer.status == 206
        assert "Content-Range" not in answer.headers
        kind, _, boundary = answer.headers["Content-Type"].partition("; boundary=")
        assert kind == "multipart/byteranges"
        before, part, after = answer.body.split(f"--{boundary}".encode())
        assert (before, after) == (b"", b"--\r\n")
        head, _, body = part.partition(b"\r\n\r\n")
        assert f"Content-Range: bytes 100-199/{len(whole)}" in head.decode().split("\r\n")
        assert "Content-Type: application/zip" in head.decode().split("\r\n")
        assert body.removesuffix(b"\r\n") == whole[100:200]

    async def test_a_large_multipart(self, session: aiohttp.ClientSession, clock: ManualClock):
        async with Sandbox(1, clock=clock, behaviour=Behaviour.instant(), artifact_size=3_000_000) as sandbox:
            api = Api(sandbox, session)
            (command,) = await api.make(1, "warp-diag")
            sandbox.faults.add(Fault.multipart_range())
            answer = await api.download(command, Range="bytes=5-")
            assert b"".join(sandbox.artifact(command).read(5)) in answer.body

    @pytest.mark.parametrize(
        "fault",
        [Fault.wrong_range(), Fault.mislabelled_range(start=1), Fault.multipart_range()],
        ids=lambda fault: fault.kind,
    )
    async def test_what_has_no_part_stays_as_it_is(self, api: Api, command: str, whole: bytes, fault: Fault):
        answer = await self.strike(api, command, fault, If_Range='"other"')
        assert (answer.status, answer.body) == (200, whole)
        answer = await self.strike(api, command, fault, asked="bytes=99999999-")
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")

    @pytest.mark.parametrize(
        ("start", "stop", "begin", "end"),
        [(0.5, 1.0, 0.5, 1.0), (0, 1.0, 0.0, 1.0), (0.0, 0.5, 0.0, 0.5), (100, 200, 100, 200), (200, 100, 200, 201)],
    )
    async def test_a_part_that_was_not_asked_for(
        self, api: Api, command: str, whole: bytes, start: float, stop: float, begin: float, end: float
    ):
        rule = api.sandbox.faults.add(Fault.unasked_range(start, stop))
        assert (await api.download(command, Range="bytes=5-9")).body == whole[5:10]
        assert rule.hits == 0
        answer = await api.download(command)
        first, last = (int(at * len(whole)) if isinstance(at, float) else at for at in (begin, end))
        assert (answer.status, answer.body) == (206, whole[first:last])
        assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(whole)}"
        assert answer.headers["ETag"] == api.sandbox.artifact(command).etag

    async def test_the_last_byte(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.unasked_range(10**9))
        assert (await api.download(command)).body == whole[-1:]


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_to_the_storage(self, api: Api, command: str, whole: bytes, status: int):
        api.sandbox.faults.add(Fault.redirect("storage", status), on="download")
        answer = await api.download(command)
        assert (answer.status, answer.body) == (status, b"")
        assert answer.headers["Location"].startswith(f"{api.sandbox.storage_origin}/")
        assert (await hop(api, answer.headers["Location"])).body == whole
        assert (await api.download(command)).body == whole

    @pytest.mark.parametrize("hops", [1, 5, 6])
    async def test_through_a_chain(self, api: Api, command: str, whole: bytes, hops: int):
        rule = api.sandbox.faults.add(Fault.redirect("storage", 302, hops=hops))
        answer = await api.download(command)
        seen = []
        while answer.status != 200:
            seen.append((answer.status, answer.headers["Location"]))
            answer = await hop(api, answer.headers["Location"])
        assert answer.body == whole
        assert rule.hits == 1
        assert [status for status, _ in seen] == [302] + [307] * (hops - 1)
        assert len(set(seen)) == len(seen) == hops

    async def test_from_the_storage_to_itself(self, api: Api, command: str, whole: bytes):
        rule = api.sandbox.faults.add(Fault.redirect(), on=FILES, times=2)
        there = (await api.download(command)).headers["Location"]
        again = (await hop(api, there)).headers["Location"]
        assert again.startswith(f"{api.sandbox.storage_origin}/")
        assert (await hop(api, again)).body == whole
        assert rule.hits == 2

    async def test_hops_are_nothing_but_a_number(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.redirect())
        location = (await api.download(command)).headers["Location"]
        for hops in ("", "0", "x", "-1"):
            assert (await hop(api, f"{location}&hops={hops}")).body == whole

    async def test_to_itself(self, api: Api, command: str):
        rule = api.sandbox.faults.add(Fault.redirect("self"), on=FILES, times=None)
        assert (await api.download(command)).headers["Location"] == api.download_url(command)
        assert (await hop(api, api.download_url(command))).headers["Location"] == api.download_url(command)
        url = f"{api.sandbox.storage_origin}/artifacts/{command}/{command}.zip?signature=a%2Fb"
        assert (await hop(api, url)).headers["Location"] == url
        assert rule.hits == 3

    async def test_to_and_fro_between_the_origins(self, api: Api, command: str):
        api.sandbox.faults.add(Fault.redirect("other"), on=FILES, times=None)
        there = (await api.download(command)).headers["Location"]
        back = (await hop(api, there)).headers["Location"]
        assert back == api.download_url(command)
        # Whether or not it has a token.
        assert (await hop(api, back)).headers["Location"] == there
        home, away = api.sandbox.base_url.removesuffix("/client/v4"), api.sandbox.storage_origin
        assert [
            (each.operation, each.origin, "Authorization" in each.headers) for each in api.sandbox.requests[1:]
        ] == [
            ("download", home, True),
            ("storage", away, False),
            ("download", home, False),
        ]
        assert [each.headers["Host"] for each in api.sandbox.requests[1:3]] == [
            home.removeprefix("http://"),
            away.removeprefix("http://"),
        ]
        assert not any(each.processed for each in api.sandbox.requests[1:])

    @pytest.mark.parametrize(
        "location", ["", "http://192.0.2.1/artifact.zip", "file:///etc/passwd", "http://[bad", "//", None]
    )
    async def test_to_anywhere(self, api: Api, command: str, location: str | None):
        api.sandbox.faults.add(Fault.redirect(location))
        answer = await api.download(command)
        assert answer.status == 307
        assert answer.headers.get("Location") == location

    @pytest.mark.parametrize("to", ["storage", "other"])
    async def test_of_what_is_not_there(self, api: Api, to: str):
        rule = api.sandbox.faults.add(Fault.redirect(to), on=FILES, times=None)
        assert (await api.download("nobody")).status == 404
        assert (await hop(api, f"{api.sandbox.storage_origin}/elsewhere")).status == 404
        assert rule.hits == 2

    async def test_a_fault_at_the_end_of_it(self, api: Api, command: str, whole: bytes):
        api.sandbox.behaviour = attrs.evolve(api.sandbox.behaviour, download_redirect=302)
        rule = api.sandbox.faults.add(Fault.ignore_range(), on="storage")
        location = (await api.download(command, Range="bytes=5-")).headers["Location"]
        assert (await hop(api, location, Range="bytes=5-")).body == whole
        assert rule.hits == 1


class TestScript:
    def request(self, **headers: str) -> RecordedRequest:
        return RecordedRequest(0.0, "download", "GET", "/", {}, headers)

    async def test_random_mixes_draw_what_can_strike(self):
        mix = [
            Fault.trickle(100),
            Fault.surplus(),
            Fault.empty(),
            Fault.headers({"ETag": None}),
            Fault.redirect(),
            Fault.encoded(),
            Fault.unasked_range(),
        ]
        ranged = [
            Fault.ignore_range(),
            Fault.ignore_if_range(),
            Fault.unsatisfiable(),
            Fault.wrong_range(),
            Fault.mislabelled_range(body=1),
            Fault.multipart_range(),
        ]
        script = Sandbox(0).faults
        script.add_random(rate=1.0, mix=mix + ranged, on=FILES)
        for kinds, request in [
            ({each.kind for each in mix}, self.request()),
            ({each.kind for each in mix + ranged} - {"unasked_range"}, self.request(Range="bytes=1-")),
        ]:
            taken = [script.take(request) for _ in range(500)]
            assert {fault.kind for fault in taken if fault is not None} == kinds

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Fault.trickle(0),
            lambda: Fault.trickle(5, piece=0),
            lambda: Fault.trickle(5, at=1.5),
            lambda: Fault.surplus(0),
            lambda: Fault.headers({"Content-Length": "5"}),
            lambda: Fault.headers({"transfer-encoding": None}),
            lambda: Fault.redirect(status=304),
            lambda: Fault.redirect(hops=0),
            lambda: Fault.redirect("self", hops=2),
            lambda: Fault.unasked_range(-1),
            lambda: Fault.unasked_range(0, 1.1),
            lambda: Fault.mislabelled_range(),
            lambda: Sandbox(0).faults.add(Fault.redirect(), on="list_commands"),
        ],
    )
    async def test_what_makes_no_sense(self, make: Callable[[], Any]):
        with pytest.raises(ValueError):
            make()

    def test_a_form_has_three_names(self):
        with pytest.raises(KeyError):
            Fault.mislabelled_range(form="bytes {first}-{last}")


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server on loopback and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class TestTls:
    async def test_on_both_origins(self, clock: ManualClock):
        server, client = contexts()
        connector = aiohttp.TCPConnector(ssl=client, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            Sandbox(1, clock=clock, behaviour=Behaviour.instant(), ssl_context=server) as sandbox,
        ):
            api = Api(sandbox, session)
            (command,) = await api.make(1, "warp-diag")
            whole = b"".join(sandbox.artifact(command).read())
            assert sandbox.base_url.startswith("https://127.0.0.1:")
            assert sandbox.environment["CLOUDFLARE_BASE_URL"] == sandbox.base_url
            assert (await api.download(command)).body == whole
            sandbox.faults.add(Fault.redirect("other"), on="download")
            location = (await api.download(command)).headers["Location"]
            assert location.startswith("https://127.0.0.1:")
            assert (await hop(api, location)).body == whole
            for reset in (False, True):
                sandbox.faults.add(Fault.cut(1000, reset=reset), on="download")
                _, got = await open_body(api, command)
                assert got == whole[:1000] + b"<broken off>"
            await until(lambda: sandbox.open_connections == 0)

    async def test_a_hanging_body_ends_with_the_sandbox(self):
        server, client = contexts()
        connector = aiohttp.TCPConnector(ssl=client, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with Sandbox(1, behaviour=Behaviour.instant(), ssl_context=server) as sandbox:
                api = Api(sandbox, session)
                (command,) = await api.make(1, "warp-diag")
                sandbox.faults.add(Fault.stall(10), on="download")
                call = asyncio.create_task(open_body(api, command))
                await until(lambda: len(sandbox.requests) == 2)
            _, got = await call
            assert got.endswith(b"<broken off>")
            assert sandbox.open_connections == 0
