"""Appending to a file past the system's page cache, with `O_DIRECT`.

Copying into the cache takes most of the CPU time of writing, and what it holds of other files has to make room for
bytes that are not read again soon.  Blocking, so called from threads.
"""

import mmap
import os
from pathlib import Path

__all__ = ["ALIGNMENT", "BUFFER", "Uncached", "open_uncached"]

ALIGNMENT = 4096
"""Offsets, sizes and addresses of uncached writes are multiples of it: of the largest logical block of any drive."""

BUFFER = 1024 * 1024
"""The size of each write.  They are not queued, so smaller ones would leave a fast drive idle."""

FILE_SYSTEMS = frozenset({"ext4", "xfs"})
"""Those that write to a local drive without the cache.  Others refuse to, or do but take longer for it (NFS), or read
through the cache all the same.
"""


def open_uncached(path: Path, descriptor: int) -> "Uncached | None":
    """Open the file at `path`, open as `descriptor` too, for uncached appending; None where that is not possible."""
    if not hasattr(os, "O_DIRECT") or _file_system(os.fstat(descriptor).st_dev) not in FILE_SYSTEMS:
        return None
    try:
        # Another open file, as this one is read with unaligned sizes at the same time.
        uncached = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if not os.path.samestat(os.fstat(uncached), os.fstat(descriptor)):
        os.close(uncached)
        return None
    return Uncached(uncached)


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

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Unlike other memory, it begins at a page.
        self._buffer = memoryview(mmap.mmap(-1, BUFFER))
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
        return self._filled == BUFFER

    def add(self, data: memoryview) -> int:
        """Take as much of `data` as there is room for, and return how many bytes that is."""
        taken = min(len(data), BUFFER - self._filled)
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
        """Close the file; what is held is lost."""
        self._filled = self._written = 0
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
