"""Checks a zip archive while it streams: the checksum of every member, in one pass and without a file.

Members are read as they arrive.  The directory at the end is read with `zipfile`, and must match them.
"""

import io
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from typing import Literal

import attrs

from dexcmd.threads import raise_if_stopped
from dexcmd.transfer.zipformat import (
    ENCRYPTED,
    END_RECORD,
    KNOWN_METHODS,
    LOCAL_HEADER,
    MAX_UNPACKED,
    PATCHED_OR_STRONGLY_ENCRYPTED,
    decoded_name,
    ends_with_its_directory,
)
from dexcmd.wire import deflate

__all__ = ["Verdict", "ZipStream"]

Verdict = Literal["whole", "damaged", "unknown"]
"""The result for a stream.  `unknown`: one pass can't verify something in it, so the file has to be read."""

PIECE = 1024 * 1024
"""The most bytes to unpack at a time."""

MAX_DIRECTORY = 16 * 1024 * 1024
"""Bytes.  An entry has some hundred bytes, so this is more than the directory of a DEX artifact ever has."""

MAX_COMMENT = 128 * 1024
"""Bytes of an archive's comment, at most 64 KiB, and the records around it."""

_DIRECTORY_SIGNATURES = (b"PK\x01\x02", END_RECORD, b"PK\x06\x06", b"PK\x06\x08")
_DESCRIPTOR = b"PK\x07\x08"
_ENTRY_SIZE = 46
"""Bytes of a directory entry without its name."""
_HEADER = struct.Struct("<4s2xHH4xIIIHH")
"""A local header: signature, flags, method, checksum, sizes, and the lengths of name and extra fields."""
_ZIP64_SIZES = struct.Struct("<QQ")
_UNKNOWN_SIZE = 0xFFFFFFFF
_ZIP64_FIELD = 1

_HAS_DESCRIPTOR = 0x8

_Step = Callable[["ZipStream", memoryview], memoryview]
"""Not a bound method: stored in its own object, that would be a reference cycle, which keeps the memory until the next
garbage collection.
"""


@attrs.define
class _Member:
    """A member as it arrived."""

    name: str | None
    """The name in its local header; None if it can't be decoded."""

    method: int
    crc: int = 0
    packed: int = 0
    size: int = 0
    readable: bool = True
    """Whether its checksum can be computed here: it is not encrypted, and stored or deflated."""


class ZipStream:
    """Takes an archive in pieces of any size; `verdict` then tells whether it is complete and undamaged.

    No content of an archive makes it raise.  After unpacking `most` bytes it stops checking, and the verdict is
    `unknown`.  Setting `stop` ends a `feed` in progress, even within a piece: it raises `Stopped`.
    """

    def __init__(self, stop: threading.Event | None = None, most: int = MAX_UNPACKED) -> None:
        self._stop = stop or threading.Event()
        self._unpack_budget = most
        """The number of bytes that may still be unpacked."""

        self._members: dict[int, _Member] = {}
        """The members so far, by the offset of their local header."""

        self._member = _Member("", 0)
        """The member being read."""

        self._min_directory_size = 0
        """The least bytes that the directory needs for the members so far."""

        self._position = 0
        """The offset in the archive of the next bytes for the current step."""

        self._gathered = bytearray()
        """The bytes so far of a header or a data descriptor."""

        self._left = 0
        """Bytes of the member that are still to come, if its header contains its size."""

        self._inflate = deflate.unpacker(-zlib.MAX_WBITS)
        self._zip64 = False
        """Whether the member's data descriptor has sizes of 8 bytes each (zip64)."""

        self._directory = bytearray()
        self._step: _Step = ZipStream._header
        """The method for the next bytes: the current state of the parser."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        rest = memoryview(data)
        while len(rest):
            before = len(rest)
            rest = self._step(self, rest)
            self._position += before - len(rest)

    def verdict(self, *, joined: bool = False) -> Verdict:
        """Return the verdict on all bytes together.

        If they may be of two versions (`joined`), a member that can't be checked at all makes it `unknown`.
        """
        if self._step is ZipStream._skip_undecided:
            return "unknown"
        if self._step is not ZipStream._collect_directory:
            # Truncated or damaged before the directory.
            return "damaged"
        tail = _TailFile(bytes(self._directory), self._position)
        try:
            with zipfile.ZipFile(tail) as archive:
                entries = archive.infolist()
                complete = ends_with_its_directory(archive)
        # What `zipfile` raises for a damaged directory; `NotImplementedError` for a version that it doesn't know, which
        # may be due to a flipped bit.
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
            return "damaged"
        verdicts = {self._compare(entry, joined=joined) for entry in entries}
        return "damaged" if not complete or "damaged" in verdicts else "unknown" if "unknown" in verdicts else "whole"

    def _compare(self, entry: zipfile.ZipInfo, *, joined: bool) -> Verdict:
        member = self._members.get(entry.header_offset)
        if member is None:
            return "unknown"
        found = (member.name, member.method, member.packed)
        if found != (entry.orig_filename, entry.compress_type, entry.compress_size):
            return "damaged"
        if entry.flag_bits & ENCRYPTED or entry.compress_type not in KNOWN_METHODS:
            # Reading the file could not check it either.
            return "unknown" if joined else "whole"
        if not member.readable or entry.flag_bits & PATCHED_OR_STRONGLY_ENCRYPTED:
            # bz2, lzma, patched data, and flags in which local header and directory differ: reading the file decides.
            return "unknown"
        return "whole" if (member.crc, member.size) == (entry.CRC, entry.file_size) else "damaged"

    # Steps: each consumes what it can of the bytes, and returns the rest.

    def _gather(self, data: memoryview, wanted: int) -> tuple[bool, memoryview]:
        missing = max(0, wanted - len(self._gathered))
        self._gathered += data[:missing]
        return len(self._gathered) >= wanted, data[missing:]

    def _header(self, data: memoryview) -> memoryview:
        start = self._position - len(self._gathered)
        complete, data = self._gather(data, 4)
        if not complete:
            return data
        signature = bytes(self._gathered[:4])
        if signature in _DIRECTORY_SIGNATURES:
            self._directory, self._gathered = self._gathered, bytearray()
            self._step = ZipStream._collect_directory
            return data
        if signature != LOCAL_HEADER:
            return self._give_up()
        complete, data = self._gather(data, _HEADER.size)
        if not complete:
            return data
        _, flags, method, _, packed, size, name_size, extra_size = _HEADER.unpack_from(self._gathered)
        complete, data = self._gather(data, _HEADER.size + name_size + extra_size)
        if not complete:
            return data
        self._min_directory_size += _ENTRY_SIZE + name_size
        if self._min_directory_size > MAX_DIRECTORY:
            return self._give_up()
        names = bytes(self._gathered[_HEADER.size :])
        self._gathered = bytearray()
        self._member = self._members[start] = _Member(_decoded(names[:name_size], flags), method)
        self._begin(flags, packed, size, names[name_size:])
        return data

    def _begin(self, flags: int, packed: int, size: int, extra: bytes) -> None:
        sizes64, method = _zip64_sizes(extra), self._member.method
        self._zip64 = sizes64 is not None
        if sizes64 is not None and _UNKNOWN_SIZE in (packed, size):
            _, packed = sizes64
        has_descriptor = bool(flags & _HAS_DESCRIPTOR)
        deflated = method == zipfile.ZIP_DEFLATED
        self._member.readable = not flags & ENCRYPTED and (deflated or method == zipfile.ZIP_STORED)
        self._left = packed
        if has_descriptor and not (deflated and self._member.readable):
            # Its size is only in the descriptor after it, so there is no telling where it ends.
            self._give_up()
        elif not self._member.readable:
            self._step = ZipStream._unreadable if packed else ZipStream._header
        elif not deflated:
            self._step = ZipStream._stored if packed else ZipStream._header
        else:
            self._inflate = deflate.unpacker(-zlib.MAX_WBITS)
            self._step = ZipStream._deflated_until_end if has_descriptor else ZipStream._deflated

    def _unreadable(self, data: memoryview) -> memoryview:
        return self._within(data, lambda _: None)

    def _stored(self, data: memoryview) -> memoryview:
        return self._within(data, self._count)

    def _deflated(self, data: memoryview) -> memoryview:
        def unpack(piece: memoryview) -> None:
            # The deflate stream must end exactly where the member ends.
            if self._unpack(piece) or (not self._left and not self._inflate.eof):
                self._member.crc = -1

        return self._within(data, unpack) if self._left else self._give_up()

    def _within(self, data: memoryview, take: Callable[[memoryview], None]) -> memoryview:
        """Consume bytes of a member whose compressed size is known."""
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        self._member.packed += len(piece)
        if not self._left:
            self._step = ZipStream._header
        take(piece)
        return rest

    def _deflated_until_end(self, data: memoryview) -> memoryview:
        unused = self._unpack(data)
        self._member.packed += len(data) - unused
        if self._inflate.eof and self._step is not ZipStream._skip_undecided:
            self._step = ZipStream._descriptor
        return data[len(data) - unused :]

    def _unpack(self, data: memoryview) -> int:
        """Unpack, and return how many bytes follow the end of the deflate stream."""
        try:
            packed: bytes | memoryview = data
            full = False
            # After a full piece there may be more output, or the end of the stream, without any further input.
            while (packed or full) and not self._inflate.eof:
                raise_if_stopped(self._stop)
                before = self._member.size
                self._count(self._inflate.decompress(packed, PIECE))
                packed, full = self._inflate.unconsumed_tail, self._member.size - before == PIECE
                self._unpack_budget -= self._member.size - before
                if self._unpack_budget < 0:
                    self._give_up()
                    return 0
            if not self._inflate.eof:
                return 0
            return len(self._inflate.unused_data) or len(packed)
        except deflate.DeflateError:
            self._member.crc = -1
            self._step = ZipStream._skip_damaged
            return 0

    def _count(self, unpacked: bytes | memoryview) -> None:
        self._member.crc = deflate.crc32(unpacked, self._member.crc)
        self._member.size += len(unpacked)

    def _descriptor(self, data: memoryview) -> memoryview:
        member = self._member
        if not self._zip64 and max(member.packed, member.size) > _UNKNOWN_SIZE:
            # Some writers use 8-byte sizes for large members without a zip64 field in the local header.
            return self._give_up()
        # The signature is optional.  At least 22 bytes (the end record) follow, so there are always enough to read.
        sizes = struct.pack("<QQ" if self._zip64 else "<II", member.packed, member.size)
        crc = struct.pack("<I", member.crc)
        complete, data = self._gather(data, len(_DESCRIPTOR + crc + sizes))
        if not complete:
            return data
        for form in (_DESCRIPTOR + crc + sizes, crc + sizes):
            if self._gathered.startswith(form):
                del self._gathered[: len(form)]
                self._step = ZipStream._header
                return data
        return self._give_up()

    def _collect_directory(self, data: memoryview) -> memoryview:
        self._directory += data
        return self._give_up() if len(self._directory) > MAX_DIRECTORY else data[len(data) :]

    def _give_up(self) -> memoryview:
        self._step = ZipStream._skip_undecided
        self._gathered, self._directory = bytearray(), bytearray()
        self._members.clear()
        return memoryview(b"")

    def _skip_undecided(self, data: memoryview) -> memoryview:
        return data[len(data) :]

    def _skip_damaged(self, data: memoryview) -> memoryview:
        return data[len(data) :]


class _TailFile(io.RawIOBase):
    """A file for `zipfile` to read the directory from, of which only the end is known; before it are zeros."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._start = size - len(data)
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._start + len(self._data)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        missing = max(0, self._start - self._at)
        if missing > MAX_COMMENT:
            # `zipfile` searches for the end record no further back than the longest comment.
            raise zipfile.BadZipFile("the directory is not where it should be")
        data = bytes(missing) + self._data[max(0, self._at - self._start) :]
        data = data if size < 0 else data[:size]
        self._at += len(data)
        return data


def _decoded(name: bytes, flags: int) -> str | None:
    try:
        return decoded_name(name, flags)
    except UnicodeDecodeError:
        return None


def _zip64_sizes(extra: bytes) -> tuple[int, int] | None:
    """Return size and compressed size from the zip64 field of a local header; None if there is none."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == _ZIP64_FIELD and length >= _ZIP64_SIZES.size and at + 4 + length <= len(extra):
            size, packed = _ZIP64_SIZES.unpack_from(extra, at + 4)
            return size, packed
        at += 4 + length
    return None
