"""Appending to a file past the system's page cache, with `O_DIRECT`.

Copying into the cache takes most of the CPU time of writing, and what it holds of other files has to make room for
bytes that are not read again soon.  Blocking, so called from threads.
"""

import mmap
import os
from pathlib import Path

__all__ = ["ALIGNMENT", "BUFFER", "Uncached", "open_uncached"]

ALIGNMENT = max(4096, mmap.PAGESIZE)
"""Offsets, sizes and addresses of uncached writes are multiples of it, as drives and the system's cache require."""

BUFFER = 1024 * 1024
"""The size of each write.  They are not queued, so smaller ones would leave a fast drive idle."""

FILE_SYSTEMS = frozenset({"ext4", "xfs"})
"""Those that can write to a local drive without the cache.  Others refuse, or take longer for it (NFS), or use the
cache all the same.
"""


def open_uncached(descriptor: int) -> "Uncached | None":
    """Open an open file once more, for uncached writes; None where that is not possible."""
    if not hasattr(os, "O_DIRECT") or _file_system(os.fstat(descriptor).st_dev) not in FILE_SYSTEMS:
        return None
    try:
        # Unlike other memory, it begins at a page.
        buffer = memoryview(mmap.mmap(-1, BUFFER, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        # Once more, as the other one is read with unaligned sizes at the same time; and not by its name, which may be
        # another file's by now.
        return Uncached(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC), buffer)
    except OSError:
        return None


def _file_system(device: int) -> str | None:
    """Return the type of the file system on a device; None if it is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="replace") as mounts:
            for mount in mounts:
                fields, _, kind = mount.partition(" - ")
                if fields.split(" ")[2] == number:
                    return kind.split(" ")[0]
    except OSError:
        pass
    return None


class Uncached:
    """A file open for uncached writes, with a buffer in which they are gathered."""

    def __init__(self, descriptor: int, buffer: memoryview) -> None:
        self._descriptor = descriptor
        self._buffer = buffer
        self._filled = 0
        self._written = 0
        """How many bytes of a full buffer are written."""

    @property
    def held(self) -> int:
        """Bytes in the buffer that are not in the file yet."""
        return self._filled - self._written

    @property
    def full(self) -> bool:
        """Whether the buffer must be written before it takes more."""
        return self._filled == len(self._buffer)

    def add(self, data: memoryview) -> int:
        """Take as much of `data` as there is room for, and return how many bytes that is."""
        taken = min(len(data), len(self._buffer) - self._filled)
        self._buffer[self._filled : self._filled + taken] = data[:taken]
        self._filled += taken
        return taken

    def write(self, position: int) -> int:
        """Write a full buffer, or some of it, at an aligned position, and return how many bytes.

        Raises `OSError`; with `EINVAL` if the file system can't write like this.
        """
        count = os.pwrite(self._descriptor, self._buffer[self._written : self._filled], position)
        self._written += count
        if not self.held:
            self._filled = self._written = 0
        return count

    def take(self) -> bytes:
        """Remove and return what is held."""
        held = bytes(self._buffer[self._written : self._filled])
        self._filled = self._written = 0
        return held

    def close(self) -> None:
        """Close the file and free the buffer, with what it holds."""
        # An exception that somebody keeps may refer to this object.
        self._buffer = memoryview(b"")
        os.close(self._descriptor)
