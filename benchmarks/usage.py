"""What a process has used, from /proc."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

__all__ = ["MIB", "cpu_seconds", "peak_mib", "watched_peak_mib"]

MIB = 1024 * 1024

WATCH_SECONDS = 0.01


def peak_mib(pid: int | str = "self") -> float:
    """Return the peak resident memory of a process, in MiB; raises `OSError` where it is gone, or no Linux.

    Not `ru_maxrss`: a child starts with its parent's, and `exec` does not reset it.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")


def watched_peak_mib(process: subprocess.Popen[Any]) -> float:
    """Return the peak memory of a process, once it has ended; 0 if it ended before the first look."""
    peak = 0.0
    while process.poll() is None:
        try:
            peak = peak_mib(process.pid)
        except ProcessLookupError:
            break
        time.sleep(WATCH_SECONDS)
    return peak


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a process has used, all threads, in steps of 10 ms; raises as `peak_mib` does."""
    # The name, in brackets, may hold anything, so the fields are counted from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
