"""What a process has used, from /proc."""

from pathlib import Path

__all__ = ["MIB", "peak_mib"]

MIB = 1024 * 1024


def peak_mib(pid: int | str = "self") -> float:
    """Return the peak resident memory of a process, in MiB; raises `OSError` where it is gone, or no Linux.

    Not `ru_maxrss`: a child starts with its parent's, and `exec` does not reset it.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")
