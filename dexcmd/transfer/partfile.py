"""Part files: partial downloads, locked while in use, each with a state file from which it can be resumed.

Blocking, so called from threads.
"""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from dexcmd.transfer.partstate import PartState
from dexcmd.transfer.system import TOO_MANY_OPEN, preallocate, start_writeback, sync_file, write_all
from dexcmd.transfer.uncached import ALIGNMENT, Uncached, open_uncached

if sys.platform != "win32":
    import fcntl

__all__ = [
    "PartFile",
    "PartInUseError",
    "delete_abandoned_parts",
    "delete_stale_state",
    "part_names",
    "part_path",
    "state_name",
    "state_path",
]

READ_SIZE = 1024 * 1024

BLOCK = 512
"""The unit of `st_blocks` in bytes, whatever the file system's own block size is."""

NUMBERED_PARTS = 3
"""How many part files beside the usual one get numbered names, which a later call finds and deletes if their process
was killed.  More than this many downloads of one artifact hardly ever hang at once; any further one gets a random name.
"""

_OPEN_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
"""Opening must not block on a named pipe that someone put there."""


class PartInUseError(Exception):
    """Another download has the part file locked; never leaves `dexcmd.transfer`."""


def part_path(final: Path) -> Path:
    """Return the path of the usual part file for a final path."""
    return final.with_name(part_names(final.name)[0])


def part_names(final: str) -> tuple[str, ...]:
    """Return the possible names of part files for a final name: the usual one, then the numbered ones."""
    usual = f".{final}.part"
    return usual, *(f"{usual}.{number}" for number in range(1, NUMBERED_PARTS + 1))


def state_name(part: str) -> str:
    """Return the name of the state file of a part file."""
    return f"{part}.json"


def state_path(part: Path) -> Path:
    """Return the path of the state file of a part file."""
    return part.with_name(state_name(part.name))


def delete_stale_state(final: Path) -> None:
    """Delete a state file whose part file is gone, for example because the part file was renamed to its final name."""
    state = state_path(part_path(final))
    if state.exists() or _temporary_path(state).exists():
        # Take the part file's name and lock first: another download may start now, and write its own state file.
        PartFile.create(final).remove()


def delete_abandoned_parts(final: Path) -> None:
    """Delete numbered part files whose processes have ended: only the usual part file is ever resumed."""
    for name in part_names(final.name)[1:]:
        with suppress(OSError, PartInUseError):
            if (part := PartFile.open(final.with_name(name), usual_name=False)) is not None:
                part.remove()


def _temporary_path(state: Path) -> Path:
    return state.with_name(f"{state.name}.new")


def _delete_state(part: Path) -> None:
    state = state_path(part)
    state.unlink(missing_ok=True)
    _temporary_path(state).unlink(missing_ok=True)


class PartFile:
    """An open, locked part file."""

    def __init__(self, path: Path, descriptor: int, size: int, *, usual_name: bool) -> None:
        self.path = path
        self.size: int = size
        """Bytes written so far, without those that `flush` would write."""

        self.usual_name = usual_name
        """Whether it has the usual name, where the next download looks for it, not a numbered or random one."""

        self._descriptor = descriptor
        self._locked = False
        self._uncached: Uncached | None = None
        self._can_bypass_cache = True

    @classmethod
    def create(cls, final: Path) -> Self:
        """Create a part file, under a numbered or random name if the usual one is taken.  Raises `OSError`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _OPEN_FLAGS
        for number, name in enumerate(part_names(final.name)):
            path = final.with_name(name)
            try:
                part = cls(path, os.open(path, flags, 0o600), 0, usual_name=number == 0)
            except FileExistsError:
                continue
            try:
                part._lock()
                part._check_same_file()
            except (PartInUseError, FileNotFoundError):
                # Another download opened it before it was locked, and took it for an abandoned one.
                part.close()
            except OSError:
                # The file system has no locks.
                part.remove()
                break
            else:
                return part
        path = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
        return cls(path, os.open(path, flags, 0o600), 0, usual_name=False)

    @classmethod
    def open_existing(cls, final: Path) -> Self | None:
        """Open and lock the usual part file of an earlier download, as `open` does."""
        return cls.open(part_path(final), usual_name=True)

    @classmethod
    def open(cls, path: Path, *, usual_name: bool) -> Self | None:
        """Open and lock a part file that an earlier download left.

        Returns None if there is none, or none that can be used: something else has its name, or it can't be opened or
        locked.  Raises `PartInUseError` if another download has it locked, `OSError` if too many files are open.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | _NO_FOLLOW | _OPEN_FLAGS | _NONBLOCK)
        except OSError as error:
            if error.errno in TOO_MANY_OPEN:
                raise
            return None
        part = cls(path, descriptor, 0, usual_name=usual_name)
        try:
            part._lock()
            part._check_same_file()
            status = os.fstat(descriptor)
            if not _is_own_file(status):
                raise OSError(errno.EEXIST, "not a part file of this user")
            if status.st_nlink > 1:
                # A crash came after the hard link to the final name, before this name was removed: it is the final
                # file, too, so it must not be written to.
                part.remove()
                return None
        except OSError:
            part.close()
            return None
        except BaseException:
            part.close()
            raise
        part.size = os.lseek(descriptor, 0, os.SEEK_END)
        return part

    @property
    def locked(self) -> bool:
        """Whether it is locked, so that no other download can open it; False where there are no locks."""
        return self._locked

    @property
    def state_path(self) -> Path:
        """The path of its state file."""
        return state_path(self.path)

    def read_state(self) -> bytes:
        """Return the content of the state file; nothing if there is none, or none that can be opened.

        Raises `OSError` if too many files are open, or if reading fails.
        """
        try:
            descriptor = os.open(self.state_path, os.O_RDONLY | _NO_FOLLOW | _OPEN_FLAGS | _NONBLOCK)
        except OSError as error:
            if error.errno in TOO_MANY_OPEN:
                raise
            return b""
        try:
            return os.read(descriptor, READ_SIZE) if _is_own_file(os.fstat(descriptor)) else b""
        finally:
            os.close(descriptor)

    def check_path(self) -> None:
        """Raise `FileNotFoundError` if its path no longer leads to this file.

        Someone may have removed or moved it or its folder, and another download may have created a file of that name.
        """
        try:
            self._check_same_file()
        except PartInUseError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    def write_state(self, state: PartState) -> None:
        """Replace the state file atomically: at any time there is either the old state or the new one."""
        self.check_path()
        temporary = _temporary_path(self.state_path)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_FOLLOW | _OPEN_FLAGS, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(state.encode())
                if state.durable:
                    # It states how much survives a crash of the system, so it must survive one itself.
                    file.flush()
                    sync_file(file.fileno())
            temporary.replace(self.state_path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def delete_state(self) -> None:
        """Delete the state file."""
        _delete_state(self.path)

    @property
    def allocated(self) -> int:
        """Bytes of disk space that it takes, written or reserved."""
        # Windows has no `st_blocks`, and nothing is reserved there.
        return max(self.size, getattr(os.fstat(self._descriptor), "st_blocks", 0) * BLOCK)

    def reserve(self, size: int) -> None:
        """Reserve disk space for `size` bytes, where the file system can.  Raises `OSError` if the disk is full."""
        preallocate(self._descriptor, size)

    def bypass_cache(self) -> None:
        """Write past the system's cache, if the file system can, until `flush` is called."""
        if self._uncached is None and self._can_bypass_cache:
            self._uncached = open_uncached(self._descriptor)
            self._can_bypass_cache = self._uncached is not None

    def write(self, pieces: list[bytes]) -> None:
        """Append; past the cache, up to 1 MiB is held until more is written or `flush` is called."""
        if self._uncached is None:
            self._write_cached(pieces)
            return
        for piece in pieces:
            self._write_uncached(memoryview(piece))

    def flush(self) -> None:
        """Write what is held, and free its memory."""
        if self._uncached is not None:
            self._write_rest(self._stop_bypassing(self._uncached))

    def _write_uncached(self, data: memoryview) -> None:
        while data:
            uncached, gap = self._uncached, -self.size % ALIGNMENT
            if uncached is None:
                self._write_cached([data])
                return
            if gap and not uncached.held:
                # It was resumed, or flushed, in the middle of a block.
                self._write_rest(data[:gap])
                data = data[gap:]
                continue
            data = data[uncached.add(data) :]
            if uncached.full:
                self._write_full(uncached)

    def _write_full(self, uncached: Uncached) -> None:
        try:
            while uncached.held:
                self.size += uncached.write(self.size)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # The file system can't, or it has written a part of a block because it is full, as the next write shows.
            self._can_bypass_cache = False
            self._write_rest(self._stop_bypassing(uncached))

    def _stop_bypassing(self, uncached: Uncached) -> bytes:
        """Return what is held."""
        held, self._uncached = uncached.take(), None
        uncached.close()
        return held

    def _write_rest(self, data: bytes | memoryview) -> None:
        """Write through the cache what comes after uncached writes, which leave the file position where it was."""
        os.lseek(self._descriptor, self.size, os.SEEK_SET)
        self._write_cached([data])

    def _write_cached(self, pieces: Sequence[bytes | memoryview]) -> None:
        try:
            self.size += write_all(self._descriptor, pieces)
        except OSError:
            # A part of it may have been written, and can be resumed from.
            self.size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            raise

    def truncate(self, size: int) -> None:
        """Truncate it to `size` bytes, and append from there; what is held is discarded."""
        if self._uncached is not None:
            self._uncached.take()
        os.ftruncate(self._descriptor, size)
        os.lseek(self._descriptor, size, os.SEEK_SET)
        self.size = size

    def pieces(self, size: int) -> Iterable[bytes]:
        """Yield the first `size` bytes in pieces; more may be appended meanwhile."""
        at = 0
        while at < size and (piece := os.pread(self._descriptor, min(READ_SIZE, size - at), at)):
            at += len(piece)
            yield piece

    def tail(self, count: int) -> bytes:
        """Return the last `count` bytes, leaving the file position at the end, to append."""
        # Windows has no `os.pread`, but a download is resumed within one call there, too.
        os.lseek(self._descriptor, self.size - count, os.SEEK_SET)
        data = b""
        while len(data) < count and (piece := os.read(self._descriptor, count - len(data))):
            data += piece
        return data

    def start_writeback(self) -> None:
        """Have the system start writing cached data to disk, without waiting for it."""
        start_writeback(self._descriptor)

    def sync(self) -> None:
        """Wait until everything written is on disk (fsync)."""
        sync_file(self._descriptor)

    def close(self) -> None:
        """Close the file and release the lock; the file stays in the folder."""
        uncached, self._uncached = self._uncached, None
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if uncached is not None:
                uncached.close()
            if sys.platform != "win32" and self._locked:
                # Explicitly, as a process forked meanwhile shares the descriptor, and would keep the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Close and delete the file and its state file, unless another download's file has its name by now."""
        if not self._locked:
            # There are no locks on Windows, which can't delete an open file.
            self.close()
        try:
            # While it is still locked: whoever locks it next finds that its path no longer leads to it.
            if not self._locked or not self._is_replaced():
                self.delete_state()
                self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def _lock(self) -> None:
        if sys.platform == "win32":
            raise OSError(errno.ENOLCK, "no locks that end with their process")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PartInUseError from None
        self._locked = True

    def _check_same_file(self) -> None:
        """Raise `PartInUseError` if its path leads to another file, `FileNotFoundError` if there is none.

        Between open and lock, the download that had it may have renamed or removed it.
        """
        if not os.path.samestat(os.fstat(self._descriptor), self.path.lstat()):
            raise PartInUseError

    def _is_replaced(self) -> bool:
        """Tell whether its path leads to another download's file."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(status.st_mode) and not os.path.samestat(os.fstat(self._descriptor), status)


def _is_own_file(status: os.stat_result) -> bool:
    """Tell whether it is a regular file owned by this user: another owner could change it after it was checked."""
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid())
