"""Archives checked as they stream past: never whole where `zipfile` says otherwise, in constant memory."""

import gc
import io
import struct
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import InvalidArtifactError
from dexcmd.threads import Stopped
from dexcmd.transfer.files import check_zip
from dexcmd.transfer.zipstream import MAX_DIRECTORY, PIECE, Verdict, ZipStream
from tests.heap import measured_heap
from tests.zips import forge, zeros

with_each_library = pytest.mark.usefixtures("deflate_library")

STORED, DEFLATED, BZIP2, LZMA = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA
MIB = 1024 * 1024


class Unseekable(io.RawIOBase):
    """A destination like a pipe: sizes and checksums come in descriptors behind the members."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


@attrs.frozen
class Member:
    name: str
    data: bytes
    method: int = DEFLATED
    wide: bool = False


def archive_of(members: Iterable[Member], *, seekable: bool = True, comment: bytes = b"") -> bytes:
    buffer, stream = io.BytesIO(), Unseekable()
    with zipfile.ZipFile(buffer if seekable else stream, "w") as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name)
            info.compress_type = member.method
            with archive.open(info, "w", force_zip64=member.wide) as file:
                file.write(member.data)
        archive.comment = comment
    return buffer.getvalue() if seekable else bytes(stream.data)


def verdict(data: bytes, size: int = 1 << 30) -> Verdict:
    stream = ZipStream()
    for at in range(0, len(data), size):
        stream.feed(data[at : at + size])
    return stream.verdict()


def is_whole(data: bytes) -> bool:
    """Tell what `zipfile` says, which can't read what is encrypted or packed in an unknown way."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if not info.flag_bits & 1 and info.compress_type in (STORED, DEFLATED, BZIP2, LZMA):
                    archive.read(info)
    except Exception:  # noqa: BLE001 - zipfile raises what it likes for damage
        return False
    return True


def is_read_to_its_end(data: bytes) -> bool:
    """Tell what the check of a file says, which has to agree."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c1.zip")
        path.write_bytes(data)
        try:
            check_zip(path, "c1.zip")
        except InvalidArtifactError:
            return False
        return True


members = st.builds(
    Member,
    name=st.text(alphabet="abc/é漢.", min_size=1, max_size=8),
    data=st.binary(max_size=60) | st.binary(min_size=1, max_size=3).map(lambda data: data * 500),
    method=st.sampled_from([STORED, STORED, DEFLATED, DEFLATED, DEFLATED, BZIP2, LZMA]),
    wide=st.booleans(),
)
archives = st.lists(members, max_size=4, unique_by=lambda member: member.name)


@with_each_library
@settings(deadline=None, max_examples=200)
@given(archives, st.booleans(), st.sampled_from([b"", b"comment", bytes(65535)]), st.data())
def test_what_zipfile_writes_is_whole_in_any_pieces(
    members: list[Member], seekable: bool, comment: bytes, data: st.DataObject
) -> None:
    archive = archive_of(members, seekable=seekable, comment=comment)
    # Where the end of a member stands behind its end, and where another decompressor is needed, the file has to tell.
    untold = any(member.method in (BZIP2, LZMA) or (not seekable and member.method == STORED) for member in members)
    expected = "unknown" if untold else "whole"
    assert verdict(archive) == expected
    assert verdict(archive, data.draw(st.integers(1, 40))) == expected
    assert is_whole(archive)


@with_each_library
@settings(deadline=None, max_examples=400)
@given(archives, st.booleans(), st.integers(0, 10**9), st.integers(0, 7), st.integers(1, 50))
def test_with_a_flipped_bit_it_is_whole_only_where_zipfile_says_so(
    members: list[Member], seekable: bool, at: int, bit: int, piece: int
) -> None:
    data = bytearray(archive_of(members, seekable=seekable))
    data[at % len(data)] ^= 1 << bit
    damaged = bytes(data)
    told = verdict(damaged)
    assert told != "whole" or (is_whole(damaged) and is_read_to_its_end(damaged))
    assert verdict(damaged, piece) == told


@with_each_library
@settings(deadline=None, max_examples=200)
@given(archives, st.booleans(), st.integers(0, 10**9), st.binary(max_size=30), st.integers(0, 30))
def test_with_other_bytes_it_is_whole_only_where_zipfile_says_so(
    members: list[Member], seekable: bool, at: int, other: bytes, dropped: int
) -> None:
    data = archive_of(members, seekable=seekable)
    at %= len(data) + 1
    damaged = data[:at] + other + data[at + dropped :]
    assert verdict(damaged) != "whole" or (is_whole(damaged) and is_read_to_its_end(damaged))


@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("method", [STORED, DEFLATED])
@pytest.mark.parametrize("wide", [True, False])
def test_every_flipped_bit_of_a_small_archive(seekable: bool, method: int, wide: bool) -> None:
    data = archive_of([Member("a", b"abcabcabc", method, wide), Member("é/", b"", method)], seekable=seekable)
    wrong: list[tuple[int, int]] = []
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            damaged = bytes(flipped)
            if verdict(damaged) == "whole" and not is_whole(damaged):
                wrong.append((at, bit))
    assert wrong == []


@with_each_library
@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("method", [STORED, DEFLATED, BZIP2, LZMA])
def test_every_truncation_of_a_small_archive(seekable: bool, method: int) -> None:
    data = archive_of([Member("a", b"abc" * 50, method), Member("b", b"", method)], seekable=seekable)
    for size in range(len(data)):
        assert verdict(data[:size]) != "whole"
        assert not is_whole(data[:size])


@with_each_library
@pytest.mark.parametrize("seekable", [True, False])
def test_byte_by_byte(seekable: bool) -> None:
    data = archive_of([Member("a", bytes(1000)), Member("b/", b""), Member("c", b"c" * 99)], seekable=seekable)
    assert verdict(data, 1) == "whole"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P",
        b"PK\x03\x04",
        b"PK\x03\x04" + bytes(20),
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x05\x06" + bytes(17),
        archive_of([Member("a", b"abc", STORED)])[:40],
        archive_of([Member("a", b"abc", STORED)])[:34],
    ],
    ids=repr,
)
def test_what_breaks_off_is_damaged(data: bytes) -> None:
    assert verdict(data) == "damaged"


@pytest.mark.parametrize("data", [b"<html>Sign in</html>", bytes(1000), b"\x1f\x8b" + bytes(50)], ids=repr)
def test_what_starts_otherwise_is_for_who_reads_the_file(data: bytes) -> None:
    # Something may stand before the first member, and still `zipfile` reads it.
    assert verdict(data) == "unknown"


class TestTables:
    def test_an_empty_archive(self):
        assert verdict(archive_of([])) == "whole"
        assert verdict(archive_of([], comment=b"nothing")) == "whole"

    def test_a_folder(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("folder/", b"")
            archive.writestr("folder/file", b"content")
        assert verdict(buffer.getvalue()) == "whole"

    @pytest.mark.parametrize("prefix", [b"#!/bin/sh\n", bytes(100)])
    def test_one_behind_a_program(self, prefix: bytes):
        data = prefix + archive_of([Member("a", b"abc")])
        assert is_whole(data)
        assert verdict(data) == "unknown"

    def test_bytes_between_the_members(self):
        first, second = archive_of([Member("a", b"abc")]), archive_of([Member("b", b"abc")])
        assert verdict(first[: first.index(b"PK\x01\x02")] + b"gap" + second) == "unknown"

    @pytest.mark.parametrize("behind", [b"behind", bytes(65_000)])
    def test_bytes_behind_the_end(self, behind: bytes):
        data = archive_of([Member("a", b"abc")]) + behind
        # `zipfile` does not mind.
        assert is_whole(data)
        assert verdict(data) == "damaged"

    def test_so_many_that_the_end_is_not_found(self):
        data = archive_of([Member("a", b"abc")]) + bytes(66_000)
        assert not is_whole(data)
        assert verdict(data) == "damaged"

    def test_a_comment_that_looks_like_an_end(self):
        data = archive_of([Member("a", b"abc", LZMA)], comment=b"PK\x05\x06" + bytes(18))
        assert zipfile.ZipFile(io.BytesIO(data)).namelist() == []
        assert verdict(data) == "whole"

    def test_a_second_archive_behind_the_first(self):
        data = archive_of([Member("a", b"abc")]) + archive_of([Member("b", b"abc")])
        assert is_whole(data)
        assert verdict(data) == "unknown"

    def test_a_deleted_member(self):
        # As an archive that was changed in place: the directory doesn't name it any more.
        whole = archive_of([Member("a", b"abc", STORED), Member("b", b"abc", STORED)])
        alone = archive_of([Member("a", b"abc", STORED)])
        directory = alone[alone.index(b"PK\x01\x02") :]
        members = whole[: whole.index(b"PK\x01\x02")]
        data = bytearray(members + directory)
        struct.pack_into("<I", data, len(data) - 6, len(members))
        assert is_whole(bytes(data))
        assert verdict(bytes(data)) == "whole"


def patched(data: bytes, *, local: dict[int, int], central: dict[int, int]) -> bytes:
    """Return an archive with bytes changed in its first local header and its first directory entry."""
    changed, at = bytearray(data), data.index(b"PK\x01\x02")
    for offset, value in local.items():
        changed[offset] = value
    for offset, value in central.items():
        changed[at + offset] = value
    return bytes(changed)


ONE = archive_of([Member("a", b"abc" * 20, STORED)])
FLAGS, METHOD = (6, 8), (8, 10)


class TestUnreadable:
    @pytest.mark.parametrize("method", [STORED, DEFLATED, BZIP2, LZMA])
    def test_an_encrypted_member_can_not_be_checked(self, method: int):
        data = archive_of([Member("a", b"abc" * 20, method)])
        encrypted = patched(data, local={6: 1}, central={8: 1})
        assert is_whole(encrypted)
        assert verdict(encrypted) == "whole"

    @pytest.mark.parametrize("method", [1, 9, 93, 97, 99])
    @pytest.mark.parametrize("content", [b"abc" * 20, b""])
    def test_one_packed_in_an_unknown_way_can_not_be_checked(self, method: int, content: bytes):
        data = archive_of([Member("a", content, STORED)])
        unknown = patched(data, local={8: method}, central={10: method})
        assert is_whole(unknown)
        assert verdict(unknown) == "whole"

    def test_those_beside_it_are_checked_all_the_same(self):
        data = archive_of([Member("a", b"abc" * 20, STORED), Member("b", b"xyz" * 20, STORED)])
        unknown = patched(data, local={8: 97}, central={10: 97})
        assert verdict(unknown) == "whole"
        damaged = unknown.replace(b"xyz" * 20, b"xyz" * 19 + b"xyy")
        assert not is_whole(damaged)
        assert verdict(damaged) == "damaged"

    def test_nor_one_whose_end_stands_behind_it(self):
        data = archive_of([Member("a", b"abc" * 20, DEFLATED)], seekable=False)
        assert verdict(patched(data, local={6: 9}, central={8: 9})) == "unknown"

    def test_one_that_calls_itself_encrypted_but_is_not_in_the_directory(self):
        # Seen: whole, though nothing had been checked, and `zipfile` reads it.
        data = patched(ONE, local={6: 1}, central={})
        assert is_whole(data)
        assert verdict(data) == "unknown"
        damaged = data.replace(b"abcabc", b"abcabd", 1)
        assert not is_whole(damaged)
        assert verdict(damaged) != "whole"

    @pytest.mark.parametrize("flag", [0x20, 0x40])
    def test_flags_that_zipfile_can_not_read(self, flag: int):
        # Seen: whole.
        data = patched(ONE, local={6: flag}, central={8: flag})
        assert not is_whole(data)
        assert verdict(data) != "whole"


class TestLies:
    @pytest.mark.parametrize(
        ("local", "central", "readable"),
        [
            ({}, {16: 0x55}, False),
            ({30: ord("b")}, {}, False),
            ({}, {46: ord("b")}, False),
            # `zipfile` reads these; what was received is not what the directory tells of, all the same.  From 3.12.2 on
            # it refuses a member that would reach into what comes next.
            ({}, {20: 0x55}, None),
            ({}, {24: 0x55}, True),
            ({8: DEFLATED}, {}, True),
        ],
        ids=["crc", "local name", "name", "packed", "size", "local method"],
    )
    def test_a_directory_that_says_something_else(
        self, local: dict[int, int], central: dict[int, int], readable: bool | None
    ):
        # Seen: whole, with another name in the directory.
        data = patched(ONE, local=local, central=central)
        if readable is not None:
            assert is_whole(data) is readable
        assert verdict(data) == "damaged"

    @pytest.mark.parametrize("name", [b"\xff", b"\xc3"])
    def test_a_local_name_that_is_no_text(self, name: bytes):
        data = patched(ONE, local={7: 8, 30: name[0]}, central={})
        assert not is_whole(data)
        assert verdict(data) != "whole"

    @pytest.mark.parametrize("change", [-1, 1])
    def test_a_deflate_stream_that_ends_elsewhere(self, change: int):
        packed = zlib.compressobj(9, zlib.DEFLATED, -15)
        stream = packed.compress(b"abc" * 100) + packed.flush()
        content = stream[:-1] if change < 0 else stream + b"\0"
        crc, size = zlib.crc32(b"abc" * 100), 300
        header = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(content), size, 1, 0) + b"a"
        entry = struct.pack(
            "<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, len(content), size, 1, 0, 0, 0, 0, 0, 0
        )
        entry += b"a"
        end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(header + content), 0)
        for piece in (1, 7, 1000):
            assert verdict(header + content + entry + end, piece) == "damaged"

    def test_a_descriptor_without_a_signature(self):
        data = archive_of([Member("a", b"abc" * 20), Member("b", b"xyz")], seekable=False)
        # The directory moves with what is cut, and so do its offsets.
        unsigned = data.replace(b"PK\x07\x08", b"", 1)
        changed = bytearray(unsigned)
        second = changed.index(b"PK\x01\x02", changed.index(b"PK\x01\x02") + 4)
        struct.pack_into("<I", changed, second + 42, struct.unpack_from("<I", changed, second + 42)[0] - 4)
        end = changed.index(b"PK\x05\x06")
        struct.pack_into("<I", changed, end + 16, struct.unpack_from("<I", changed, end + 16)[0] - 4)
        assert is_whole(bytes(changed))
        for piece in (1, 3, 1000):
            assert verdict(bytes(changed), piece) == "whole"

    def test_a_descriptor_of_a_large_member_that_was_not_called_one(self):
        # Seen: struct.error.  It would be 4 GiB of zeros, so the checker is told that these have come.
        data = archive_of([Member("a", b"abc" * 20)], seekable=False)
        at = data.index(b"PK\x07\x08")
        stream = ZipStream()
        stream.feed(data[:at])
        stream._member.size += 2**32
        stream.feed(data[at:])
        assert stream.verdict() == "unknown"

    def test_a_descriptor_that_is_not_what_came(self):
        data = bytearray(archive_of([Member("a", b"abc" * 20)], seekable=False))
        data[data.index(b"PK\x07\x08") + 4] ^= 1
        assert verdict(bytes(data)) == "unknown"

    @pytest.mark.parametrize(
        "extra",
        [
            b"\x01\x00\x10\x00",
            b"\x01\x00\xff\xff" + bytes(30),
            b"\x01\x00\x04\x00" + bytes(4),
            b"\x02\x00",
            b"\x07\x00\x02\x00ab",
        ],
    )
    def test_an_extra_field_that_is_cut_or_another(self, extra: bytes):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a", b"abc")
        data = buffer.getvalue()
        at = data.index(b"PK\x01\x02")
        longer = bytearray(data[:31] + extra + data[31:at] + data[at:])
        struct.pack_into("<H", longer, 28, len(extra))
        end = longer.index(b"PK\x05\x06")
        struct.pack_into("<I", longer, end + 16, at + len(extra))
        assert is_whole(bytes(longer))
        assert verdict(bytes(longer)) == "whole"

    def test_wide_sizes_that_no_header_points_at_say_nothing(self):
        # As in the directory, they count where the narrow ones stand for them.
        data = bytearray(archive_of([Member("a", b"abc", STORED, wide=True)]))
        struct.pack_into("<2I", data, 18, 3, 3)
        struct.pack_into("<2Q", data, 35, 7, 7)
        assert is_whole(bytes(data))
        assert verdict(bytes(data)) == "whole"


@with_each_library
# What unpacks to a piece's end exactly leaves the end of the stream in the decompressor.
@pytest.mark.parametrize(
    "size", [*range(PIECE - 4, PIECE + 5), *range(2 * PIECE - 300, 2 * PIECE + 300, 37), 5 * PIECE]
)
@pytest.mark.parametrize("seekable", [True, False])
def test_pieces_that_are_just_full(size: int, seekable: bool) -> None:
    data = archive_of([Member("zeros", bytes(size)), Member("b", b"b")], seekable=seekable)
    assert verdict(data) == "whole"
    assert verdict(data, 100) == "whole"


class TestMemory:
    def test_it_is_gone_with_its_last_user(self):
        checker = ZipStream()
        checker.feed(archive_of([Member("a", b"a")]))
        gone = weakref.ref(checker)
        gc.disable()
        try:
            del checker
            assert gone() is None
        finally:
            gc.enable()

    def test_a_bomb_takes_no_more_than_pieces(self):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        size = 300 * MIB
        stream = b"".join(packer.compress(bytes(MIB)) for _ in range(300)) + packer.flush()
        header = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(stream), size, 1, 0) + b"a"
        with measured_heap() as heap:
            checker = ZipStream()
            checker.feed(header + stream)
        assert heap.peak < 3 * PIECE + 2 * len(header + stream)

    @pytest.mark.parametrize(
        "entry",
        [
            struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            b"PK\x05\x06" + bytes(1000),
            b"PK\x06\x08" + bytes(1000),
        ],
        ids=["entries", "ends", "extra data"],
    )
    def test_a_directory_without_an_end(self, entry: bytes):
        stream = ZipStream()
        piece = entry * (MIB // len(entry))
        with measured_heap() as heap:
            for _ in range(3 * MAX_DIRECTORY // len(piece)):
                stream.feed(piece)
        assert heap.held < MIB
        assert heap.peak < 3 * MAX_DIRECTORY
        assert stream.verdict() == "unknown"

    def test_members_without_an_end(self):
        header = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 200, 0) + b"a" * 200
        stream = ZipStream()
        piece = header * (MIB // len(header))
        with measured_heap() as heap:
            for _ in range(3 * MAX_DIRECTORY // len(piece)):
                stream.feed(piece)
        assert heap.held < MIB
        assert heap.peak < 4 * MAX_DIRECTORY
        assert stream.verdict() == "unknown"

    @pytest.mark.parametrize("field", [12, 16])
    @pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
    def test_a_directory_that_lies_about_its_size_or_place(self, field: int, value: int):
        data = bytearray(archive_of([Member("a", bytes(3 * MIB), STORED)]))
        struct.pack_into("<I", data, data.index(b"PK\x05\x06") + field, value)
        stream = ZipStream()
        stream.feed(bytes(data))
        with measured_heap() as heap:
            told = stream.verdict()
        assert heap.peak < MIB
        assert told != "whole" or is_whole(bytes(data))

    def test_a_directory_that_claims_to_be_all_there_is(self):
        data = bytearray(archive_of([Member("a", bytes(3 * MIB), STORED)]))
        end = data.index(b"PK\x05\x06")
        struct.pack_into("<2I", data, end + 12, end, 0)
        assert not is_whole(bytes(data))
        stream = ZipStream()
        stream.feed(bytes(data))
        with measured_heap() as heap:
            told = stream.verdict()
        assert told == "damaged"
        assert heap.peak < MIB

    @pytest.mark.parametrize("field", [24, 32, 40, 48])
    @pytest.mark.parametrize("value", [0, 1, 2**32, 2**62, 2**63, 2**64 - 1])
    def test_a_wide_end_that_lies(self, field: int, value: int):
        members = archive_of([Member("a", bytes(3 * MIB), STORED)])
        at = members.index(b"PK\x01\x02")
        directory = members[at : members.index(b"PK\x05\x06")]
        wide = bytearray(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(directory), at))
        struct.pack_into("<Q", wide, field, value)
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at + len(directory), 1)
        end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        data = members[:at] + directory + bytes(wide) + locator + end
        stream = ZipStream()
        stream.feed(data)
        with measured_heap() as heap:
            told = stream.verdict()
        assert heap.peak < MIB
        assert told != "whole" or is_whole(data)

    @pytest.mark.parametrize(("most", "told"), [(30 * MIB, "whole"), (30 * MIB - 1, "unknown"), (0, "unknown")])
    @pytest.mark.parametrize("seekable", [True, False])
    def test_no_more_is_unpacked_than_may_be(self, most: int, told: Verdict, seekable: bool):
        data = archive_of([Member(name, bytes(15 * MIB), DEFLATED) for name in "ab"], seekable=seekable)
        stream = ZipStream(most=most)
        with measured_heap() as heap:
            stream.feed(data)
        assert stream.verdict() == told
        assert heap.peak < 4 * MIB

    def test_what_is_stored_is_not_unpacked(self):
        stream = ZipStream(most=0)
        stream.feed(archive_of([Member("a", bytes(MIB), STORED)]))
        assert stream.verdict() == "whole"

    def test_it_ends_between_two_pieces_when_it_is_to(self, monkeypatch: pytest.MonkeyPatch):
        stop, pieces, count = threading.Event(), list[int](), ZipStream._count

        def noted(stream: ZipStream, unpacked: bytes | memoryview) -> None:
            count(stream, unpacked)
            pieces.append(len(unpacked))
            if len(pieces) == 3:
                stop.set()

        monkeypatch.setattr(ZipStream, "_count", noted)
        with pytest.raises(Stopped):
            ZipStream(stop).feed(forge([zeros(30)]))
        assert pieces == [MIB] * 3

    @pytest.mark.parametrize("size", [2**32 - 1, 2**32, 2**63])
    def test_a_member_that_says_it_is_huge(self, size: int):
        header = struct.pack("<4s5H3I2H", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 1, 20)
        stream = ZipStream()
        stream.feed(header + b"a" + struct.pack("<2H2Q", 1, 16, size, size) + bytes(MIB))
        assert stream.verdict() == "damaged"
