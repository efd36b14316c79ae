"""Every fault over a real socket, the script that hands them out, and what is left when the sandbox ends."""

import asyncio
import io
import json
import threading
import time
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Fault, RecordedRequest, Sandbox
from dexcmd.sandbox.pages import error_reply
from tests.sandbox.sandbox_api import Answer, Api, open_body, order, until

pytestmark = pytest.mark.anyio

LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError)


async def expect_silence(call: Awaitable[Any]) -> None:
    """Wait for a while for nothing, and leave.  What must have happened before is to be waited for before."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await call


async def create(api: Api, **headers: str) -> Answer:
    body = {"commands": [order(api.sandbox.state.devices[0])]}
    return await api.request("POST", api.commands_url, json=body, headers=dict(headers))


def processed(api: Api) -> tuple[int, int]:
    """Return how many commands there are, and how many creates say that they were processed."""
    return len(api.sandbox.state.commands), sum(each.processed for each in api.sandbox.requests)


class TestErrors:
    @pytest.mark.parametrize("done", [False, True])
    async def test_before_or_after_the_work(self, api: Api, done: bool):
        api.sandbox.faults.add(Fault.error(502, processed=done), on="create_commands")
        answer = await create(api)
        assert answer.status == 502
        assert processed(api) == (int(done), int(done))
        assert api.sandbox.requests[0].status == 502
        assert "cf-ray" in answer.headers
        assert (await create(api)).status == 200

    async def test_envelope(self, api: Api):
        api.sandbox.faults.add(Fault.error(500, form="envelope", code=7, message="No."))
        answer = await api.quota()
        assert answer.json["errors"] == [{"code": 7, "message": "No."}]

    async def test_problem(self, api: Api):
        api.sandbox.faults.add(Fault.error(522), times=None)
        answer = await api.request("GET", api.commands_url, headers={"Accept": "application/json"})
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = json.loads(answer.body)
        assert (problem["status"], problem["title"]) == (522, "Error 522: Connection timed out")
        assert problem["ray_id"] == answer.headers["cf-ray"]
        assert problem["retryable"] is True
        answer = await api.request("GET", api.commands_url, headers={"Accept": "application/zip"})
        assert answer.headers["Content-Type"].startswith("text/html")

    @pytest.mark.parametrize(
        ("status", "phrase"), [(502, "Bad Gateway"), (520, "unknown error"), (599, "Unknown error")]
    )
    async def test_html(self, api: Api, status: int, phrase: str):
        api.sandbox.faults.add(Fault.error(status, form="html"))
        answer = await api.quota()
        assert 4500 < len(answer.body) <= 5000
        assert phrase in answer.body.decode()

    async def test_empty(self, api: Api):
        api.sandbox.faults.add(Fault.error(503, form="empty", retry_after=120))
        answer = await api.quota()
        assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, b"", "120")

    @pytest.mark.parametrize(
        ("status", "accept", "kind"),
        [
            (418, "*/*", "application/json"),
            (499, "*/*", "application/json"),
            (500, "*/*", "text/html; charset=UTF-8"),
            (500, "Application/JSON", "application/problem+json"),
        ],
    )
    def test_auto_is_an_envelope_below_500(self, status: int, accept: str, kind: str):
        reply = error_reply(status, "auto", 1, "teapot", ray="r", accept=accept)
        assert reply.headers["Content-Type"] == kind

    @pytest.mark.parametrize(("status", "retryable"), [(502, True), (524, True), (525, False), (526, False)])
    async def test_what_a_problem_says_of_trying_again(self, api: Api, status: int, retryable: bool):
        api.sandbox.faults.add(Fault.error(status, form="problem"))
        assert json.loads((await api.quota()).body)["retryable"] is retryable

    @pytest.mark.parametrize(
        "fault",
        [Fault.error(503), Fault.rate_limited(), Fault.drop(), Fault.silence(), Fault.html(), Fault.unsuccessful()],
        ids=lambda fault: fault.kind,
    )
    def test_what_comes_instead_of_the_answer_comes_before_the_work_unless_told_otherwise(self, fault: Fault):
        assert not fault.processed

    @pytest.mark.parametrize("retry_after", [300, None, "Thu, 01 Jan 2026 12:01:00 GMT"])
    async def test_rate_limited(self, api: Api, retry_after: Any):
        api.sandbox.faults.add(Fault.rate_limited(retry_after))
        answer = await create(api)
        assert (answer.status, answer.codes) == (429, [971])
        assert answer.headers.get("Retry-After") == (None if retry_after is None else str(retry_after))
        assert processed(api) == (0, 0)
        assert Fault.rate_limited() == Fault.rate_limited(300)


class TestLostAnswers:
    @pytest.mark.parametrize("done", [False, True])
    async def test_drop(self, api: Api, done: bool):
        api.sandbox.faults.add(Fault.drop(processed=done))
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await create(api)
        assert processed(api) == (int(done), int(done))
        assert api.sandbox.requests[0].status is None
        await until(lambda: api.sandbox.open_connections == 0)

    @pytest.mark.parametrize("done", [False, True])
    async def test_silence_after_the_headers(self, api: Api, done: bool):
        api.sandbox.faults.add(Fault.silence(processed=done))
        async with api.session.post(
            api.commands_url,
            json={"commands": [order(api.sandbox.state.devices[0])]},
            headers={"Authorization": f"Bearer {api.sandbox.token}"},
        ) as response:
            assert response.status == 200
            assert response.content_length > 0
            await expect_silence(response.read())
        assert processed(api) == (int(done), int(done))
        await until(lambda: api.sandbox.open_connections == 0)

    async def test_silence_instead_of_an_artifact(self, api: Api, command: str):
        api.sandbox.faults.add(Fault.silence(), on="download")
        url = f"{api.commands_url}/{command}/downloads/{command}.zip"
        async with api.session.get(url, headers={"Authorization": f"Bearer {api.sandbox.token}"}) as response:
            assert (response.status, response.content_type) == (200, "application/zip")
            await expect_silence(response.content.readany())

    @pytest.mark.parametrize("done", [False, True])
    async def test_silence(self, api: Api, done: bool):
        api.sandbox.faults.add(Fault.silence(processed=done, headers=False))
        call = asyncio.create_task(create(api))
        await until(lambda: len(api.sandbox.requests) == 1 and processed(api) == (int(done), int(done)))
        await expect_silence(call)
        assert processed(api) == (int(done), int(done))
        assert api.sandbox.requests[0].status is None

    async def test_slow_after_the_work(self, api: Api, clock: ManualClock):
        api.sandbox.faults.add(Fault.slow(40.0))
        assert (await create(api)).status == 200
        assert clock.slept == [40.0]
        (command,) = api.sandbox.state.commands.values()
        assert command.created.second == 0

    async def test_slow_in_real_time(self, api: Api, clock: ManualClock):
        api.sandbox.faults.add(Fault.slow(0.02, real_time=True))
        started = time.monotonic()
        await create(api)
        assert time.monotonic() - started >= 0.02
        assert clock.slept == []

    async def test_slow_before_the_work(self, api: Api):
        api.sandbox.faults.add(Fault.slow(40.0, processed=False))
        await create(api)
        (command,) = api.sandbox.state.commands.values()
        assert command.created.second == 40

    async def test_the_work_is_done_after_the_client_has_left(self, session: aiohttp.ClientSession):
        class Held(ManualClock):
            """Stands still until it is let go."""

            async def sleep(self, seconds: float) -> None:
                await let_go.wait()
                await super().sleep(seconds)

        let_go = asyncio.Event()
        async with Sandbox(1, clock=Held(), behaviour=Behaviour.instant()) as sandbox:
            api = Api(sandbox, session)
            sandbox.faults.add(Fault.slow(40.0, processed=False))
            call = asyncio.create_task(create(api))
            await until(lambda: len(sandbox.requests) == 1)
            call.cancel()
            await until(lambda: sandbox.open_connections == 0)
            assert processed(api) == (0, 0)
            let_go.set()
            await until(lambda: processed(api) == (1, 1))
            assert sandbox.requests[0].status is None


class TestDamagedAnswers:
    async def test_garbage(self, api: Api, command: str):
        api.sandbox.faults.add(Fault.garbage(), times=2)
        async with api.session.get(
            f"{api.commands_url}/quota", headers={"Authorization": f"Bearer {api.sandbox.token}"}
        ) as response:
            assert response.content_type == "application/json"
            with pytest.raises(ValueError, match="codec"):
                json.loads(await response.read())
        assert not zipfile.is_zipfile(io.BytesIO((await api.download(command)).body))

    async def test_html(self, api: Api):
        api.sandbox.faults.add(Fault.html())
        answer = await create(api)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=UTF-8")
        assert processed(api) == (0, 0)

    @pytest.mark.parametrize("done", [False, True])
    async def test_unsuccessful(self, api: Api, done: bool):
        api.sandbox.faults.add(Fault.unsuccessful(processed=done, code=12, message="Oh"))
        answer = await create(api)
        assert (answer.status, answer.json["success"], answer.codes) == (200, False, [12])
        assert processed(api) == (int(done), int(done))

    async def test_null_result(self, api: Api):
        api.sandbox.faults.add(Fault.null_result())
        answer = await create(api)
        assert (answer.status, answer.json["success"], answer.result) == (200, True, None)
        assert processed(api) == (1, 1)

    async def test_wrong_types(self, api: Api, command: str):
        api.sandbox.faults.add(Fault.wrong_types(), times=None)
        assert (await api.list()).result["commands"][0]["id"] == 7
        assert (await api.devices()).result["devices"][0]["deviceId"] == 7
        assert (await api.quota()).result["quota"] == 7
        assert (await api.list(9)).result == 7

    @pytest.mark.parametrize("path", ["result.quota.deeper", "nothing.here", "result.missing"])
    async def test_wrong_types_nowhere(self, api: Api, path: str):
        before = (await api.quota()).json
        api.sandbox.faults.add(Fault.wrong_types(path))
        assert (await api.quota()).json == before

    async def test_wrong_types_somewhere(self, api: Api, command: str):
        api.sandbox.faults.add(Fault.wrong_types("result.commands.0.created_date", {"at": "noon"}))
        assert (await api.list()).result["commands"][0]["created_date"] == {"at": "noon"}

    async def test_damage_spares_refusals(self, api: Api):
        api.sandbox.faults.add(Fault.rows("partial"))
        api.sandbox.faults.add(Fault.null_result())
        answer = await api.create({})
        assert answer.status == 400
        assert answer.codes

    async def test_rows(self, api: Api):
        api.sandbox.faults.add(Fault.rows("reordered", "duplicated"))
        targets = api.sandbox.state.devices[:2]
        ids = [each.device_id for each in targets]
        answer = await api.create(*(order(each) for each in targets))
        assert [row["device_id"] for row in answer.result["commands"]] == [*ids[::-1], ids[1]]
        answer = await api.create(*(order(each) for each in targets))
        assert [row["device_id"] for row in answer.result["commands"]] == ids

    async def test_a_foreign_row_alone(self, api: Api):
        api.sandbox.behaviour = Behaviour.instant(create_rows=("partial",))
        api.sandbox.faults.add(Fault.rows("foreign"))
        (row,) = (await create(api)).result["commands"]
        assert row["device_id"] != api.sandbox.state.devices[0].device_id

    @pytest.mark.parametrize("framing", ["length", "chunked"])
    async def test_cut_json(self, api: Api, framing: Any):
        api.sandbox.faults.add(Fault.cut(20, framing=framing))
        with pytest.raises(LOST):
            await create(api)
        assert processed(api) == (1, 1)
        assert api.sandbox.requests[0].status == 200


class TestDownloads:
    @pytest.mark.parametrize(("at", "share"), [(0, 0.0), (1000, None), (0.25, 0.25), (1.0, 1.0), (10**9, 1.0)])
    async def test_cut(self, api: Api, command: str, whole: bytes, at: float, share: float | None):
        api.sandbox.faults.add(Fault.cut(at), on="download")
        response, got = await open_body(api, command)
        assert response.headers["Content-Length"] == str(len(whole))
        kept = got.removesuffix(b"<broken off>")
        assert kept == whole[: 1000 if share is None else int(len(whole) * share)]

    async def test_cut_chunked(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.cut(500, framing="chunked"))
        response, got = await open_body(api, command)
        assert "Content-Length" not in response.headers
        assert got == whole[:500] + b"<broken off>"

    async def test_cut_by_closing_alone(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.cut(500, framing="close"))
        response, got = await open_body(api, command)
        assert not {"Content-Length", "Transfer-Encoding"} & set(response.headers)
        assert response.headers["Connection"] == "close"
        assert got == whole[:500]

    async def test_stall(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.stall(300))
        url = f"{api.commands_url}/{command}/downloads/{command}.zip"
        async with api.session.get(url, headers={"Authorization": f"Bearer {api.sandbox.token}"}) as response:
            assert await response.content.readexactly(300) == whole[:300]
            await expect_silence(response.content.readany())

    async def test_length_too_long(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.lying_length(10))
        response, got = await open_body(api, command)
        assert response.headers["Content-Length"] == str(len(whole) + 10)
        assert got == whole + b"<broken off>"

    @pytest.mark.parametrize("amount", [-10, -(10**9)])
    async def test_length_too_short(self, api: Api, command: str, whole: bytes, amount: int):
        api.sandbox.faults.add(Fault.lying_length(amount))
        response, got = await open_body(api, command)
        assert got == whole[: max(len(whole) + amount, 0)]
        assert response.headers["Content-Length"] == str(len(got))

    @pytest.mark.parametrize("amount", [-10, 10])
    async def test_a_length_where_there_was_none(self, api: Api, command: str, whole: bytes, amount: int):
        api.sandbox.behaviour = Behaviour.instant(download_length=False)
        api.sandbox.faults.add(Fault.lying_length(amount))
        response, _ = await open_body(api, command)
        assert response.headers.get("Content-Length") == str(len(whole) + amount)
        assert "Transfer-Encoding" not in response.headers

    async def test_corrupt(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.corrupt(), on="download")
        answer = await api.download(command)
        assert len(answer.body) == len(whole)
        assert [a != b for a, b in zip(answer.body, whole, strict=True)].count(True) == 1
        api.sandbox.faults.add(Fault.corrupt(10**9), on="download")
        assert (await api.download(command, Range="bytes=5-9")).body == whole[5:9] + bytes([whole[9] ^ 0xFF])
        assert (await api.download(command)).body == whole

    async def test_corrupting_nothing(self, api: Api):
        api.sandbox.faults.add(Fault.corrupt(), on="storage")
        async with api.session.get(api.sandbox.storage_origin) as response:
            assert (response.status, await response.read()) == (404, b"")

    async def test_revise_before(self, api: Api, command: str, whole: bytes):
        etag = (await api.download(command)).headers["ETag"]
        api.sandbox.faults.add(Fault.revise())
        answer = await api.download(command, Range="bytes=100-", If_Range=etag)
        assert answer.status == 200
        assert answer.headers["ETag"] != etag
        assert answer.body != whole

    async def test_revise_midway(self, api: Api, command: str, whole: bytes):
        api.sandbox.faults.add(Fault.revise(0.5))
        old, got = await open_body(api, command)
        assert got == whole[: len(whole) // 2] + b"<broken off>"
        new = await api.download(command, Range=f"bytes={len(whole) // 2}-", If_Range=old.headers["ETag"])
        assert new.status == 200
        assert new.headers["ETag"] != old.headers["ETag"]

    async def test_revise_spares_what_is_not_there(self, api: Api):
        api.sandbox.faults.add(Fault.revise())
        assert (await api.download("nobody")).status == 404

    @pytest.mark.parametrize(("shift", "start"), [(1, 101), (-10, 90), (-1000, 0), (10**9, 199)])
    async def test_wrong_range(self, api: Api, command: str, whole: bytes, shift: int, start: int):
        rule = api.sandbox.faults.add(Fault.wrong_range(shift), times=2)
        assert (await api.download(command)).status == 200
        assert rule.hits == 0
        answer = await api.download(command, Range="bytes=100-199")
        assert answer.headers["Content-Range"] == f"bytes {start}-199/{len(whole)}"
        assert answer.body == whole[start:200]
        unaffected = await api.download(command, Range="bytes=99999999-")
        assert unaffected.headers["Content-Range"] == f"bytes */{len(whole)}"

    async def test_faults_in_large_artifacts(self, clock: ManualClock, session: aiohttp.ClientSession):
        async with Sandbox(1, clock=clock, behaviour=Behaviour.instant(), artifact_size=3_000_000) as sandbox:
            api = Api(sandbox, session)
            (command_id,) = await api.make(1, "warp-diag")
            whole = (await api.download(command_id)).body
            assert len(whole) == 3_000_000
            assert zipfile.ZipFile(io.BytesIO(whole)).testzip() is None
            sandbox.faults.add(Fault.cut(0.5))
            _, got = await open_body(api, command_id)
            assert got == whole[:1_500_000] + b"<broken off>"
            sandbox.faults.add(Fault.corrupt(0.9))
            assert (await api.download(command_id)).body[2_700_000] == whole[2_700_000] ^ 0xFF

    async def test_on_the_storage(self, api: Api, command: str, whole: bytes):
        api.sandbox.behaviour = Behaviour.instant(download_redirect=302)
        rule = api.sandbox.faults.add(Fault.cut(7), on=["storage"])
        location = (await api.download(command)).headers["Location"]
        with pytest.raises(aiohttp.ClientPayloadError):
            async with api.session.get(location) as response:
                await response.read()
        assert rule.hits == 1
        assert api.sandbox.requests[-1].operation == "storage"


class TestScript:
    def request(self, operation: Any = "list_commands", **headers: str) -> RecordedRequest:
        return RecordedRequest(0.0, operation, "GET", "/", {"page": "1"}, headers)

    def take(self, script: Any, operations: str) -> str:
        names = {"l": "list_commands", "c": "create_commands", "q": "get_quota", "d": "download"}
        taken = [script.take(self.request(names[letter])) for letter in operations]
        return "".join("-" if fault is None else fault.kind[0] for fault in taken)

    async def test_on_skip_and_times(self):
        script = Sandbox(0).faults
        rule = script.add(Fault.drop(), on="list_commands", times=2, skip=1)
        assert self.take(script, "clcllcl") == "---dd--"
        assert rule.hits == 2

    async def test_the_first_rule_that_has_one_strikes(self):
        script = Sandbox(0).faults
        script.add(Fault.drop(), on="create_commands", times=None)
        script.add(Fault.garbage(), times=3)
        script.add(Fault.html(), on=("get_quota", "list_commands"), times=None)
        assert self.take(script, "cqclqlc") == "dgdgghd"
        script.clear()
        assert self.take(script, "cqld") == "----"

    async def test_skipped_is_only_what_it_would_strike(self):
        script = Sandbox(0).faults
        script.add(Fault.wrong_range(), skip=1, where=lambda request: request.operation == "download")
        asked = [self.request("download"), self.request("storage", Range="bytes=1-")]
        asked += [self.request("download", Range="bytes=1-")] * 2
        assert [script.take(request) is not None for request in asked] == [False, False, False, True]

    async def test_where(self, api: Api):
        first, second = api.sandbox.state.devices[:2]
        api.sandbox.faults.add(
            Fault.error(500, form="empty"),
            on="create_commands",
            where=lambda request: request.body["commands"][0]["device_id"] == second.device_id,
        )
        assert [(await api.create(order(each))).status for each in (first, second, second)] == [200, 500, 200]

    async def test_random(self):
        script = Sandbox(0).faults
        rule = script.add_random(rate=0.2, mix=[Fault.drop(), Fault.html(), Fault.rows("partial")], seed=4)
        taken = self.take(script, "l" * 1000)
        assert 150 < rule.hits < 250
        assert set(taken) == {"-", "d", "h"}
        again = Sandbox(0).faults
        again.add_random(rate=0.2, mix=[Fault.drop(), Fault.html(), Fault.rows("partial")], seed=4)
        assert self.take(again, "l" * 1000) == taken
        other = Sandbox(0).faults
        other.add_random(rate=0.2, mix=[Fault.drop(), Fault.html(), Fault.rows("partial")], seed=5)
        assert self.take(other, "l" * 1000) != taken

    async def test_random_where(self):
        script = Sandbox(0).faults
        script.add_random(rate=0.0, mix=[Fault.html()])
        script.add_random(rate=1.0, mix=[Fault.drop()], where=lambda request: request.operation == "get_quota")
        assert self.take(script, "lqclq") == "-d--d"

    async def test_random_on_some(self):
        script = Sandbox(0).faults
        script.add_random(rate=1.0, mix=[Fault.rows("partial")], times=2)
        assert self.take(script, "lcqcdc") == "-r-r--"

    @pytest.mark.parametrize(
        "add",
        [
            lambda script: script.add(Fault.rows("partial"), on="list_commands"),
            lambda script: script.add(Fault.drop(), on="lists"),
            lambda script: script.add(Fault.null_result(), on="download"),
            lambda script: script.add(Fault.wrong_types(), on="storage"),
            lambda script: script.add(Fault.drop(), times=-1),
            lambda script: script.add(Fault.drop(), skip=-1),
            lambda script: script.add_random(rate=0.5, mix=[Fault.drop()], times=-1),
            lambda script: script.add_random(rate=1.5, mix=[Fault.drop()]),
            lambda script: script.add_random(rate=0.5, mix=[]),
            lambda script: script.add_random(rate=0.5, mix=[Fault.corrupt()], on=["download", "get_quota"]),
            lambda script: Fault.cut(-1),
            lambda script: Fault.stall(1.5),
        ],
    )
    async def test_what_makes_no_sense(self, add: Callable[[Any], Any]):
        with pytest.raises(ValueError):
            add(Sandbox(0).faults)

    async def test_the_rate_limit_comes_first(self, api: Api):
        api.sandbox.behaviour = Behaviour(rate_limit=1)
        rule = api.sandbox.faults.add(Fault.html(), skip=1)
        assert [(await api.quota()).status for _ in range(2)] == [200, 429]
        assert rule.hits == 0


class TestTheEnd:
    FAULTS = (
        Fault.silence(),
        Fault.silence(headers=False),
        Fault.stall(0.5),
        Fault.trickle(0.001, real_time=True),
        Fault.slow(3600.0, real_time=True),
        Fault.slow(3600.0, processed=False, real_time=True),
    )

    @pytest.fixture
    def grace(self, monkeypatch: pytest.MonkeyPatch) -> float:
        """How long a server waits for what is not ended by the sandbox: longer than any machine is slow."""
        seconds = 30.0
        monkeypatch.setattr("dexcmd.sandbox.server._SHUTDOWN_SECONDS", seconds)
        return seconds

    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
    async def test_what_hangs_ends_with_the_sandbox(self, session: aiohttp.ClientSession, fault: Fault, grace: float):
        before = asyncio.all_tasks()
        async with Sandbox(3) as sandbox:
            sandbox.faults.add(fault)
            api = Api(sandbox, session)
            call = asyncio.create_task(create(api))
            await until(lambda: len(sandbox.requests) == 1)
            await asyncio.sleep(0.002)
            assert sandbox.open_connections == 1
            assert not call.done()
            left = time.monotonic()
        assert time.monotonic() - left < grace
        with pytest.raises(LOST):
            await call
        assert sandbox.open_connections == 0
        assert asyncio.all_tasks() == before

    async def test_a_slow_reader_ends_with_the_sandbox(
        self, clock: ManualClock, session: aiohttp.ClientSession, grace: float
    ):
        threads = set(threading.enumerate())
        async with Sandbox(1, clock=clock, behaviour=Behaviour.instant(), artifact_size=10**9) as sandbox:
            api = Api(sandbox, session)
            (command_id,) = await api.make(1, "warp-diag")
            url = f"{api.commands_url}/{command_id}/downloads/{command_id}.zip"
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            response = await session.get(url, headers=headers)
            await response.content.readany()
            left = time.monotonic()
        assert time.monotonic() - left < grace
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        assert set(threading.enumerate()) == threads

    async def test_clients_that_leave_midway_are_no_error(
        self, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
    ):
        async with Sandbox(1, behaviour=Behaviour.instant(), artifact_size=50_000_000) as sandbox:
            api = Api(sandbox, session)
            (command_id,) = await api.make(1, "warp-diag")
            url = f"{api.commands_url}/{command_id}/downloads/{command_id}.zip"
            for chunks in range(20):
                response = await session.get(url, headers={"Authorization": f"Bearer {sandbox.token}"})
                for _ in range(chunks % 5):
                    await response.content.readany()
                response.close()
            await until(lambda: sandbox.open_connections == 0)
        assert caplog.records == []

    async def test_idle_connections_end_with_the_sandbox(self):
        async with aiohttp.ClientSession() as session:
            async with Sandbox(3) as sandbox:
                await Api(sandbox, session).quota()
                assert sandbox.open_connections == 1
                address = sandbox.base_url
            assert sandbox.open_connections == 0
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(address)

    async def test_an_exception_inside_goes_on(self):
        with pytest.raises(ZeroDivisionError):
            async with Sandbox(1):
                1 / 0  # noqa: B018
