"""Part files: real files, real locks, other processes."""

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.transfer import partfile
from dexcmd.transfer.partfile import (
    READ_SIZE,
    PartFile,
    PartInUseError,
    delete_abandoned_parts,
    part_names,
    part_path,
    state_path,
)
from dexcmd.transfer.partstate import PartState, parse_state

STATE = PartState(command_id="c1", filename="a.zip", etag='"a"', last_modified=None, size=9, durable=0, boot="b")


@pytest.fixture
def final(tmp_path: Path) -> Path:
    return tmp_path / "c1.zip"


def open_files() -> list[str]:
    """Return the paths of what this process has open."""
    found = list[str]()
    for link in Path("/proc/self/fd").iterdir():
        # The one for this look itself is gone.
        with suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


@pytest.fixture(autouse=True)
def no_part_is_left_open() -> Iterator[None]:
    yield
    left = [path for path in open_files() if ".c1.zip" in path]
    # So that one failure is not the next test's, too.
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if ".c1.zip" in str(link.readlink()):
                os.close(int(link.name))
    assert left == []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left(final: Path, content: bytes = b"part") -> Path:
    """Leave a part, as an earlier download does."""
    part = PartFile.create(final)
    part.write([content])
    part.write_state(STATE)
    part.close()
    return part.path


@contextmanager
def holder(final: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has taken up the part of a file."""
    program = (
        "import sys; from pathlib import Path; from dexcmd.transfer.partfile import PartFile\n"
        "part = PartFile.open_existing(Path(sys.argv[1])) or PartFile.create(Path(sys.argv[1]))\n"
        "part.write([b'theirs']); print(part.path.name, flush=True); sys.stdin.read(); part.close()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, final], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == part_path(final).name
        yield process
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


class TestCreate:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
    def test_it_is_private_and_beside_the_file(self, final: Path, umask: int):
        before = os.umask(umask)
        try:
            part = PartFile.create(final)
            part.write_state(STATE)
        finally:
            os.umask(before)
        assert part.path == part_path(final) == final.with_name(".c1.zip.part")
        assert part.state_path == state_path(part.path) == final.with_name(".c1.zip.part.json")
        assert stat.S_IMODE(part.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(part.state_path.stat().st_mode) == 0o600
        assert part.usual_name
        assert part.size == 0
        part.close()

    def test_one_that_others_have_done_with_before_it_was_locked_is_not_used(
        self, final: Path, monkeypatch: pytest.MonkeyPatch
    ):
        lock = PartFile._lock

        def late(part: PartFile) -> None:
            # Another download took it for one that was left, found it to be none, and deleted it.
            part_path(final).unlink()
            lock(part)

        monkeypatch.setattr(PartFile, "_lock", late)
        part = PartFile.create(final)
        assert not part.usual_name
        assert part.path.exists()
        part.close()

    def test_where_the_name_is_taken_it_has_one_of_its_own(self, final: Path):
        first, second, third = (PartFile.create(final) for _ in range(3))
        assert [part.usual_name for part in (first, second, third)] == [True, False, False]
        assert len({part.path for part in (first, second, third)}) == 3
        for number, part in enumerate((first, second, third)):
            part.write([b"%d" % number])
        assert [part.path.read_bytes() for part in (first, second, third)] == [b"0", b"1", b"2"]
        for part in (first, second, third):
            assert part.path.name.startswith(".c1.zip.")
            part.remove()
        assert names(final.parent) == []

    @pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe", "file"])
    def test_nothing_that_has_the_name_is_touched(self, final: Path, kind: str):
        outside = in_the_way(part_path(final), kind)
        part = PartFile.create(final)
        assert not part.usual_name
        part.write([b"new"])
        assert outside is None or outside.read_bytes() == b"precious"
        part.remove()
        assert part_path(final).name in names(final.parent)

    def test_one_that_is_taken_up_before_it_is_locked(self, final: Path, monkeypatch: pytest.MonkeyPatch):
        locked, others = fcntl.flock, list[PartFile | None]()

        def flock(descriptor: int, operation: int) -> None:
            if not others:
                others.append(None)
                others[0] = PartFile.open_existing(final)
            locked(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", flock)
        part = PartFile.create(final)
        [other] = others
        assert other is not None
        assert (part.usual_name, other.usual_name) == (False, True)
        assert part.path != other.path
        part.remove()
        other.remove()

    def test_without_locks_it_has_a_name_of_its_own(self, final: Path, no_locks: None):
        part = PartFile.create(final)
        assert not part.usual_name
        assert names(final.parent) == [part.path.name]
        part.remove()

    def test_without_locks_no_file_is_deleted_while_it_is_open(self, final: Path, no_locks: None):
        # Seen: on Windows, which has none, that fails, and so did every download.
        with open_when_deleted() as deleted:
            part = PartFile.create(final)
            part.remove()
        assert deleted == [False, False]

    def test_no_folder(self, tmp_path: Path):
        with pytest.raises(FileNotFoundError):
            PartFile.create(tmp_path / "none" / "c1.zip")


@contextmanager
def open_when_deleted() -> Iterator[list[bool]]:
    """Give a list that tells of each deleted part whether it was open then."""
    deleted, watching = list[bool](), [True]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "os.remove" and str(arguments[0]).endswith(".part"):
            deleted.append(str(arguments[0]) in open_files())

    # It can't be taken away again.
    sys.addaudithook(hook)
    try:
        yield deleted
    finally:
        watching.clear()


def in_the_way(path: Path, kind: str) -> Path | None:
    """Put something under a name, and return what lies outside and must not be touched."""
    outside = path.with_name("outside")
    if kind == "link":
        outside.write_bytes(b"precious")
        path.symlink_to(outside)
        return outside
    if kind == "dangling":
        path.symlink_to(outside)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"precious")
        return path
    return None


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network file systems."""

    def flock(*_: object) -> None:
        raise OSError(38, "no locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


class TestTakeUp:
    def test_where_too_many_files_are_open_it_is_not_taken_for_none(self, final: Path):
        # Seen: it was fetched anew, and the part stayed behind beside the whole file.
        left(final)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                PartFile.open_existing(final)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_none(self, final: Path):
        assert PartFile.open_existing(final) is None
        assert names(final.parent) == []

    def test_one_that_was_left(self, final: Path):
        left(final, b"12345")
        part = PartFile.open_existing(final)
        assert part is not None
        assert (part.size, part.usual_name) == (5, True)
        assert parse_state(part.read_state(), "c1", "a.zip") == STATE
        assert b"".join(part.pieces(part.size)) == b"12345"
        part.write([b"67"])
        part.close()
        assert part_path(final).read_bytes() == b"1234567"

    def test_one_that_another_has_in_this_process(self, final: Path):
        part = PartFile.create(final)
        for _ in range(2):
            with pytest.raises(PartInUseError):
                PartFile.open_existing(final)
        part.close()
        other = PartFile.open_existing(final)
        assert other is not None
        with pytest.raises(PartInUseError):
            PartFile.open_existing(final)
        other.remove()
        assert PartFile.open_existing(final) is None

    def test_one_that_another_process_has(self, final: Path):
        left(final)
        with holder(final):
            with pytest.raises(PartInUseError):
                PartFile.open_existing(final)
            private = PartFile.create(final)
            assert not private.usual_name
            private.remove()
        part = PartFile.open_existing(final)
        assert part is not None
        part.remove()

    def test_the_end_of_a_process_frees_it_and_what_it_wrote_stays(self, final: Path):
        with holder(final) as process:
            with pytest.raises(PartInUseError):
                PartFile.open_existing(final)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            part = PartFile.open_existing(final)
        assert part is not None
        assert b"".join(part.pieces(part.size)) == b"theirs"
        part.remove()

    @pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
    def test_what_is_no_part_file(self, final: Path, kind: str):
        outside = in_the_way(part_path(final), kind)
        assert PartFile.open_existing(final) is None
        assert outside is None or outside.read_bytes() == b"precious"
        assert part_path(final).name in names(final.parent)

    def test_a_pipe_that_somebody_reads(self, final: Path):
        os.mkfifo(part_path(final))
        reader = os.open(part_path(final), os.O_RDONLY | os.O_NONBLOCK)
        assert PartFile.open_existing(final) is None
        os.close(reader)

    def test_a_file_of_somebody_else(self, final: Path):
        path = left(final)
        os.chown(path, 12345, -1)
        assert PartFile.open_existing(final) is None
        assert path.read_bytes() == b"part"

    def test_one_that_has_its_final_name_already(self, final: Path):
        # A crash between the final name and the end of the part's.
        path = left(final, b"whole")
        final.hardlink_to(path)
        assert PartFile.open_existing(final) is None
        assert names(final.parent) == ["c1.zip"]
        assert final.read_bytes() == b"whole"

    def test_without_locks(self, final: Path, no_locks: None):
        part_path(final).write_bytes(b"part")
        assert PartFile.open_existing(final) is None
        assert part_path(final).read_bytes() == b"part"

    def test_on_a_system_without_locks(self, final: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(partfile.sys, "platform", "win32")
        part_path(final).write_bytes(b"part")
        assert PartFile.open_existing(final) is None
        part = PartFile.create(final)
        assert not part.usual_name
        part.remove()

    @pytest.mark.parametrize("replaced", [False, True])
    def test_one_that_is_finished_just_before_it_is_locked(
        self, final: Path, replaced: bool, monkeypatch: pytest.MonkeyPatch
    ):
        path = left(final, b"whole")
        locked = fcntl.flock

        def flock(descriptor: int, operation: int) -> None:
            if not final.exists():
                path.rename(final)
                if replaced:
                    path.write_bytes(b"next")
            locked(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", flock)
        if replaced:
            with pytest.raises(PartInUseError):
                PartFile.open_existing(final)
        else:
            assert PartFile.open_existing(final) is None
        assert final.read_bytes() == b"whole"


class TestSweepEnded:
    def test_those_whose_processes_have_ended_go(self, final: Path):
        parts = [PartFile.create(final) for _ in range(4)]
        assert names(final.parent) == sorted(part_names(final.name))
        for part in (parts[1], parts[3]):
            part.write([b"part"])
            # As the end of a process does.
            part.close()
        delete_abandoned_parts(final)
        assert names(final.parent) == sorted(part.path.name for part in (parts[0], parts[2]))
        delete_abandoned_parts(final)
        for part in (parts[0], parts[2]):
            part.remove()
        assert names(final.parent) == []

    def test_one_of_another_process_stays_until_that_is_killed(self, final: Path):
        usual = PartFile.create(final)
        program = (
            "import sys; from pathlib import Path; from dexcmd.transfer.partfile import PartFile\n"
            "print(PartFile.create(Path(sys.argv[1])).path.name, flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, final], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == ".c1.zip.part.1"
            delete_abandoned_parts(final)
            assert names(final.parent) == [".c1.zip.part", ".c1.zip.part.1"]
            process.kill()
        delete_abandoned_parts(final)
        assert names(final.parent) == [".c1.zip.part"]
        usual.remove()

    @pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
    def test_nothing_else_of_such_a_name_is_touched(self, final: Path, kind: str):
        outside = in_the_way(final.with_name(".c1.zip.part.1"), kind)
        delete_abandoned_parts(final)
        assert ".c1.zip.part.1" in names(final.parent)
        assert outside is None or outside.read_bytes() == b"precious"

    def test_more_than_have_known_names(self, final: Path):
        parts = [PartFile.create(final) for _ in range(6)]
        assert len({part.path for part in parts}) == 6
        for part in parts:
            part.remove()
        assert names(final.parent) == []


class TestState:
    def test_it_survives(self, final: Path):
        part = PartFile.create(final)
        assert part.read_state() == b""
        for durable in (0, 5, 0):
            state = attrs.evolve(STATE, durable=durable)
            part.write_state(state)
            assert parse_state(part.read_state(), "c1", "a.zip") == state
            assert names(final.parent) == [".c1.zip.part", ".c1.zip.part.json"]
        part.delete_state()
        part.delete_state()
        assert part.read_state() == b""
        part.remove()

    @pytest.mark.parametrize("durable", [0, 5])
    def test_what_vouches_for_the_disk_is_on_it_before_it_has_the_name(
        self, final: Path, durable: int, monkeypatch: pytest.MonkeyPatch
    ):
        part, steps = PartFile.create(final), list[str]()
        state = attrs.evolve(STATE, durable=durable)
        fsync, rename = os.fsync, os.replace

        def sync(descriptor: int) -> None:
            steps.append(f"sync {os.fstat(descriptor).st_size}")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("rename"), rename(*paths)))
        part.write_state(state)
        # What is synced is all of it.
        assert steps == ([f"sync {len(state.encode())}", "rename"] if durable else ["rename"])
        part.remove()

    @pytest.mark.parametrize("failing", ["fsync", "replace"])
    def test_a_failure_leaves_the_old_one(self, final: Path, failing: str, monkeypatch: pytest.MonkeyPatch):
        part = PartFile.create(final)
        part.write_state(STATE)

        def fail(*_: object) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch, pytest.raises(OSError):
            patch.setattr(os, failing, fail)
            part.write_state(attrs.evolve(STATE, durable=5))
        assert parse_state(part.read_state(), "c1", "a.zip") == STATE
        assert names(final.parent) == [".c1.zip.part", ".c1.zip.part.json"]
        part.remove()

    @pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
    def test_what_is_no_state_file_is_none(self, final: Path, kind: str):
        # Seen: a pipe was waited for for ever, and a folder raised IsADirectoryError and left a descriptor open.
        part = PartFile.create(final)
        outside = in_the_way(part.state_path, kind)
        assert part.read_state() == b""
        assert outside is None or outside.read_bytes() == b"precious"
        part.close()

    def test_a_link_under_the_name_of_a_new_one_is_not_followed(self, final: Path):
        part = PartFile.create(final)
        outside = in_the_way(part.state_path.with_name(f"{part.state_path.name}.new"), "link")
        with pytest.raises(OSError):
            part.write_state(STATE)
        assert outside is not None
        assert outside.read_bytes() == b"precious"
        part.remove()

    def test_a_link_under_its_name_is_replaced(self, final: Path):
        part = PartFile.create(final)
        outside = in_the_way(part.state_path, "link")
        part.write_state(STATE)
        assert parse_state(part.read_state(), "c1", "a.zip") == STATE
        assert outside is not None
        assert outside.read_bytes() == b"precious"
        part.remove()

    def test_that_of_somebody_else_is_none(self, final: Path):
        path = left(final)
        os.chown(state_path(path), 12345, -1)
        part = PartFile.open_existing(final)
        assert part is not None
        assert part.read_state() == b""
        part.remove()

    def test_a_huge_one_is_not_read_to_its_end(self, final: Path):
        part = PartFile.create(final)
        with part.state_path.open("wb") as file:
            file.truncate(2**40)
        assert len(part.read_state()) == READ_SIZE
        part.remove()


class TestBytes:
    @settings(deadline=None, max_examples=100)
    @given(data=st.data())
    def test_it_is_what_was_written_whatever_happens_between(self, data: st.DataObject):
        with tempfile.TemporaryDirectory() as folder:
            self.check(data, Path(folder, "c1.zip"))

    def check(self, data: st.DataObject, final: Path) -> None:
        part, content = PartFile.create(final), b""
        try:
            for _ in range(data.draw(st.integers(1, 12))):
                step = data.draw(st.sampled_from(["write", "cut", "tail", "pieces", "sync", "again"]))
                if step == "write":
                    pieces = data.draw(st.lists(st.binary(max_size=9), max_size=4))
                    part.write(pieces)
                    content += b"".join(pieces)
                elif step == "cut":
                    size = data.draw(st.integers(0, len(content)))
                    part.truncate(size)
                    content = content[:size]
                elif step == "tail":
                    size = data.draw(st.integers(0, len(content)))
                    assert part.tail(size) == content[len(content) - size :]
                elif step == "pieces":
                    size = data.draw(st.integers(0, len(content) + 1))
                    assert b"".join(part.pieces(size)) == content[:size]
                elif step == "sync":
                    part.start_writeback()
                    part.sync()
                else:
                    part.close()
                    again = PartFile.open_existing(final)
                    assert again is not None
                    part = again
                    assert b"".join(part.pieces(part.size)) == content
                assert part.size == len(content)
                assert part.path.read_bytes() == content
        finally:
            part.close()

    @pytest.mark.parametrize("size", [READ_SIZE - 1, READ_SIZE, 2 * READ_SIZE + 5])
    def test_a_large_one_comes_in_pieces(self, final: Path, size: int):
        part, content = PartFile.create(final), bytes(range(256)) * (size // 256 + 1)
        part.write([content[:size]])
        pieces = list(part.pieces(part.size))
        assert max(map(len, pieces)) == min(size, READ_SIZE)
        part.write([b"more"])
        part.truncate(size)
        assert b"".join(pieces) == content[:size]
        assert part.tail(size) == content[:size]
        part.remove()

    def test_on_a_system_that_can_not_read_at_a_place(self, final: Path, monkeypatch: pytest.MonkeyPatch):
        # Windows; what another process left is never taken up there, so that it need not be read from its start.
        monkeypatch.delattr(os, "pread")
        part = PartFile.create(final)
        part.write([b"0123456789"])
        assert part.tail(3) == b"789"
        part.write([b"ab"])
        assert part.tail(4) == b"89ab"
        part.remove()

    def test_a_tail_of_a_file_that_was_cut_by_others(self, final: Path):
        part = PartFile.create(final)
        part.write([b"0123456789"])
        os.truncate(part.path, 8)
        assert part.tail(5) == b"567"
        part.remove()

    def test_room_is_reserved_and_the_size_tells_what_is_written(self, final: Path):
        part = PartFile.create(final)
        part.reserve(1_000_000)
        assert part.path.stat().st_size == 0
        assert part.path.stat().st_blocks * 512 >= 1_000_000
        part.write([b"abc"])
        part.close()
        again = PartFile.open_existing(final)
        assert again is not None
        assert again.size == 3
        again.remove()


class TestEnd:
    def test_close_leaves_it_and_remove_does_not(self, final: Path):
        path = left(final)
        assert names(final.parent) == [".c1.zip.part", ".c1.zip.part.json"]
        part = PartFile.open_existing(final)
        assert part is not None
        part.remove()
        part.close()
        assert names(final.parent) == []
        assert not path.exists()

    def test_it_is_gone_before_the_lock_is(self, final: Path):
        left(final)
        part = PartFile.open_existing(final)
        assert part is not None
        with open_when_deleted() as deleted:
            part.remove()
        assert deleted == [True]

    @pytest.mark.parametrize("name", [state_path, lambda part: part])
    def test_a_failure_frees_the_lock_all_the_same(self, final: Path, name: Callable[[Path], Path]):
        # Seen: the descriptor stayed open, and with it the lock.
        part = PartFile.create(final)
        in_its_way = name(part.path)
        in_its_way.unlink(missing_ok=True)
        in_its_way.mkdir()
        with pytest.raises(OSError):
            part.remove()

    def test_its_state_goes_first(self, final: Path):
        part = PartFile.create(final)
        part.write_state(STATE)
        part.path.unlink()
        part.path.mkdir()
        with pytest.raises(OSError):
            part.remove()
        # It would vouch for the next part of that name, if the process ended here.
        assert not state_path(part.path).exists()

    def test_who_still_has_the_descriptor_has_no_lock(self, final: Path):
        part = PartFile.create(final)
        # As a process has it that was forked meanwhile.
        of_another = os.dup(part._descriptor)
        try:
            part.close()
            taken_up = PartFile.open_existing(final)
            assert taken_up is not None
            taken_up.close()
        finally:
            os.close(of_another)


def test_no_part_of_one_artifact_is_of_another_with_a_longer_name(tmp_path: Path) -> None:
    names_of = [set(part_names(f"c1.zip{ending}")) for ending in ("", ".1", ".part", ".part.1")]
    assert len(set.union(*names_of)) == sum(map(len, names_of))
