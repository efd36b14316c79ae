"""1,000 commands that take from one to five minutes each, followed to their ends."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from benchmarks.case import Case, Metric, Params, Result
from benchmarks.shared_clock import SharedClock
from benchmarks.usage import cpu_seconds

COMMANDS = 1_000
LEAST, MOST = 60.0, 300.0
"""Seconds that a command takes."""

SPEED = 30.0
MAX_SPEED = 200.0
"""With fewer commands, which take as long, the clock may go as fast as this."""

OFTEN, RARELY = 10.0, 60.0
"""Seconds between the polls of the official client."""

ONE_BY_ONE_IN = 20
"""One command of so many is polled for by itself: all of them are more than a client gets done in the time."""

ENDED = frozenset({"SUCCESS", "FAILED"})

NOTES = """\
{commands:,} commands, created by the client itself, which end after one to five minutes each. Seconds are those of a
clock that goes {speed:g} times as fast as the machine's. Requests are those after the last POST; "late" is how long
after its end a command was told of, on average and at the most. dexcmd is `follow` with all its defaults, the rate
limit included. The official client has nothing to follow with. "cloudflare" walks the list, from the first of the
commands on and as far as needed, every {often:g} s and "each minute" every {rarely:g} s; "one by one" asks for one
command of {one_in} by its device every {often:g} s, as there is no call for a single command. "Service busy" is the CPU
of the service in per cent of the time."""

Ends = AsyncIterator[tuple[str, datetime]]
"""The id and the end of each command, as it is noticed."""


async def _by_follow(dex: Any, ids: list[str]) -> Ends:
    async with dex.commands.follow(ids) as commands:
        async for command in commands:
            yield command.id, command.completed_date


async def _by_waits(dex: Any, ids: list[str]) -> Ends:
    for end in asyncio.as_completed([dex.commands.wait(command_id) for command_id in ids]):
        command = await end
        yield command.id, command.completed_date


def _dexcmd(ends: Callable[[Any, list[str]], Ends]) -> Callable[[Params], Result]:
    async def run(params: Params) -> Result:
        from benchmarks.creating import command_requests
        from dexcmd import DexClient

        async with DexClient(
            api_token=params["token"],
            account_id=params["account_id"],
            base_url=params["base_url"],
            clock=SharedClock.of(params),
        ) as dex:
            bulk = await dex.commands.create_many(command_requests(params["commands"]))
            ids = [outcome.command_id for outcome in bulk.outcomes]
            return await _measure(params, len(ids), ends(dex, ids))

    return lambda params: asyncio.run(run(params))


def _official(look: Callable[..., Ends], every: float, one_in: int = 1) -> Callable[[Params], Result]:
    async def run(params: Params) -> Result:
        from cloudflare import AsyncCloudflare

        from benchmarks.creating import batches, create_officially

        clock = SharedClock.of(params)
        since = clock.now()
        async with AsyncCloudflare(api_token=params["token"], base_url=params["base_url"]) as client:

            async def page(number: int, **filters: str) -> list[dict[str, Any]]:
                answer = await client.zero_trust.dex.commands.list(
                    account_id=params["account_id"], page=number, per_page=50, from_=since, **filters
                )
                return answer.result.commands

            posts = batches(params["commands"])
            devices = [command["device_id"] for commands in posts for command in commands][::one_in]
            await create_officially(client, params["account_id"], posts)
            return await _measure(params, len(devices), look(page, devices, clock, every))

    return lambda params: asyncio.run(run(params))


async def _by_the_list(page: Any, devices: list[str], clock: SharedClock, every: float) -> Ends:
    left = set(devices)
    while left:
        number, missing = 1, set(left)
        while missing and (rows := await page(number)):
            for row in rows:
                device = row["device_id"]
                missing.discard(device)
                if device in left and row["status"] in ENDED:
                    left.remove(device)
                    yield row["id"], datetime.fromisoformat(row["completed_date"])
            number += 1
        if left:
            await clock.sleep(every)


async def _one_by_one(page: Any, devices: list[str], clock: SharedClock, every: float) -> Ends:
    async def follow(device: str) -> tuple[str, datetime]:
        while (row := (await page(1, device_id=device))[0])["status"] not in ENDED:
            await clock.sleep(every)
        return row["id"], datetime.fromisoformat(row["completed_date"])

    for end in asyncio.as_completed([follow(device) for device in devices]):
        yield await end


async def _measure(params: Params, commands: int, ends: Ends) -> Result:
    from benchmarks.canned_campaign import requests_made

    clock, before = SharedClock.of(params), requests_made(params)
    served, cpu, began = cpu_seconds(params["service_pid"]), time.process_time(), clock.monotonic()
    late = {command: (clock.now() - end).total_seconds() async for command, end in ends}
    seconds, cpu = clock.monotonic() - began, time.process_time() - cpu
    served = cpu_seconds(params["service_pid"]) - served
    if len(late) != commands:
        raise RuntimeError(f"{len(late)} of {commands} commands were told of")
    requests = requests_made(params) - before
    return {
        "requests": requests,
        "each": requests / commands,
        "late": statistics.fmean(late.values()),
        "latest": max(late.values()),
        "cpu": cpu / commands * 1e3,
        "seconds": seconds,
        "busy": served / seconds * clock.speed * 100,
    }


@contextmanager
def _prepare(scale: float) -> Iterator[Params]:
    from benchmarks.canned_campaign import campaign_service

    commands = max(2 * ONE_BY_ONE_IN, round(COMMANDS * scale))
    speed = min(max(SPEED, SPEED / scale), MAX_SPEED)
    with campaign_service(least=LEAST, most=MOST, speed=speed) as params:
        yield {**params, "commands": commands}


def _notes(params: Params) -> str:
    speed = SharedClock.of(params).speed
    return NOTES.format(commands=params["commands"], speed=speed, often=OFTEN, rarely=RARELY, one_in=ONE_BY_ONE_IN)


CASE = Case(
    name="follow",
    title="following many commands to their ends",
    notes=_notes,
    rounds=1,
    metrics=(
        Metric("requests", "requests", 0),
        Metric("each", "requests/command", 3, compared=True),
        Metric("late", "late s", 1, compared=True),
        Metric("latest", "latest s", 0),
        Metric("cpu", "CPU ms/command", 2, compared=True),
        Metric("seconds", "time s", 0),
        Metric("busy", "service busy %", 0),
    ),
    peer="cloudflare",
    contenders={
        "dexcmd": _dexcmd(_by_follow),
        "dexcmd, waits": _dexcmd(_by_waits),
        "cloudflare": _official(_by_the_list, OFTEN),
        "cloudflare, each minute": _official(_by_the_list, RARELY),
        "cloudflare, one by one": _official(_one_by_one, OFTEN, ONE_BY_ONE_IN),
    },
    prepare=_prepare,
)
