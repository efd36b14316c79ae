"""What differs between operating systems, and what Python leaves to them.  Blocking, so for threads."""

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from dexcmd.errors import DownloadError, InsufficientSpaceError

if sys.platform != "win32":
    import fcntl

__all__ = [
    "TOO_MANY_OPEN",
    "boot_id",
    "explain",
    "free_bytes",
    "preallocate",
    "open_private",
    "put_in_place",
    "start_writeback",
    "sync_file",
    "sync_folder",
    "write_all",
]

MOST_PIECES = 512
"""Of one gathered write; systems allow 1024."""

KEEP_SIZE = 0x01
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h: the size goes on telling how much is written."""

FULL_SYNC: int | None = None if sys.platform == "win32" else getattr(fcntl, "F_FULLFSYNC", None)
"""What macOS wants to be told for the drive to empty its cache, which its `fsync` leaves alone."""

TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)
"""Errors that say nothing of the file that could not be opened."""

_NO_FULL_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOTTY)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)
_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@cache
def boot_id() -> str | None:
    """Return what tells this run of the system from others, None where there is nothing that does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def explain(error: OSError, path: Path) -> DownloadError:
    """Return the typed error for one of the system's: `InsufficientSpaceError` where the disk is full."""
    if error.errno in _DISK_FULL:
        return InsufficientSpaceError(f"no space left for {path}")
    return DownloadError(f"can't write {path}: {error.strerror or error}")


def open_private(path: str, flags: int) -> int:
    """Open a file that only the user may read: an `opener` for `open`."""
    return os.open(path, flags, 0o600)


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user may still write there."""
    return shutil.disk_usage(folder).free


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    # `os.posix_fallocate` would change the size, and where the file system can't, glibc writes zeros instead.
    if sys.platform != "linux":
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


def preallocate(descriptor: int, size: int) -> None:
    """Set room for a file of `size` bytes aside, where the file system can; raises `OSError` where it has none."""
    function = _fallocate()
    if function is not None and function(descriptor, KEEP_SIZE, 0, size) != 0:
        number = ctypes.get_errno()
        if number in _DISK_FULL:
            raise OSError(number, os.strerror(number))


def write_all(descriptor: int, pieces: Sequence[bytes]) -> int:
    """Write all of `pieces`, many in one call, and return how many bytes these were."""
    total = 0
    for start in range(0, len(pieces), MOST_PIECES):
        rest = [memoryview(piece) for piece in pieces[start : start + MOST_PIECES]]
        while rest:
            written = os.writev(descriptor, rest) if hasattr(os, "writev") else os.write(descriptor, rest[0])
            total += written
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if rest and written:
                rest[0] = rest[0][written:]
    return total


def start_writeback(descriptor: int) -> None:
    """Have the system begin to write out what it holds of a file, and drop it from its cache once that is done."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_file(descriptor: int) -> None:
    """Return when what was written to a file is on disk."""
    os.fsync(descriptor)
    if sys.platform != "win32" and FULL_SYNC is not None:
        try:
            fcntl.fcntl(descriptor, FULL_SYNC)
        except OSError as error:
            # Network shares and some other file systems have no more than `fsync`.
            if error.errno not in _NO_FULL_SYNC:
                raise


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on disk, as far as this process may have it so."""
    if not hasattr(os, "O_DIRECTORY"):
        # Windows has no handle for a folder, and its file system keeps the order of names and contents by itself.
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        # It may be written to and not read, as a letter box.
        return
    try:
        sync_file(descriptor)
    except OSError as error:
        # Some network shares sync no folders, and what is in them is no less whole.
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def put_in_place(part: Path, final: Path, *, replace: bool) -> None:
    """Give a file its final name; raises `FileExistsError` where there is one already, unless it is to `replace` it."""
    if replace:
        part.replace(final)
        return
    try:
        # A link fails where there is something, and so can't overwrite what another process has just put there.
        final.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links.
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        part.replace(final)
    else:
        part.unlink()
