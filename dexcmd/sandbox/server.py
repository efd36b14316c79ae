"""The sandbox's sockets, and the class that users see."""

import asyncio
import json
import secrets
import ssl
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import anyio
import anyio.from_thread
from aiohttp import web

from dexcmd.async_only import AsyncOnlyContext
from dexcmd.clock import Clock, default_clock
from dexcmd.sandbox.arguments import check_arguments
from dexcmd.sandbox.artifacts import Artifact
from dexcmd.sandbox.asserting import Expected, RequestAssertionError, explain
from dexcmd.sandbox.behaviour import ArtifactSize, Behaviour
from dexcmd.sandbox.devices import SandboxDevice, make_devices
from dexcmd.sandbox.faults import Fault
from dexcmd.sandbox.reply import Reply
from dexcmd.sandbox.requestlog import Operation, RecordedRequest
from dexcmd.sandbox.script import FaultScript
from dexcmd.sandbox.service import BASE_PATH, STORAGE_PATH, Service, find_route
from dexcmd.sandbox.state import SandboxState
from dexcmd.sandbox.transmit import send

__all__ = ["Sandbox"]

_SHUTDOWN_SECONDS = 1.0
_THREADS = 2


class Sandbox(AsyncOnlyContext):
    """A fake of the DEX commands API on a real socket, for tests and for trying things out.

    Use it as `async with Sandbox(...) as sandbox`: it listens inside the block, and leaving the block ends
    every request and connection at once.  A second socket acts as the storage to which
    `Behaviour.download_redirect` redirects downloads.  Both are on the loopback interface unless `host` says
    otherwise.

    - `devices`: the number of device rows to generate (see `make_devices`), or the devices themselves;
    - `token`: the API token to accept; None for a random one, so that clients of different sandboxes don't share
      a rate limiter, which is per token;
    - `account_id`: 32 hex digits; None for a random one;
    - `clock`: the clock of the whole sandbox; a `ScaledClock` speeds devices up, a `ManualClock` lets the test
      control the time.  None for `dexcmd.clock.default_clock()`, normally the machine's;
    - `behaviour`: every switch;
    - `seed`: the seed of everything generated: devices, command ids, durations;
    - `quota`: commands per day (UTC);
    - `artifact_size`: the size of every artifact in bytes, or a function that returns it for a command's row
      (`id`, `type`, `device_id`, `registration_id`, `user_email`, `created_date`, `args`); None for a natural size
      of some kilobytes.  Note `Behaviour.oversized_capture`: a pcap above its `max-file-size-mb` (default 5) isn't
      uploaded;
    - `host`, `port`: where to listen; port 0 picks a free one;
    - `ssl_context`: a server-side context, for TLS on both sockets; None for plain http.

    Raises `TypeError` or `ValueError` for impossible arguments, and on entering `OSError` if it can't listen.  An
    artifact size too small for its type results in status 500 when the artifact is downloaded.
    """

    def __init__(
        self,
        devices: int | Sequence[SandboxDevice] = 25,
        *,
        token: str | None = None,
        account_id: str | None = None,
        clock: Clock | None = None,
        behaviour: Behaviour | None = None,
        seed: int = 0,
        quota: int = 800,
        artifact_size: ArtifactSize = None,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        check_arguments(devices, token, account_id, behaviour, quota)
        behaviour = behaviour or Behaviour()
        if isinstance(devices, int):
            devices = make_devices(
                devices,
                seed=seed,
                multi_user_share=behaviour.multi_user_share,
                ineligible_share=behaviour.ineligible_share,
                disconnected_share=behaviour.disconnected_share,
            )
        self.token: str = token or secrets.token_urlsafe(30)
        self.account_id: str = account_id or secrets.token_hex(16)
        self.clock: Clock = default_clock() if clock is None else clock
        self.state: SandboxState = SandboxState(
            devices,
            clock=self.clock,
            behaviour=behaviour,
            seed=seed,
            quota=quota,
            artifact_size=artifact_size,
        )
        self.faults: FaultScript = FaultScript()
        self.requests: list[RecordedRequest] = []
        self._service = Service(self.state, token=self.token, account_id=self.account_id, seed=seed)
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._servers: list[web.Server] = []
        self._runners: list[web.ServerRunner] = []
        self._others: dict[str, Sandbox] = {}
        self._late: set[asyncio.Task[Any]] = set()
        # Starts threads only when they are needed.
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="dexcmd-sandbox")
        self._entered = False

    def __repr__(self) -> str:
        where = self.base_url if self._service.api_origin else "not running"
        return f"<Sandbox {where} devices={len(self.state.devices)} commands={len(self.state.commands)}>"

    # --- what a test looks at

    @property
    def base_url(self) -> str:
        """The base URL for clients.  Raises `RuntimeError` unless the sandbox is running."""
        if not self._service.api_origin:
            raise RuntimeError("the sandbox is not running: use it as `async with Sandbox(...) as sandbox`")
        return self._service.api_origin + BASE_PATH

    @property
    def storage_origin(self) -> str:
        """Scheme, host and port of the storage to which downloads may redirect."""
        return self._service.storage_origin

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point a client at the sandbox."""
        return {
            "CLOUDFLARE_API_TOKEN": self.token,
            "CLOUDFLARE_ACCOUNT_ID": self.account_id,
            "CLOUDFLARE_BASE_URL": self.base_url,
        }

    @property
    def behaviour(self) -> Behaviour:
        """The switches; can be replaced while the sandbox runs."""
        return self.state.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self.state.behaviour = behaviour

    @property
    def open_connections(self) -> int:
        """The number of open connections, including those to the storage."""
        return sum(len(server.connections) for server in self._servers)

    def artifact(self, command_id: str) -> Artifact:
        """Return the current artifact of a command, unaffected by faults: `b"".join(artifact.read())`.

        It exists from the beginning, whatever the command's status.  Raises `KeyError` for an unknown command, and
        `ValueError` for an artifact size too small for its type.
        """
        return self._service.artifact(self.state.commands[command_id])

    def assert_requested(
        self,
        method: str,
        path: str,
        *,
        times: int | None = None,
        query: Mapping[str, object] | None = None,
        json: object = None,
        status: int | None = None,
    ) -> list[RecordedRequest]:
        """Return the requests received so far that match, in order of arrival.

        Raises `AssertionError` unless at least one request matches, or exactly `times` if that is given (`times=0`
        asserts that there was none).  The error shows the request log, closest matches first.

        - `method`: in upper case, as it is sent;
        - `path`: relative to the account's `/dex`, as in `/commands`, or the full path; `*` matches anything within
          a segment, as in `/commands/*/downloads/*`;
        - `query`: parameters that the request must have; it may have others;
        - `json`: what the body must contain: of an object at least the given fields, of a list every item;
        - `status`: the status of the response.

        Raises `ValueError` for a malformed method or path.
        """
        __tracebackhide__ = True
        expected = Expected(method=method, path=path, query=query or {}, json=json, status=status)
        requests = list(self.requests)
        found = [request for request in requests if not expected.differences(request)]
        if len(found) != times if times is not None else not found:
            raise RequestAssertionError(explain(expected, times, requests))
        return found

    def consume_rate_limit(self, requests: int) -> None:
        """Consume that many requests of the current rate limit window, as another user of the account would."""
        self._service.limiter.consume(requests, self.clock.monotonic(), self.behaviour)

    def also_serve(self, other: "Sandbox") -> None:
        """Serve another sandbox's account at this one's address too, as the real service serves all accounts.

        The other sandbox must run for as long as this one, so enter it first.  Raises `ValueError` if the account is
        the same as this one's, or already served.
        """
        if other.account_id in {self.account_id, *self._others}:
            raise ValueError(f"account {other.account_id} is served already")
        self._others[other.account_id] = other

    # --- running

    @contextmanager
    def in_thread(self) -> Generator[Self]:
        """Run the sandbox in a thread of its own, for code without an event loop or with several short-lived ones.

            with Sandbox(3).in_thread() as sandbox: ...

        Raises what `async with` raises.  Between requests, the sandbox can be inspected and changed from any thread.
        """
        with (
            anyio.from_thread.start_blocking_portal("asyncio") as portal,
            portal.wrap_async_context_manager(self),
        ):
            yield self

    async def __aenter__(self) -> Self:
        """Start listening."""
        if self._entered:
            raise RuntimeError("a Sandbox can be entered only once: make another one")
        self._entered = True
        try:
            self._service.api_origin = await self._listen(self._handle_api, self._port)
            self._service.storage_origin = await self._listen(self._handle_storage, 0)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every request, close every connection, stop listening."""
        await self._close()

    async def _listen(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], port: int) -> str:
        # With handler_cancellation, a handler ends when its client disconnects, even one that hangs on purpose.
        server = web.Server(handler, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._servers.append(server)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, self._host, port, ssl_context=self._ssl_context).start()
        scheme = "http" if self._ssl_context is None else "https"
        host, bound = runner.addresses[0][:2]
        return f"{scheme}://[{host}]:{bound}" if ":" in host else f"{scheme}://{host}:{bound}"

    async def _close(self) -> None:
        # Takes only a moment, and must also happen in a cancelled scope.
        with anyio.CancelScope(shield=True):
            await self._close_all()

    async def _close_all(self) -> None:
        self._service.api_origin = ""
        for task in self._late:
            task.cancel()
        for server in self._servers:
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        for runner in self._runners:
            await runner.cleanup()
        await asyncio.gather(*self._late, return_exceptions=True)
        self._runners.clear()
        self._servers.clear()
        self._executor.shutdown(cancel_futures=True)

    # --- requests

    async def _handle_api(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        operation, params = find_route(request.method, path)
        meant = self._others.get(params.get("account_id", ""), self)
        return await meant._handle(request, path, operation, params, self._service.api_origin)  # noqa: SLF001 - one class

    async def _handle_storage(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        params: dict[str, str] = {}
        match path.split("/"):
            case ["", folder, command_id, filename] if f"/{folder}" == STORAGE_PATH:
                params = {"command_id": unquote(command_id), "filename": unquote(filename)}
            case _:
                pass
        return await self._handle(request, path, "storage", params, self.storage_origin)

    async def _handle(
        self, request: web.BaseRequest, path: str, operation: Operation, params: dict[str, str], origin: str
    ) -> web.StreamResponse:
        recorded = RecordedRequest(
            at=self.clock.monotonic(),
            operation=operation,
            method=request.method,
            path=path,
            query=dict(request.query),
            headers=request.headers,
            body=await _read_body(request),
            params=params,
            origin=origin,
        )
        self.requests.append(recorded)
        try:
            reply = await self._reply(recorded)
        except Exception:
            # The test's own condition or artifact size function failed: aiohttp logs that and responds with this.
            recorded.status = HTTPStatus.INTERNAL_SERVER_ERROR.value
            raise
        if reply.head:
            recorded.status = reply.status
        return await send(request, reply, self._executor, self.clock)

    async def _reply(self, recorded: RecordedRequest) -> Reply:
        refusal = self._service.refuse(recorded)
        if refusal is not None:
            return refusal
        fault = self.faults.take(recorded)
        recorded.fault = None if fault is None else fault.kind
        if fault is not None and fault.kind == "slow":
            return await self._respond_slowly(recorded, fault)
        return self._service.respond(recorded, fault)

    async def _respond_slowly(self, recorded: RecordedRequest, fault: Fault) -> Reply:
        if fault.processed:
            reply = self._service.respond(recorded, fault)
            await self._wait(fault)
            return reply

        async def respond_late() -> Reply:
            await self._wait(fault)
            return self._service.respond(recorded, fault)

        # In its own task, so that the work gets done even if the client disconnects, which cancels the handler.
        task = asyncio.create_task(respond_late())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return await asyncio.shield(task)

    async def _wait(self, fault: Fault) -> None:
        await (asyncio.sleep if fault.real_time else self.clock.sleep)(fault.seconds)


async def _read_body(request: web.BaseRequest) -> Any:
    """Return the body as parsed JSON, as bytes if it isn't JSON, or None if it is empty."""
    if not request.body_exists:
        return None
    data = await request.read()
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return data
