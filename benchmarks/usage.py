"""What a process has used, from /proc."""

import os
from pathlib import Path

__all__ = ["MIB", "cpu_seconds", "peak_mib"]

MIB = 1024 * 1024


def peak_mib(pid: int | str = "self") -> float:
    """Return the peak resident memory of a process, in MiB; raises `OSError` where it is gone, or no Linux.

    Not `ru_maxrss`: a child starts with its parent's, and `exec` does not reset it.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a process has used, all threads, in steps of 10 ms; raises as `peak_mib` does."""
    # The name, in brackets, may hold anything, so the fields are counted from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
