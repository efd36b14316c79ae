"""Creating for many targets while a fifth of the POSTs, and of the looks at the list, go wrong."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.case import Case, Metric, Params, Result

TARGETS = 2_000
CONCURRENCY = 4
PER_POST = 10
FAULT_RATE = 0.2
LIST_LAG = 5.0

SPEED = 20.0
"""How fast dexcmd's storm goes by its scaled clock.  CPU time counts as many times as long, hence no more."""

MAX_SPEED = 100.0
"""A smaller storm needs less CPU, and may go as fast as this."""

NOTES = """\
The service is dexcmd's sandbox, without a rate limit, in the process of the client; a new command shows in its list
after 5 s. Struck by one of 16 kinds of fault are 20 % of the POSTs and of the list requests. *Doubled* are targets that
hold more than one command; *lost* are commands that exist and that the caller was not told of, and requests that ended
in neither a command nor an error; *errors* are requests for which the caller got an error. The official client is
driven with its defaults (`max_retries=2`): batches of 10 by `dex.commands.create`, and the same concurrency."""


class _Storm:
    """A service, the faults that strike it, and what is asked of it.  Held by the process that measures."""

    def __init__(self, params: Params, speed: float) -> None:
        from dexcmd.clock import ScaledClock
        from dexcmd.sandbox import Behaviour, Sandbox

        # Each retry is a warning, of which nobody wants to read hundreds.
        logging.disable(logging.WARNING)
        self.clock = ScaledClock(speed)
        behaviour = Behaviour.instant(rate_limit=None, list_lag=LIST_LAG, ineligible_share=0.0, disconnected_share=0.0)
        self.sandbox = Sandbox(
            params["targets"], clock=self.clock, behaviour=behaviour, quota=10 * params["targets"], seed=params["round"]
        )
        self.rules = _strike(self.sandbox, params["round"])
        self.devices = self.sandbox.state.devices

    async def run(self, create: Callable[[], Awaitable[tuple[set[str], Mapping[Any, bool], set[Any]]]]) -> Result:
        """Let a client create; return what came of it.

        `create` returns the ids that the caller was told of, for each target whether there was one for it, and the
        targets for which there was an error.
        """
        from benchmarks.tally import tally

        began = self.clock.monotonic()
        told, asked, failed = await create()
        seconds = self.clock.monotonic() - began
        held = {
            command.id: (command.device.device_id, command.device.registration_id)
            for command in self.sandbox.state.commands.values()
        }
        requests = self.sandbox.requests
        return {
            **tally(held, told, failed, asked),
            "struck": self.rules[0].hits,
            "posts": sum(request.method == "POST" for request in requests),
            "requests": len(requests),
            "seconds": seconds,
        }


def _strike(sandbox: Any, seed: int) -> Sequence[Any]:
    """Add the rules for the POSTs and for the list; return both."""
    from dexcmd.sandbox import Fault

    statuses = (500, 502, 503, 524)
    either = (False, True)
    answers = [Fault.cut(), Fault.garbage(), Fault.null_result(), Fault.rate_limited(2)]
    posts = [
        *[Fault.error(status, processed=processed) for status in statuses for processed in either],
        *[Fault.drop(processed=processed) for processed in either],
        *[Fault.html(processed=processed) for processed in either],
        *answers,
    ]
    lists = [*[Fault.error(status) for status in statuses], Fault.drop(), Fault.html(), *answers]
    return [
        sandbox.faults.add_random(rate=FAULT_RATE, mix=posts, seed=seed, on="create_commands"),
        sandbox.faults.add_random(rate=FAULT_RATE, mix=lists, seed=seed + 1, on="list_commands"),
    ]


def _dexcmd(params: Params) -> Result:
    from dexcmd import CommandRequest, DexClient, Pcap

    storm = _Storm(params, params["speed"])
    sandbox = storm.sandbox
    requests = [
        CommandRequest(
            device_id=device.device_id,
            registration_id=device.registration_id,
            user_email=device.user_email,
            args=Pcap(),
        )
        for device in storm.devices
    ]

    async def create() -> tuple[set[str], Mapping[Any, bool], set[Any]]:
        async with DexClient(
            api_token=sandbox.token, account_id=sandbox.account_id, base_url=sandbox.base_url, clock=storm.clock
        ) as dex:
            bulk = await dex.commands.create_many(requests, concurrency=CONCURRENCY)
        outcomes = {(each.request.device_id, each.request.registration_id): each for each in bulk.outcomes}
        told = {each.command_id for each in bulk.outcomes if each.command_id is not None}
        asked = {target: each.command_id is not None for target, each in outcomes.items()}
        return told, asked, {target for target, each in outcomes.items() if each.error is not None}

    async def run() -> Result:
        async with sandbox:
            return await storm.run(create)

    return asyncio.run(run())


def _official(params: Params) -> Result:
    from cloudflare import AsyncCloudflare

    storm = _Storm(params, speed=1.0)
    sandbox = storm.sandbox
    told: set[str] = set()
    asked = {(device.device_id, device.registration_id): False for device in storm.devices}
    failed: set[tuple[str, str]] = set()

    async def create_batch(client: AsyncCloudflare, batch: Sequence[Any]) -> None:
        commands = [
            {
                "device_id": device.device_id,
                "registration_id": device.registration_id,
                "user_email": device.user_email,
                "type": "pcap",
            }
            for device in batch
        ]
        try:
            answer = await client.zero_trust.dex.commands.create(account_id=sandbox.account_id, commands=commands)
        except Exception:  # noqa: BLE001 - AttributeError is among what it raises
            failed.update((device.device_id, device.registration_id) for device in batch)
            return
        for row in (answer and answer.commands) or ():
            told.add(row.id)
            asked[row.device_id, row.registration_id] = True

    async def create() -> tuple[set[str], Mapping[Any, bool], set[Any]]:
        batches = iter([storm.devices[start : start + PER_POST] for start in range(0, len(asked), PER_POST)])

        async def work() -> None:
            for batch in batches:
                await create_batch(client, batch)

        async with AsyncCloudflare(api_token=sandbox.token, base_url=sandbox.base_url) as client:
            await asyncio.gather(*[work() for _ in range(CONCURRENCY)])
        return told, asked, failed

    async def run() -> Result:
        async with sandbox:
            return await storm.run(create)

    return asyncio.run(run())


@contextmanager
def _prepare(scale: float) -> Iterator[Params]:
    yield {"targets": max(PER_POST, round(TARGETS * scale)), "speed": min(SPEED / scale, MAX_SPEED)}


def _notes(params: Params) -> str:
    return (
        f"{params['targets']:,} targets. {NOTES} Its time is real; dexcmd's is by a clock {params['speed']:g} times"
        " as fast, so that settling (120 s) takes no minutes: CPU counts that many times as well."
    )


def _check(runs: Mapping[str, Sequence[Result]]) -> list[str]:
    """Nothing that dexcmd does may be doubled or lost, nor made up, in any round."""
    return [
        f"dexcmd, round {number}: {figures[key]:.0f} {what}"
        for number, figures in enumerate(runs["dexcmd"], start=1)
        for key, what in (("doubled", "doubled"), ("lost", "lost"), ("false", "told of that do not exist"))
        if figures[key]
    ]


CASE = Case(
    name="storm",
    title="creating while a fifth of the answers go wrong",
    notes=_notes,
    rounds=3,
    metrics=(
        Metric("held", "commands", 0),
        Metric("doubled", "doubled", 0),
        Metric("lost", "lost", 0),
        Metric("failed", "errors", 0),
        Metric("struck", "POSTs struck", 0),
        Metric("posts", "POSTs", 0, compared=True),
        Metric("requests", "requests", 0, compared=True),
        Metric("seconds", "time s", 1, compared=True),
    ),
    peer="cloudflare",
    contenders={"dexcmd": _dexcmd, "cloudflare": _official},
    prepare=_prepare,
    check=_check,
)
