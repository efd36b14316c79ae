"""A part file: locked while it is worked on, beside its state, gone on from later.  Blocking, so for threads."""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from dexcmd.transfer.partstate import PartState
from dexcmd.transfer.system import TOO_MANY_OPEN, preallocate, start_writeback, sync_file, write_all

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
"""What `st_blocks` counts, whatever the file system's own blocks are."""

NUMBERED_PARTS = 3
"""So many parts beside the usual one have names that are found again, should their processes be killed: as many
downloads of one artifact hardly ever hang at a time.
"""

_OPEN_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
"""A pipe that somebody put there must not be waited for."""


class PartInUseError(Exception):
    """Another download is at work on the part file; never leaves `dexcmd.transfer`."""


def part_path(final: Path) -> Path:
    """Return where the part of a file is."""
    return final.with_name(part_names(final.name)[0])


def part_names(final: str) -> tuple[str, ...]:
    """Return the names that parts of a file may have: the usual one, and those beside it."""
    usual = f".{final}.part"
    return usual, *(f"{usual}.{number}" for number in range(1, NUMBERED_PARTS + 1))


def state_name(part: str) -> str:
    """Return the name of the state of a part."""
    return f"{part}.json"


def state_path(part: Path) -> Path:
    """Return where the state of a part is."""
    return part.with_name(state_name(part.name))


def delete_stale_state(final: Path) -> None:
    """Delete a state whose part got its final name, also one that a process left which died in between."""
    state = state_path(part_path(final))
    if state.exists() or _temporary_path(state).exists():
        # With a part of that name, and its lock: another download may begin, and write its own state.
        PartFile.create(final).remove()


def delete_abandoned_parts(final: Path) -> None:
    """Delete the parts beside the usual one whose processes have ended: nothing is ever gone on from these."""
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
        """Bytes written."""

        self.usual_name = usual_name
        """Whether it has the name that the next download looks for, and not one of its own."""

        self._descriptor = descriptor
        self._locked = False

    @classmethod
    def create(cls, final: Path) -> Self:
        """Make a new one, under a name of its own where the usual one is taken.  Raises `OSError`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _OPEN_FLAGS
        for number, name in enumerate(part_names(final.name)):
            path = final.with_name(name)
            try:
                part = cls(path, os.open(path, flags, 0o600), 0, usual_name=number == 0)
            except FileExistsError:
                # Two downloads of one artifact don't write into each other's file.
                continue
            try:
                part._lock()
                part._check_same_file()
            except (PartInUseError, FileNotFoundError):
                # Another download has just found it, and taken it for one that was left.
                part.close()
            except OSError:
                # A file system without locks.
                part.remove()
                break
            else:
                return part
        path = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
        return cls(path, os.open(path, flags, 0o600), 0, usual_name=False)

    @classmethod
    def open_existing(cls, final: Path) -> Self | None:
        """Open the usual one, that an earlier download left; as `open`."""
        return cls.open(part_path(final), usual_name=True)

    @classmethod
    def open(cls, path: Path, *, usual_name: bool) -> Self | None:
        """Open one that an earlier download left.

        None where there is none, or something else under its name.  Raises `PartInUseError` where another download
        has it, `OSError` where too many files are open.
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
                raise OSError(errno.EEXIST, "no part file of this user's")
            if status.st_nlink > 1:
                # A crash came between the final name and the end of this one: it must not be written to any more.
                part.remove()
                return None
        except OSError:
            part.close()
            return None
        except BaseException:
            part.close()
            raise
        # What comes now is appended.
        part.size = os.lseek(descriptor, 0, os.SEEK_END)
        return part

    @property
    def locked(self) -> bool:
        """Whether nobody else can take it up: not where there are no locks."""
        return self._locked

    @property
    def state_path(self) -> Path:
        """Where its state is."""
        return state_path(self.path)

    def read_state(self) -> bytes:
        """Return the content of the state file, nothing where there is none, or something else under its name.

        Raises `OSError` where too many files are open.
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
        """Raise `FileNotFoundError` where it is not what has its name.

        Its folder was put away with it, or it alone, and another download may have a part of that name by now.
        """
        try:
            self._check_same_file()
        except PartInUseError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    def write_state(self, state: PartState) -> None:
        """Write the state: the old one or the new one is there at any time."""
        self.check_path()
        temporary = _temporary_path(self.state_path)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_FOLLOW | _OPEN_FLAGS, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(state.encode())
                if state.durable:
                    # It vouches for what is on disk, so it has to be there as well.
                    file.flush()
                    sync_file(file.fileno())
            temporary.replace(self.state_path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def delete_state(self) -> None:
        """Delete the state."""
        _delete_state(self.path)

    @property
    def allocated(self) -> int:
        """Bytes of the disk that it has, written or set aside."""
        # Windows can't tell, and sets nothing aside.
        return max(self.size, getattr(os.fstat(self._descriptor), "st_blocks", 0) * BLOCK)

    def reserve(self, size: int) -> None:
        """Have the file system set room for `size` bytes aside; raises `OSError` (ENOSPC) where it has none."""
        preallocate(self._descriptor, size)

    def write(self, pieces: list[bytes]) -> None:
        """Append."""
        try:
            self.size += write_all(self._descriptor, pieces)
        except OSError:
            # What fitted is written, and good to go on from.
            self.size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            raise

    def truncate(self, size: int) -> None:
        """Forget what is behind the first `size` bytes."""
        os.ftruncate(self._descriptor, size)
        os.lseek(self._descriptor, size, os.SEEK_SET)
        self.size = size

    def pieces(self, size: int) -> Iterable[bytes]:
        """Give the first `size` bytes; more may be appended meanwhile."""
        at = 0
        while at < size and (piece := os.pread(self._descriptor, min(READ_SIZE, size - at), at)):
            at += len(piece)
            yield piece

    def tail(self, count: int) -> bytes:
        """Return the last `count` bytes, and be ready to append."""
        # Not with `os.pread`, which Windows has not: parts are gone on from within a call there, too.
        os.lseek(self._descriptor, self.size - count, os.SEEK_SET)
        data = b""
        while len(data) < count and (piece := os.read(self._descriptor, count - len(data))):
            data += piece
        return data

    def start_writeback(self) -> None:
        """Have the system begin to write to disk what is only in its memory, without waiting for it."""
        start_writeback(self._descriptor)

    def sync(self) -> None:
        """Return when all is on disk."""
        sync_file(self._descriptor)

    def close(self) -> None:
        """Close it, and so give up the lock; it stays where it is."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if sys.platform != "win32" and self._locked:
                # A process that was forked meanwhile has the descriptor, too, and would go on holding the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Close and delete it, with its state."""
        if not self._locked:
            # Where there are no locks, no file can be deleted while it is open.
            self.close()
        try:
            # Before it is closed: whoever waits for the lock finds that the file is gone.
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
        """Raise `PartInUseError` where the file that was locked is not the one of that name any more.

        Whoever had it before has finished with it meanwhile.  Where there is none of that name, `FileNotFoundError`.
        """
        if not os.path.samestat(os.fstat(self._descriptor), self.path.lstat()):
            raise PartInUseError

    def _is_replaced(self) -> bool:
        """Tell whether the file that has its name is another download's."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(status.st_mode) and not os.path.samestat(os.fstat(self._descriptor), status)


def _is_own_file(status: os.stat_result) -> bool:
    """Tell whether it is a plain file of this user's: another one could change theirs after it was checked."""
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid())
