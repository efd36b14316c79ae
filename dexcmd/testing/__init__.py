"""The pytest plugin: fixtures for a sandbox, a client for it, and a clock that skips all waiting.

    async def test_it_finds_london(dex_sandbox, dex_client):
        dex_sandbox.state.add_device(SandboxDevice(name="LON-1", user_email="ada@example.com"))
        assert [device.device_name async for device in dex_client.devices.list(search="lon")] == ["LON-1"]
        dex_sandbox.assert_requested("GET", "/commands/devices", query={"search": "lon"}, times=1)

The plugin is active wherever dexcmd is installed, and loads nothing of the SDK until a test requests one of its
fixtures.  These are plain functions, so they need no asyncio plugin, and work with any.
"""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dexcmd.client import DexClient
    from dexcmd.clock import ManualClock
    from dexcmd.sandbox import Sandbox

__all__ = ["dex_client", "dex_clock", "dex_sandbox"]

_MARK = "dex_sandbox"
_DEVICES = 10
_ATTEMPT_SECONDS = 5.0
"""Time limit of an attempt, in real time, since it waits for a socket.  Even a busy machine needs less."""

_sandbox_of = pytest.StashKey["Sandbox"]()
_passed = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}(*, devices=10, quota=800, behaviour=Behaviour(), ..., unstruck_faults=False): what `dex_sandbox`"
        " is made with, named as in `dexcmd.sandbox.Sandbox`; with `unstruck_faults` no fault needs to strike.",
    )


@pytest.fixture
def dex_clock() -> "ManualClock":
    """Return the clock of `dex_sandbox` and its clients, which starts at the machine's time and skips all waiting.

    Override it to start at another time: `return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))`.
    """
    from datetime import UTC, datetime

    from dexcmd.clock import ManualClock

    return ManualClock(datetime.now(UTC))


@pytest.fixture
def dex_sandbox(request: pytest.FixtureRequest, dex_clock: "ManualClock") -> "Iterator[Sandbox]":
    """Run a sandbox for this test and point the environment at it, so that `DexClient()` uses it and its clock.

    It has ten healthy devices, unless `@pytest.mark.dex_sandbox(...)` says otherwise.  The test fails if a scripted
    fault strikes nothing.
    """
    from dexcmd.clock import use_clock
    from dexcmd.sandbox import Sandbox

    options: dict[str, Any] = {"devices": _DEVICES}
    # The closest mark comes first in the iteration, and takes precedence.
    for mark in reversed(list(request.node.iter_markers(_MARK))):
        if mark.args:
            raise pytest.UsageError(f"@pytest.mark.{_MARK} takes keyword arguments only")
        if "clock" in mark.kwargs:
            raise pytest.UsageError(f"@pytest.mark.{_MARK} takes no clock: override the fixture dex_clock")
        options |= mark.kwargs
    may_miss = options.pop("unstruck_faults", False)
    sandbox = Sandbox(clock=dex_clock, **options)
    with sandbox.in_thread(), use_clock(dex_clock), pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment.items():
            patch.setenv(name, value)
        # The environment should name only one token.
        patch.delenv("CLOUDFLARE_API_TOKEN_FILE", raising=False)
        request.node.stash[_sandbox_of] = sandbox
        yield sandbox
    missed = [str(rule) for rule in sandbox.faults.rules if rule.missed]
    if missed and not may_miss and request.node.stash.get(_passed, False):
        pytest.fail(
            f"scripted, but no request was struck by: {'; '.join(missed)}\n"
            f"(`@pytest.mark.{_MARK}(unstruck_faults=True)` allows that)",
            pytrace=False,
        )


@pytest.fixture
def dex_client(dex_sandbox: "Sandbox") -> "Iterator[DexClient]":
    """Return a client for `dex_sandbox`, which waits only for sockets and is closed after the test."""
    from dexcmd.client import DexClient
    from dexcmd.testing.ending import ClosedWithItsLoop
    from dexcmd.wire.retrying import RetryPolicy

    ending = ClosedWithItsLoop()
    client = DexClient(
        api_token=dex_sandbox.token,
        account_id=dex_sandbox.account_id,
        base_url=dex_sandbox.base_url,
        clock=dex_sandbox.clock,
        random=lambda: 0.0,
        retry=RetryPolicy(attempt_seconds=_ATTEMPT_SECONDS),
        on_event=ending.on_event,
    )
    ending.client = client
    yield client
    ending.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the request log to the report of a test that failed, or of one whose fixture failed."""
    report = yield
    sandbox = item.stash.get(_sandbox_of, None)
    if sandbox is None:
        return report
    item.stash[_passed] = report.when == "call" and report.passed
    if report.failed and not _tells_by_itself(call):
        from dexcmd.sandbox.asserting import request_table

        report.sections.append(("Requests to dex_sandbox", request_table(list(sandbox.requests))))
    if report.when == "teardown":
        # Items live until the end of the run, and would keep everything in the sandbox alive.
        del item.stash[_sandbox_of]
    return report


def _tells_by_itself(call: "pytest.CallInfo[None]") -> bool:
    from dexcmd.sandbox.asserting import RequestAssertionError

    return call.excinfo is not None and isinstance(call.excinfo.value, RequestAssertionError)
