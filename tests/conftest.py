"""The rig that most tests use: a sandbox and clients for it, by one clock that stands still, checked for
leaks.
"""

import asyncio
import gc
import importlib
import os
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings

from dexcmd import DexClient, Pcap, RetryPolicy
from dexcmd.clock import Clock, ManualClock
from dexcmd.events import Event, RequestSent
from dexcmd.resources.requests import CommandArgs, CommandRequest
from dexcmd.sandbox import Behaviour, Sandbox, SandboxDevice
from dexcmd.wire import deflate

# The same examples every time where the answer decides about a change; new ones wherever somebody works on it.
# How long the making of examples takes, which on a busy machine is long, says nothing in either case.
UNHURRIED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, **UNHURRIED)
settings.register_profile("work", **UNHURRIED)
settings.load_profile("ci" if os.environ.get("CI") else "work")


def pytest_configure() -> None:
    """Keep the garbage collector from going through everything again and again.

    The tests alone, which stay to the end, are hundreds of thousands of objects in each worker.  What is collected
    before it grows old is not spared; `gc.freeze` would be simpler, but hides objects from Hypothesis.
    """
    youngest, young, _ = gc.get_threshold()
    gc.set_threshold(youngest, young, 10_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test that can't run fail where the answer decides about a change."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_what_was_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let a file whose tests can't be collected fail as well."""
    report = yield
    _fail_what_was_skipped(report)
    return report


def _fail_what_was_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and nothing may be in CI: {report.longrepr}"


@pytest.fixture(scope="session", autouse=True)
def the_last_test_answers_for_what_is_left() -> Iterator[None]:
    """Fail with the last test for what was never closed.

    Pytest looks for it once more when all is over, but where tests run in workers nobody hears that from them.
    """
    yield
    gc.collect()


@pytest.fixture(scope="module", params=["zlib", "zlib_ng.zlib_ng"])
def deflate_library(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute checksums and unpack with each of the libraries that may be installed."""
    library = importlib.import_module(request.param)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deflate, "DeflateError", library.error)
        patched.setattr(deflate, "crc32", library.crc32)
        patched.setattr(deflate, "unpacker", library.decompressobj)
        yield


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@attrs.define
class Rig:
    """Starts sandboxes and clients, and closes them after the test."""

    clock: Clock
    events: list[Event] = attrs.field(factory=list[Event])
    sent_at: list[float] = attrs.field(factory=list[float])
    """When requests went out, by the clock.  When they arrive tells less: a clock that stands still jumps
    meanwhile.
    """
    sandbox: Sandbox = attrs.field(init=False)
    dex: DexClient = attrs.field(init=False)
    _clients: list[DexClient] = attrs.field(factory=list[DexClient])

    async def start(
        self,
        devices: int | Sequence[SandboxDevice] = 12,
        *,
        behaviour: Behaviour | None = None,
        quota: int = 800,
        artifact_size: Any = None,
        **client: Any,
    ) -> "Rig":
        """Start a sandbox, whose commands are done at once unless `behaviour` says otherwise, and a client
        for it.
        """
        self.sandbox = await Sandbox(
            devices,
            clock=self.clock,
            behaviour=Behaviour.instant() if behaviour is None else behaviour,
            quota=quota,
            artifact_size=artifact_size,
        ).__aenter__()
        self.dex = self.client(**client)
        return self

    def client(self, **options: Any) -> DexClient:
        """Return one more client for the sandbox."""
        settings: dict[str, Any] = {
            "api_token": self.sandbox.token,
            "account_id": self.sandbox.account_id,
            "base_url": self.sandbox.base_url,
            "clock": self.clock,
            "random": lambda: 0.0,
            "on_event": self.note,
            "retry": RetryPolicy(attempt_seconds=5.0),
        }
        dex = DexClient(**{**settings, **options})
        self._clients.append(dex)
        return dex

    def note(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, RequestSent):
            self.sent_at.append(self.clock.monotonic())

    def requests(self, count: int = 1, args: CommandArgs | None = None) -> list[CommandRequest]:
        """Return requests for the first devices of the sandbox, which are healthy."""
        return [
            CommandRequest(
                device_id=device.device_id,
                registration_id=device.registration_id,
                user_email=device.user_email,
                args=Pcap() if args is None else args,
            )
            for device in self.sandbox.state.devices[:count]
        ]

    def made(self, operation: str) -> int:
        """Return how many requests of an operation have arrived."""
        return sum(request.operation == operation for request in self.sandbox.requests)

    async def close(self) -> None:
        """Close all clients and the sandbox; the test fails if one left a connection behind."""
        for dex in self._clients:
            await dex.close()
        # The server hears of a closed connection a few turns of the loop later.
        for _ in range(200):
            if self.sandbox.open_connections == 0:
                break
            await asyncio.sleep(0.005)
        left = self.sandbox.open_connections
        await self.sandbox.__aexit__(None, None, None)
        assert left == 0, f"{left} connections were left open"


@pytest.fixture
async def rig(clock: ManualClock) -> AsyncIterator[Rig]:
    rig = Rig(clock)
    yield rig
    await rig.close()
    # anyio's own: one runs the test, one each fixture.
    left = [task for task in asyncio.all_tasks() if "TestRunner" not in getattr(task.get_coro(), "__qualname__", "")]
    assert not left, f"tasks were left running: {left}"
