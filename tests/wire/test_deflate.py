"""Checksums and unpacking: the same results whichever library computes them, and neither needs to be installed."""

import subprocess
import sys
import zlib
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from dexcmd.wire import deflate

RAW = -zlib.MAX_WBITS


def deflated(data: bytes, level: int = 6) -> bytes:
    packer = zlib.compressobj(level, wbits=RAW)
    return packer.compress(data) + packer.flush()


def unpacked(library: ModuleType, data: bytes, at_once: int) -> tuple[bytes, str]:
    """Return what it unpacks to, and how that ends."""
    unpacker: deflate.Unpacker = library.decompressobj(RAW)
    pieces: list[bytes] = []
    try:
        while not unpacker.eof:
            pieces.append(unpacker.decompress(data, at_once))
            data = unpacker.unconsumed_tail
            if not data and len(pieces[-1]) < at_once:
                break
    except (zlib.error, zlib_ng.error):  # type: ignore[misc]
        # How much comes out before damage is noticed differs.
        return b"", "damaged"
    return b"".join(pieces), f"ended, {unpacker.unused_data!r} left" if unpacker.eof else "cut off"


bodies = st.one_of(st.binary(max_size=5000), st.binary(min_size=1, max_size=40).map(lambda piece: piece * 3000))


@given(bodies, st.integers(0, 9), st.integers(1, 70_000), st.binary(max_size=9))
def test_both_libraries_unpack_the_same(body: bytes, level: int, at_once: int, behind: bytes) -> None:
    packed = deflated(body, level) + behind
    for library in (zlib, zlib_ng):
        assert unpacked(library, packed, at_once) == (body, f"ended, {behind!r} left")


@given(bodies, st.integers(0, 10**9), st.integers(0, 7))
def test_both_libraries_find_the_same_damage(body: bytes, place: int, bit: int) -> None:
    packed = bytearray(deflated(body))
    packed[place % len(packed)] ^= 1 << bit
    assert unpacked(zlib, bytes(packed), 9000) == unpacked(zlib_ng, bytes(packed), 9000)


@given(st.lists(bodies, max_size=4))
def test_checksums_go_on_from_piece_to_piece(pieces: list[bytes]) -> None:
    checksum = 0
    for piece in pieces:
        checksum = deflate.crc32(memoryview(piece), checksum)
    assert checksum == zlib.crc32(b"".join(pieces))


@pytest.mark.parametrize(("hidden", "expected"), [(False, "zlib_ng.zlib_ng"), (True, "zlib")])
def test_zlib_ng_is_used_where_it_is_installed(hidden: bool, expected: str) -> None:
    hide = "import sys; sys.modules['zlib_ng'] = None\n" if hidden else ""
    code = f"{hide}from dexcmd.wire import deflate; print(deflate.crc32.__module__, deflate.crc32(b'dexcmd', 0))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == [expected, str(zlib.crc32(b"dexcmd"))]
