"""One large artifact, to disk."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Params, Result
from benchmarks.downloading import (
    CURL,
    DEXCMD,
    METRICS,
    NOTES,
    PEER,
    Measurement,
    artifact_url,
    download_folder,
    offer_speedups,
    run_curl,
    sync_files,
    trust,
)
from benchmarks.lateness import watching
from benchmarks.usage import MIB

SIZE = 1024 * MIB
COMMAND_ID = "00000000-0000-4000-8000-000000000000"
FILENAME = f"{COMMAND_ID}.zip"


def _dexcmd(row: str, options: Mapping[str, Any]) -> Callable[[Params], Result]:
    def contender(params: Params) -> Result:
        trust(params)
        offer_speedups(row)
        from dexcmd import DexClient

        async def download(folder: Path) -> float:
            async with DexClient(
                api_token=params["token"], account_id=params["account_id"], base_url=params["base_url"], rate_limit=None
            ) as dex:
                await dex.quota.get()
                async with watching() as late:
                    measured.begin()
                    await dex.downloads.save(None, folder, command_id=COMMAND_ID, filename=FILENAME, **options)
                    measured.end()
            return late.milliseconds

        measured = Measurement(params)
        with download_folder(params) as folder:
            late = asyncio.run(download(folder))
        return {**measured.result(), "late": late}

    return contender


def _official(save: Callable[[Any, dict[str, str], Path], Any]) -> Callable[[Params], Result]:
    def contender(params: Params) -> Result:
        trust(params)
        from cloudflare import AsyncCloudflare

        async def download(path: Path) -> None:
            async with AsyncCloudflare(api_token=params["token"], base_url=params["base_url"]) as client:
                commands = client.zero_trust.dex.commands
                await commands.quota.get(account_id=params["account_id"])
                measured.begin()
                await save(commands.downloads, {"account_id": params["account_id"], "command_id": COMMAND_ID}, path)
                measured.end()

        measured = Measurement(params)
        with download_folder(params) as folder:
            asyncio.run(download(folder / FILENAME))
        return measured.result()

    return contender


async def _streamed(downloads: Any, where: dict[str, str], path: Path) -> None:
    async with downloads.with_streaming_response.get(FILENAME, **where) as response:
        await response.stream_to_file(path)


async def _whole(downloads: Any, where: dict[str, str], path: Path) -> None:
    await (await downloads.get(FILENAME, **where)).write_to_file(path)


def _curl(*, synced: bool) -> Callable[[Params], Result]:
    def contender(params: Params) -> Result:
        measured = Measurement(params)
        with download_folder(params) as folder:
            measured.begin()
            peak = run_curl(params, ["-o", folder / FILENAME, artifact_url(params, COMMAND_ID)])
            if synced:
                sync_files(folder)
            measured.end()
        return {**measured.result(), "peak": peak}

    return contender


def case(*, tls: bool) -> Case:
    """Return the case, in the clear or over TLS."""

    @contextmanager
    def prepare(scale: float) -> Iterator[Params]:
        from benchmarks.file_service import file_service

        with file_service(max(MIB, round(SIZE * scale)), tls=tls) as params:
            yield params

    return Case(
        name="download-tls" if tls else "download",
        title="one artifact, saved to disk, over TLS" if tls else "one artifact, saved to disk",
        notes=lambda params: f"A zip of {params['size'] / MIB:,.0f} MiB, sent by {params['service']}. {NOTES}",
        rounds=5,
        metrics=METRICS,
        peer=PEER,
        contenders={
            **{row: _dexcmd(row, options) for row, options in DEXCMD.items()},
            "cloudflare, streamed": _official(_streamed),
            # It takes twice the artifact's size in memory, which is seen well enough in the clear.
            **({} if tls else {"cloudflare, whole": _official(_whole)}),
            **({"curl": _curl(synced=False), "curl, synced": _curl(synced=True)} if CURL else {}),
        },
        prepare=prepare,
    )


CASE = case(tls=False)
