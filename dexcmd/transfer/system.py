"""File operations that differ between operating systems, or that Python lacks.  Blocking, so called from threads."""

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from dexcmd.errors import DownloadError, InsufficientSpaceError

if sys.platform != "win32":
    import fcntl

__all__ = [
    "TOO_MANY_OPEN",
    "UNWRITABLE",
    "boot_id",
    "explain",
    "explained",
    "free_bytes",
    "preallocate",
    "open_private",
    "put_in_place",
    "start_writeback",
    "sync_file",
    "sync_folder",
    "write_all",
]

MAX_PIECES = 512
"""The most buffers to write in one call of `writev`; systems allow 1024."""

KEEP_SIZE = 0x01
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h: the file's size still shows how much is written."""

FULL_SYNC: int | None = None if sys.platform == "win32" else getattr(fcntl, "F_FULLFSYNC", None)
"""The call that makes the drive flush its own cache on macOS, where `fsync` doesn't."""

TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)
"""Errors of the process or the system, which say nothing about the file that was to be opened."""

UNWRITABLE = (errno.EROFS,) if sys.platform == "win32" else (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a folder or file system, which every other file in it meets as well.

On Windows, access is also denied to a file that another program has open, for as long as that takes.
"""

_NO_FULL_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOTTY)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)
_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@cache
def boot_id() -> str | None:
    """Return the id of the current boot of the system; None if it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def explain(error: OSError, path: Path) -> DownloadError:
    """Return the typed error for an `OSError`: `InsufficientSpaceError` if the disk or the quota is full."""
    if error.errno in _DISK_FULL:
        return InsufficientSpaceError(f"no space left for {path}")
    return DownloadError(f"can't write {path}: {error.strerror or error}")


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Raise each `OSError` of the block as the typed error for it."""
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error


def open_private(path: str, flags: int) -> int:
    """Open a file; if this creates it, only the user can access it.  For `open`'s `opener`."""
    return os.open(path, flags, 0o600)


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user can still write to the file system of a folder."""
    return shutil.disk_usage(folder).free


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    # `os.posix_fallocate` would change the size, and glibc writes zeros if the file system doesn't support it.
    if sys.platform != "linux":
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


def preallocate(descriptor: int, size: int) -> None:
    """Reserve disk space for a file of `size` bytes, if the file system can; raises `OSError` if the disk is full."""
    function = _fallocate()
    if function is not None and function(descriptor, KEEP_SIZE, 0, size) != 0:
        number = ctypes.get_errno()
        if number in _DISK_FULL:
            raise OSError(number, os.strerror(number))


def write_all(descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
    """Write all of `pieces`, with few system calls, and return their total size."""
    total = 0
    for start in range(0, len(pieces), MAX_PIECES):
        rest = [memoryview(piece) for piece in pieces[start : start + MAX_PIECES]]
        while rest:
            written = os.writev(descriptor, rest) if hasattr(os, "writev") else os.write(descriptor, rest[0])
            total += written
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if rest and written:
                rest[0] = rest[0][written:]
    return total


def start_writeback(descriptor: int) -> None:
    """Have the system start writing a file's cached data to disk, without waiting, and free that cache."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sync_file(descriptor: int) -> None:
    """Wait until everything written to a file is on disk."""
    os.fsync(descriptor)
    if sys.platform != "win32" and FULL_SYNC is not None:
        try:
            fcntl.fcntl(descriptor, FULL_SYNC)
        except OSError as error:
            # Network shares and some other file systems only support `fsync`.
            if error.errno not in _NO_FULL_SYNC:
                raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the system and the folder's permissions allow that."""
    if not hasattr(os, "O_DIRECTORY"):
        # Python can't open a folder on Windows, whose file system orders names and contents by itself.
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        # A folder can be writable but not readable.
        return
    try:
        sync_file(descriptor)
    except OSError as error:
        # Some network shares can't sync folders; the files are complete all the same.
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def put_in_place(part: Path, final: Path, *, replace: bool) -> None:
    """Rename a file to its final name.  Unless `replace`, raises `FileExistsError` if that name is taken."""
    if replace:
        part.replace(final)
        return
    try:
        # Creating a hard link fails if the name is taken, so it can't overwrite another process's new file.
        final.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # The file system has no hard links: check and rename, which is not atomic.
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        part.replace(final)
    else:
        part.unlink()
