"""One large artifact, to disk."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Metric, Params, Result
from benchmarks.usage import MIB, peak_mib

SIZE = 1024 * MIB
COMMAND_ID = "00000000-0000-4000-8000-000000000000"
FILENAME = f"{COMMAND_ID}.zip"
CURL = shutil.which("curl")
WATCH_SECONDS = 0.01

NOTES = """\
dexcmd checks the length and each checksum in the zip, computes a sha256 and syncs the file to disk before it gives it
its name; the others do none of this, save "synced" as it says. Where the folder is in memory (set `TMPDIR`), syncing
costs nothing. CPU is that of the client in seconds; "service busy" that of the canned service, in per cent of the
time."""


def _dexcmd(params: Params) -> Result:
    from dexcmd import DexClient

    async def download(folder: Path) -> None:
        async with DexClient(
            api_token=params["token"], account_id=params["account_id"], base_url=params["base_url"]
        ) as dex:
            await dex.quota.get()
            measured.begin()
            await dex.downloads.save(None, folder, command_id=COMMAND_ID, filename=FILENAME)
            measured.end()

    measured = _Measurement(params)
    with _folder(params) as folder:
        asyncio.run(download(folder))
    return measured.result()


def _official(save: Callable[[Any, dict[str, str], Path], Any]) -> Callable[[Params], Result]:
    def contender(params: Params) -> Result:
        from cloudflare import AsyncCloudflare

        async def download(path: Path) -> None:
            async with AsyncCloudflare(api_token=params["token"], base_url=params["base_url"]) as client:
                commands = client.zero_trust.dex.commands
                await commands.quota.get(account_id=params["account_id"])
                measured.begin()
                await save(commands.downloads, {"account_id": params["account_id"], "command_id": COMMAND_ID}, path)
                measured.end()

        measured = _Measurement(params)
        with _folder(params) as folder:
            asyncio.run(download(folder / FILENAME))
        return measured.result()

    return contender


async def _streamed(downloads: Any, where: dict[str, str], path: Path) -> None:
    async with downloads.with_streaming_response.get(FILENAME, **where) as response:
        await response.stream_to_file(path)


async def _whole(downloads: Any, where: dict[str, str], path: Path) -> None:
    await (await downloads.get(FILENAME, **where)).write_to_file(path)


def _curl(synced: bool) -> Callable[[Params], Result]:
    def contender(params: Params) -> Result:
        url = f"{params['base_url']}/accounts/{params['account_id']}/dex/commands/{COMMAND_ID}/downloads/{FILENAME}"
        measured = _Measurement(params)
        with _folder(params) as folder:
            path = folder / FILENAME
            measured.begin()
            command = [CURL, "--silent", "--fail", "-H", f"Authorization: Bearer {params['token']}", "-o", path, url]
            with subprocess.Popen(command) as curl:
                peak = _watch(curl)
            if curl.returncode:
                raise subprocess.CalledProcessError(curl.returncode, command)
            if synced:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            measured.end()
        return {**measured.result(), "peak": peak}

    return contender


def _watch(process: subprocess.Popen[bytes]) -> float:
    """Return the peak memory of a process, once it has ended."""
    peak = 0.0
    while process.poll() is None:
        try:
            peak = peak_mib(process.pid)
        except ProcessLookupError:
            break
        time.sleep(WATCH_SECONDS)
    return peak


class _Measurement:
    """Time and CPU of what lies between `begin` and `end`, children included."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self._before = self._after = (0.0, 0.0, 0.0)

    def begin(self) -> None:
        # What others have written must not be on the way to the disk meanwhile.
        os.sync()
        self._before = self._now()

    def end(self) -> None:
        self._after = self._now()

    def _now(self) -> tuple[float, float, float]:
        from benchmarks.canned import service_cpu

        served = service_cpu(self._params["base_url"])
        times = os.times()
        return time.perf_counter(), times.user + times.system + times.children_user + times.children_system, served

    def result(self) -> Result:
        seconds, cpu, served = (after - before for before, after in zip(self._before, self._after, strict=True))
        return {
            "seconds": seconds,
            "rate": self._params["size"] / MIB / seconds,
            "cpu": cpu,
            "peak": peak_mib(),
            "busy": served / seconds * 100,
        }


@contextmanager
def _folder(params: Params) -> Iterator[Path]:
    """Give a folder for what is saved, which must be one whole file in the end."""
    with tempfile.TemporaryDirectory(dir=params["folder"]) as name:
        yield Path(name)
        sizes = [path.stat().st_size for path in Path(name).iterdir()]
        if sizes != [params["size"]]:
            raise RuntimeError(f"saved {sizes} bytes instead of {params['size']}")


@contextmanager
def _prepare(scale: float) -> Iterator[Params]:
    from benchmarks.artifact import write_artifact
    from benchmarks.canned import ACCOUNT_ID, TOKEN, canned_service

    with tempfile.TemporaryDirectory(prefix="dexcmd-benchmarks-") as folder:
        artifact = Path(folder, "artifact.zip")
        write_artifact(artifact, max(MIB, round(SIZE * scale)))
        with canned_service(file=artifact) as base_url:
            yield {
                "base_url": base_url,
                "token": TOKEN,
                "account_id": ACCOUNT_ID,
                "folder": folder,
                "size": artifact.stat().st_size,
            }


CASE = Case(
    name="download",
    title="one artifact, saved to disk",
    notes=lambda params: f"A zip of {params['size'] / MIB:,.0f} MiB. {NOTES}",
    rounds=3,
    metrics=(
        Metric("seconds", "time s", 2, compared=True),
        Metric("rate", "MiB/s", 0),
        Metric("cpu", "CPU s", 2, compared=True),
        Metric("peak", "peak MiB", 1, compared=True),
        Metric("busy", "service busy %", 0),
    ),
    peer="curl" if CURL else "cloudflare, streamed",
    contenders={
        "dexcmd": _dexcmd,
        "cloudflare, streamed": _official(_streamed),
        "cloudflare, whole": _official(_whole),
        **({"curl": _curl(synced=False), "curl, synced": _curl(synced=True)} if CURL else {}),
    },
    prepare=_prepare,
)
