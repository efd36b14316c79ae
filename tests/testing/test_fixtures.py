"""The fixtures of the kit, in this very run."""

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from dexcmd import ConfigurationError, DexClient, Pcap, RateLimitError, RetryPolicy, ServerError
from dexcmd.clock import ManualClock, SystemClock, default_clock, use_clock
from dexcmd.sandbox import Behaviour, Fault, NewCommand, Sandbox, SandboxDevice


async def devices_of(dex: DexClient) -> list[str]:
    return [str(device.device_name) async for device in dex.devices.list()]


class TestSandbox:
    def test_it_has_ten_healthy_devices(self, dex_sandbox: Sandbox):
        assert len(dex_sandbox.state.devices) == 10
        assert all(device.eligible and device.connected for device in dex_sandbox.state.devices)

    @pytest.mark.dex_sandbox(devices=0)
    def test_a_fleet_of_ones_own(self, dex_sandbox: Sandbox, dex_client: DexClient):
        for who in ("ada", "bo"):
            dex_sandbox.state.add_device(SandboxDevice(name=f"LON-{who}", user_email=f"{who}@example.com"))
        assert asyncio.run(devices_of(dex_client)) == ["LON-ada", "LON-bo"]

    def test_the_environment_names_it(self, dex_sandbox: Sandbox):
        assert {name: os.environ[name] for name in dex_sandbox.environment} == dex_sandbox.environment

    def test_a_client_finds_it_and_waits_for_nothing(self, dex_sandbox: Sandbox, dex_clock: ManualClock):
        async def main() -> list[str]:
            async with DexClient() as dex:
                return await devices_of(dex)

        dex_sandbox.faults.add(Fault.rate_limited(retry_after=300), on="list_devices")
        assert len(asyncio.run(main())) == 10
        assert dex_clock.slept == [300.0]
        dex_sandbox.assert_requested("GET", "/commands/devices", times=2)

    def test_it_shares_its_time_with_clients(self, dex_sandbox: Sandbox, dex_clock: ManualClock):
        assert dex_sandbox.clock is dex_clock is default_clock()

    @pytest.mark.dex_sandbox(behaviour=Behaviour(pickup_seconds=(60.0, 60.0)))
    def test_devices_take_their_time_and_the_test_none(self, dex_sandbox: Sandbox, dex_client: DexClient):
        async def main() -> str | None:
            [device, *_] = await dex_client.devices.list()
            [command] = await dex_client.commands.create([device.request(Pcap())])
            return (await dex_client.commands.wait(command)).status

        assert asyncio.run(main()) == "SUCCESS"
        assert dex_sandbox.clock.monotonic() > 60.0

    def test_a_history(self, dex_sandbox: Sandbox, dex_client: DexClient):
        [device, *_] = dex_sandbox.state.devices
        made = dex_sandbox.state.create(NewCommand(device, "warp-diag"))

        async def main() -> list[str | None]:
            return [command.id async for command in dex_client.commands.list()]

        assert asyncio.run(main()) == [made.id]


class TestTime:
    def test_it_starts_now(self, dex_clock: ManualClock):
        assert timedelta() <= datetime.now(UTC) - dex_clock.now() < timedelta(hours=1)

    def test_it_stands_still(self, dex_clock: ManualClock):
        assert dex_clock.now() == dex_clock.now()

    class TestAnotherStart:
        @pytest.fixture
        def dex_clock(self) -> ManualClock:
            return ManualClock(datetime(2030, 5, 6, tzinfo=UTC))

        def test_the_sandbox_goes_by_it(self, dex_sandbox: Sandbox):
            assert dex_sandbox.state.now() == datetime(2030, 5, 6, tzinfo=UTC)


@pytest.fixture
def what_is_left_of_a_sandbox() -> Iterator[None]:
    """Look when the fixtures that came later have ended."""
    yield
    assert "CLOUDFLARE_BASE_URL" not in os.environ
    assert os.environ["CLOUDFLARE_API_TOKEN"] == "mine"
    assert os.environ["CLOUDFLARE_API_TOKEN_FILE"] == "also"
    assert isinstance(default_clock(), SystemClock)


def test_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    monkeypatch.delenv("CLOUDFLARE_BASE_URL", raising=False)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "mine")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN_FILE", "also")
    request.getfixturevalue("what_is_left_of_a_sandbox")
    sandbox = request.getfixturevalue("dex_sandbox")
    assert os.environ["CLOUDFLARE_API_TOKEN"] == sandbox.token
    assert "CLOUDFLARE_API_TOKEN_FILE" not in os.environ


class TestClient:
    def test_it_waits_for_nothing(self, dex_sandbox: Sandbox, dex_client: DexClient, dex_clock: ManualClock):
        dex_sandbox.faults.add(Fault.error(503), on="get_quota", times=2)
        asyncio.run(get_quota(dex_client))
        assert dex_clock.slept == [0.5, 1.0]

    def test_it_gives_up_like_any_other(self, dex_sandbox: Sandbox, dex_client: DexClient):
        dex_sandbox.faults.add(Fault.error(503), on="get_quota", times=None)
        with pytest.raises(ServerError):
            asyncio.run(get_quota(dex_client))
        dex_sandbox.assert_requested("GET", "/commands/quota", times=6)

    def test_another_policy(self, dex_sandbox: Sandbox, dex_client: DexClient):
        dex_sandbox.faults.add(Fault.rate_limited(), on="get_quota")
        with pytest.raises(RateLimitError):
            asyncio.run(get_quota(dex_client.with_retry(RetryPolicy.none())))

    def test_it_is_closed_with_the_loop_of_the_test(self, dex_sandbox: Sandbox, dex_client: DexClient):
        async def main() -> None:
            await dex_client.quota.get()
            assert dex_sandbox.open_connections == 1
            assert not dex_client.session.closed

        asyncio.run(main())
        assert dex_client.session.closed

    def test_it_may_be_closed_before(self, dex_client: DexClient):
        async def main() -> None:
            async with dex_client as dex:
                await dex.quota.get()

        asyncio.run(main())

    def test_an_attempt_may_take_five_seconds_of_silence(self, dex_client: DexClient):
        assert dex_client.session.settings.retry == RetryPolicy(attempt_seconds=5.0)

    def test_it_is_of_its_sandbox_whatever_the_test_has_set(
        self,
        monkeypatch: pytest.MonkeyPatch,
        request: pytest.FixtureRequest,
        dex_sandbox: Sandbox,
        dex_clock: ManualClock,
    ):
        for name in dex_sandbox.environment:
            monkeypatch.delenv(name)
        with use_clock(ManualClock()):
            dex_client = request.getfixturevalue("dex_client")
        dex_sandbox.faults.add(Fault.rate_limited(retry_after=60), on="get_quota")
        asyncio.run(get_quota(dex_client))
        assert dex_clock.slept == [60.0]

    def test_a_loop_that_goes_on_after_the_test(
        self, runner: asyncio.Runner, closed_afterwards: list[DexClient], dex_client: DexClient
    ):
        closed_afterwards.append(dex_client)
        runner.run(get_quota(dex_client))

    def test_a_loop_that_ends_before_the_fixtures_do(self, dex_client: DexClient, runner: asyncio.Runner):
        runner.run(get_quota(dex_client))

    def test_a_loop_in_a_thread_that_goes_on_after_the_test(
        self, portal: BlockingPortal, closed_afterwards: list[DexClient], dex_client: DexClient
    ):
        closed_afterwards.append(dex_client)
        portal.call(get_quota, dex_client)

    def test_a_loop_in_a_thread_that_ends_before_the_fixtures_do(self, dex_client: DexClient, portal: BlockingPortal):
        portal.call(get_quota, dex_client)

    def test_another_loop_needs_another_client(self, dex_sandbox: Sandbox, dex_client: DexClient):
        asyncio.run(get_quota(dex_client))
        with pytest.raises(ConfigurationError, match="this client belongs to another event loop"):
            asyncio.run(get_quota(dex_client))
        for _ in range(2):
            asyncio.run(get_quota_by_another())
        dex_sandbox.assert_requested("GET", "/commands/quota", times=3)

    def test_it_may_stay_unused(
        self, a_loop_of_the_thread: None, closed_afterwards: list[DexClient], dex_client: DexClient
    ):
        closed_afterwards.append(dex_client)


@pytest.fixture
def closed_afterwards() -> Iterator[list[DexClient]]:
    """Clients of which it is seen, when the fixtures that came later have ended, that they are closed."""
    clients: list[DexClient] = []
    yield clients
    assert [client.session.closed for client in clients] == [True]


@pytest.fixture
def a_loop_of_the_thread() -> Iterator[None]:
    """The loop that somebody has set for this thread, and finds there again."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    assert asyncio.get_event_loop() is loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    """A loop like that of an application's test client, which is open for as long as several tests."""
    with start_blocking_portal("asyncio") as portal:
        yield portal


async def get_quota_by_another() -> None:
    async with DexClient() as dex:
        await dex.quota.get()


async def get_quota(dex: DexClient) -> None:
    await dex.quota.get()


class TestTheClosestMarkSays:
    pytestmark = pytest.mark.dex_sandbox(devices=3, quota=5)

    @pytest.mark.dex_sandbox(devices=4)
    def test_what_it_names(self, dex_sandbox: Sandbox):
        assert len(dex_sandbox.state.devices) == 4
        assert dex_sandbox.state.quota.limit == 5
