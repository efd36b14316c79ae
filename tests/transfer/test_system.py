"""What is asked of the operating system, asked for real."""

import ctypes
import errno
import itertools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import DownloadError, InsufficientSpaceError
from dexcmd.transfer import system
from dexcmd.transfer.system import (
    MAX_PIECES,
    boot_id,
    explain,
    free_bytes,
    preallocate,
    put_in_place,
    start_writeback,
    sync_file,
    sync_folder,
    write_all,
)


@contextmanager
def ordinary_user(folder: str) -> Iterator[None]:
    """Be a user who may not read what its mode forbids, as root may, and who owns `folder`."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def pipe_read(pieces: list[bytes]) -> tuple[bytes, int]:
    """Return what comes out of a pipe when `write_all` writes pieces into it, and what it returned."""
    source, target = os.pipe()
    written: list[int] = []

    def write() -> None:
        try:
            written.append(write_all(target, pieces))
        finally:
            os.close(target)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        read = b""
        # Less at a time than a pipe holds, so that writes are cut wherever it suits the system.
        while data := os.read(source, 1000):
            read += data
    finally:
        os.close(source)
        thread.join()
    return read, written[0]


class TestWriteAll:
    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.binary(max_size=50) | st.integers(0, 200_000).map(bytes), max_size=6))
    def test_whatever_is_written_at_a_time(self, pieces: list[bytes]):
        assert pipe_read(pieces) == (b"".join(pieces), sum(map(len, pieces)))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.binary(max_size=20), max_size=8), st.lists(st.integers(1, 30), min_size=1))
    def test_a_system_that_takes_a_part_of_it_at_a_time(self, pieces: list[bytes], sizes: list[int]):
        # As full disks, network file systems and signals have it; a pipe takes all or waits.
        steps, writev = itertools.cycle(sizes), os.writev

        def some(descriptor: int, buffers: list[memoryview]) -> int:
            return writev(descriptor, [b"".join(buffers)[: next(steps)]])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "writev", some)
            assert pipe_read(pieces) == (b"".join(pieces), sum(map(len, pieces)))

    @pytest.mark.parametrize("count", [MAX_PIECES - 1, MAX_PIECES, MAX_PIECES + 1, 3 * MAX_PIECES + 7])
    def test_more_pieces_than_go_into_one_call(self, count: int, tmp_path: Path):
        pieces = [b"%d," % number for number in range(count)]
        with (tmp_path / "file").open("wb") as file:
            assert write_all(file.fileno(), pieces) == sum(map(len, pieces))
        assert (tmp_path / "file").read_bytes() == b"".join(pieces)
        assert pipe_read([piece * 300 for piece in pieces])[0] == b"".join(piece * 300 for piece in pieces)

    def test_without_gathered_writes(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delattr(os, "writev")
        pieces = [b"a" * 100_000, b"", b"b" * 100_000, b"c"]
        assert pipe_read(pieces) == (b"".join(pieces), 200_001)

    def test_what_the_system_raises(self):
        with pytest.raises(OSError) as caught, Path("/dev/full").open("wb", buffering=0) as full:
            write_all(full.fileno(), [b"a", b"b"])
        assert caught.value.errno == errno.ENOSPC


class TestExplain:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk(self, number: int):
        error = explain(OSError(number, os.strerror(number)), Path("folder/c1.zip"))
        assert isinstance(error, InsufficientSpaceError)
        assert str(error) == "no space left for folder/c1.zip"

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (PermissionError(errno.EACCES, "Permission denied"), "can't write c1.zip: Permission denied"),
            (OSError("broken"), "can't write c1.zip: broken"),
        ],
    )
    def test_others(self, error: OSError, text: str):
        explained = explain(error, Path("c1.zip"))
        assert type(explained) is DownloadError
        assert str(explained) == text


class TestPutInPlace:
    def test_it_is_moved_and_replaces_what_was_there(self, tmp_path: Path):
        part, final = tmp_path / "part", tmp_path / "c1.zip"
        part.write_bytes(b"new")
        final.write_bytes(b"old")
        put_in_place(part, final, replace=True)
        assert final.read_bytes() == b"new"
        assert [each.name for each in tmp_path.iterdir()] == ["c1.zip"]

    @pytest.mark.parametrize("replace", [True, False])
    def test_where_nothing_was(self, tmp_path: Path, replace: bool):
        part, final = tmp_path / "part", tmp_path / "c1.zip"
        part.write_bytes(b"new")
        put_in_place(part, final, replace=replace)
        assert final.read_bytes() == b"new"
        assert final.stat().st_nlink == 1
        assert [each.name for each in tmp_path.iterdir()] == ["c1.zip"]

    @pytest.mark.parametrize("replace", [True, False])
    @pytest.mark.parametrize("dangling", [True, False])
    def test_a_link_under_the_final_name_is_not_followed(self, tmp_path: Path, replace: bool, dangling: bool):
        target, part, final = tmp_path / "target", tmp_path / "part", tmp_path / "c1.zip"
        if not dangling:
            target.write_bytes(b"precious")
        part.write_bytes(b"new")
        final.symlink_to(target)
        if replace:
            put_in_place(part, final, replace=True)
            assert not final.is_symlink()
            assert final.read_bytes() == b"new"
        else:
            with pytest.raises(FileExistsError):
                put_in_place(part, final, replace=False)
            assert final.is_symlink()
            assert part.read_bytes() == b"new"
        assert target.exists() is not dangling
        assert dangling or target.read_bytes() == b"precious"

    @pytest.mark.parametrize("folder", [True, False])
    def test_what_is_there_is_not_replaced(self, tmp_path: Path, folder: bool):
        part, final = tmp_path / "part", tmp_path / "c1.zip"
        part.write_bytes(b"new")
        if folder:
            final.mkdir()
        else:
            final.write_bytes(b"old")
        with pytest.raises(FileExistsError):
            put_in_place(part, final, replace=False)
        assert part.read_bytes() == b"new"
        assert folder or final.read_bytes() == b"old"

    def test_a_folder_is_not_replaced_even_by_request(self, tmp_path: Path):
        part, final = tmp_path / "part", tmp_path / "c1.zip"
        part.write_bytes(b"new")
        final.mkdir()
        with pytest.raises(OSError):
            put_in_place(part, final, replace=True)
        assert part.read_bytes() == b"new"

    @pytest.mark.parametrize("replace", [True, False])
    def test_no_part(self, tmp_path: Path, replace: bool):
        with pytest.raises(FileNotFoundError):
            put_in_place(tmp_path / "none", tmp_path / "c1.zip", replace=replace)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("there", [True, False])
    def test_without_hard_links(self, tmp_path: Path, there: bool, no_hard_links: None):
        part, final = tmp_path / "part", tmp_path / "c1.zip"
        part.write_bytes(b"new")
        if there:
            final.write_bytes(b"old")
            with pytest.raises(FileExistsError):
                put_in_place(part, final, replace=False)
        else:
            put_in_place(part, final, replace=False)
        assert final.read_bytes() == (b"old" if there else b"new")
        assert part.exists() is there


@pytest.fixture
def no_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has none, as FAT: it says so even where the name is taken."""

    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)


@contextmanager
def no_space_at_the_most() -> Iterator[None]:
    """Let an error pass that says that there is no room, and no other."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


class TestPreallocate:
    def test_room_is_set_aside_and_the_size_stays(self, tmp_path: Path):
        with (tmp_path / "file").open("wb") as file:
            preallocate(file.fileno(), 1_000_000)
            status = os.fstat(file.fileno())
            assert status.st_size == 0
            assert status.st_blocks * 512 >= 1_000_000

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_more_than_there_is(self, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        # Not for real: the system takes all that there is before it says so.
        def fallocate(*_: int) -> int:
            ctypes.set_errno(number)
            return -1

        monkeypatch.setattr(system, "_fallocate", lambda: fallocate)
        with (tmp_path / "file").open("wb") as file, pytest.raises(OSError) as caught:
            preallocate(file.fileno(), 1_000_000)
        assert caught.value.errno == number

    def test_larger_than_any_file(self, tmp_path: Path):
        with (tmp_path / "file").open("wb") as file:
            # A file system in memory looks first whether there is so much of it.
            with no_space_at_the_most():
                preallocate(file.fileno(), 2**62)
            assert os.fstat(file.fileno()).st_blocks == 0

    def test_where_the_file_system_can_not(self):
        source, target = os.pipe()
        try:
            preallocate(target, 1_000_000)
        finally:
            os.close(source)
            os.close(target)

    @pytest.mark.parametrize("platform", ["darwin", "win32"])
    def test_on_another_system(self, platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        monkeypatch.setattr(system.sys, "platform", platform)
        with (tmp_path / "file").open("wb") as file:
            uncached(monkeypatch)
            preallocate(file.fileno(), 1_000_000)
            assert os.fstat(file.fileno()).st_blocks == 0

    @pytest.mark.parametrize("error", [OSError, AttributeError])
    def test_with_another_library(self, error: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        def library(*_: object, **__: object) -> object:
            raise error

        monkeypatch.setattr(system.ctypes, "CDLL", library)
        with (tmp_path / "file").open("wb") as file:
            uncached(monkeypatch)
            preallocate(file.fileno(), 1_000_000)
            assert os.fstat(file.fileno()).st_blocks == 0


def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_fallocate", system._fallocate.__wrapped__)


class TestOthers:
    def test_the_boot_is_the_same_every_time(self):
        assert boot_id() == boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def test_a_system_that_does_not_tell_its_boot(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        monkeypatch.setattr(system, "Path", lambda _: tmp_path / "none")
        assert system.boot_id.__wrapped__() is None

    def test_free_bytes(self, tmp_path: Path):
        assert 0 < free_bytes(tmp_path) < 2**60

    def test_a_folder_is_synced(self, tmp_path: Path):
        sync_folder(tmp_path)
        with pytest.raises(FileNotFoundError):
            sync_folder(tmp_path / "none")
        (tmp_path / "file").write_text("")
        with pytest.raises(NotADirectoryError):
            sync_folder(tmp_path / "file")

    def test_where_the_file_system_syncs_no_folders(self):
        # Seen: OSError (EINVAL), from this one as from network shares.
        sync_folder(Path("/proc/self"))

    def test_a_folder_that_may_be_written_to_but_not_read(self):
        # Seen: PermissionError, once the file in it had its name.
        with TemporaryDirectory() as name, ordinary_user(name):
            folder = Path(name)
            folder.chmod(0o300)
            with pytest.raises(PermissionError):
                list(folder.iterdir())
            sync_folder(folder)
            folder.chmod(0o700)

    def test_where_a_folder_can_not_be_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delattr(os, "O_DIRECTORY")
        sync_folder(tmp_path / "none")

    def test_writeback_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        with (tmp_path / "file").open("wb", buffering=0) as file:
            file.write(b"content")
            start_writeback(file.fileno())
            monkeypatch.delattr(os, "posix_fadvise")
            start_writeback(file.fileno())
        assert (tmp_path / "file").read_bytes() == b"content"


class TestSyncFile:
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such calls")
    def test_the_drive_is_told_as_well_where_it_has_to_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        import fcntl

        with (tmp_path / "file").open("wb") as file:
            # Stands for what macOS has: a call on the same descriptor, whose effect shows.
            monkeypatch.setattr(system, "FULL_SYNC", fcntl.F_SETFD)
            assert fcntl.fcntl(file, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
            sync_file(file.fileno())
            assert fcntl.fcntl(file, fcntl.F_GETFD) == 0

    def test_a_file_system_without_that_call_is_synced_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        with (tmp_path / "file").open("wb") as file:
            monkeypatch.setattr(system, "FULL_SYNC", 99_999)
            sync_file(file.fileno())

    @pytest.mark.skipif(sys.platform != "linux", reason="a call that fails in another way")
    def test_a_failure_is_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        import fcntl

        with (tmp_path / "file").open("wb") as file:
            # A lease on what somebody writes to.
            monkeypatch.setattr(system, "FULL_SYNC", fcntl.F_SETLEASE)
            with pytest.raises(BlockingIOError):
                sync_file(file.fileno())
