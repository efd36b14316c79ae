"""Zip archives that are never held in memory: the exact size is known up front, and any range can be generated.

Pure.  Members are stored, not compressed, and are `Storable`: bytes in memory, or `Blocks` that are generated one at
a time.  Checksums are correct, and cheap even for gigabytes, since those of blocks are combined.  From 4 GiB on the
archive uses Zip64.  The format is that of PKWARE's APPNOTE.TXT.
"""

import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Protocol

import attrs

from dexcmd.sandbox.content import PIECE, Content, Loaded, checked_stop

__all__ = [
    "ZIP64_FROM",
    "Archive",
    "Blocks",
    "Member",
    "Storable",
    "archive_size",
    "crc32_combine",
]

ZIP64_FROM = 0xFFFF_FFFF  #: sizes and offsets from this value on need Zip64

_POLYNOMIAL = 0xEDB8_8320  # of CRC-32, bit-reversed, without its highest term
_ONE, _X_8 = 1 << 31, 1 << 23

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_LOCAL_64 = struct.Struct("<HHQQ")
_CENTRAL_64 = struct.Struct("<HHQQQ")
_END = struct.Struct("<IHHHHIIH")
_END_64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<IIQI")

_UTF8_NAMES = 0x0800
_UNIX = 3 << 8
_REGULAR_0600 = 0o100600 << 16


class Storable(Content, Protocol):
    """Content of a member.

    `read` raises `ValueError`, before yielding anything, if the range is out of bounds.
    """

    def crc32(self) -> int:
        """Return the CRC-32 of all the bytes."""
        ...


def _times(a: int, b: int) -> int:
    """Multiply two polynomials over GF(2) modulo the polynomial of CRC-32."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@lru_cache(maxsize=64)
def _shift(size: int) -> int:
    """Return the factor by which a CRC-32 is multiplied when `size` bytes follow."""
    result, square = _ONE, _X_8
    while size:
        if size & 1:
            result = _times(square, result)
        square = _times(square, square)
        size >>= 1
    return result


def crc32_combine(first: int, second: int, second_size: int) -> int:
    """Return the CRC-32 of two concatenated strings, from their CRC-32s and the second's size in bytes."""
    return _times(_shift(second_size), first) ^ second


@attrs.frozen
class Blocks:
    """Content made of a head, equally sized blocks and a tail; only one of these is in memory at a time."""

    head: bytes
    block_size: int  #: bytes
    count: int  #: number of blocks, without head and tail
    tail_size: int  #: bytes
    block: Callable[[int], bytes]  #: generates the n-th block, from 0; for `count`, the tail
    block_crc32: Callable[[int], int]  #: returns the CRC-32 of the n-th block, ideally without generating it

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.head) + self.block_size * self.count + self.tail_size

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes [start, stop); see `Storable`."""
        return self._pieces(start, checked_stop(self.size, start, stop))

    def _pieces(self, position: int, stop: int) -> Iterator[bytes]:
        while position < stop:
            if position < len(self.head):
                at, data = 0, self.head
            else:
                index = min((position - len(self.head)) // self.block_size, self.count)
                at, data = len(self.head) + index * self.block_size, self.block(index)
            end = min(stop, at + len(data))
            for piece in range(position, end, PIECE):
                yield data[piece - at : min(piece + PIECE, end) - at]
            position = end

    @cached_property
    def _crc32(self) -> int:
        crc = zlib.crc32(self.head)
        for index in range(self.count):
            crc = crc32_combine(crc, self.block_crc32(index), self.block_size)
        return zlib.crc32(self.block(self.count), crc)

    def crc32(self) -> int:
        """Return the CRC-32 of all the bytes; it is computed once."""
        return self._crc32


@attrs.frozen
class Member:
    """One file of an archive."""

    name: str
    content: Storable
    modified: datetime  #: aware; stored in UTC, to two seconds, from 1980 to 2107


def _overhead(names: Iterable[bytes], zip64: bool) -> int:
    locals_, centrals = _LOCAL.size, _CENTRAL.size
    end = _END.size
    if zip64:
        locals_, centrals = locals_ + _LOCAL_64.size, centrals + _CENTRAL_64.size
        end += _END_64.size + _LOCATOR_64.size
    return end + sum(locals_ + centrals + 2 * len(name) for name in names)


def archive_size(members: Iterable[tuple[str, int]], *, zip64: bool) -> int:
    """Return the size in bytes of an archive whose members are given as names and sizes."""
    members = list(members)
    return _overhead((name.encode() for name, _ in members), zip64) + sum(size for _, size in members)


def _dos_time(moment: datetime) -> tuple[int, int]:
    """Return time and date in zip's format."""
    moment = moment.astimezone(UTC)
    year = min(max(moment.year, 1980), 2107)
    date = year - 1980 << 9 | moment.month << 5 | moment.day
    return moment.hour << 11 | moment.minute << 5 | moment.second // 2, date


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small neighbouring pieces, so that a zip of many small files doesn't come in tiny ones."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > PIECE:
            yield b"".join(held)
            held, size = [], 0
        held.append(piece)
        size += len(piece)
    if held:
        yield b"".join(held)


@attrs.frozen
class Archive:
    """A zip archive of stored members.  If `zip64` is True, it uses Zip64 even if that isn't needed."""

    members: Sequence[Member]
    zip64: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError("two members have the same name")

    @cached_property
    def _names(self) -> list[bytes]:
        return [member.name.encode() for member in self.members]

    @cached_property
    def _wide(self) -> bool:
        sizes = ((member.name, member.content.size) for member in self.members)
        return self.zip64 or len(self.members) >= 0xFFFF or archive_size(sizes, zip64=False) >= ZIP64_FROM

    @cached_property
    def _starts(self) -> list[int]:
        """The start of each part, and the end: per member its header and content, then the directory."""
        header = _LOCAL.size + (_LOCAL_64.size if self._wide else 0)
        parts = [0]
        for name, member in zip(self._names, self.members, strict=True):
            parts += [header + len(name), member.content.size]
        starts = list(accumulate(parts))
        directory = _overhead(self._names, self._wide) - sum(parts[1::2])
        return [*starts, starts[-1] + directory]

    @property
    def size(self) -> int:
        """Size of the archive in bytes."""
        return self._starts[-1]

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes [start, stop) in pieces of at most `PIECE`; a `stop` of None means the end.

        Raises `ValueError`, before yielding anything, if the range is out of bounds.
        """
        return _gathered(self._pieces(start, checked_stop(self.size, start, stop)))

    def _pieces(self, position: int, stop: int) -> Iterator[bytes]:
        starts = self._starts
        while position < stop:
            part = bisect_right(starts, position) - 1
            end = min(stop, starts[part + 1])
            yield from self._part(part).read(position - starts[part], end - starts[part])
            position = end

    def _part(self, part: int) -> Storable:
        index, is_content = divmod(part, 2)
        if is_content:
            return self.members[index].content
        return Loaded(self._local(index) if index < len(self.members) else self._directory())

    def _described(self, index: int) -> tuple[int, int, int, int, int, int, int, int, int]:
        """Return the fields that the local header and the directory have in common, in their order."""
        member = self.members[index]
        size = ZIP64_FROM if self._wide else member.content.size
        needed = 45 if self._wide else 20
        time, date = _dos_time(member.modified)
        name_size = len(self._names[index])
        return needed, _UTF8_NAMES, 0, time, date, member.content.crc32(), size, size, name_size

    def _local(self, index: int) -> bytes:
        extra, size = b"", self.members[index].content.size
        if self._wide:
            extra = _LOCAL_64.pack(1, _LOCAL_64.size - 4, size, size)
        return _LOCAL.pack(0x04034B50, *self._described(index), len(extra)) + self._names[index] + extra

    def _central(self, index: int) -> bytes:
        extra, size, offset = b"", self.members[index].content.size, self._starts[2 * index]
        if self._wide:
            extra, offset = _CENTRAL_64.pack(1, _CENTRAL_64.size - 4, size, size, offset), ZIP64_FROM
        described = self._described(index)
        made_by = _UNIX | described[0]
        rest = (len(extra), 0, 0, 0, _REGULAR_0600, offset)
        return _CENTRAL.pack(0x02014B50, made_by, *described, *rest) + self._names[index] + extra

    def _directory(self) -> bytes:
        entries = b"".join(map(self._central, range(len(self.members))))
        count, size, offset = len(self.members), len(entries), self._starts[-2]
        if not self._wide:
            return entries + _END.pack(0x06054B50, 0, 0, count, count, size, offset, 0)
        end = (_END_64.size - 12, _UNIX | 45, 45, 0, 0, count, count, size, offset)
        locator = _LOCATOR_64.pack(0x07064B50, 0, offset + size, 1)
        marks = _END.pack(0x06054B50, 0, 0, 0xFFFF, 0xFFFF, ZIP64_FROM, ZIP64_FROM, 0)
        return entries + _END_64.pack(0x06064B50, *end) + locator + marks
