"""Creating commands for 10,000 targets, ten a POST, against a service that takes all of them at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from benchmarks.case import Case, Metric, Params, Result
from benchmarks.usage import cpu_seconds, peak_mib

__all__ = ["create_with_dexcmd"]

TARGETS = 10_000

NOTES = """\
{targets:,} targets, ten a POST and four POSTs at a time, after the client's first call. dexcmd is `create_many`, which
keeps an outcome for each target and asks for the quota first; its rate limit is off. The official client is given its
POSTs by four workers, which keep the ids. "(bare aiohttp)" sends bodies that were encoded before, and reads answers
without parsing them. CPU is the client's; "grown" is what the memory of the process has grown by at its peak, without
what was made before and what importing left free; "service busy" is the CPU of the service in per cent of the time: it
is not what is measured unless near 100."""


def create_with_dexcmd(params: Params) -> Result:
    """Create for `targets` of the params, and return what that takes."""
    from benchmarks.creating import CONCURRENCY, command_requests

    async def run() -> Result:
        from dexcmd import DexClient

        requests = command_requests(params["targets"])
        async with DexClient(
            api_token=params["token"], account_id=params["account_id"], base_url=params["base_url"], rate_limit=None
        ) as dex:

            async def create() -> int:
                bulk = await dex.commands.create_many(requests, concurrency=CONCURRENCY)
                return sum(outcome.state == "created" for outcome in bulk.outcomes)

            await dex.quota.get()
            return await _measure(params, create)

    return asyncio.run(run())


def _official(params: Params) -> Result:
    from cloudflare import AsyncCloudflare

    from benchmarks.creating import batches, create_officially

    async def run() -> Result:
        posts = batches(params["targets"])
        async with AsyncCloudflare(api_token=params["token"], base_url=params["base_url"]) as client:

            async def create() -> int:
                return len(await create_officially(client, params["account_id"], posts))

            await client.zero_trust.dex.commands.quota.get(account_id=params["account_id"])
            return await _measure(params, create)

    return asyncio.run(run())


def _bare(params: Params) -> Result:
    import json

    import aiohttp

    from benchmarks.creating import CONCURRENCY, batches

    async def run() -> Result:
        posts = batches(params["targets"])
        bodies = [json.dumps({"commands": commands}).encode() for commands in posts]
        url = f"{params['base_url']}/accounts/{params['account_id']}/dex/commands"

        async def work(left: Iterator[bytes], http: aiohttp.ClientSession) -> None:
            for body in left:
                async with http.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                    await response.read()
                    response.raise_for_status()

        async with aiohttp.ClientSession() as http:

            async def create() -> int:
                left = iter(bodies)
                await asyncio.gather(*[work(left, http) for _ in range(CONCURRENCY)])
                return sum(map(len, posts))

            async with http.get(f"{url}/quota") as response:
                await response.read()
            return await _measure(params, create)

    return asyncio.run(run())


async def _measure(params: Params, create: Callable[[], Awaitable[int]]) -> Result:
    from benchmarks.canned_campaign import requests_made

    targets, sent = params["targets"], requests_made(params)
    served, peak = cpu_seconds(params["service_pid"]), peak_mib()
    cpu, began = time.process_time(), time.perf_counter()
    created = await create()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    grown, served = peak_mib() - peak, cpu_seconds(params["service_pid"]) - served
    if created != targets:
        raise RuntimeError(f"{created} commands were created for {targets} targets")
    return {
        "seconds": seconds,
        "cpu": cpu,
        "each": cpu / targets * 1e6,
        "requests": requests_made(params) - sent,
        "grown": grown,
        "busy": served / seconds * 100,
    }


@contextmanager
def _prepare(scale: float) -> Iterator[Params]:
    from benchmarks.canned_campaign import campaign_service

    with campaign_service() as params:
        yield {**params, "targets": max(10, round(TARGETS * scale))}


CASE = Case(
    name="create",
    title="creating for many targets",
    notes=lambda params: NOTES.format(targets=params["targets"]),
    rounds=5,
    metrics=(
        Metric("seconds", "time s", 2, compared=True, spread=True),
        Metric("each", "CPU µs/target", 0, compared=True),
        Metric("requests", "requests", 0),
        Metric("grown", "grown MiB", 1),
        Metric("busy", "service busy %", 0),
    ),
    peer="cloudflare",
    contenders={"dexcmd": create_with_dexcmd, "cloudflare": _official, "(bare aiohttp)": _bare},
    prepare=_prepare,
)
