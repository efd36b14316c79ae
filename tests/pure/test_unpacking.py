"""The bytes of members: whole or refused, and never many at once."""

import errno
import random
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import DownloadError, InvalidArtifactError, UnreadableMemberError
from dexcmd.transfer.unpacking import PIECE, Archive, is_folder, is_readable, is_special
from tests.heap import measured_heap
from tests.test_members import open_files
from tests.zips import METHOD_NAMES, METHODS, UTF8, Entry, forge, packed

MIB = 1024 * 1024
NOISE = random.Random(7).randbytes(3 * PIECE + 17)
each_method = pytest.mark.parametrize("method", METHODS, ids=METHOD_NAMES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c1.zip"


def first(path: Path, *entries: Entry) -> list[bytes]:
    """Return the pieces of the first of `entries`, which are made an archive."""
    path.write_bytes(forge(entries))
    with Archive(path) as archive:
        return list(archive.pieces(archive.infos[0]))


@each_method
@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"log line\n" * 1000, bytes(PIECE), bytes(2 * PIECE), bytes(5 * PIECE + 1), NOISE[:PIECE], NOISE],
    ids=["none", "one byte", "text", "a piece of zeros", "two pieces", "more", "a piece of noise", "noise"],
)
def test_what_went_in_comes_out_in_bounded_pieces(path: Path, method: int, data: bytes):
    pieces = first(path, Entry("a", data, method))
    assert b"".join(pieces) == data
    assert all(len(piece) <= PIECE for piece in pieces)
    # Not many more than it takes: each costs a hop to a thread.
    assert len(pieces) <= 2 * (len(data) // PIECE) + 3


@each_method
def test_what_the_standard_library_writes(path: Path, method: int):
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("a", "w", force_zip64=True) as member:
        member.write(NOISE)
    with Archive(path) as archive:
        assert b"".join(archive.pieces(archive.infos[0])) == NOISE


def test_lzma_without_an_end_mark(path: Path):
    data = b"log line\n" * 100_000
    raw = packed(data, zipfile.ZIP_LZMA, end_mark=False)
    assert b"".join(first(path, Entry("a", data, zipfile.ZIP_LZMA, raw=raw))) == data


@each_method
def test_members_may_be_read_in_turns(path: Path, method: int):
    datas = [NOISE, NOISE[::-1]]
    path.write_bytes(forge(Entry(name, data, method) for name, data in zip("ab", datas, strict=True)))
    with Archive(path) as archive:
        found = [b"", b""]
        for pair in zip(*map(archive.pieces, archive.infos), strict=True):
            found = [have + piece for have, piece in zip(found, pair, strict=True)]
    assert found == datas


class TestDamage:
    @each_method
    def test_a_wrong_checksum_shows_before_the_last_bytes_are_out(self, path: Path, method: int):
        path.write_bytes(forge([Entry("a", bytes(3 * PIECE), method, checksum=1)]))
        with Archive(path) as archive:
            pieces = archive.pieces(archive.infos[0])
            got = 0
            with pytest.raises(
                InvalidArtifactError, match=r"^c1\.zip: not a complete zip archive: the checksum of a is wrong$"
            ):
                for piece in pieces:
                    got += len(piece)
        assert got == 2 * PIECE

    def test_a_wrong_checksum_of_nothing(self, path: Path):
        with pytest.raises(InvalidArtifactError, match="checksum"):
            first(path, Entry("a", b"", checksum=1))

    @each_method
    def test_fewer_bytes_than_announced(self, path: Path, method: int):
        with pytest.raises(InvalidArtifactError, match="a ends after 4 of 5 bytes"):
            first(path, Entry("a", b"four", method, size=5))

    @each_method
    def test_a_bomb_that_announces_little_brings_little(self, path: Path, method: int):
        """The checksum is that of the start, so nothing looks wrong; and so no more than that comes."""
        raw = packed(bytes(64 * MIB), method)
        assert first(path, Entry("a", b"", method, raw=raw, size=10, checksum=zlib.crc32(bytes(10)))) == [bytes(10)]
        with pytest.raises(InvalidArtifactError, match="checksum"):
            first(path, Entry("a", b"", method, raw=raw, size=10, checksum=0))

    @each_method
    def test_a_bomb_is_never_held(self, path: Path, method: int):
        size = 64 * MIB
        path.write_bytes(forge([Entry("a", bytes(size), method)]))
        with Archive(path) as archive:
            pieces = archive.pieces(archive.infos[0])
            with measured_heap() as heap:
                assert sum(map(len, pieces)) == size
        # bzip2 holds a block, lzma the dictionary of 1 MiB that `packed` asks for.
        assert heap.peak < 16 * MIB

    @each_method
    @settings(deadline=None, max_examples=150)
    @given(st.data())
    def test_flipped_bits(self, method: int, data: st.DataObject):
        whole = forge([Entry("a", b"capture " * 50, method), Entry("b", b"x")])
        damaged = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "c1.zip")
            path.write_bytes(damaged)
            try:
                with Archive(path) as archive:
                    for info in archive.infos:
                        assert len(b"".join(archive.pieces(info))) == info.file_size
            except (InvalidArtifactError, UnreadableMemberError) as error:
                said = str(error)
            else:
                said = "nothing"
            assert len(said.splitlines()) == 1

    @each_method
    def test_every_truncation(self, path: Path, method: int):
        whole = forge([Entry("a", b"capture " * 50, method)])
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            with pytest.raises(InvalidArtifactError):
                Archive(path)

    def test_packed_bytes_that_end_with_the_file(self, path: Path):
        with pytest.raises(InvalidArtifactError, match="a is not where it should be"):
            first(path, Entry("a", b"x", packed_size=10_000))

    @pytest.mark.parametrize("offset", [1, 20, 10_000, 2**32, 2**62, 2**63, 2**64 - 1])
    def test_a_header_that_is_elsewhere(self, path: Path, offset: int):
        with pytest.raises(InvalidArtifactError):
            first(path, Entry("a", b"x", offset=offset))

    def test_another_name_in_the_header(self, path: Path):
        with pytest.raises(InvalidArtifactError, match="a is not where it should be"):
            first(path, Entry("a", b"x", local_name="b"))

    def test_deflated_blocks_that_bring_nothing(self, path: Path):
        empty_blocks = b"\0\0\0\xff\xff" * 300_000
        pieces = first(path, Entry("a", b"x", zipfile.ZIP_DEFLATED, raw=empty_blocks + packed(b"x", 8)))
        assert b"".join(pieces) == b"x"
        # Whoever reads gets to do something else meanwhile.
        assert pieces[0] == b""

    @pytest.mark.parametrize("header", [b"", b"\x09\x04", struct.pack("<BBHBL", 9, 4, 6, 93, 4096)])
    def test_no_properties_of_lzma(self, path: Path, header: bytes):
        with pytest.raises(InvalidArtifactError):
            first(path, Entry("a", b"x", zipfile.ZIP_LZMA, raw=header))

    @pytest.mark.parametrize("size", [0, 1, 8])
    def test_fewer_packed_bytes_than_the_properties_of_lzma(self, path: Path, size: int):
        lzma = Entry("a", b"x", zipfile.ZIP_LZMA, raw=packed(b"x", zipfile.ZIP_LZMA)[:9], packed_size=size)
        path.write_bytes(forge([lzma, Entry("b", bytes(8 * MIB))]))
        with Archive(path) as archive, measured_heap() as heap, pytest.raises(InvalidArtifactError):
            list(archive.pieces(archive.infos[0]))
        # Seen: all that comes behind it was read.
        assert heap.peak < 2 * MIB

    @pytest.mark.parametrize("modes", [225, 255, 8 + 9 * 4])
    def test_properties_that_lzma_has_not(self, path: Path, modes: int):
        raw = struct.pack("<BBHBL", 9, 4, 5, modes, 4096) + bytes(100)
        with pytest.raises(InvalidArtifactError):
            first(path, Entry("a", b"x", zipfile.ZIP_LZMA, raw=raw))

    def test_the_dictionary_that_a_header_asks_for_is_as_large_as_the_member_at_most(self, path: Path):
        raw = bytearray(packed(b"x" * 100, zipfile.ZIP_LZMA))
        raw[5:9] = b"\xff\xff\xff\xff"
        assert first(path, Entry("a", b"x" * 100, zipfile.ZIP_LZMA, raw=bytes(raw))) == [b"x" * 100]
        with pytest.raises(
            UnreadableMemberError, match="a takes 1073741824 bytes of memory to unpack, more than 67108864"
        ):
            first(path, Entry("a", b"x" * 100, zipfile.ZIP_LZMA, raw=bytes(raw), size=2**30))


class TestUnreadable:
    @pytest.mark.parametrize("change", [{"flags": UTF8 | 1}, {"flags": UTF8 | 0x20}, {"flags": 0x40}, {"method": 97}])
    def test_it_is_told(self, path: Path, change: dict[str, int]):
        path.write_bytes(forge([Entry("a\nb", b"x", **change), Entry("c", b"y")]))
        with Archive(path) as archive:
            assert [is_readable(info) for info in archive.infos] == [False, True]
            with pytest.raises(UnreadableMemberError, match=r"^c1\.zip: a b is encrypted, or uses an unsupported"):
                next(archive.pieces(archive.infos[0]))
            assert list(archive.pieces(archive.infos[1])) == [b"y"]


@pytest.mark.parametrize(
    ("entry", "folder", "special"),
    [
        (Entry("a"), False, False),
        (Entry("a", mode=0), False, False),
        (Entry("a/", mode=0o040755), True, False),
        (Entry("a\\"), True, False),
        (Entry("a", mode=0o120777), False, True),
        (Entry("a", mode=0o010644), False, True),
        (Entry("a", mode=0o020644), False, True),
        (Entry("a", mode=0o060644), False, True),
        (Entry("a", mode=0o140644), False, True),
        (Entry("", b"x"), False, False),
    ],
)
def test_kinds(path: Path, entry: Entry, folder: bool, special: bool):
    path.write_bytes(forge([entry]))
    with Archive(path) as archive:
        assert (is_folder(archive.infos[0]), is_special(archive.infos[0])) == (folder, special)


class TestFiles:
    def test_no_file(self, path: Path):
        with pytest.raises(DownloadError, match=r"^can't read c1\.zip: No such file or directory$") as caught:
            Archive(path)
        assert type(caught.value) is DownloadError
        assert isinstance(caught.value.__cause__, FileNotFoundError)

    def test_a_folder(self, tmp_path: Path):
        with pytest.raises(DownloadError, match="Is a directory"):
            Archive(tmp_path)

    @pytest.mark.parametrize("data", [b"", b"not a zip at all", bytes(100_000), b"PK\5\6"])
    def test_no_zip_is_closed(self, path: Path, data: bytes):
        path.write_bytes(data)
        before = open_files()
        with pytest.raises(InvalidArtifactError, match=r"^c1\.zip: not a complete zip archive: "):
            Archive(path)
        assert open_files() == before

    def test_a_disk_that_fails(self, path: Path):
        path.write_bytes(forge([Entry("a", b"x")]))
        with Archive(path) as archive:
            real = archive._file

            class Failing:
                def seek(self, position: int) -> None:
                    raise OSError(errno.EIO, "Input/output error")

            archive._file = Failing()
            with pytest.raises(DownloadError, match=r"^can't read c1\.zip: Input/output error$"):
                archive.span(archive.infos[0])
            archive._file = real
