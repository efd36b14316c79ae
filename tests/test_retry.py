"""The retry middleware at work: how often a request goes out, and after which waits."""

import asyncio
import socket

import aiohttp
import anyio
import pytest

from dexcmd import (
    BadRequestError,
    ConfigurationError,
    RateLimitError,
    ResponseDecodeError,
    RetryPolicy,
    ServerError,
    TransportError,
    TransportTimeoutError,
)
from dexcmd.clock import ManualClock, SystemClock
from dexcmd.events import Retrying
from dexcmd.sandbox import Fault, Sandbox
from tests.conftest import Rig

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 521, 522, 523, 524, 408])
async def test_a_get_survives_transient_statuses(rig: Rig, clock: ManualClock, status: int) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.error(status), on="get_quota", times=3)
    assert (await rig.dex.quota.get()).quota == 800
    assert rig.made("get_quota") == 4
    assert clock.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501, 525, 526])
async def test_final_statuses_are_not_tried_again(rig: Rig, status: int) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.error(status), on="get_quota", times=None)
    with pytest.raises(Exception, match=str(status)):
        await rig.dex.quota.get()
    assert rig.made("get_quota") == 1


@pytest.mark.parametrize("fault", [Fault.drop(), Fault.cut(), Fault.cut(framing="chunked")], ids=lambda f: f.kind)
async def test_six_attempts_are_six_requests(rig: Rig, fault: Fault) -> None:
    # aiohttp repeats the whole chain for a dropped connection of its own accord: that would make twelve.
    await rig.start()
    await rig.dex.quota.get()
    rig.sandbox.faults.add(fault, on="get_quota", times=None)
    with pytest.raises(TransportError):
        await rig.dex.quota.get()
    assert rig.made("get_quota") == 1 + 6


async def test_each_attempt_has_its_own_time(rig: Rig) -> None:
    await rig.start(retry=RetryPolicy(attempts=3, attempt_seconds=0.5))
    rig.sandbox.faults.add(Fault.silence(), on="get_quota", times=2)
    assert (await rig.dex.quota.get()).quota == 800
    assert rig.made("get_quota") == 3


async def test_garbage_is_tried_once_more(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.garbage(), on="get_quota", times=1)
    assert (await rig.dex.quota.get()).quota == 800
    rig.sandbox.faults.add(Fault.html(), on="get_quota", times=None)
    with pytest.raises(ResponseDecodeError):
        await rig.dex.quota.get()
    assert rig.made("get_quota") == 2 + 2


async def test_garbage_is_tried_once_more_whenever_it_comes(rig: Rig) -> None:
    await rig.start()
    for fault in (Fault.error(503), Fault.garbage(), Fault.error(503)):
        rig.sandbox.faults.add(fault, on="get_quota", times=1)
    assert (await rig.dex.quota.get()).quota == 800
    assert rig.made("get_quota") == 4
    for fault in (Fault.garbage(), Fault.error(503), Fault.garbage()):
        rig.sandbox.faults.add(fault, on="get_quota", times=1)
    with pytest.raises(ResponseDecodeError):
        await rig.dex.quota.get()
    assert rig.made("get_quota") == 4 + 3


async def test_none_means_once(rig: Rig) -> None:
    await rig.start(retry=RetryPolicy.none())
    rig.sandbox.faults.add(Fault.error(503), on="get_quota")
    with pytest.raises(ServerError):
        await rig.dex.quota.get()
    assert rig.made("get_quota") == 1


async def test_retry_after_is_obeyed_in_full(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.rate_limited(300), on="get_quota")
    await rig.dex.quota.get()
    first, second = (request.at for request in rig.sandbox.requests)
    assert second - first >= 300.0
    assert [event.wait for event in rig.events if isinstance(event, Retrying)] == [300.0]


async def test_retry_after_of_a_503_is_obeyed(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.error(503, retry_after=45), on="get_quota")
    await rig.dex.quota.get()
    assert clock.slept == [45.0]


async def test_a_retry_after_that_does_not_fit_raises_at_once(rig: Rig, clock: ManualClock) -> None:
    await rig.start(retry=RetryPolicy(total_seconds=60.0))
    rig.sandbox.faults.add(Fault.rate_limited(300), on="get_quota")
    with pytest.raises(RateLimitError) as caught:
        await rig.dex.quota.get()
    assert caught.value.retry_after == 300.0
    assert rig.made("get_quota") == 1
    assert clock.slept == []


async def test_a_429_without_retry_after_is_survived(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.rate_limited(None), on="get_quota", times=4)
    assert (await rig.dex.quota.get()).quota == 800
    assert clock.monotonic() >= 10 + 20 + 40 + 80


async def test_the_total_budget_ends_retrying(rig: Rig, clock: ManualClock) -> None:
    policy = RetryPolicy(attempts=1000, total_seconds=20.0, backoff_max_seconds=4.0)
    await rig.start(retry=policy)
    rig.sandbox.faults.add(Fault.error(503), on="get_quota", times=None)
    with pytest.raises(ServerError):
        await rig.dex.quota.get()
    # 0.5 + 1 + 2 + 4 + 4 + 4 = 15.5; another 4 still fits, one more does not.
    assert clock.monotonic() == pytest.approx(19.5)


async def test_an_attempt_can_not_overdraw_the_budget(rig: Rig) -> None:
    rig.clock = SystemClock()
    await rig.start(retry=RetryPolicy(attempts=5, total_seconds=0.2, attempt_seconds=60.0))
    rig.sandbox.faults.add(Fault.silence(), on="get_quota", times=None)
    with anyio.fail_after(5):
        with pytest.raises(TransportTimeoutError):
            await rig.dex.quota.get()


async def test_jitter_shortens_a_wait_by_up_to_half(rig: Rig, clock: ManualClock) -> None:
    await rig.start(random=lambda: 0.5)
    rig.sandbox.faults.add(Fault.error(503), on="get_quota", times=2)
    await rig.dex.quota.get()
    assert clock.slept == [0.375, 0.75]


async def test_a_post_that_was_refused_for_the_rate_limit_is_sent_again(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.rate_limited(7), on="create_commands", times=2)
    assert len(await rig.dex.commands.create(rig.requests(3))) == 3
    assert rig.made("create_commands") == 3
    assert len(rig.sandbox.state.commands) == 3


async def test_a_post_that_found_no_connection_is_sent_again(rig: Rig, unused_port: int) -> None:
    # The service comes up during the first backoff.
    class LateClock(ManualClock):
        async def sleep(self, seconds: float) -> None:
            if not started:
                started.append(await Sandbox(12, port=unused_port, token=token, account_id="a" * 32).__aenter__())
            await super().sleep(seconds)

    started: list[Sandbox] = []
    token = "late-token"
    await rig.start()
    dex = rig.client(
        api_token=token,
        account_id="a" * 32,
        base_url=f"http://127.0.0.1:{unused_port}/client/v4",
        clock=LateClock(),
    )
    try:
        assert len(await dex.commands.create(rig.requests(2))) == 2
        assert len(started[0].state.commands) == 2
    finally:
        for sandbox in started:
            await sandbox.__aexit__(None, None, None)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_refused_post_is_not_sent_again(rig: Rig) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.error(400, code=1001, message="no"), on="create_commands")
    with pytest.raises(BadRequestError):
        await rig.dex.commands.create(rig.requests(1))
    assert rig.made("create_commands") == 1


async def test_calls_side_by_side_keep_their_own_results(rig: Rig) -> None:
    # One AsyncRetrying that several tasks share mixes their results up.
    await rig.start(30, retry=RetryPolicy(attempts=50, total_seconds=1e6))
    rig.sandbox.faults.add_random(rate=0.5, mix=[Fault.error(503), Fault.drop()], on=["list_devices", "get_quota"])
    names = [device.name for device in rig.sandbox.state.devices[:20]]

    async def find(name: str) -> str | None:
        return (await rig.dex.devices.list(search=name))[0].device_name

    assert await asyncio.gather(*map(find, names)) == names


async def test_a_cancellation_during_a_backoff_is_not_retried(rig: Rig) -> None:
    class Stop(ManualClock):
        async def sleep(self, seconds: float) -> None:
            scope.cancel()
            await asyncio.sleep(3600)

    await rig.start()
    dex = rig.client(clock=Stop())
    rig.sandbox.faults.add(Fault.error(503), on="get_quota", times=None)
    with anyio.CancelScope() as scope:
        await dex.quota.get()
    assert scope.cancelled_caught
    assert rig.made("get_quota") == 1


async def test_a_cancellation_during_an_attempt_frees_the_connection(rig: Rig) -> None:
    await rig.start(retry=RetryPolicy(attempt_seconds=60))
    rig.sandbox.faults.add(Fault.silence(), on="get_quota")
    async with anyio.create_task_group() as group:
        group.start_soon(rig.dex.quota.get)
        while rig.made("get_quota") < 1:
            await asyncio.sleep(0.001)
        group.cancel_scope.cancel()
    assert (await rig.dex.quota.get()).quota == 800


async def test_one_connection_is_enough_for_any_number_of_attempts(rig: Rig) -> None:
    # An error body that is left unread keeps its connection, and with one of them the next attempt waits for
    # ever.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        await rig.start(session=session)
        rig.sandbox.faults.add(Fault.error(502, form="html"), on="get_quota", times=5)
        with anyio.fail_after(5):
            assert (await rig.dex.quota.get()).quota == 800
        assert rig.sandbox.open_connections == 1
        await rig.dex.close()


async def test_a_view_of_a_client_has_its_own_policy(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    hasty = rig.dex.with_retry(RetryPolicy(attempts=2, backoff_seconds=0.25))
    rig.sandbox.faults.add(Fault.error(503), on="get_quota", times=4)
    with pytest.raises(ServerError):
        await hasty.quota.get()
    assert clock.slept == [0.25]
    assert (await rig.dex.quota.get()).quota == 800
    assert rig.made("get_quota") == 5
    # They share what must be shared: the connections, the pace, what was created.
    [made] = await hasty.commands.create(rig.requests(1))
    assert made.id in rig.dex.commands.created
    assert rig.sandbox.open_connections == 1
    await hasty.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await rig.dex.quota.get()


async def test_a_client_that_is_closed_during_a_backoff_says_so(rig: Rig) -> None:
    class Close(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await dex.close()
            await super().sleep(seconds)

    await rig.start()
    calls = [
        lambda dex: dex.quota.get(),
        lambda dex: dex.commands.list(),
        lambda dex: dex.commands.create(rig.requests(1)),
    ]
    for call in calls:
        dex = rig.client(clock=Close())
        rig.sandbox.faults.add(Fault.rate_limited(5), times=1)
        with pytest.raises(ConfigurationError, match="closed"):
            await call(dex)
    assert rig.sandbox.state.commands == {}


async def test_a_call_whose_time_is_over_sends_nothing(rig: Rig) -> None:
    class Slow(ManualClock):
        async def sleep(self, seconds: float) -> None:
            self.advance(seconds + 100)

    await rig.start()
    dex = rig.client(clock=Slow(), retry=RetryPolicy(total_seconds=50))
    rig.sandbox.faults.add(Fault.rate_limited(20), on="create_commands")
    with pytest.raises(TransportTimeoutError, match="not sent") as caught:
        await dex.commands.create(rig.requests(1))
    assert not caught.value.sent
    assert rig.made("create_commands") == 1
