"""Decoding: whole at any cut, never more than was encoded, and never less without a word."""

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexcmd.wire.coding import MAX_AT_ONCE, CodingError, Decoder, decoded

pytestmark = pytest.mark.usefixtures("deflate_library")


def bare(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


ENCODE = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}

GZIPPED = gzip.compress(b"one", mtime=0)

bodies = st.one_of(
    st.binary(max_size=2000),
    st.integers(0, 3 * MAX_AT_ONCE).map(bytes),
    st.binary(min_size=100).map(lambda b: b * 9000),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def through(decoder: Decoder, pieces: list[bytes]) -> list[bytes]:
    return [piece for data in pieces for piece in decoder.feed(data)]


@given(body=bodies, coding=st.sampled_from([*ENCODE]), places=st.lists(st.integers(0, 1 << 20), max_size=5))
def test_whatever_the_pieces_the_body_is_whole(body: bytes, coding: str, places: list[int]) -> None:
    decoder = Decoder(coding)
    pieces = through(decoder, cut(ENCODE[coding](body), places))
    decoder.end()
    assert b"".join(pieces) == body
    assert max(map(len, pieces), default=0) <= MAX_AT_ONCE


@given(body=bodies, coding=st.sampled_from([*ENCODE]), data=st.data())
def test_one_that_ends_early_is_not_taken_for_whole(body: bytes, coding: str, data: st.DataObject) -> None:
    encoded = ENCODE[coding](body)
    decoder = Decoder(coding)
    came = b"".join(through(decoder, [encoded[: data.draw(st.integers(0, len(encoded) - 1))]]))
    assert body.startswith(came)
    with pytest.raises(CodingError, match="ends early"):
        decoder.end()


def test_deflate_without_a_header() -> None:
    decoder = Decoder("deflate")
    assert b"".join(through(decoder, cut(bare(b"bare" * 100), [1, 5]))) == b"bare" * 100
    decoder.end()


def test_gzip_data_may_follow_one_another() -> None:
    decoder = Decoder("gzip")
    pieces = through(decoder, cut(GZIPPED + gzip.compress(b"two"), [23, 24]))
    decoder.end()
    assert b"".join(pieces) == b"onetwo"


@pytest.mark.parametrize(
    ("coding", "data", "says"),
    [
        ("gzip", b"PK\x03\x04", "damaged"),
        ("deflate", b"\xff\xff\xff", "damaged"),
        ("gzip", GZIPPED[:-8] + bytes(8), "damaged"),
        ("gzip", GZIPPED + b"more", "damaged"),
        ("deflate", zlib.compress(b"one") + b"more", "after the encoded"),
    ],
    ids=["no gzip", "no deflate", "other checksum", "more behind gzip", "more behind deflate"],
)
def test_what_is_not_of_the_coding(coding: str, data: bytes, says: str) -> None:
    with pytest.raises(CodingError, match=says):
        through(Decoder(coding), [data])


def test_a_body_that_stands_for_very_much_is_decoded_no_further_than_needed() -> None:
    body = decoded(gzip.compress(bytes(50_000_000)), "gzip", 1000)
    assert 1000 < len(body) <= MAX_AT_ONCE
