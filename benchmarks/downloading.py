"""What the cases that download share: what is measured, where it is saved, and curl.

Nothing here is imported that only one of the contenders uses.
"""

import filecmp
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.case import Metric, Params, Result
from benchmarks.folders import empty_files
from benchmarks.usage import MIB, cpu_seconds, peak_mib, watched_peak_mib

__all__ = [
    "CURL",
    "DEXCMD",
    "METRICS",
    "NOTES",
    "PEER",
    "Measurement",
    "artifact_url",
    "download_folder",
    "offer_speedups",
    "run_curl",
    "sync_files",
    "trust",
]

CURL = shutil.which("curl")
PEER = "curl" if CURL else "cloudflare, streamed"

SPEEDUPS = "dexcmd, speedups"

DEXCMD: dict[str, dict[str, Any]] = {"dexcmd": {}, SPEEDUPS: {}, "dexcmd, size only": {"verify": "size"}}
"""The rows of dexcmd, and the options that each saves with."""

METRICS = (
    Metric("seconds", "time s", 2, compared=True, spread=True),
    Metric("rate", "MiB/s", 0),
    Metric("cpu", "CPU s", 2, compared=True),
    Metric("peak", "peak MiB", 1, compared=True),
    Metric("late", "loop blocked ms", 1),
    Metric("busy", "service busy %", 0),
)

NOTES = """\
dexcmd computes the sha256 of each file, syncs it to disk before it gives it its name and, but for "size only", checks
each checksum in the zip: in the row "speedups" with the library that this extra installs, otherwise with Python's own.
The others do none of this, save "synced" as it says: each file in turn, once curl has ended. Where the folder is in
memory (`TMPDIR` decides), syncing costs nothing. Before each measurement all that is on the way to the disk is synced.
The times of the Python clients are those after the first call, curl's are with its own start. CPU is the client's, in
seconds; "loop blocked" the longest that its event loop was late for a sleep of 2 ms; "service busy" is the CPU of the
service in per cent of the time: near 100 it is what is measured. In square brackets the fastest and the slowest
round."""


class Measurement:
    """Time and CPU of what lies between `begin` and `end`, children included."""

    def __init__(self, params: Params) -> None:
        self._service = params["service_pid"]
        self._mib = params["size"] * params.get("files", 1) / MIB
        self._before = self._after = (0.0, 0.0, 0.0)

    def begin(self) -> None:
        """Begin, with nothing on the way to the disk."""
        os.sync()
        self._before = self._now()

    def end(self) -> None:
        """End; what is called later is not measured."""
        self._after = self._now()

    def _now(self) -> tuple[float, float, float]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(each.ru_utime + each.ru_stime for each in used)
        return time.perf_counter(), cpu, cpu_seconds(self._service)

    def result(self) -> Result:
        """Return the figures; the peak is that of this process."""
        seconds, cpu, served = (after - before for before, after in zip(self._before, self._after, strict=True))
        return {
            "seconds": seconds,
            "rate": self._mib / seconds,
            "cpu": cpu,
            "peak": peak_mib(),
            "busy": served / seconds * 100,
        }


@contextmanager
def download_folder(params: Params) -> Iterator[Path]:
    """Give a folder for what is saved, each file of which must be the whole artifact in the end."""
    folder = Path(tempfile.mkdtemp(dir=params["folder"]))
    try:
        yield folder
        saved = list(folder.iterdir())
        whole = [path for path in saved if filecmp.cmp(path, params["artifact"], shallow=False)]
        if not len(whole) == len(saved) == params.get("files", 1):
            raise RuntimeError(f"{len(saved)} files were saved, {len(whole)} of them whole")
    finally:
        empty_files(folder)


def offer_speedups(row: str) -> None:
    """Let only the row of the extra `speedups` find what that installs.  To be called before dexcmd is imported."""
    if row != SPEEDUPS:
        sys.modules["zlib_ng"] = None  # type: ignore[assignment]


def trust(params: Params) -> None:
    """Have the Python clients trust the service.  To be called before one is imported."""
    if "authority" in params:
        os.environ["SSL_CERT_FILE"] = params["authority"]


def artifact_url(params: Params, command_id: str) -> str:
    """Return where the artifact of a command is."""
    return f"{params['base_url']}/accounts/{params['account_id']}/dex/commands/{command_id}/downloads/{command_id}.zip"


def run_curl(params: Params, arguments: Sequence[str | Path]) -> float:
    """Run curl and return its peak memory.  Raises `subprocess.CalledProcessError` where it fails."""
    # First of all: nothing from a configuration file.  `--silent` alone does not silence `--parallel`.
    command = [CURL, "--disable", "--silent", "--no-progress-meter", "--fail", "--noproxy", "*"]
    command += ["--header", f"Authorization: Bearer {params['token']}", *arguments]
    if "authority" in params:
        command += ["--cacert", params["authority"]]
    with subprocess.Popen(command) as curl:
        peak = watched_peak_mib(curl)
    if curl.returncode:
        raise subprocess.CalledProcessError(curl.returncode, command)
    return peak


def sync_files(folder: Path) -> None:
    """Sync all files of a folder, and the folder, as `sync` does with their names."""
    for path in (*folder.iterdir(), folder):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
