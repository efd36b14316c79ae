"""The pace middleware: staying under the rate limit, together."""

import asyncio
import gc
import itertools
import threading
import weakref
from collections.abc import Sequence

import pytest
from aiohttp import web

from dexcmd import DexClient, RateLimit, RateLimitError, RetryPolicy, TransportTimeoutError
from dexcmd.clock import ManualClock
from dexcmd.events import Paced
from dexcmd.middleware.pacer import Pacer, Place, pacer_for
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.session import MAX_CALLS_AT_ONCE
from dexcmd.wire.window import Window
from tests.conftest import Rig
from tests.service import Service

pytestmark = pytest.mark.anyio

PATIENT = RetryPolicy(total_seconds=1e6)
WIDE = 10_000


def busiest(times: Sequence[float], seconds: float) -> int:
    """Return the most requests that went out in any stretch of `seconds`."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)


async def test_many_tasks_stay_under_the_limit_together(rig: Rig) -> None:
    limit = RateLimit(requests=20, seconds=10.0, per_second=WIDE)
    await rig.start(rate_limit=limit, retry=PATIENT)
    await asyncio.gather(*(rig.dex.quota.get() for _ in range(95)))
    times = rig.sent_at
    assert len(times) == rig.made("get_quota") == 95
    assert busiest(times, 10.0) == 20
    # And hardly slower than it has to be: 95 take five windows, which is 40 s from the first to the last.
    assert 40.0 <= max(times) - min(times) <= 60.0


async def test_clients_of_one_token_share_the_limit(rig: Rig) -> None:
    limit = RateLimit(requests=10, seconds=60.0, per_second=WIDE)
    await rig.start(rate_limit=limit, retry=PATIENT)
    clients = [
        rig.dex,
        rig.client(rate_limit=limit, retry=PATIENT),
        rig.client(rate_limit=limit, retry=PATIENT),
    ]
    await asyncio.gather(*(dex.quota.get() for dex in clients * 8))
    assert busiest(rig.sent_at, 60.0) == 10


async def test_a_client_made_after_another_was_closed_goes_on_with_its_window(rig: Rig) -> None:
    limit = RateLimit(requests=3, seconds=60.0, per_second=WIDE)
    await rig.start(rate_limit=limit)
    for _ in range(5):
        async with rig.client(rate_limit=limit) as dex:
            await dex.quota.get()
        gc.collect()
    assert busiest(rig.sent_at, 60.0) == 3


async def test_what_is_counted_goes_with_its_clock() -> None:
    clock = ManualClock()
    pacer = weakref.ref(pacer_for(clock, "https://api.example", "a token"))
    gc.collect()
    assert pacer() is pacer_for(clock, "https://api.example", "a token")
    del clock
    gc.collect()
    assert pacer() is None


async def test_the_real_limit_of_1200_in_5_minutes(rig: Rig, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour.instant(rate_limit=None), retry=PATIENT)
    await asyncio.gather(*(rig.dex.quota.get() for _ in range(1300)))
    assert rig.made("get_quota") == 1300
    assert busiest(rig.sent_at, 300.0) <= 1200
    assert busiest(rig.sent_at, 1.0) <= 200
    assert 300.0 <= max(rig.sent_at) - min(rig.sent_at) <= 330.0


async def test_a_wait_that_does_not_fit_the_budget_is_told_at_once(rig: Rig, clock: ManualClock) -> None:
    limit = RateLimit(requests=1, seconds=500.0)
    await rig.start(rate_limit=limit)
    await rig.dex.quota.get()
    with pytest.raises(RateLimitError, match="not sent: the rate limit requires a longer wait") as caught:
        await rig.dex.quota.get()
    assert caught.value.retry_after == pytest.approx(500.0)
    assert clock.slept == []
    # The place that was not used is free again, so the next one does not queue behind it.
    clock.advance(500.0)
    await rig.dex.quota.get()
    assert rig.made("get_quota") == 2


async def test_a_429_holds_every_client_of_the_token_back(rig: Rig, clock: ManualClock) -> None:
    await rig.start()
    other = rig.client()
    rig.sandbox.faults.add(Fault.rate_limited(120), on="get_quota", times=1)
    await asyncio.gather(rig.dex.quota.get(), *(other.devices.list() for _ in range(5)), rig.dex.commands.list())
    refused = rig.sandbox.requests[0]
    # The others were on their way before the refusal was heard, or went out after the pause: none in between.
    heard = [time for time in rig.sent_at if time > refused.at]
    assert heard
    assert min(heard) >= refused.at + 120.0


async def test_a_pause_holds_without_a_limit_of_ones_own(rig: Rig) -> None:
    await rig.start(rate_limit=None)
    rig.sandbox.faults.add(Fault.rate_limited(90), on="get_quota", times=1)
    await rig.dex.quota.get()
    start = rig.sandbox.requests[0].at
    await rig.dex.devices.list()
    assert [request.at - start for request in rig.sandbox.requests] == [0.0, 90.0, 90.0]


async def test_headers_of_a_busy_account_slow_this_client_down(rig: Rig) -> None:
    behaviour = Behaviour.instant(rate_limit=50, rate_window=100.0)
    await rig.start(behaviour=behaviour, retry=PATIENT)
    await rig.dex.quota.get()
    rig.sandbox.consume_rate_limit(40)
    for _ in range(30):
        await rig.dex.quota.get()
    assert all(request.status == 200 for request in rig.sandbox.requests)
    times = [request.at for request in rig.sandbox.requests]
    assert times[-1] - times[0] >= 100.0
    assert any(isinstance(event, Paced) for event in rig.events)


async def test_limits_may_be_told_in_a_header_each(clock: ManualClock) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.json_response({"success": True, "result": {"quota": 5, "quota_usage": 1}})
        response.headers.add("Ratelimit", '"default";r=900;t=200')
        response.headers.add("Ratelimit", '"burst";r=0;t=30')
        return response

    async with Service(handler) as service, service.client(clock=clock) as dex:
        await dex.quota.get()
        await dex.quota.get()
    assert clock.slept == [30.0]


async def test_what_is_left_near_the_end_of_a_limit_is_spread_out(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(rate_limit=1200, rate_window=300.0), retry=PATIENT)
    await rig.dex.quota.get()
    rig.sandbox.consume_rate_limit(1149)
    for _ in range(11):
        await rig.dex.quota.get()
    times = [request.at for request in rig.sandbox.requests][2:]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    # 49 are left for 300 s.
    assert all(gap == pytest.approx(300 / 49, rel=0.05) for gap in gaps)


async def test_a_cancelled_wait_gives_its_place_back(rig: Rig) -> None:
    class Hang(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(3600)

    limit = RateLimit(requests=1, seconds=100.0)
    clock = Hang()
    await rig.start()
    dex = rig.client(clock=clock, rate_limit=limit)
    await dex.quota.get()
    waiting = asyncio.create_task(dex.quota.get())
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    clock.advance(100.0)
    await dex.quota.get()
    assert rig.made("get_quota") == 2


def test_a_place_that_is_overdue_counts_from_when_it_goes_out() -> None:
    limit = RateLimit(requests=2, seconds=10.0, per_second=WIDE)
    pacer = Pacer(Window())
    places = [Place(limit) for _ in range(4)]
    pacer.pause(100.0)
    assert [pacer.ask(place, 0.0) for place in places] == [100.0, 100.0, 110.0, 110.0]
    # All of them wake late, and at once: only two may go.
    assert [pacer.ask(place, 200.0) for place in places] == [200.0, 200.0, 210.0, 210.0]
    assert [pacer.ask(place, 210.0) for place in places[2:]] == [210.0, 210.0]


def test_pacers_are_shared_by_token_origin_and_clock() -> None:
    clock, other_clock = ManualClock(), ManualClock()
    one = pacer_for(clock, "https://a.example", "digest")
    assert pacer_for(clock, "https://a.example", "digest") is one
    assert pacer_for(clock, "https://a.example", "other digest") is not one
    assert pacer_for(clock, "https://b.example", "digest") is not one
    assert pacer_for(other_clock, "https://a.example", "digest") is not one


def test_threads_share_one_window() -> None:
    limit = RateLimit(requests=100, seconds=1e9, per_second=WIDE)
    pacer = Pacer(Window())
    answers: list[float] = []

    def ask() -> None:
        for _ in range(50):
            answers.append(pacer.ask(Place(limit), 0.0))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answer == 0.0 for answer in answers) == 100


async def test_tokens_of_one_process_share_the_limit_of_the_address(clock: ManualClock) -> None:
    # Pure: two pacers at one origin.
    limit = RateLimit(per_second=5)
    one, other = (pacer_for(clock, "https://c.example", digest) for digest in ("one", "other"))
    asked = [pacer.ask(Place(limit), 0.0) for pacer in (one, other) for _ in range(5)]
    assert asked == [0.0] * 5 + [1.0] * 5


async def test_the_limit_is_the_services_by_default() -> None:
    assert (RateLimit().requests, RateLimit().seconds, RateLimit().per_second) == (1200, 300.0, 200)
    assert DexClient(api_token="t", account_id="0" * 32)._session.settings.rate_limit == RateLimit()


async def test_the_wait_for_other_calls_is_within_the_budget(rig: Rig) -> None:
    await rig.start(retry=RetryPolicy(total_seconds=0.2, attempt_seconds=60.0))
    holder = rig.dex.with_retry(RetryPolicy(attempts=1, attempt_seconds=60.0))
    rig.sandbox.faults.add(Fault.silence(), on="list_devices", times=None)
    holding = [asyncio.ensure_future(holder.devices.list()._all()) for _ in range(MAX_CALLS_AT_ONCE)]
    while rig.made("list_devices") < MAX_CALLS_AT_ONCE:
        await asyncio.sleep(0.01)
    with pytest.raises(TransportTimeoutError, match="too many other calls were in progress") as caught:
        await rig.dex.commands.create(rig.requests(1))
    assert not caught.value.sent
    assert rig.made("create_commands") == 0
    for task in holding:
        task.cancel()
    await asyncio.gather(*holding, return_exceptions=True)


async def test_no_place_is_left_behind_by_a_cancelled_call(rig: Rig) -> None:
    limit = RateLimit(requests=1, seconds=1e6, per_second=WIDE)
    await rig.start(rate_limit=limit, retry=RetryPolicy(total_seconds=1e9))
    await rig.dex.quota.get()

    waiting = [asyncio.ensure_future(rig.dex.quota.get()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert rig.dex._session._pacer._token._planned == []
