"""What an application of a user looks like; type checkers read it in strict mode, and a test runs it."""

import logging
from pathlib import Path

from dexcmd import (
    CaptureResult,
    CommandRequest,
    DexClient,
    DexError,
    NotFoundError,
    Pcap,
    RateLimit,
    RetryPolicy,
    SpeedTest,
    WarpDiag,
)
from dexcmd.events import Event, Retrying

logger = logging.getLogger("sample")


def watch(event: Event) -> None:
    """Feed a metric."""
    if isinstance(event, Retrying):
        logger.info("attempt %d failed, retrying in %.1f s", event.attempt, event.wait)


async def capture_office(search: str, folder: Path) -> dict[str, int]:
    """Capture every eligible device that a search finds, and return how many ended in which state."""
    counts: dict[str, int] = {}
    async with DexClient(
        on_event=watch,
        retry=RetryPolicy(attempts=8, total_seconds=600),
        rate_limit=RateLimit(requests=600, seconds=300),
    ) as dex:
        quota = await dex.quota.get()
        requests: list[CommandRequest] = []
        async for device in dex.devices.list(search=search):
            if device.eligible:
                requests.append(device.request(Pcap(time_limit_min=2)))
        if quota.remaining is not None and quota.remaining < len(requests):
            raise RuntimeError(f"{len(requests)} targets, and a quota of {quota.remaining}")
        async with dex.capture(requests, into=folder) as results:
            async for result in results:
                counts[result.state] = counts.get(result.state, 0) + 1
                explain(result)
    return counts


def explain(result: CaptureResult) -> None:
    """Log what became of a target."""
    if result.artifact is not None:
        logger.info("%s: %d bytes", result.artifact.path, result.artifact.size)
    else:
        logger.warning("%s: %s: %s", result.request.device_id, result.state, result.error)


async def step_by_step(dex: DexClient, folder: Path) -> list[Path]:
    """Do the same by hand: create, follow, save."""
    devices = await dex.devices.list()
    args: list[WarpDiag | SpeedTest] = [WarpDiag(), SpeedTest(interfaces=["default"])]
    bulk = await dex.commands.create_many([device.request(kind) for device in devices[:2] for kind in args])
    paths: list[Path] = []
    async with dex.commands.follow(bulk.commands, timeout=600) as ended:
        async for command in ended:
            if not command.succeeded:
                continue
            try:
                saved = await dex.downloads.save(command, folder)
            except NotFoundError:
                continue
            except DexError as error:
                logger.warning("%s", error)
                continue
            paths.append(saved.path)
    return paths


async def measure(dex: DexClient, command_id: str) -> int:
    """Stream an artifact and return how many bytes it has."""
    command = await dex.commands.wait(command_id)
    size = 0
    async with dex.downloads.open(command) as artifact:
        async for chunk in artifact:
            size += len(chunk)
    return size
