"""From a request to a result or a typed error, over a real socket."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from dexcmd import (
    APIError,
    AuthenticationError,
    BadRequestError,
    CommandRequest,
    ConfigurationError,
    DexClient,
    DexError,
    NotFoundError,
    Pcap,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    RetryPolicy,
    ServerError,
    TransportError,
    TransportTimeoutError,
)
from dexcmd.clock import ManualClock
from dexcmd.events import Event, RequestFinished
from dexcmd.middleware.attempt import MAX_JSON_BYTES
from dexcmd.sandbox import Fault, Sandbox
from tests.conftest import Rig
from tests.service import ONCE, Service

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("fault", "error_class", "says"),
    [
        (Fault.error(503, form="html"), ServerError, "503"),
        (Fault.error(502, form="problem"), ServerError, "502"),
        (
            Fault.error(500, form="envelope", code=1234, message="broken inside"),
            ServerError,
            "500: broken inside (code 1234)",
        ),
        (Fault.error(504, form="empty"), ServerError, "504: no reason given"),
        (Fault.error(400, code=6003, message="Invalid request headers"), AuthenticationError, "400"),
        (Fault.error(401), AuthenticationError, "401"),
        (
            Fault.error(403, code=10000, message="Authentication error"),
            PermissionDeniedError,
            "Authentication error",
        ),
        (Fault.error(404), NotFoundError, "404"),
        (Fault.error(410), NotFoundError, "410"),
        (Fault.error(409), BadRequestError, "409"),
        (Fault.error(525, form="html"), ServerError, "525"),
        (Fault.rate_limited(300), RateLimitError, "retry after 300 s"),
        (Fault.unsuccessful(message="not today"), APIError, "200: not today (code 1000)"),
        (Fault.null_result(), ResponseDecodeError, "$.result"),
        (Fault.garbage(), ResponseDecodeError, "not JSON"),
        (Fault.html(), ResponseDecodeError, "not JSON (text/html"),
        (Fault.wrong_types(), ResponseDecodeError, "$.result.quota: expected a whole number"),
        (Fault.cut(), TransportError, "before the end of the body"),
        (Fault.drop(), TransportError, "GET /dex/commands/quota: "),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
async def test_every_bad_answer_is_a_typed_one_line_error(
    rig: Rig, fault: Fault, error_class: type[DexError], says: str
) -> None:
    await rig.start(retry=ONCE)
    if fault.kind == "wrong_types":
        fault = Fault.wrong_types("result.quota", "many")
    rig.sandbox.faults.add(fault, on="get_quota")
    with pytest.raises(DexError) as caught:
        await rig.dex.quota.get()
    text = str(caught.value)
    assert type(caught.value) is error_class
    assert says in text
    assert "\n" not in text
    assert len(text) < 400
    assert rig.sandbox.token not in text
    assert len(rig.sandbox.requests) == 1
    # The connection is free again, or closed: the next call works.
    assert (await rig.dex.quota.get()).quota == 800


@pytest.mark.parametrize("headers", [True, False])
async def test_silence_ends_with_the_attempt(rig: Rig, headers: bool) -> None:
    await rig.start(retry=RetryPolicy(attempts=1, attempt_seconds=0.5))
    rig.sandbox.faults.add(Fault.silence(headers=headers), on="get_quota")
    with pytest.raises(TransportTimeoutError) as caught:
        await rig.dex.quota.get()
    assert caught.value.sent
    assert isinstance(caught.value, TimeoutError)


async def test_an_unreachable_service_is_a_transport_error_that_was_not_sent(rig: Rig) -> None:
    await rig.start()
    async with Sandbox(1) as gone:
        base_url = gone.base_url
    dex = rig.client(base_url=base_url, retry=ONCE)
    with pytest.raises(TransportError) as caught:
        await dex.quota.get()
    assert not caught.value.sent


async def test_api_errors_carry_what_support_asks_for(rig: Rig) -> None:
    await rig.start(retry=ONCE)
    rig.sandbox.faults.add(Fault.error(500, form="envelope", code=1234), on="get_quota")
    with pytest.raises(ServerError) as caught:
        await rig.dex.quota.get()
    error = caught.value
    assert (error.status, error.method, error.path) == (500, "GET", "/dex/commands/quota")
    assert error.errors[0].code == 1234
    assert error.ray_id is not None
    assert error.ray_id in str(error)


async def test_no_aiohttp_error_is_the_context_of_a_transport_error(rig: Rig) -> None:
    # The repr of some of them holds the request's headers, and with them the token.
    await rig.start(retry=ONCE)
    rig.sandbox.faults.add(Fault.drop(), on="get_quota")
    with pytest.raises(TransportError) as caught:
        await rig.dex.quota.get()
    seen: BaseException | None = caught.value
    while seen is not None:
        assert not isinstance(seen, aiohttp.ClientError)
        seen = seen.__context__


async def test_a_service_that_quotes_the_token_does_not_get_it_into_the_error(rig: Rig) -> None:
    await rig.start(retry=ONCE)
    said = f"bad header: Bearer {rig.sandbox.token}"
    rig.sandbox.faults.add(Fault.error(400, form="envelope", message=said), on="get_quota")
    with pytest.raises(BadRequestError, match=r"Bearer \[api token\]") as caught:
        await rig.dex.quota.get()
    assert rig.sandbox.token not in repr(vars(caught.value))


async def test_the_token_goes_into_no_log_and_no_event(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await rig.start()
    rig.sandbox.faults.add(Fault.error(503), on="create_commands", times=1)
    rig.sandbox.faults.add(Fault.drop(), on="get_quota", times=2)
    await rig.dex.quota.get()
    await rig.dex.commands.create_many(rig.requests(12))
    assert any("POST /dex/commands: 200, attempt 1" in line for line in caplog.messages)
    assert any(record.levelname == "WARNING" and "attempt 1 failed" in record.message for record in caplog.records)
    assert rig.sandbox.token not in caplog.text
    assert rig.sandbox.token not in repr(rig.events)


async def test_each_post_is_one_info_line(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="dexcmd")
    await rig.start()
    await rig.dex.commands.create(rig.requests(2))
    lines = [record for record in caplog.records if record.levelname == "INFO"]
    assert len(lines) == 1
    assert lines[0].name == "dexcmd.middleware.attempt"
    ray = rig.sandbox.requests[0]
    assert ray.status == 200
    assert "cf-ray" in lines[0].message


async def test_events_tell_of_each_attempt(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.error(503), on="get_quota")
    await rig.dex.quota.get()
    finished = [event for event in rig.events if isinstance(event, RequestFinished)]
    assert [(event.attempt, event.status) for event in finished] == [(1, 503), (2, 200)]
    assert all(event.ray_id for event in finished)


async def test_a_hook_that_raises_changes_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def hook(event: Event) -> None:
        raise ValueError("a bug of the user")

    await rig.start(on_event=hook)
    assert (await rig.dex.quota.get()).quota == 800
    assert "on_event raised" in caplog.text


async def test_a_redirected_call_is_an_error_and_is_not_followed() -> None:
    seen: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "https://elsewhere.example/login?for=s3cret"})

    async with Service(handler) as service, service.client() as dex:
        with pytest.raises(APIError, match=r"302: unexpected redirect to https://elsewhere\.example/login$") as caught:
            await dex.quota.get()
    assert "s3cret" not in str(caught.value)
    assert len(seen) == 1


async def test_an_endless_answer_does_not_fill_the_memory() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(2 * MAX_JSON_BYTES // 65536):
                await response.write(b" " * 65536)
        except ConnectionResetError:
            pass
        return response

    async with Service(handler) as service, service.client() as dex:
        with pytest.raises(ResponseDecodeError, match=rf"larger than {MAX_JSON_BYTES} bytes"):
            await dex.quota.get()


async def test_a_broken_error_body_does_not_hide_the_status() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=403, headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    async with Service(handler) as service, service.client() as dex:
        with pytest.raises(PermissionDeniedError):
            await dex.quota.get()


@pytest.mark.parametrize(
    ("status", "error"), [(403, PermissionDeniedError), (429, RateLimitError), (200, TransportTimeoutError)]
)
async def test_nor_does_one_that_stalls(status: int, error: type[DexError]) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Length": "100", "Retry-After": "77"})
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.Event().wait()
        return response

    clock, hasty = ManualClock(), RetryPolicy(attempts=1, attempt_seconds=0.2)
    async with Service(handler) as service, service.client(retry=hasty, clock=clock) as dex:
        with pytest.raises(error):
            await dex.quota.get()
        with pytest.raises(error):
            await dex.quota.get()
    # What was refused is not asked for again too soon.
    assert clock.monotonic() == (77.0 if status == 429 else 0.0)


async def test_bytes_that_are_no_http_are_a_transport_error_without_the_token() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 BANANA\r\n\r\n")  # type: ignore[attr-defined]
        request.transport.close()
        raise web.HTTPOk

    async with Service(handler) as service, service.client() as dex:
        with pytest.raises(TransportError) as caught:
            await dex.quota.get()
    assert "service-token" not in f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize("line", [b"HTTP/1.1 Bearer %s", b"HTTP/1.1 200 OK\r\nBearer %s", b"HTTP/1.1 %s" + b"x" * 300])
async def test_bytes_that_quote_the_token_do_not_get_it_into_the_error(line: bytes) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(line % b"service-token" + b"\r\n\r\n")  # type: ignore[attr-defined]
        request.transport.close()
        raise web.HTTPOk

    async with Service(handler) as service, service.client() as dex:
        with pytest.raises(TransportError, match=r"\[api token\]") as caught:
            await dex.quota.get()
    assert "service-token" not in f"{caught.value} {caught.value!r}"


async def test_what_is_logged_of_an_answer_is_cut_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        envelope = {"success": True, "result": {"quota": 5, "quota_usage": 1}}
        return web.json_response(envelope, headers={"cf-ray": "8c\u202e\u2028" + "f" * 3000})

    async with Service(handler) as service, service.client() as dex:
        with caplog.at_level(logging.DEBUG, "dexcmd"):
            await dex.quota.get()
    [line] = caplog.messages
    assert "cf-ray 8c fff" in line
    assert len(line) < 200


async def test_a_name_that_no_thread_can_be_started_for_is_a_transport_error() -> None:
    class NoThreads(ThreadPoolExecutor):
        def submit(self, *_: object, **__: object) -> "Future[Any]":  # type: ignore[override]
            raise RuntimeError("can't start new thread")

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"success": True, "result": {"quota": 5, "quota_usage": 1}})

    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    async with Service(handler) as service:
        service.origin = service.origin.replace("127.0.0.1", "localhost")
        async with service.client() as dex:
            loop.set_default_executor(NoThreads(1))
            with pytest.raises(TransportError, match="can't start new thread") as caught:
                await dex.quota.get()
            assert not caught.value.sent
            # It may have some a moment later.
            loop.set_default_executor(threads)
            assert (await dex.quota.get()).quota == 5


@pytest.mark.parametrize("proxy", ["http://user:s3cret@127.0.0.1:port", "http://user:s3cret@[::1"])
async def test_what_an_injected_session_can_not_take_from_the_environment_is_a_configuration_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    async with aiohttp.ClientSession(trust_env=True, headers={"Authorization": "Basic x"}) as session:
        await rig.start(session=session)
        requests = rig.requests(1)
        with pytest.raises(ConfigurationError, match="trust_env") as caught:
            await rig.dex.quota.get()
        bulk = await rig.dex.commands.create_many(requests)
        await rig.dex.close()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert bulk.outcomes[0].state == "not_attempted"
    assert not rig.sandbox.requests


async def test_a_user_in_a_netrc_file_is_never_sent(rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password s3cret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    refused: ConfigurationError | None = None
    async with aiohttp.ClientSession(trust_env=True, headers={"Authorization": "Basic x"}) as session:
        await rig.start(session=session)
        try:
            await rig.dex.quota.get()
        except ConfigurationError as error:
            refused = error
        await rig.dex.close()
    # Newer versions of aiohttp refuse it beside the session's own header; for older ones the token takes its place.
    authorizations = [request.headers["Authorization"] for request in rig.sandbox.requests]
    assert authorizations == ([] if refused else [f"Bearer {rig.sandbox.token}"])
    assert "s3cret" not in "".join(traceback.format_exception(refused))


async def test_a_hook_of_an_injected_session_that_raises_late_does_not_undo_what_was_sent(rig: Rig) -> None:
    async def on_end(*_: object) -> None:
        raise ValueError("of the user's own")

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(on_end)
    async with aiohttp.ClientSession(trust_env=True, trace_configs=[trace]) as session:
        await rig.start(session=session)
        with pytest.raises(ValueError, match="of the user's own") as caught:
            await rig.dex.commands.create(rig.requests(1))
        await rig.dex.close()
    assert not isinstance(caught.value, ConfigurationError)


def test_a_client_belongs_to_one_event_loop() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"success": True, "result": {"quota": 5, "quota_usage": 1}})

    async def use(dex: DexClient | None) -> DexClient:
        async with Service(handler) as service:
            dex = dex or service.client()
            await dex.quota.get()
            return dex

    dex = asyncio.run(use(None))
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(use(dex))
    asyncio.run(dex.close())


def test_a_client_with_a_session_of_the_users_own_belongs_to_one_event_loop() -> None:
    async def begin() -> tuple[aiohttp.ClientSession, DexClient]:
        session = aiohttp.ClientSession()
        dex = DexClient(
            api_token=sandbox.token, account_id=sandbox.account_id, base_url=sandbox.base_url, session=session
        )
        await dex.quota.get()
        return session, dex

    async def go_on() -> None:
        await dex.quota.get()

    with Sandbox(devices=1).in_thread() as sandbox, asyncio.Runner() as runner:
        session, dex = runner.run(begin())
        # Seen: what is left of the first loop was used, or aiohttp's RuntimeError came out.
        with pytest.raises(ConfigurationError, match="another event loop"):
            asyncio.run(go_on())
        runner.run(go_on())
        runner.run(session.close())


REQUEST = CommandRequest(device_id="d", user_email="ada@example.com", args=Pcap())


def test_where_another_loop_closed_it_the_loop_is_what_is_told() -> None:
    # As the kit for tests does it at the end of a loop: whoever runs a second one has closed nothing.
    async def use_and_close(dex: DexClient) -> None:
        async with dex:
            await dex.quota.get()

    async def create(dex: DexClient) -> None:
        await dex.commands.create([REQUEST])

    with Sandbox(devices=1).in_thread() as sandbox:
        dex = DexClient(api_token=sandbox.token, account_id=sandbox.account_id, base_url=sandbox.base_url)
        asyncio.run(use_and_close(dex))
        for use in (use_and_close, create):
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(use(dex))


async def _list(dex: DexClient) -> None:
    await dex.devices.list()


async def _create(dex: DexClient) -> None:
    await dex.commands.create_many([REQUEST])


async def _follow(dex: DexClient) -> None:
    async with dex.commands.follow(["c"]) as ended:
        await anext(ended)


async def _capture(dex: DexClient) -> None:
    async with dex.capture([], "x"):
        pass


@pytest.mark.parametrize(
    "use",
    [
        lambda dex: dex.__aenter__(),
        lambda dex: dex.quota.get(),
        _list,
        _create,
        _follow,
        lambda dex: dex.commands.wait("c"),
        _capture,
        lambda dex: dex.downloads.save("c", "x"),
    ],
)
def test_without_an_event_loop_of_asyncio_that_is_told(use: Callable[[DexClient], Coroutine[Any, Any, object]]) -> None:
    # As under trio, which anyio's plugin for pytest runs tests on as well.
    dex = DexClient(api_token="a-token", account_id="0" * 32)
    with pytest.raises(ConfigurationError, match="no asyncio event loop is running"):
        use(dex).send(None)


async def test_an_injected_session_that_raises_for_status_hides_no_body(rig: Rig) -> None:
    # aiohttp would raise after the middlewares, and drop the body.
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        await rig.start(session=session, retry=ONCE)
        rig.sandbox.faults.add(Fault.error(500, form="envelope", code=1234, message="inside"), on="get_quota")
        with pytest.raises(ServerError, match="inside"):
            await rig.dex.quota.get()
        await rig.dex.close()


async def test_an_injected_session_that_leaves_bodies_packed_gets_them_unpacked(rig: Rig, tmp_path: Path) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        envelope = {"success": True, "errors": [], "messages": [], "result": {"quota": 5, "quota_usage": 1}}
        response = web.json_response(envelope)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with Service(handler) as service, service.client(session=session) as dex:
            assert (await dex.quota.get()).quota == 5
        # An artifact that is taken as it comes would be another file, and checked by size alone a whole one.
        await rig.start(session=session)
        [command] = await rig.dex.commands.create(rig.requests(1))
        rig.sandbox.faults.add(Fault.encoded(), on="download")
        saved = await rig.dex.downloads.save(command, tmp_path, verify="size")
        await rig.dex.close()
    assert saved.path.read_bytes()[:2] == b"PK"


async def test_the_time_of_an_attempt_does_not_bound_a_download(rig: Rig) -> None:
    await rig.start(artifact_size=4_000_000, retry=RetryPolicy(attempts=1, attempt_seconds=0.5))
    [command] = await rig.dex.commands.create(rig.requests(1))
    size = 0
    async with rig.dex.downloads.open(command) as artifact:
        async for chunk in artifact:
            size += len(chunk)
            if size < 1_000_000:
                # A slow consumer: the socket is paused, and that is not the service's silence.
                await asyncio.sleep(0.3)
    assert size == 4_000_000


async def test_a_traceback_with_locals_does_not_show_the_token() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=500)

    async with Service(handler) as service, service.client() as dex:
        with pytest.raises(ServerError) as caught:
            await dex.quota.get()
    frame = caught.value.__traceback__
    shown = ""
    while frame is not None:
        if "dexcmd" in frame.tb_frame.f_code.co_filename and "tests" not in frame.tb_frame.f_code.co_filename:
            shown += repr(frame.tb_frame.f_locals)
        frame = frame.tb_next
    assert shown
    assert "service-token" not in shown


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_credentials_of_an_injected_session_give_way_to_the_token(rig: Rig) -> None:
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth("user", "password")) as session:
        await rig.start(session=session)
        await rig.dex.quota.get()
        await rig.dex.close()
    assert rig.sandbox.requests[0].headers["Authorization"] == f"Bearer {rig.sandbox.token}"
