"""Many small artifacts, to disk, some at a time."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
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

FILES = 2_000
SIZE = MIB // 4
CONCURRENCY = 16


def _command_ids(params: Params) -> list[str]:
    return [f"{number:08}-0000-4000-8000-000000000000" for number in range(params["files"])]


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
                    async with dex.downloads.save_many(
                        _command_ids(params), folder, concurrency=CONCURRENCY, **options
                    ) as results:
                        async for result in results:
                            if result.error is not None:
                                raise result.error
                    measured.end()
            return late.milliseconds

        measured = Measurement(params)
        with download_folder(params) as folder:
            late = asyncio.run(download(folder))
        return {**measured.result(), "late": late}

    return contender


def _official(params: Params) -> Result:
    trust(params)
    from cloudflare import AsyncCloudflare

    async def download(folder: Path) -> None:
        async with AsyncCloudflare(api_token=params["token"], base_url=params["base_url"]) as client:
            commands = client.zero_trust.dex.commands
            turns = asyncio.Semaphore(CONCURRENCY)

            async def save(command_id: str) -> None:
                filename = f"{command_id}.zip"
                where = {"account_id": params["account_id"], "command_id": command_id}
                async with turns, commands.downloads.with_streaming_response.get(filename, **where) as response:
                    await response.stream_to_file(folder / filename)

            await commands.quota.get(account_id=params["account_id"])
            measured.begin()
            await asyncio.gather(*map(save, _command_ids(params)))
            measured.end()

    measured = Measurement(params)
    with download_folder(params) as folder:
        asyncio.run(download(folder))
    return measured.result()


def _curl(*, synced: bool) -> Callable[[Params], Result]:
    def contender(params: Params) -> Result:
        measured = Measurement(params)
        with download_folder(params) as folder, NamedTemporaryFile("w", dir=params["folder"]) as config:
            for command_id in _command_ids(params):
                config.write(f'url = "{artifact_url(params, command_id)}"\noutput = "{folder}/{command_id}.zip"\n')
            config.flush()
            measured.begin()
            peak = run_curl(params, ["--parallel", "--parallel-max", str(CONCURRENCY), "--config", config.name])
            if synced:
                sync_files(folder)
            measured.end()
        return {**measured.result(), "peak": peak}

    return contender


def _notes(params: Params) -> str:
    return (
        f"{params['files']:,} zips of {params['size'] // 1024} KiB, {CONCURRENCY} at a time, sent by"
        f" {params['service']}. {NOTES}"
    )


def case(*, tls: bool) -> Case:
    """Return the case, in the clear or over TLS."""

    @contextmanager
    def prepare(scale: float) -> Iterator[Params]:
        from benchmarks.file_service import file_service

        with file_service(SIZE, tls=tls) as params:
            yield {**params, "files": max(CONCURRENCY, round(FILES * scale))}

    return Case(
        name="many-downloads-tls" if tls else "many-downloads",
        title="many small artifacts, saved to disk, over TLS" if tls else "many small artifacts, saved to disk",
        notes=_notes,
        rounds=5,
        metrics=METRICS,
        peer=PEER,
        contenders={
            **{row: _dexcmd(row, options) for row, options in DEXCMD.items()},
            "cloudflare, streamed": _official,
            **({"curl": _curl(synced=False), "curl, synced": _curl(synced=True)} if CURL else {}),
        },
        prepare=prepare,
    )


CASE = case(tls=False)
