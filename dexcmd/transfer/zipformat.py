"""What all readers of zip archives need from the format (PKWARE's APPNOTE 6.3.10) and from how `zipfile` reads it."""

import io
import struct
import zipfile

__all__ = [
    "ENCRYPTED",
    "END_RECORD",
    "KNOWN_METHODS",
    "LOCAL_HEADER",
    "MAX_UNPACKED",
    "PATCHED_OR_STRONGLY_ENCRYPTED",
    "decoded_name",
    "ends_with_its_directory",
]

LOCAL_HEADER = b"PK\x03\x04"
END_RECORD = b"PK\x05\x06"
_END_RECORD_SIZE = 22

ENCRYPTED = 0x1
PATCHED_OR_STRONGLY_ENCRYPTED = 0x60
"""Flags for patched data and strong encryption, which `zipfile` refuses to read."""
_UTF_8_NAME = 0x800

MAX_UNPACKED = 64 * 1024**3
"""The most bytes that an archive's compressed members may unpack to, to be checked; that takes a minute or two.  A
limit on the ratio can't tell a capture from a zip bomb, as deflate compresses zeros a thousandfold; bz2 compresses this
many into 50 KB.
"""

KNOWN_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})


def decoded_name(name: bytes, flags: int) -> str:
    """Decode the name in a local header as `zipfile` decodes names in the directory.  Raises `UnicodeDecodeError`."""
    return name.decode("utf-8" if flags & _UTF_8_NAME else "cp437")


def ends_with_its_directory(archive: zipfile.ZipFile) -> bool:
    """Tell whether an archive ends with its end record and its complete comment.

    `zipfile` accepts data after them, and a truncated comment.
    """
    file = archive.fp
    if file is None:
        return False
    file.seek(-_END_RECORD_SIZE - len(archive.comment), io.SEEK_END)
    record = file.read(_END_RECORD_SIZE)
    return record.startswith(END_RECORD) and record.endswith(struct.pack("<H", len(archive.comment)))
