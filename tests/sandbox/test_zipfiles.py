"""Archives, read by the standard library and by Info-ZIP where that is installed."""

import io
import shutil
import subprocess
import zipfile
import zlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.sandbox.content import PIECE, Loaded
from dexcmd.sandbox.zipfiles import (
    ZIP64_FROM,
    Archive,
    Blocks,
    Member,
    archive_size,
    crc32_combine,
)
from tests.sandbox.opened import Opened

MOMENT = datetime(2025, 5, 1, 12, 34, 56, tzinfo=UTC)


def numbered(head, size, count, tail):
    """Return blocks that differ, and what they are in a row."""

    def block(index):
        return bytes([index % 251]) * (size if index < count else tail)

    content = Blocks(head, size, count, tail, block, lambda index: zlib.crc32(block(index)))
    return content, head + b"".join(map(block, range(count + 1)))


def zeros(size):
    """Return any number of zeros that are cheap to check."""
    count, tail = divmod(size, 1 << 20)
    crc = zlib.crc32(bytes(1 << 20))
    return Blocks(b"", 1 << 20, count, tail, lambda index: bytes(1 << 20 if index < count else tail), lambda _: crc)


def bytes_of(content):
    return b"".join(content.read())


def files(archive):
    """Return what the standard library finds in an archive, everything checked."""
    with zipfile.ZipFile(io.BytesIO(bytes_of(archive))) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_combined_checksums(first, second):
    combined = crc32_combine(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)


@pytest.mark.parametrize("more", [0, 1, 12_345, 3_000_000])
def test_combined_checksums_of_gigabytes(more):
    # So many zeros bring the register back to where it was: the period of the polynomial.
    assert zeros(0xFFFF_FFFF + more).crc32() == zlib.crc32(bytes(more))


blocks = st.builds(numbered, st.binary(max_size=40), st.integers(1, 40), st.integers(0, 6), st.integers(0, 90))


@given(blocks, st.data())
def test_blocks(made, data):
    content, whole = made
    assert content.size == len(whole)
    assert content.crc32() == content.crc32() == zlib.crc32(whole)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert b"".join(content.read(start, stop)) == whole[start:stop]
    assert b"".join(content.read(start)) == whole[start:]


@given(st.binary(max_size=50), st.data())
def test_loaded(whole, data):
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert b"".join(Loaded(whole).read(start, stop)) == whole[start:stop]
    assert Loaded(whole).crc32() == zlib.crc32(whole)


CONTENTS = [Loaded(b"0123456789"), numbered(b"01", 3, 2, 2)[0], Archive([Member("a", Loaded(b"b"), MOMENT)])]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3), (0, 1000), (1000, None)])
def test_a_range_outside_is_refused_at_once(content, start, stop):
    with pytest.raises(ValueError, match="is not a range"):
        content.read(start, stop)


@pytest.mark.parametrize("content", [Loaded(bytes(3 * PIECE + 5)), zeros(3 * PIECE + 5)])
def test_large_content_comes_in_pieces(content):
    assert max(map(len, content.read())) == PIECE
    assert max(map(len, content.read(7))) == PIECE


names = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
contents = st.one_of(st.binary(max_size=60).map(Loaded), blocks.map(lambda made: made[0]))


@given(st.dictionaries(names, contents, max_size=5), st.booleans(), st.data())
@settings(deadline=None)
def test_archives(members, zip64, data):
    archive = Archive([Member(name, each, MOMENT) for name, each in members.items()], zip64=zip64)
    whole = bytes_of(archive)
    assert archive.size == len(whole)
    assert archive.size == archive_size(((name, each.size) for name, each in members.items()), zip64=zip64)
    assert files(archive) == {name: bytes_of(each) for name, each in members.items()}
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert b"".join(archive.read(start, stop)) == whole[start:stop]


def test_a_member_is_private_stored_and_dated_in_utc():
    moment = MOMENT.astimezone(timezone(timedelta(hours=9)))
    archive = Archive([Member("a.txt", Loaded(b"abc"), moment)])
    (info,) = zipfile.ZipFile(io.BytesIO(bytes_of(archive))).infolist()
    assert info.date_time == (2025, 5, 1, 12, 34, 56)
    assert info.external_attr >> 16 == 0o100600
    assert info.compress_type == zipfile.ZIP_STORED


@pytest.mark.parametrize(("year", "told"), [(1970, 1980), (1980, 1980), (2107, 2107), (2500, 2107)])
def test_a_date_that_zip_cannot_tell(year, told):
    archive = Archive([Member("a", Loaded(b""), datetime(year, 3, 1, tzinfo=UTC))])
    assert zipfile.ZipFile(io.BytesIO(bytes_of(archive))).infolist()[0].date_time[:3] == (told, 3, 1)


def test_names_are_unique():
    with pytest.raises(ValueError, match="same name"):
        Archive([Member("a", Loaded(b""), MOMENT), Member("a", Loaded(b"1"), MOMENT)])


def test_small_members_come_together():
    archive = Archive([Member(f"{number}", Loaded(bytes(9000)), MOMENT) for number in range(100)])
    pieces = list(map(len, archive.read()))
    assert max(pieces) <= PIECE
    assert len(pieces) <= 5


@pytest.mark.parametrize("size", [ZIP64_FROM - 1000, ZIP64_FROM, (5 << 30) + 7])
def test_an_archive_of_gigabytes(size):
    large, after = Member("large", zeros(size), MOMENT), Member("after", Loaded(b"behind"), MOMENT)
    archive = Archive([large, after])
    with zipfile.ZipFile(io.BufferedReader(Opened(archive))) as opened:
        infos = opened.infolist()
        assert [info.file_size for info in infos] == [size, 6]
        assert large.content.crc32() == infos[0].CRC
        assert opened.read("after") == b"behind"
        with opened.open("large") as member:
            assert member.read(10) == bytes(10)
    assert b"".join(archive.read(archive.size)) == b""


@pytest.mark.parametrize(("size", "wide"), [(ZIP64_FROM - 1, False), (ZIP64_FROM, True)])
def test_zip64_begins_with_the_archive_that_needs_it(size, wide):
    content = size - archive_size([("a", 0)], zip64=False)
    archive = Archive([Member("a", zeros(content), MOMENT)])
    assert archive.size == archive_size([("a", content)], zip64=wide)


@pytest.mark.parametrize(("count", "wide"), [(0xFFFE, False), (0xFFFF, True)])
def test_zip64_begins_with_the_member_that_needs_it(count, wide):
    names = [str(number) for number in range(count)]
    archive = Archive([Member(name, Loaded(b""), MOMENT) for name in names])
    assert archive.size == archive_size(((name, 0) for name in names), zip64=wide)


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip (Info-ZIP) is not installed")
@pytest.mark.parametrize("zip64", [False, True])
def test_info_zip_finds_no_fault(tmp_path, zip64):
    members = [Member("kleiné.txt", Loaded(b"abc"), MOMENT), Member("b/large.bin", zeros(3_000_000), MOMENT)]
    file = tmp_path / "a.zip"
    file.write_bytes(bytes_of(Archive(members, zip64=zip64)))
    done = subprocess.run(["unzip", "-t", file], capture_output=True, text=True, check=True, timeout=60)
    assert "No errors detected" in done.stdout
    assert done.stderr == ""
