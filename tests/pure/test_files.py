"""What is done to files: checking, hashing, making folders."""

import hashlib
import io
import os
import stat
import struct
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import ConfigurationError, DownloadError, InvalidArtifactError
from dexcmd.threads import Stopped
from dexcmd.transfer.files import CHECK_PIECE, check_zip, make_folder, whole_file_hash
from dexcmd.transfer.options import Verify
from dexcmd.transfer.zipformat import MAX_UNPACKED
from tests.zips import Entry, forge, zeros

PAYLOAD = b"capture " * 100


def zip_bytes(compression: int = zipfile.ZIP_STORED, *, names: tuple[str, ...] = ("a.pcap", "b.json")) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in names:
            archive.writestr(name, PAYLOAD + name.encode())
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c1.zip"


class TestCheckZip:
    @pytest.mark.parametrize(
        "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    def test_a_whole_one(self, path: Path, compression: int):
        path.write_bytes(zip_bytes(compression))
        check_zip(path, "c1.zip")

    def test_one_without_members(self, path: Path):
        path.write_bytes(zip_bytes(names=()))
        check_zip(path, "c1.zip")

    def test_it_ends_between_two_pieces_when_it_is_to(self, path: Path):
        path.write_bytes(zip_bytes())
        stop = threading.Event()
        stop.set()
        with pytest.raises(Stopped):
            check_zip(path, "c1.zip", stop)

    @pytest.mark.parametrize("over", [0, 1])
    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_one_that_unpacks_to_too_much_is_told_before_anything_is(self, path: Path, method: int, over: int):
        entries = [Entry(name, PAYLOAD, method, size=MAX_UNPACKED // 2 + over) for name in ("a", "b")]
        path.write_bytes(forge(entries))
        told = f"unpacks to {MAX_UNPACKED + 2} bytes, more than {MAX_UNPACKED}" if over else "not a complete zip"
        with pytest.raises(InvalidArtifactError, match=told):
            check_zip(path, "c1.zip")

    def test_what_is_stored_may_be_as_large_as_it_likes(self, path: Path):
        path.write_bytes(forge([Entry("a", PAYLOAD, size=MAX_UNPACKED + 1)]))
        with pytest.raises(InvalidArtifactError, match="not a complete zip"):
            check_zip(path, "c1.zip")

    def test_a_capture_of_zeros_is_whole(self, path: Path):
        path.write_bytes(forge([zeros(300)]))
        assert path.stat().st_size < 350_000
        check_zip(path, "c1.zip")

    def test_members_that_share_their_bytes(self, path: Path):
        # As bombs do: with each one more, all of them are to be unpacked once more.
        inner = forge([Entry("inner", PAYLOAD)])[: 30 + 5 + len(PAYLOAD)]
        path.write_bytes(forge([Entry("outer", inner), Entry("inner", PAYLOAD, offset=30 + 5)]))
        with pytest.raises(InvalidArtifactError, match="outer and inner overlap"):
            check_zip(path, "c1.zip")

    def test_a_member_larger_than_a_piece_is_read_to_its_end(self, path: Path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("big.pcap", bytes(CHECK_PIECE * 2 + 1))
            offset = archive.getinfo("big.pcap").header_offset
        check_zip(path, "c1.zip")
        data = bytearray(path.read_bytes())
        # The checksum in the central directory, which is the one that counts.
        at = data.index(b"PK\x01\x02") + 16
        data[at] ^= 1
        path.write_bytes(data)
        assert offset == 0
        with pytest.raises(InvalidArtifactError, match=r"the checksum of big\.pcap is wrong"):
            check_zip(path, "c1.zip")

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"P",
            b"not a zip at all",
            b"<html><title>Sign in</title></html>",
            b"PK\x03\x04" + bytes(100),
            b"PK\x05\x06",
            b"\x1f\x8b" + bytes(50),
            bytes(100_000),
        ],
    )
    def test_no_zip(self, path: Path, data: bytes):
        path.write_bytes(data)
        with pytest.raises(InvalidArtifactError, match=r"^c1\.zip: not a complete zip archive: ") as caught:
            check_zip(path, "c1.zip")
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_every_truncation_shows(self, path: Path, compression: int):
        whole = zip_bytes(compression)
        for size in (*range(0, len(whole), 7), len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(InvalidArtifactError):
                check_zip(path, "c1.zip")

    @settings(deadline=None, max_examples=100)
    @given(st.integers(0, len(PAYLOAD) - 1), st.integers(0, 7), st.sampled_from(["a.pcap", "b.json"]))
    def test_every_flipped_bit_of_a_member_shows(self, at: int, bit: int, member: str):
        data = bytearray(zip_bytes())
        start = data.index(PAYLOAD + member.encode())
        data[start + at] ^= 1 << bit
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "c1.zip")
            path.write_bytes(data)
            with pytest.raises(InvalidArtifactError, match=f"the checksum of {member} is wrong"):
                check_zip(path, "c1.zip")

    def test_flipped_bits_of_a_deflated_member_show(self, path: Path):
        whole = zip_bytes(zipfile.ZIP_DEFLATED, names=("a.pcap",))
        name_length, extra_length = struct.unpack_from("<HH", whole, 26)
        start, size = 30 + name_length + extra_length, zipfile.ZipFile(io.BytesIO(whole)).infolist()[0]
        for at in range(start, start + size.compress_size):
            for bit in range(8):
                data = bytearray(whole)
                data[at] ^= 1 << bit
                path.write_bytes(data)
                try:
                    check_zip(path, "c1.zip")
                except InvalidArtifactError:
                    continue
                # Some bits of a deflate stream are padding: then what comes out is what went in.
                assert zipfile.ZipFile(path).read("a.pcap") == PAYLOAD + b"a.pcap"

    @pytest.mark.parametrize(
        ("offset", "value"),
        [(8, 1), (10, 97)],
        ids=["encrypted", "compressed in an unknown way"],
    )
    def test_a_member_that_can_not_be_read_is_no_reason_to_throw_it_away(self, path: Path, offset: int, value: int):
        data = bytearray(zip_bytes())
        data[data.index(b"PK\x01\x02") + offset] = value
        path.write_bytes(data)
        check_zip(path, "c1.zip")

    def test_the_members_after_such_a_one_are_read_all_the_same(self, path: Path):
        data = bytearray(zip_bytes())
        data[data.index(b"PK\x01\x02") + 8] = 1
        data[data.index(PAYLOAD + b"b.json")] ^= 1
        path.write_bytes(data)
        with pytest.raises(InvalidArtifactError, match=r"b\.json"):
            check_zip(path, "c1.zip")

    def test_no_file(self, path: Path):
        with pytest.raises(DownloadError, match=r"^can't read c1\.zip: No such file or directory$"):
            check_zip(path, "c1.zip")


class TestWholeFileHash:
    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    @pytest.mark.parametrize(
        "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    def test_a_whole_one(self, path: Path, verify: Verify, compression: int):
        data = zip_bytes(compression)
        path.write_bytes(data)
        assert whole_file_hash(path, len(data), verify) == hashlib.sha256(data).hexdigest()

    def test_one_larger_than_a_piece(self, path: Path):
        data = bytes(CHECK_PIECE * 2 + 1)
        path.write_bytes(data)
        assert whole_file_hash(path, len(data), "size") == hashlib.sha256(data).hexdigest()

    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    @pytest.mark.parametrize("difference", [-1, 1])
    def test_another_size(self, path: Path, difference: int, verify: Verify):
        data = zip_bytes()
        path.write_bytes(data)
        assert whole_file_hash(path, len(data) + difference, verify) is None

    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    def test_a_link_is_not_followed(self, path: Path, tmp_path: Path, verify: Verify):
        data = zip_bytes()
        target = tmp_path / "target.zip"
        target.write_bytes(data)
        path.symlink_to(target)
        assert whole_file_hash(path, len(data), verify) is None
        assert whole_file_hash(path, path.lstat().st_size, verify) is None

    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    def test_a_dangling_link_no_file_and_a_folder(self, path: Path, tmp_path: Path, verify: Verify):
        assert whole_file_hash(path, 0, verify) is None
        path.symlink_to(tmp_path / "nowhere")
        assert whole_file_hash(path, path.lstat().st_size, verify) is None
        folder = tmp_path / "folder"
        folder.mkdir()
        assert whole_file_hash(folder, folder.stat().st_size, verify) is None

    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    def test_a_pipe_does_not_block(self, path: Path, verify: Verify):
        os.mkfifo(path)
        assert whole_file_hash(path, 0, verify) is None

    def test_a_file_of_the_right_size_that_is_not_whole(self, path: Path):
        data = bytearray(zip_bytes())
        data[data.index(PAYLOAD)] ^= 1
        path.write_bytes(data)
        assert whole_file_hash(path, len(data), "zip") is None
        # By its size alone, it is.
        assert whole_file_hash(path, len(data), "size") == hashlib.sha256(data).hexdigest()
        path.write_bytes(bytes(len(data)))
        assert whole_file_hash(path, len(data), "zip") is None

    def test_one_that_only_the_file_can_tell_of(self, path: Path):
        # What comes before the first member hides from one pass where the members start.
        data = b"#!/bin/sh\n" + zip_bytes()
        path.write_bytes(data)
        assert whole_file_hash(path, len(data), "zip") == hashlib.sha256(data).hexdigest()
        damaged = bytearray(data)
        damaged[damaged.index(PAYLOAD)] ^= 1
        path.write_bytes(damaged)
        assert whole_file_hash(path, len(data), "zip") is None


class TestMakeFolder:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
    def test_it_is_private_whatever_the_umask(self, tmp_path: Path, umask: int):
        before = os.umask(umask)
        try:
            make_folder(tmp_path / "captures")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "captures").stat().st_mode) == 0o700

    def test_parents_are_made(self, tmp_path: Path):
        make_folder(tmp_path / "a" / "b" / "c")
        assert (tmp_path / "a" / "b" / "c").is_dir()

    def test_one_that_exists_is_left_as_it_is(self, tmp_path: Path):
        folder = tmp_path / "shared"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        (folder / "x").write_text("kept")
        make_folder(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        assert (folder / "x").read_text() == "kept"

    def test_a_file_in_the_way(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        (tmp_path / "link").symlink_to(tmp_path / "missing")
        for folder, why in (
            (tmp_path / "file", "it is a file"),
            (tmp_path / "file" / "below", f"{tmp_path / 'file'} is a file"),
            (tmp_path / "link", "it is no folder"),
        ):
            with pytest.raises(ConfigurationError) as caught:
                make_folder(folder)
            assert str(caught.value) == f"can't create the folder {folder}: {why}"
            assert isinstance(caught.value.__cause__, OSError)

    def test_a_name_that_no_system_takes(self, tmp_path: Path):
        with pytest.raises(ConfigurationError, match="File name too long"):
            make_folder(tmp_path / ("x" * 5000))
