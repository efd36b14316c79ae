"""Listing and reading the members of an artifact inside its zip archive."""

import threading
import zipfile
from collections import deque
from datetime import datetime
from pathlib import Path
from types import TracebackType

import anyio.lowlevel
import attrs

from dexcmd.async_only import AsyncOnlyContext, AsyncOnlyIteration
from dexcmd.errors import ArtifactTooLargeError, MemberNotFoundError
from dexcmd.safe_text import one_line
from dexcmd.threads import run_to_the_end
from dexcmd.transfer.unpacking import Archive, is_folder, is_readable, is_special
from dexcmd.validators import whole_number

__all__ = ["Member", "MemberStream", "OpenMember", "find_member", "list_members", "read_member"]

MAX_AT_ONCE = 64 * 1024 * 1024


@attrs.frozen
class Member:
    """A file or folder inside an artifact, as the archive's directory describes it."""

    name: str
    """As stored; not checked for use as a file name (`extract` does that)."""

    size: int
    """Unpacked size in bytes.  Reading a member never yields more; one that yields fewer is damaged."""

    compressed_size: int
    """Size in the archive in bytes."""

    modified: datetime | None
    """By the device's clock, to two seconds, without a zone, as zip has none.  None if invalid."""

    is_folder: bool
    is_special: bool
    """Whether it is a link, a pipe or a device; these are not extracted."""

    readable: bool
    """Whether it can be read: it is not encrypted, and its compression method is supported."""


class MemberStream(AsyncOnlyIteration):
    """A member being read.  Iterate over it with `async for` to get its bytes, at most half a MiB at a time."""

    def __init__(self, archive: Archive, info: zipfile.ZipInfo, reading: threading.Lock) -> None:
        self._archive_name = archive.name
        self._pieces = archive.pieces(info)
        self._reading = reading
        self._read: deque[bytes | Exception | None] = deque()
        """Pieces read, or errors raised, but not returned yet; None marks the end."""

        self._closed = False
        self.name: str = info.orig_filename
        """As stored in the archive."""
        self.size: int = info.file_size
        """Bytes of the whole member; never exceeded."""

    def __aiter__(self) -> "MemberStream":
        """Return itself: the bytes can be read once."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes.

        Raises `UnreadableMemberError`, and `InvalidArtifactError` if the archive is damaged; the checksum is compared
        before the last bytes are returned.
        """
        while True:
            if self._closed:
                raise RuntimeError(f"{self.name} is closed: read it inside its `async with` block")
            # Reading in a thread is shielded from cancel scopes: without this, a loop would never be cancelled by one.
            await anyio.lowlevel.checkpoint_if_cancelled()
            if not self._read:
                # The piece is queued, not returned: if this call is cancelled, the next one gets it.
                await run_to_the_end(self._read_on)
                continue
            piece = self._read.popleft()
            if piece is None:
                raise StopAsyncIteration
            if isinstance(piece, Exception):
                raise piece
            if piece:
                return piece

    async def read_all(self, most: int = MAX_AT_ONCE) -> bytes:
        """Return all remaining bytes at once, for members that are known to be small.

        Raises the same errors as iterating, and `ArtifactTooLargeError` if the member has more than `most` bytes.
        """
        if self.size > whole_number("most", most):
            raise ArtifactTooLargeError(
                f"{self._archive_name}: {one_line(self.name)} has {self.size} bytes, more than {most}"
            )
        return b"".join([piece async for piece in self])

    def _read_on(self) -> None:
        """Read a piece.  In a thread."""
        with self._reading:
            try:
                self._read.append(next(self._pieces, None))
            except Exception as error:  # noqa: BLE001 - raised where the piece would be returned
                self._read.append(error)

    def close(self) -> None:
        """Stop reading, discarding the rest.  Blocks while a piece is being read."""
        self._closed = True
        with self._reading:
            self._pieces.close()


class OpenMember(AsyncOnlyContext):
    """A member to be opened with `async with`."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._archive: Archive | None = None
        self._stream: MemberStream | None = None
        self._reading = threading.Lock()
        """Held while a piece is being read, even for a cancelled call."""

    async def __aenter__(self) -> MemberStream:
        """Open the archive and return the member, its bytes not yet read.

        Raises `MemberNotFoundError`, `InvalidArtifactError` if the file is not a zip archive, `DownloadError` if it
        can't be read.
        """
        if self._archive is not None:
            raise RuntimeError("a member can be opened only once: ask for it again")
        try:
            return await run_to_the_end(self._open)
        except BaseException:
            # Also when cancelled: the archive may have been opened anyway.
            self._close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the archive, once no read is in progress."""
        if self._reading.locked():
            await run_to_the_end(self._close)
        else:
            # On the event loop's thread: closing a file opened for reading doesn't block.
            self._close()

    def _open(self) -> MemberStream:
        self._archive = Archive(self._path)
        self._stream = MemberStream(self._archive, find_member(self._archive, self._name), self._reading)
        return self._stream

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._archive is not None:
            self._archive.close()


async def list_members(path: Path) -> tuple[Member, ...]:
    """Return all members of a zip archive, in the order of its directory, without reading their bytes.

    Raises `InvalidArtifactError` if the file is not a zip archive, `DownloadError` if it can't be read.
    """

    def members() -> tuple[Member, ...]:
        with Archive(path) as archive:
            return tuple(map(_member, archive.infos))

    return await run_to_the_end(members)


def read_member(path: Path, name: str) -> OpenMember:
    """Return the member called exactly `name`, to be opened as a stream of bytes, in bounded memory.

    Of several members with that name, the last counts: tools that add to an archive put the newest last.
    """
    return OpenMember(path, name)


def find_member(archive: Archive, name: str) -> zipfile.ZipInfo:
    """Return the last member called exactly `name`.  Raises `MemberNotFoundError`."""
    for info in reversed(archive.infos):
        if info.orig_filename == name:
            return info
    raise MemberNotFoundError(f"{archive.name} has no member {one_line(name)!r}")


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(
        name=info.orig_filename,
        size=info.file_size,
        compressed_size=info.compress_size,
        modified=_time(info),
        is_folder=is_folder(info),
        is_special=is_special(info),
        readable=is_readable(info),
    )


def _time(info: zipfile.ZipInfo) -> datetime | None:
    try:
        return datetime(*info.date_time)  # noqa: DTZ001 - there is no zone to give it
    except ValueError:
        return None
