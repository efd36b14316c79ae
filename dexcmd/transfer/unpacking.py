"""Reads and checks a zip archive on disk, in bounded memory.  Blocking, so called from threads."""

# `zipfile` reads only the directory, not the members: for bz2 and lzma it holds all that a piece of the file unpacks
# to, which may be gigabytes, and it doesn't report a member that ends too early.

import bz2
import errno
import lzma
import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from dexcmd.errors import DownloadError, InvalidArtifactError, UnreadableMemberError
from dexcmd.safe_text import one_line
from dexcmd.threads import raise_if_stopped
from dexcmd.transfer.zipformat import (
    ENCRYPTED,
    KNOWN_METHODS,
    LOCAL_HEADER,
    MAX_UNPACKED,
    PATCHED_OR_STRONGLY_ENCRYPTED,
    decoded_name,
    ends_with_its_directory,
)
from dexcmd.wire import deflate

__all__ = ["PIECE", "Archive", "is_folder", "is_readable", "is_special"]

PIECE = 512 * 1024
"""The most bytes to read, and to unpack, at once: passing work to a thread costs much less than reading that many."""

MAX_DICTIONARY = 64 * 1024 * 1024
"""Bytes: the largest dictionary allowed for lzma, that of its strongest preset.  A header may demand 4 GiB."""

_HEADER = struct.Struct("<4s2xH18xHH")
"""A local header: signature, flags, and the lengths of name and extra fields."""

_LZMA_HEADER = struct.Struct("<2xHBL")
_LZMA_PROPERTIES = 5

# What `zipfile` and the decompressors raise for damaged archives: some flipped bit causes each of these.
_DAMAGE = (
    zipfile.BadZipFile,
    deflate.DeflateError,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    ValueError,
    struct.error,
)


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Tell whether a member is a folder."""
    return info.orig_filename.endswith(("/", "\\"))


def is_special(info: zipfile.ZipInfo) -> bool:
    """Tell whether a member is a link, a pipe or a device."""
    # Whichever system the archive claims to come from: some tools use only the mode.
    return stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR)


def is_readable(info: zipfile.ZipInfo) -> bool:
    """Tell whether a member is not encrypted, and its compression method is supported."""
    return not info.flag_bits & (ENCRYPTED | PATCHED_OR_STRONGLY_ENCRYPTED) and info.compress_type in KNOWN_METHODS


class Archive:
    """An open zip archive; as a context manager, it is closed at the end.

    Its methods raise `InvalidArtifactError` if the archive is damaged, `DownloadError` if the file can't be read.
    """

    def __init__(self, file: Path | BinaryIO, name: str | None = None) -> None:
        self.name: str = name or Path(file.name).name
        with self._typed_errors():
            self._file = file.open("rb") if isinstance(file, Path) else file
            try:
                self.size: int = os.fstat(self._file.fileno()).st_size
                """Bytes of the file."""
                archive = zipfile.ZipFile(self._file)
                self.infos: list[zipfile.ZipInfo] = archive.infolist()
                """All members, in the order of the directory."""
                self._ends_with_directory = ends_with_its_directory(archive)
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def check(self, stop: threading.Event, *, joined: bool = False) -> None:
        """Read and check it from end to end.  Raises `Stopped` once `stop` is set.

        Raises `InvalidArtifactError` unless the checksum of each member is right, no members overlap, they unpack to no
        more than `MAX_UNPACKED` bytes, and nothing follows the end.  A member that can't be read (encrypted, or of an
        unsupported method) is accepted, as that doesn't make an artifact invalid, unless the bytes were `joined` and
        may be of two versions.
        """
        # Otherwise few bytes could take forever to check.  Reading a member never yields more than it announces.
        unpacked = sum(info.file_size for info in self.infos if is_readable(info) and info.compress_type)
        if unpacked > MAX_UNPACKED:
            raise InvalidArtifactError(f"{self.name}: unpacks to {unpacked} bytes, more than {MAX_UNPACKED}")
        self.check_no_overlap(filter(is_readable, self.infos))
        for info in self.infos:
            try:
                for _ in self.pieces(info):
                    raise_if_stopped(stop)
            except UnreadableMemberError as error:
                if joined:
                    raise InvalidArtifactError(
                        f"{error}, and it was downloaded in parts that may not fit together"
                    ) from None
        if not self._ends_with_directory:
            raise InvalidArtifactError(f"{self.name}: not a complete zip archive: it has data after its end")

    def check_no_overlap(self, infos: Iterable[zipfile.ZipInfo]) -> None:
        """Raise `InvalidArtifactError` if any of these members share bytes of the file."""
        spans = sorted((*self.span(info), info.orig_filename) for info in infos)
        for (_, _, end, name), (start, _, _, other) in pairwise(spans):
            if start < end:
                raise InvalidArtifactError(f"{self.name}: {one_line(name)} and {one_line(other)} overlap")

    def span(self, info: zipfile.ZipInfo) -> tuple[int, int, int]:
        """Return the offsets at which a member's local header starts, its data starts, and its data ends."""
        with self._typed_errors():
            self._file.seek(info.header_offset)
            signature, flags, name_size, extra_size = _HEADER.unpack(self._file.read(_HEADER.size))
            name = decoded_name(self._file.read(name_size), flags)
            start = info.header_offset + _HEADER.size + name_size + extra_size
            end = start + info.compress_size
            if signature != LOCAL_HEADER or name != info.orig_filename or end > self.size:
                raise zipfile.BadZipFile(f"{one_line(info.orig_filename)} is not where it should be")
            return info.header_offset, start, end

    def pieces(self, info: zipfile.ZipInfo) -> Generator[bytes]:
        """Yield a member's bytes, at most `PIECE` at once; an empty piece is not the end.

        Raises `UnreadableMemberError` for one that is encrypted, compressed by an unsupported method, or needs too much
        memory; `InvalidArtifactError` instead of the last piece if the checksum is wrong.  However much the data would
        unpack to, it never yields more bytes than the directory announces.
        """
        name = one_line(info.orig_filename)
        if not is_readable(info):
            raise UnreadableMemberError(f"{self.name}: {name} is encrypted, or uses an unsupported compression")
        _, position, end = self.span(info)
        size, done, checksum = info.file_size, 0, 0
        unpacker: _Unpacker
        with self._typed_errors():
            if size == 0 and info.CRC != 0:
                raise zipfile.BadZipFile(f"the checksum of {name} is wrong")
            if info.compress_type == zipfile.ZIP_LZMA:
                unpacker, position = self._lzma(info, position)
            else:
                unpacker = _UNPACKERS[info.compress_type]()
            while done < size:
                packed = b""
                if unpacker.needs_input:
                    # Each time, as another reader may have moved the file position.
                    self._file.seek(position)
                    packed = self._file.read(min(PIECE, end - position))
                    position += len(packed)
                    if not packed:
                        raise zipfile.BadZipFile(f"{name} ends after {done} of {size} bytes")
                piece = unpacker.decompress(packed, min(PIECE, size - done))
                done += len(piece)
                checksum = deflate.crc32(piece, checksum)
                if done == size and checksum != info.CRC:
                    raise zipfile.BadZipFile(f"the checksum of {name} is wrong")
                if done < size and unpacker.eof:
                    raise zipfile.BadZipFile(f"{name} ends after {done} of {size} bytes")
                yield piece

    def _lzma(self, info: zipfile.ZipInfo, position: int) -> "tuple[_Unpacker, int]":
        if info.compress_size < _LZMA_HEADER.size:
            raise zipfile.BadZipFile(f"{one_line(info.orig_filename)} ends within its LZMA properties")
        self._file.seek(position)
        size, modes, dictionary = _LZMA_HEADER.unpack(self._file.read(_LZMA_HEADER.size))
        if size != _LZMA_PROPERTIES:
            raise zipfile.BadZipFile(f"{one_line(info.orig_filename)} has no valid LZMA properties")
        # References never reach back before the start, so a larger dictionary is not needed.
        dictionary = min(dictionary, info.file_size)
        if dictionary > MAX_DICTIONARY:
            raise UnreadableMemberError(
                f"{self.name}: {one_line(info.orig_filename)} takes {dictionary} bytes of memory to unpack, "
                f"more than {MAX_DICTIONARY}"
            )
        rest, context = divmod(modes, 9)
        high, low = divmod(rest, 5)
        filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": context, "lp": low, "pb": high}]
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), position + _LZMA_HEADER.size

    @contextmanager
    def _typed_errors(self) -> Generator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise InvalidArtifactError(f"{self.name}: not a complete zip archive: {one_line(str(error))}") from None
        except OSError as error:
            # Damage can be an `OSError`, too: bz2 raises one without a number, a seek before the start raises `EINVAL`.
            if error.errno in (None, errno.EINVAL):
                raise InvalidArtifactError(f"{self.name}: not a complete zip archive: {error}") from None
            raise DownloadError(f"can't read {self.name}: {error.strerror}") from error


class _Unpacker(Protocol):
    """The interface of the bz2 and lzma decompressors, which return no more bytes than `max_length`."""

    @property
    def needs_input(self) -> bool: ...

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Stored:
    needs_input = True
    eof = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return data[:max_length]


class _Deflated:
    def __init__(self) -> None:
        self._inner = deflate.unpacker(-zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        tail = self._inner.unconsumed_tail
        piece = self._inner.decompress(tail or data, max_length)
        # If the output reached `max_length`, there may be more, even if all input is consumed.
        self.needs_input = len(piece) < max_length and not self._inner.unconsumed_tail
        return piece


_UNPACKERS: dict[int, Callable[[], _Unpacker]] = {
    zipfile.ZIP_STORED: _Stored,
    zipfile.ZIP_DEFLATED: _Deflated,
    zipfile.ZIP_BZIP2: bz2.BZ2Decompressor,
}
