"""Zip archives that say whatever a test wants them to say."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterable
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

import attrs

METHODS = [ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA]
METHOD_NAMES = ["stored", "deflated", "bzip2", "lzma"]

UTF8 = 0x800


def packed(data: bytes, method: int, *, end_mark: bool = True) -> bytes:
    """Return `data` as a member holds it."""
    if method == ZIP_DEFLATED:
        compressor = zlib.compressobj(wbits=-15)
        return compressor.compress(data) + compressor.flush()
    if method == ZIP_BZIP2:
        return bz2.compress(data)
    if method == ZIP_LZMA:
        filters = [{"id": lzma.FILTER_LZMA1, "preset": 1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 20}]
        body = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
        if not end_mark:
            # The .lzma format has no mark where the size is known; its header is 13 bytes long.
            alone = lzma.compress(data, lzma.FORMAT_ALONE, filters=filters)
            body = alone[13:]
        return struct.pack("<BBHBL", 9, 4, 5, 2 * 45 + 3, 1 << 20) + body
    return data


@attrs.frozen
class Entry:
    """A member, and the lies that its headers tell."""

    name: str
    data: bytes = b""
    method: int = ZIP_STORED
    size: int | None = None
    packed_size: int | None = None
    checksum: int | None = None
    raw: bytes | None = None
    """The packed bytes, where they are not those of `data`."""
    flags: int = UTF8
    mode: int = 0o100644
    offset: int | None = None
    """Where the directory says that the header is."""
    local_name: str | None = None
    date: int = (46 << 9) | (3 << 5) | 4
    time: int = (5 << 11) | (6 << 5) | 4


def forge(entries: Iterable[Entry]) -> bytes:
    """Return an archive of `entries`, each believed."""
    body, directory = bytearray(), bytearray()
    count = 0
    for entry in entries:
        raw = packed(entry.data, entry.method) if entry.raw is None else entry.raw
        size = len(entry.data) if entry.size is None else entry.size
        packed_size = len(raw) if entry.packed_size is None else entry.packed_size
        checksum = zlib.crc32(entry.data) if entry.checksum is None else entry.checksum
        name = entry.name.encode()
        local_name = name if entry.local_name is None else entry.local_name.encode()
        offset = len(body) if entry.offset is None else entry.offset
        head = (entry.flags, entry.method, entry.time, entry.date, checksum)
        wide = b""
        if max(size, packed_size, offset) >= 0xFFFF_FFFF:
            wide = struct.pack("<HHQQQ", 1, 24, size, packed_size, offset)
            size = packed_size = offset = 0xFFFF_FFFF
        body += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, *head, packed_size, size, len(local_name), 0)
        body += local_name + raw
        numbers = (packed_size, size, len(name), len(wide), 0, 0, 0, entry.mode << 16, offset)
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0x300 | 20, 20, *head, *numbers) + name + wide
        count += 1
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def zeros(mebibytes: int) -> Entry:
    """Return a member of so many MiB of zeros, deflated to a thousandth."""
    compressor = zlib.compressobj(9, wbits=-15)
    piece = bytes(1024 * 1024)
    # What is flushed in full refers to nothing before it, and can be repeated.
    flushed = compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(piece, checksum)
    raw = flushed * mebibytes + compressor.flush()
    return Entry("zeros.pcap", method=ZIP_DEFLATED, raw=raw, size=mebibytes * len(piece), checksum=checksum)
