"""The pytest plugin: a sandbox for each test that asks for one, and a client for it, by a clock that nobody waits for.

    async def test_it_finds_london(dex_sandbox, dex_client):
        dex_sandbox.state.add_device(SandboxDevice(name="LON-1", user_email="ada@example.com"))
        assert [device.device_name async for device in dex_client.devices.list(search="lon")] == ["LON-1"]
        dex_sandbox.assert_requested("GET", "/commands/devices", query={"search": "lon"}, times=1)

It is there wherever dexcmd is installed, and loads nothing of the SDK before a test asks for one of its fixtures.  They
are plain functions, so they need no plugin for asyncio, and get along with each.
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
"""An attempt's time is real, since what it waits for is a socket.  A busy machine needs less than this."""

_sandbox_of = pytest.StashKey["Sandbox"]()
_passed = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}(*, devices=10, quota=800, behaviour=Behaviour(), ..., unstruck_faults=False): what `dex_sandbox`"
        " is made with, named as in `dexcmd.sandbox.Sandbox`; with `unstruck_faults` no fault needs to strike.",
    )


@pytest.fixture
def dex_clock() -> "ManualClock":
    """Return the clock of `dex_sandbox` and of its clients: it starts at the machine's time, and jumps over waits.

    Override it for another start: `return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))`.
    """
    from datetime import UTC, datetime

    from dexcmd.clock import ManualClock

    return ManualClock(datetime.now(UTC))


@pytest.fixture
def dex_sandbox(request: pytest.FixtureRequest, dex_clock: "ManualClock") -> "Iterator[Sandbox]":
    """Run a sandbox for this test, which the environment names: `DexClient()` finds it, and lives by its clock.

    It has ten healthy devices, unless `@pytest.mark.dex_sandbox(...)` says otherwise.  A fault that was scripted and
    struck nothing fails the test.
    """
    from dexcmd.clock import use_clock
    from dexcmd.sandbox import Sandbox

    options: dict[str, Any] = {"devices": _DEVICES}
    # The closest one comes first, and has the last word.
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
        # It would be one token more than the command line takes.
        patch.delenv("CLOUDFLARE_API_TOKEN_FILE", raising=False)
        request.node.stash[_sandbox_of] = sandbox
        yield sandbox
    missed = [str(rule) for rule in sandbox.faults.rules if rule.missed]
    if missed and not may_miss and request.node.stash.get(_passed, False):
        pytest.fail(
            f"scripted, and nothing was struck by it: {'; '.join(missed)}\n"
            f"(`@pytest.mark.{_MARK}(unstruck_faults=True)` lets that be)",
            pytrace=False,
        )


@pytest.fixture
def dex_client(dex_sandbox: "Sandbox") -> "Iterator[DexClient]":
    """Return a client for `dex_sandbox`, which waits for nothing but sockets, and is closed after the test."""
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
    """Show what was requested with a test that failed, or with a fixture of it that did."""
    report = yield
    sandbox = item.stash.get(_sandbox_of, None)
    if sandbox is None:
        return report
    item.stash[_passed] = report.when == "call" and report.passed
    if report.failed and not _tells_by_itself(call):
        from dexcmd.sandbox.asserting import request_table

        report.sections.append(("Requests to dex_sandbox", request_table(list(sandbox.requests))))
    if report.when == "teardown":
        # The items are there until the run ends, and all that a sandbox holds would be.
        del item.stash[_sandbox_of]
    return report


def _tells_by_itself(call: "pytest.CallInfo[None]") -> bool:
    from dexcmd.sandbox.asserting import RequestAssertionError

    return call.excinfo is not None and isinstance(call.excinfo.value, RequestAssertionError)
