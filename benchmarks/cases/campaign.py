"""A campaign over many devices, from its plan to its end, against a service that takes no time: over 100,000."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Metric, Params, Result
from benchmarks.limits import TARGETS, over_limits
from benchmarks.shared_clock import SharedClock
from benchmarks.usage import peak_mib

SUCCESS_IN = 10
"""One command of so many has an artifact."""

MAX_SPEED = 20.0
"""A smaller campaign takes hardly less time, nearly all of which lies between polls, so its clock goes faster."""

NOTES = """\
{devices:,} devices, listed, planned, a command created for each, followed, and one in ten with an artifact that is
fetched; the others fail.  The first half is done by a run that is stopped, the second by one that goes on: "resumed" is
the time from entering `Campaign` to that one's first request. "Grown" is what the memory of the process has grown by,
at its peak, from before the plan.  "(capture)" does the same with `dex.capture`: no plan, no journal, nothing that
survives it. The rate limit is off in both.{hurry}"""


def _dexcmd(params: Params) -> Result:
    from dexcmd import Campaign, DexClient, Pcap
    from dexcmd.campaign.events import CommandEnded, CommandOverdue
    from dexcmd.campaign.spec import AccountSpec, ArtifactsSpec, CampaignSpec, Pace
    from dexcmd.events import RequestSent

    clock = SharedClock.of(params)
    requests = 0
    first: list[float] = []

    def note(event: object) -> None:
        nonlocal requests
        if isinstance(event, RequestSent):
            requests += 1
            if not first:
                first.append(time.perf_counter())

    def client(account: AccountSpec) -> DexClient:
        return DexClient(
            api_token=params["token"],
            account_id=account.account_id,
            base_url=params["base_url"],
            rate_limit=None,
            on_event=note,
            clock=clock,
        )

    async def run(folder: Path) -> Result:
        nonlocal first
        spec = CampaignSpec(
            name="large",
            command=Pcap(),
            accounts=(AccountSpec(account_id=params["account_id"], name="main"),),
            artifacts=ArtifactsSpec(into=str(folder / "captures")),
            # More than usual: the service answers at once, and then only the time between polls would be measured.
            pace=Pace(creates=8, in_flight=10_000),
        )
        journal = folder / "journal.db"
        ended = 0
        async with Campaign(spec, journal=journal, client=client, clock=clock) as campaign:

            def count(event: object) -> None:
                nonlocal ended
                ended += isinstance(event, CommandEnded | CommandOverdue)
                if ended >= params["devices"] // 2:
                    campaign.stop()

            await campaign.run(on_event=count)
        first = []
        entered = time.perf_counter()
        async with Campaign("large", journal=journal, client=client, clock=clock) as campaign:
            status = await campaign.run()
        saved, failed = status.count("saved"), status.count("failed")
        if saved + failed != params["devices"] or saved * SUCCESS_IN < params["devices"]:
            raise RuntimeError(f"{saved} saved and {failed} failed of {params['devices']}")
        return {
            "targets": params["devices"],
            "resumed": first[0] - entered,
            "requests": requests / params["devices"],
        }

    return _measured(run)


def _capture(params: Params) -> Result:
    from dexcmd import DexClient, Pcap

    async def run(folder: Path) -> Result:
        async with DexClient(
            api_token=params["token"],
            account_id=params["account_id"],
            base_url=params["base_url"],
            rate_limit=None,
            clock=SharedClock.of(params),
        ) as dex:
            requests = [device.request(Pcap()) async for device in dex.devices.list()]
            done = 0
            async with dex.capture(
                requests, into=folder / "captures", create_concurrency=8, most_in_flight=10_000
            ) as results:
                async for _ in results:
                    done += 1
        if done != params["devices"]:
            raise RuntimeError(f"{done} results for {params['devices']} devices")
        return {}

    return _measured(run)


def _measured(run: Callable[[Path], Coroutine[Any, Any, Result]]) -> Result:
    # Imported before it is measured.
    import dexcmd.campaign.campaign
    import dexcmd.capture  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        before, cpu, began = peak_mib(), time.process_time(), time.perf_counter()
        result = asyncio.run(run(Path(folder)))
        return {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - cpu,
            "grown": peak_mib() - before,
            **result,
        }


def _notes(params: Params) -> str:
    speed = SharedClock.of(params).speed
    hurry = "" if speed == 1 else f" Time between polls goes {speed:g} times as fast, so the time says nothing."
    return NOTES.format(devices=params["devices"], hurry=hurry)


def case(name: str, devices: int, rounds: int) -> Case:
    """Return the case for a campaign of so many devices."""

    @contextmanager
    def prepare(scale: float) -> Iterator[Params]:
        from benchmarks.canned_campaign import campaign_service

        speed = min(max(1.0, 1 / scale), MAX_SPEED)
        scaled = max(1000, round(devices * scale / 1000) * 1000)
        with campaign_service(devices=scaled, success_in=SUCCESS_IN, speed=speed) as params:
            yield params

    return Case(
        name=name,
        title=f"a campaign of {devices:,} devices",
        notes=_notes,
        rounds=rounds,
        metrics=(
            Metric("seconds", "time s", 1, compared=True),
            Metric("cpu", "CPU s", 1, compared=True),
            Metric("grown", "grown MiB", 0),
            Metric("resumed", "resumed s", 2),
            Metric("requests", "requests/device", 3),
        ),
        peer="(capture)",
        contenders={"dexcmd": _dexcmd, "(capture)": _capture},
        prepare=prepare,
        check=lambda runs: over_limits(runs, "resumed"),
    )


CASE = case("campaign", TARGETS, rounds=1)
