"""Artifacts on their way into a folder, with real files and without a service."""

import asyncio
import errno
import hashlib
import os
import resource
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.clock import ManualClock
from dexcmd.errors import (
    ArtifactChangedError,
    ArtifactExistsError,
    DownloadError,
    InsufficientSpaceError,
    InvalidArtifactError,
    TruncatedArtifactError,
)
from dexcmd.transfer import commit, filetarget, resumable
from dexcmd.transfer.files import check_zip
from dexcmd.transfer.filetarget import LOCK_STALL_SECONDS, FileTarget
from dexcmd.transfer.folder import FileSink
from dexcmd.transfer.options import Verify
from dexcmd.transfer.partfile import PartFile, part_path, state_path
from dexcmd.transfer.partstate import parse_state
from dexcmd.transfer.ranges import OVERLAP, Body, Have, Version
from dexcmd.transfer.system import put_in_place
from dexcmd.transfer.writer import HIGH_WATER, QueueThread
from dexcmd.transfer.zipformat import MAX_UNPACKED
from dexcmd.transfer.zipstream import ZipStream
from tests.transfer.filerig import (
    C1,
    CHUNK,
    LARGE,
    OTHER,
    PARTS,
    SMALL,
    BrokenError,
    HeldCheck,
    HeldReading,
    SteppedClock,
    archive,
    broken,
    download,
    download_two,
    leave_part,
    names,
    no_workers,
    open_parts,
    receive,
    strong,
    target,
    there,
    weak,
)
from tests.zips import Entry, forge, zeros

pytestmark = pytest.mark.anyio

sizes = pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    left = open_parts()
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink() and ".part" in os.readlink(link):  # noqa: PTH115
            os.close(int(link.name))
    assert left == []
    assert [thread for thread in threading.enumerate() if thread.name in ("dexcmd-writer", "dexcmd-checker")] == []


class TestSaved:
    @sizes
    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    async def test_a_file(self, tmp_path: Path, content: bytes, verify: Verify) -> None:
        saved = await download(tmp_path, content, verify=verify)
        assert saved.path == tmp_path / "c1.zip"
        assert saved.path.read_bytes() == content
        assert (saved.size, saved.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert (saved.resumed_from, saved.skipped) == (0, False)
        assert stat.S_IMODE(saved.path.stat().st_mode) == 0o600
        assert names(tmp_path) == ["c1.zip"]

    @sizes
    @pytest.mark.parametrize("version", [Version(), Version('"a"'), Version('W/"a"')])
    async def test_one_whose_size_is_not_announced(self, tmp_path: Path, content: bytes, version: Version) -> None:
        saved = await download(tmp_path, content, version=version)
        assert saved.path.read_bytes() == content
        assert names(tmp_path) == ["c1.zip"]

    async def test_all_is_written_once_the_last_byte_came(self, tmp_path: Path) -> None:
        async with target(tmp_path) as place:
            await receive(place, LARGE, strong(LARGE))
            assert (tmp_path / PARTS[0]).read_bytes() == LARGE
            assert [thread.name for thread in threading.enumerate() if thread.name.startswith("dexcmd-writer")] == []
            await place.finish(0)

    @sizes
    async def test_one_that_is_not_whole_gets_no_name(self, tmp_path: Path, content: bytes) -> None:
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 1
        with pytest.raises(InvalidArtifactError, match=r"^c1\.zip: not a complete zip archive"):
            await download(tmp_path, bytes(damaged))
        assert names(tmp_path) == []

    @sizes
    async def test_one_that_only_the_file_can_tell_of(self, tmp_path: Path, content: bytes) -> None:
        saved = await download(tmp_path, b"#!/bin/sh\n" + content)
        assert saved.path.read_bytes() == b"#!/bin/sh\n" + content

    async def test_the_folder_is_made_and_private(self, tmp_path: Path) -> None:
        saved = await download(tmp_path / "a" / "b", SMALL)
        assert saved.path.parent == tmp_path / "a" / "b"
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


class TestExisting:
    """What becomes of a file that already exists."""

    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    async def test_verify_leaves_a_whole_one(self, tmp_path: Path, verify: Verify) -> None:
        (tmp_path / "c1.zip").write_bytes(SMALL)
        before = (tmp_path / "c1.zip").stat()
        saved = await download(tmp_path, SMALL, verify=verify)
        assert (saved.skipped, saved.path, saved.size) == (True, tmp_path / "c1.zip", len(SMALL))
        assert saved.sha256 == hashlib.sha256(SMALL).hexdigest()
        # Not all of it: the time of the last reading may be another one.
        after = (tmp_path / "c1.zip").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    async def test_verify_needs_no_request_for_a_zip_and_the_size_for_others(self, tmp_path: Path) -> None:
        (tmp_path / "c1.zip").write_bytes(SMALL)
        async with target(tmp_path) as place:
            assert await place.find(None) is not None
        async with target(tmp_path, verify="size") as place:
            assert await place.find(None) is None
            assert await place.find(len(SMALL) + 1) is None
            found = await place.find(len(SMALL))
            assert found is not None
            assert await place.find(None) is found

    @sizes
    async def test_verify_replaces_one_that_is_not_whole(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "c1.zip").write_bytes(content[:-1])
        saved = await download(tmp_path, content)
        assert not saved.skipped
        assert saved.path.read_bytes() == content

    @pytest.mark.parametrize("part", [True, False])
    async def test_a_whole_one_on_a_disk_that_can_only_be_read(
        self, tmp_path: Path, part: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: it was an error, for want of deleting what lay beside it.
        leave_part(tmp_path, LARGE[:1_000_000])
        (tmp_path / "c1.zip").write_bytes(LARGE)
        if not part:
            part_path(tmp_path / "c1.zip").unlink()
        before, opened = names(tmp_path), os.open

        def only_to_read(path: Any, flags: int, *more: Any, **options: Any) -> int:
            if flags & os.O_ACCMODE != os.O_RDONLY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return opened(path, flags, *more, **options)

        monkeypatch.setattr(os, "open", only_to_read)
        monkeypatch.setattr(os, "unlink", failing(errno.EROFS))
        assert (await download(tmp_path, LARGE)).skipped
        monkeypatch.undo()
        assert names(tmp_path) == before

    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    async def test_one_that_can_not_be_opened_for_want_of_descriptors_is_not_fetched_anew(
        self, tmp_path: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: it was replaced, once there were some.
        (tmp_path / "c1.zip").write_bytes(SMALL)
        monkeypatch.setattr("io.open", failing(errno.EMFILE))
        with pytest.raises(DownloadError, match="Too many open files"):
            await download(tmp_path, SMALL, verify=verify)
        monkeypatch.undo()
        assert (await download(tmp_path, SMALL, verify=verify)).skipped

    async def test_verify_by_size_replaces_one_of_another_size(self, tmp_path: Path) -> None:
        (tmp_path / "c1.zip").write_bytes(SMALL[:-1])
        saved = await download(tmp_path, SMALL, verify="size")
        assert not saved.skipped
        assert saved.path.read_bytes() == SMALL

    @sizes
    async def test_overwrite_replaces_even_a_whole_one(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "c1.zip").write_bytes(content)
        before = (tmp_path / "c1.zip").stat().st_ino
        saved = await download(tmp_path, content, existing="overwrite")
        assert not saved.skipped
        assert saved.path.stat().st_ino != before
        assert names(tmp_path) == ["c1.zip"]

    @sizes
    async def test_rename_gives_numbers(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "c1.zip").write_bytes(b"old")
        paths = [(await download(tmp_path, content, existing="rename")).path.name for _ in range(3)]
        assert paths == ["c1 (1).zip", "c1 (2).zip", "c1 (3).zip"]
        assert (tmp_path / "c1.zip").read_bytes() == b"old"
        assert names(tmp_path) == [*paths, "c1.zip"]

    async def test_error_raises_before_anything_is_asked(self, tmp_path: Path) -> None:
        (tmp_path / "c1.zip").write_bytes(b"old")
        with pytest.raises(ArtifactExistsError, match=r"c1\.zip already exists"):
            async with target(tmp_path, existing="error"):
                pytest.fail("entered")
        assert (tmp_path / "c1.zip").read_bytes() == b"old"


class TestInTheWay:
    """What else may be under the final name."""

    @pytest.mark.parametrize("existing", ["verify", "overwrite", "rename", "error"])
    @pytest.mark.parametrize("kind", ["link", "dangling"])
    @sizes
    async def test_a_link_is_never_followed(self, tmp_path: Path, existing: Any, kind: str, content: bytes) -> None:
        outside, folder = tmp_path / "outside", tmp_path / "captures"
        folder.mkdir()
        if kind == "link":
            outside.write_bytes(content)
        (folder / "c1.zip").symlink_to(outside)
        if existing == "error":
            with pytest.raises(ArtifactExistsError):
                await download(folder, content, existing=existing)
            assert (folder / "c1.zip").is_symlink()
        else:
            saved = await download(folder, content, existing=existing)
            assert not saved.path.is_symlink()
            assert saved.path.name == ("c1 (1).zip" if existing == "rename" else "c1.zip")
            assert saved.path.read_bytes() == content
        assert outside.exists() is (kind == "link")
        assert kind == "dangling" or outside.read_bytes() == content

    @pytest.mark.parametrize("existing", ["verify", "overwrite"])
    @sizes
    async def test_a_folder_is_not_replaced(self, tmp_path: Path, existing: Any, content: bytes) -> None:
        (tmp_path / "c1.zip").mkdir()
        with pytest.raises(DownloadError, match="can't write"):
            await download(tmp_path, content, existing=existing)
        assert (tmp_path / "c1.zip").is_dir()
        # What came stays, for the day when the name is free.
        (tmp_path / "c1.zip").rmdir()
        async with target(tmp_path, existing=existing) as place:
            assert place.have.whole
            saved = await place.finish(place.have.offset)
        assert saved.path.read_bytes() == content
        assert names(tmp_path) == ["c1.zip"]

    async def test_a_folder_is_gone_round(self, tmp_path: Path) -> None:
        (tmp_path / "c1.zip").mkdir()
        assert (await download(tmp_path, SMALL, existing="rename")).path.name == "c1 (1).zip"
        with pytest.raises(ArtifactExistsError):
            await download(tmp_path, SMALL, existing="error")

    @sizes
    async def test_a_folder_that_is_gone(self, tmp_path: Path, content: bytes) -> None:
        folder = tmp_path / "captures"
        with pytest.raises(DownloadError, match="can't write"):
            async with target(folder) as place:
                folder.rmdir()
                await receive(place, content, strong(content))
                await place.finish(0)
        assert not folder.exists()

    @pytest.mark.parametrize("name", [part_path, lambda final: state_path(part_path(final))])
    @pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
    async def test_whatever_has_the_name_of_the_part_or_its_state(
        self, tmp_path: Path, name: Callable[[Path], Path], kind: str
    ) -> None:
        outside, folder = tmp_path / "outside", tmp_path / "captures"
        folder.mkdir()
        outside.write_bytes(b"precious")
        path = name(folder / "c1.zip")
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(outside)
        try:
            saved = await download(folder, LARGE)
        except DownloadError:
            # A state that can't be written is no more than an error.
            assert kind == "folder"
            assert not (folder / "c1.zip").exists()
        else:
            assert saved.path.read_bytes() == LARGE
        assert outside.read_bytes() == b"precious"


class TestRaces:
    """A file that appears when all bytes are there, just before the name is given."""

    async def finish_beside(self, folder: Path, content: bytes, existing: Any) -> Path:
        async with target(folder, existing=existing) as place:
            await receive(place, content, strong(content))
            (folder / "c1.zip").write_bytes(b"theirs")
            return (await place.finish(0)).path

    @sizes
    @pytest.mark.parametrize("existing", ["verify", "overwrite"])
    async def test_it_is_replaced(self, tmp_path: Path, content: bytes, existing: Any) -> None:
        path = await self.finish_beside(tmp_path, content, existing)
        assert path.read_bytes() == content
        assert names(tmp_path) == ["c1.zip"]

    @sizes
    async def test_it_stays_and_the_new_one_gets_a_number(self, tmp_path: Path, content: bytes) -> None:
        path = await self.finish_beside(tmp_path, content, "rename")
        assert (path.name, path.read_bytes()) == ("c1 (1).zip", content)
        assert (tmp_path / "c1.zip").read_bytes() == b"theirs"
        assert names(tmp_path) == ["c1 (1).zip", "c1.zip"]

    @sizes
    async def test_it_stays_and_is_an_error(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(ArtifactExistsError, match=r"c1\.zip already exists"):
            await self.finish_beside(tmp_path, content, "error")
        assert (tmp_path / "c1.zip").read_bytes() == b"theirs"
        assert names(tmp_path) == ["c1.zip"]

    async def test_the_state_of_one_that_begins_meanwhile_is_left_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = list[PartFile]()

        def put(part: Path, final: Path, *, replace: bool) -> None:
            put_in_place(part, final, replace=replace)
            leave_part(tmp_path, SMALL)
            begun.extend(filter(None, [PartFile.open_existing(final)]))

        monkeypatch.setattr(filetarget, "put_in_place", put)
        assert (await download(tmp_path, LARGE)).path.read_bytes() == LARGE
        assert names(tmp_path) == [*PARTS, "c1.zip"]
        begun.pop().close()


class TestPutAway:
    """The folder is put away while a download is at work, and another one begins in a new folder of its name."""

    @pytest.mark.parametrize("existing", ["verify", "overwrite", "rename", "error"])
    async def test_what_another_one_has_of_it_never_gets_the_name(self, tmp_path: Path, existing: Any) -> None:
        # Seen: the other's part got the name, though not all of it had come.
        folder, away = tmp_path / "captures", tmp_path / "away"
        with pytest.raises(DownloadError, match="No such file"):
            async with target(folder, existing=existing) as place:
                await receive(place, LARGE, strong(LARGE))
                folder.rename(away)
                folder.mkdir()
                leave_part(folder, LARGE[:1_000_000], size=len(LARGE))
                await place.finish(0)
        assert (names(folder), names(away)) == (PARTS, PARTS)
        assert [(await there(where)).offset for where in (folder, away)] == [1_000_000, len(LARGE)]

    @pytest.mark.parametrize("keep_part", [True, False])
    async def test_what_another_one_has_of_it_is_left_to_it(self, tmp_path: Path, keep_part: bool) -> None:
        # Seen: its state was replaced, and told of a version that its bytes are not of; or both were deleted.
        folder = tmp_path / "captures"
        with pytest.raises(DownloadError, match="No such file"):
            async with target(folder, keep_part=keep_part) as place:
                await receive(place, LARGE, Version('"a"'), end=2_000_000)
                await place.tail(1)
                folder.rename(tmp_path / "away")
                folder.mkdir()
                leave_part(folder, OTHER[:1_000_000], etag='"b"', size=len(OTHER))
                await receive(place, LARGE, strong(LARGE), 2_000_000)
        assert await there(folder) == Have(1_000_000, strong(OTHER, '"b"'))


class TestBroken:
    """What is left of a download that fails, and how the next one goes on."""

    @pytest.mark.parametrize("end", [1, 100_000, 1_000_000, 2_000_000])
    @pytest.mark.parametrize("verify", ["zip", "size", "none"])
    async def test_the_next_one_goes_on(self, tmp_path: Path, end: int, verify: Verify) -> None:
        await broken(tmp_path, LARGE, end, verify=verify)
        assert names(tmp_path) == PARTS
        assert (tmp_path / PARTS[0]).read_bytes() == LARGE[:end]
        assert await there(tmp_path, verify=verify) == Have(end, strong(LARGE))
        # It was looked at and not used up.
        assert names(tmp_path) == PARTS
        saved = await download(tmp_path, LARGE, verify=verify)
        assert saved.resumed_from == end
        assert saved.path.read_bytes() == LARGE
        assert saved.sha256 == hashlib.sha256(LARGE).hexdigest()
        assert names(tmp_path) == ["c1.zip"]

    @pytest.mark.parametrize("end", [1, 1_500_000])
    async def test_where_runs_of_the_system_can_not_be_told_apart(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: int
    ) -> None:
        monkeypatch.setattr(resumable, "boot_id", lambda: None)
        await broken(tmp_path, LARGE, end)
        assert (await there(tmp_path)).offset == end

    @pytest.mark.parametrize("ends", [(1, 2, 3), (10, 2_000_000, 2_000_001), (1_500_000, 2_900_000)])
    async def test_many_times(self, tmp_path: Path, ends: tuple[int, ...]) -> None:
        for end in ends:
            await broken(tmp_path, LARGE, end)
        saved = await download(tmp_path, LARGE)
        assert saved.resumed_from == ends[-1]
        assert saved.path.read_bytes() == LARGE

    @pytest.mark.parametrize("end", [OVERLAP, OVERLAP + 1, 2_000_000])
    async def test_without_a_strong_etag_where_the_whole_is_checked_and_an_overlap_is_there(
        self, tmp_path: Path, end: int
    ) -> None:
        await broken(tmp_path, LARGE, end, version=weak(LARGE))
        assert names(tmp_path) == (PARTS if end > OVERLAP else [])
        async with target(tmp_path) as place:
            assert place.have == (Have(end, weak(LARGE)) if end > OVERLAP else Have())
            if end > OVERLAP:
                assert await place.tail(OVERLAP) == LARGE[end - OVERLAP : end]
            await receive(place, LARGE, weak(LARGE), place.have.offset)
            saved = await place.finish(0)
        assert saved.path.read_bytes() == LARGE

    @pytest.mark.parametrize("end", [1, 500_000, 2_000_000])
    @pytest.mark.parametrize(
        ("version", "verify"),
        [(weak(LARGE), "size"), (weak(LARGE), "none"), (Version('W/"a"'), "zip"), (Version(), "zip")],
    )
    async def test_nothing_is_left_that_nothing_can_be_joined_to(
        self, tmp_path: Path, end: int, version: Version, verify: Verify
    ) -> None:
        await broken(tmp_path, LARGE, end, version=version, verify=verify)
        assert names(tmp_path) == []

    @pytest.mark.parametrize("end", [0, 1, 2_000_000])
    async def test_nothing_is_left_where_nothing_is_to_be_kept(self, tmp_path: Path, end: int) -> None:
        await broken(tmp_path, LARGE, end, keep_part=False)
        assert names(tmp_path) == []

    async def test_nothing_is_left_of_nothing(self, tmp_path: Path) -> None:
        await broken(tmp_path, LARGE, 0)
        assert names(tmp_path) == []

    @pytest.mark.parametrize("end", [1_000, 2_000_000])
    @pytest.mark.parametrize(
        "error",
        [
            # An answer that is none of the artifact's, such as a proxy's page, takes nothing from what came before.
            InvalidArtifactError("not whole"),
            ArtifactChangedError("changed"),
            TruncatedArtifactError("broke"),
            asyncio.CancelledError(),
            KeyboardInterrupt(),
        ],
        ids=repr,
    )
    async def test_what_came_is_kept_whatever_ended_it(self, tmp_path: Path, end: int, error: BaseException) -> None:
        await broken(tmp_path, LARGE, end, error=error)
        assert names(tmp_path) == PARTS

    async def test_what_came_is_kept_where_there_is_no_thread_to_leave_it_in(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: file, lock and two threads stayed as long as the process, and another error was raised.
        async with AsyncExitStack() as later:
            with pytest.raises(BrokenError):
                async with target(tmp_path) as place:
                    await receive(place, LARGE, strong(LARGE), end=2_000_000)
                    await later.enter_async_context(no_workers(monkeypatch))
                    raise BrokenError
            assert open_parts() == []
            assert not [thread for thread in threading.enumerate() if thread.name.startswith("dexcmd-")]
        assert (await there(tmp_path)).offset == 2_000_000

    async def test_a_part_is_not_kept_by_a_later_one_that_keeps_none(self, tmp_path: Path) -> None:
        await broken(tmp_path, LARGE, 2_000_000)
        await broken(tmp_path, LARGE, 2_500_000, keep_part=False)
        assert names(tmp_path) == []

    async def test_an_encoded_body_is_nothing_to_go_on_from(self, tmp_path: Path) -> None:
        with pytest.raises(BrokenError):
            async with target(tmp_path) as place:
                await place.begin(Body(0, Version('"a"'), coding="gzip"))
                await place.write(LARGE[:2_000_000])
                assert place.have == Have(2_000_000, Version())
                raise BrokenError
        assert names(tmp_path) == []

    async def test_a_part_of_a_private_name_is_never_left(self, tmp_path: Path) -> None:
        part_path(tmp_path / "c1.zip").mkdir()
        await broken(tmp_path, LARGE, 2_000_000)
        await broken(tmp_path, LARGE, 1_000)
        assert names(tmp_path) == [".c1.zip.part"]

    async def test_a_size_that_is_told_only_when_it_goes_on(self, tmp_path: Path) -> None:
        # What the threads were given is still on its way when the next body begins.
        for number in range(30):
            async with target(tmp_path / str(number), verify="size") as place:
                await receive(place, LARGE, Version('"a"'), end=1_600_000)
                await receive(place, LARGE, strong(LARGE), place.have.offset)
                saved = await place.finish(0)
            assert saved.path.read_bytes() == LARGE
            assert names(saved.path.parent) == ["c1.zip"]


class TestFound:
    async def test_a_part_beside_a_whole_file_is_dropped(self, tmp_path: Path) -> None:
        await broken(tmp_path, LARGE, 2_000_000)
        (tmp_path / "c1.zip").write_bytes(LARGE)
        assert (await download(tmp_path, LARGE)).skipped
        assert names(tmp_path) == ["c1.zip"]

    async def test_as_well_where_its_size_has_to_be_asked_for(self, tmp_path: Path) -> None:
        # Seen: the part stayed, open and locked, so that the next download in this process waited for itself.
        await broken(tmp_path, LARGE, 2_000_000, verify="size")
        (tmp_path / "c1.zip").write_bytes(LARGE)
        assert (await download(tmp_path, LARGE, verify="size")).skipped
        assert names(tmp_path) == ["c1.zip"]

    async def test_as_well_where_a_part_of_it_came_before_its_size(self, tmp_path: Path) -> None:
        (tmp_path / "c1.zip").write_bytes(LARGE)
        async with target(tmp_path, verify="size") as place:
            await receive(place, LARGE, Version('"a"'), end=1_600_000)
            found = await place.find(len(LARGE))
        assert found is not None
        assert names(tmp_path) == ["c1.zip"]

    async def test_a_file_with_its_name_whose_part_was_not_unlinked(self, tmp_path: Path) -> None:
        await broken(tmp_path, LARGE, len(LARGE))
        (tmp_path / "c1.zip").hardlink_to(tmp_path / PARTS[0])
        assert (await download(tmp_path, LARGE)).skipped
        assert names(tmp_path) == ["c1.zip"]
        assert (tmp_path / "c1.zip").stat().st_nlink == 1

    @pytest.mark.parametrize("verify", ["zip", "size"])
    async def test_a_part_that_is_whole_needs_no_request(self, tmp_path: Path, verify: Verify) -> None:
        await broken(tmp_path, LARGE, len(LARGE), verify=verify)
        async with target(tmp_path, verify=verify) as place:
            assert place.have.whole
            saved = await place.finish(len(LARGE))
        assert saved.path.read_bytes() == LARGE
        assert (saved.resumed_from, saved.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())

    async def test_one_that_was_killed_before_it_got_its_name(self, tmp_path: Path) -> None:
        # What is small is written when all of it is there, without a state.
        part_path(tmp_path / "c1.zip").write_bytes(SMALL)
        async with target(tmp_path) as place:
            assert place.have == Have(len(SMALL), Version(size=len(SMALL)))
            saved = await place.finish(len(SMALL))
        assert saved.path.read_bytes() == SMALL
        assert (saved.resumed_from, saved.sha256) == (len(SMALL), hashlib.sha256(SMALL).hexdigest())
        assert names(tmp_path) == ["c1.zip"]

    @pytest.mark.parametrize(
        ("content", "options"),
        [
            # A power cut leaves a file of the right length and other bytes.
            (SMALL[:5_000] + bytes(len(SMALL) - 5_000), {}),
            (SMALL[:-1], {}),
            (b"", {}),
            (SMALL, {"verify": "size"}),
            # It might be another one of the same name.
            (SMALL, {"existing": "overwrite"}),
            (SMALL, {"existing": "rename"}),
            (SMALL, {"existing": "error"}),
            # No such one has been left: large ones have a state.
            (LARGE, {}),
        ],
    )
    async def test_one_of_which_that_can_not_be_told(
        self, tmp_path: Path, content: bytes, options: dict[str, Any]
    ) -> None:
        part_path(tmp_path / "c1.zip").write_bytes(content)
        assert await there(tmp_path, **options) == Have()
        assert names(tmp_path) == []

    async def test_one_that_breaks_off_again_is_still_there(self, tmp_path: Path) -> None:
        part_path(tmp_path / "c1.zip").write_bytes(SMALL)
        assert (await there(tmp_path)).whole
        assert (await there(tmp_path)).whole


class TestSwept:
    """A part beside the usual one, made because that was another's who hung, and left as its process was killed."""

    def leave(self, folder: Path) -> None:
        usual, beside = PartFile.create(folder / "c1.zip"), PartFile.create(folder / "c1.zip")
        beside.write([LARGE[:1_000_000]])
        beside.close()
        usual.remove()
        assert names(folder) == [".c1.zip.part.1"]

    @sizes
    async def test_by_the_next_one(self, tmp_path: Path, content: bytes) -> None:
        # Seen: it stayed for ever.
        self.leave(tmp_path)
        assert (await download(tmp_path, content)).path.read_bytes() == content
        assert names(tmp_path) == ["c1.zip"]

    async def test_by_one_that_finds_the_file(self, tmp_path: Path) -> None:
        self.leave(tmp_path)
        (tmp_path / "c1.zip").write_bytes(LARGE)
        assert (await download(tmp_path, LARGE)).skipped
        assert names(tmp_path) == ["c1.zip"]

    async def test_by_one_that_goes_on(self, tmp_path: Path) -> None:
        self.leave(tmp_path)
        leave_part(tmp_path, LARGE[:1_000_000])
        assert (await download(tmp_path, LARGE)).resumed_from == 1_000_000
        assert names(tmp_path) == ["c1.zip"]

    async def test_by_one_of_many(self, tmp_path: Path) -> None:
        self.leave(tmp_path)
        await download_two(tmp_path)
        assert names(tmp_path) == ["c1.zip", "c2.zip"]

    async def test_not_while_it_is_written(self, tmp_path: Path) -> None:
        go_on, ready, clock = asyncio.Event(), asyncio.Event(), SteppedClock()
        usual = PartFile.create(tmp_path / "c1.zip")
        clock.free()
        slow = asyncio.create_task(held(tmp_path, 2_000_000, go_on, ready, clock=clock))
        await ready.wait()
        usual.remove()
        await broken(tmp_path, LARGE, 1_500_000)
        assert names(tmp_path) == sorted([".c1.zip.part.1", *PARTS])
        go_on.set()
        await slow
        assert (tmp_path / "c1.zip").read_bytes() == LARGE
        assert (await download(tmp_path, LARGE)).skipped
        assert names(tmp_path) == ["c1.zip"]


class TestState:
    """Parts are gone on from only as far as their state vouches for them."""

    @pytest.mark.parametrize(
        ("boot", "durable", "offset"),
        [
            ("another", 1_000_000, 1_000_000),
            ("another", 3_000_000, 2_000_000),
            ("another", 0, 0),
            (None, 500_000, 500_000),
        ],
    )
    async def test_after_a_restart_of_the_system_only_what_was_synced_counts(
        self, tmp_path: Path, boot: str | None, durable: int, offset: int
    ) -> None:
        # What was written behind that may be anything now.
        content = LARGE[: min(durable, 2_000_000)] + bytes(max(0, 2_000_000 - durable))
        leave_part(tmp_path, content, size=len(LARGE), durable=durable, boot=boot)
        async with target(tmp_path) as place:
            assert place.have.offset == offset
            await receive(place, LARGE, strong(LARGE), offset)
            saved = await place.finish(offset)
        assert saved.path.read_bytes() == LARGE
        assert names(tmp_path) == ["c1.zip"]

    async def test_after_one_what_this_run_writes_counts_again(self, tmp_path: Path) -> None:
        leave_part(tmp_path, LARGE[:1_000_000], size=len(LARGE), durable=500_000, boot="another")
        await broken(tmp_path, LARGE, 2_000_000)
        assert (await there(tmp_path)).offset == 2_000_000
        state = parse_state((tmp_path / PARTS[1]).read_bytes(), "c1", "c1.zip")
        assert state is not None
        assert state.durable == 500_000

    @pytest.mark.parametrize("lacking", ["descriptors", "space"])
    async def test_what_can_not_be_taken_up_for_want_of_anything_stays(self, tmp_path: Path, lacking: str) -> None:
        leave_part(tmp_path, LARGE[:1_000_000], size=len(LARGE), durable=1_000_000, boot="another")
        free = os.dup(0)
        os.close(free)
        # The part itself can be opened, and its state can't; or that can't be written.
        what, most = (resource.RLIMIT_NOFILE, free + 1) if lacking == "descriptors" else (resource.RLIMIT_FSIZE, 0)
        before = resource.getrlimit(what)
        resource.setrlimit(what, (most, before[1]))
        try:
            with pytest.raises(DownloadError):
                await there(tmp_path)
        finally:
            resource.setrlimit(what, before)
        assert (await there(tmp_path)).offset == 1_000_000

    async def test_a_whole_one_without_a_state_that_can_not_be_read_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: it was deleted.
        part_path(tmp_path / "c1.zip").write_bytes(SMALL)
        monkeypatch.setattr("io.open", failing(errno.EMFILE))
        with pytest.raises(DownloadError):
            await there(tmp_path)
        monkeypatch.undo()
        assert (await there(tmp_path)).whole

    async def test_a_second_look_for_the_file_that_fails_leaves_the_part(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: it was deleted.
        leave_part(tmp_path, LARGE[:1_000_000])
        open_existing = PartFile.open_existing

        def taken_up(final: Path) -> PartFile | None:
            for function in (os.stat, os.lstat):
                monkeypatch.setattr(os, function.__name__, no_stat(function, final))
            return open_existing(final)

        monkeypatch.setattr(PartFile, "open_existing", taken_up)
        with pytest.raises(DownloadError):
            await there(tmp_path)
        monkeypatch.undo()
        assert (await there(tmp_path)).offset == 1_000_000

    @pytest.mark.parametrize(
        "state",
        [
            {"command_id": "c2"},
            {"filename": "c2.zip"},
            {"format": 2},
            {"durable": -1},
            {"etag": None},
            {"etag": 'W/"a"'},
            {"etag": '"a\r\nX: y"'},
        ],
        ids=str,
    )
    async def test_one_that_does_not_fit_is_worth_nothing(self, tmp_path: Path, state: dict[str, Any]) -> None:
        leave_part(tmp_path, OTHER[:2_000_000], **state)
        assert await there(tmp_path) == Have()
        assert names(tmp_path) == []
        saved = await download(tmp_path, LARGE)
        assert saved.path.read_bytes() == LARGE

    @pytest.mark.parametrize("state", [None, b"", b"{", b"[" * 100_000, b"\xff"])
    async def test_none_or_one_that_can_not_be_read(self, tmp_path: Path, state: bytes | None) -> None:
        leave_part(tmp_path, OTHER[:2_000_000])
        if state is None:
            (tmp_path / PARTS[1]).unlink()
        else:
            (tmp_path / PARTS[1]).write_bytes(state)
        assert (await download(tmp_path, LARGE)).path.read_bytes() == LARGE
        assert names(tmp_path) == ["c1.zip"]

    async def test_a_part_longer_than_the_artifact(self, tmp_path: Path) -> None:
        leave_part(tmp_path, SMALL + b"behind", size=len(SMALL))
        async with target(tmp_path) as place:
            assert place.have.whole
            saved = await place.finish(len(SMALL))
        assert saved.path.read_bytes() == SMALL

    async def test_an_empty_part_is_none(self, tmp_path: Path) -> None:
        leave_part(tmp_path, b"", size=len(LARGE))
        assert await there(tmp_path) == Have()
        assert names(tmp_path) == []

    @pytest.mark.parametrize("version", [strong(OTHER, '"b"'), weak(OTHER), Version()])
    async def test_the_state_never_vouches_for_bytes_of_another_version(
        self, tmp_path: Path, version: Version, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await broken(tmp_path, LARGE, 2_000_000)
        seen, written = list[object](), os.writev

        def writev(descriptor: int, pieces: Any) -> int:
            path = tmp_path / PARTS[1]
            state = parse_state(path.read_bytes(), "c1", "c1.zip") if path.exists() else None
            seen.append(None if state is None else (state.version, state.durable))
            return written(descriptor, pieces)

        monkeypatch.setattr(os, "writev", writev)
        async with target(tmp_path) as place:
            assert place.have.offset == 2_000_000
            await receive(place, OTHER, version)
            saved = await place.finish(0)
        assert saved.path.read_bytes() == OTHER
        assert seen
        assert set(seen) == {(version, 0) if version.joinable(checked=True) else None}

    @pytest.mark.parametrize("at", [0, 1, 1_000, 2_000_000])
    @pytest.mark.parametrize("end", [1_000, 2_000_000])
    async def test_one_that_starts_over_leaves_the_new_version(self, tmp_path: Path, at: int, end: int) -> None:
        with pytest.raises(BrokenError):
            async with target(tmp_path) as place:
                await receive(place, LARGE, strong(LARGE), 0, at)
                await receive(place, OTHER, strong(OTHER, '"b"'), 0, end)
                assert place.have == Have(end, strong(OTHER, '"b"'))
                raise BrokenError
        assert await there(tmp_path) == Have(end, strong(OTHER, '"b"'))
        assert (tmp_path / PARTS[0]).read_bytes() == OTHER[:end]


class TestTail:
    @pytest.mark.parametrize("end", [70_000, 1_000_000, 1_200_000, 2_000_000])
    async def test_it_is_the_last_of_what_is_there_and_more_can_come_behind_it(self, tmp_path: Path, end: int) -> None:
        async with target(tmp_path) as place:
            await receive(place, LARGE, weak(LARGE), 0, end)
            for _ in range(2):
                assert await place.tail(OVERLAP) == LARGE[end - OVERLAP : end]
            await receive(place, LARGE, weak(LARGE), end)
            saved = await place.finish(end)
        assert saved.path.read_bytes() == LARGE
        assert saved.sha256 == hashlib.sha256(LARGE).hexdigest()


class TestAllTasksAreCancelled:
    """`asyncio.run` cancels all tasks when its main function is over, whoever they belong to."""

    async def test_the_part_stays_open_while_it_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, ending, may = asyncio.all_tasks(), threading.Event(), threading.Event()
        write, end = PartFile.write, QueueThread.end

        def held(part: PartFile, pieces: list[bytes]) -> None:
            assert may.wait(60)
            write(part, pieces)

        def noted(thread: QueueThread) -> None:
            ending.set()
            end(thread)

        monkeypatch.setattr(PartFile, "write", held)
        monkeypatch.setattr(QueueThread, "end", noted)
        body = archive(HIGH_WATER - CHUNK)  # has room in the queue
        task = asyncio.ensure_future(download(tmp_path, body))
        while not ending.is_set():
            await asyncio.sleep(0)
        for each in asyncio.all_tasks() - before:
            each.cancel()
        for _ in range(200):
            # Time enough to close the part, were the writer not waited for.
            await asyncio.to_thread(bool)
        assert (task.done(), len(open_parts())) == (False, 1)
        may.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_parts() == []
        # What was in the queue is there.
        assert (tmp_path / PARTS[0]).read_bytes() == body


class TestReadAgain:
    """Archives that have to be read from the file to be checked, which may take long."""

    CONTENT = forge([Entry("a.log", bytes(1000), ZIP_BZIP2)])

    async def test_it_can_be_cancelled(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reading = HeldReading(monkeypatch, filetarget)
        await reading.cancel(asyncio.ensure_future(download(tmp_path, self.CONTENT)))
        assert names(tmp_path) == PARTS

    async def test_it_keeps_no_other_from_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        threads = list[str]()

        def noted(path: Path, name: str, *stop: threading.Event, **joined: bool) -> None:
            threads.append(threading.current_thread().name)
            check_zip(path, name, *stop, **joined)

        monkeypatch.setattr(filetarget, "check_zip", noted)
        assert (await download(tmp_path, self.CONTENT)).path.read_bytes() == self.CONTENT
        assert names(tmp_path) == ["c1.zip"]
        assert len(threads) == 1
        assert "dexcmd-commit" not in threads


BOMB = forge([zeros(2_000)])
"""Two MB, of which each piece of the queue unpacks to some hundred MB or more."""


class TestChecksThatTakeLong:
    """A cancellation ends a check within a piece of what it unpacks, and leaves all as it would be without."""

    @pytest.mark.parametrize("end", [None, 1_900_000], ids=["at the end", "half-way"])
    async def test_while_bytes_come(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: int | None) -> None:
        check, going_on = HeldCheck(monkeypatch), asyncio.Event()

        async def save() -> None:
            async with target(tmp_path) as place:
                await receive(place, BOMB, strong(BOMB), end=end)
                await going_on.wait()

        await check.cancel(asyncio.ensure_future(save()))
        assert open_parts() == []
        assert names(tmp_path) == PARTS
        assert (tmp_path / PARTS[0]).read_bytes() == BOMB[:end]

    async def test_what_is_there_of_it_is_gone_on_from_as_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as held:
            check = HeldCheck(held)
            await check.cancel(asyncio.ensure_future(download(tmp_path, BOMB)))
        assert (await there(tmp_path)).offset == len(BOMB)
        with monkeypatch.context() as held:
            # What an earlier download left is checked at the end.
            check = HeldCheck(held)
            await check.cancel(asyncio.ensure_future(download(tmp_path, BOMB)))
        assert names(tmp_path) == PARTS
        saved = await download(tmp_path, BOMB)
        assert (saved.resumed_from, saved.path.read_bytes()) == (len(BOMB), BOMB)
        assert names(tmp_path) == ["c1.zip"]

    async def test_a_file_that_is_there_and_a_part_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        await broken(tmp_path, LARGE, 2_000_000)
        (tmp_path / "c1.zip").write_bytes(BOMB)
        check = HeldCheck(monkeypatch)
        await check.cancel(asyncio.ensure_future(there(tmp_path)))
        assert open_parts() == []
        assert names(tmp_path) == [*PARTS, "c1.zip"]
        assert (tmp_path / PARTS[0]).read_bytes() == LARGE[:2_000_000]

    async def test_a_part_without_a_state_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is read from the file."""
        content = forge([zeros(500)])
        (tmp_path / PARTS[0]).write_bytes(content)
        reading = HeldReading(monkeypatch, resumable)
        await reading.cancel(asyncio.ensure_future(there(tmp_path)))
        assert (names(tmp_path), open_parts()) == ([PARTS[0]], [])
        assert (tmp_path / PARTS[0]).read_bytes() == content

    async def test_a_small_one_that_unpacks_to_much_keeps_no_other_from_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content, unpacked, count = forge([zeros(300)]), dict[str, int](), ZipStream._count

        def noted(stream: ZipStream, piece: bytes | memoryview) -> None:
            thread = threading.current_thread().name
            unpacked[thread] = unpacked.get(thread, 0) + len(piece)
            count(stream, piece)

        monkeypatch.setattr(ZipStream, "_count", noted)
        assert (await download(tmp_path, content)).path.read_bytes() == content
        assert max(unpacked.values()) < 70_000_000

    async def test_one_that_unpacks_to_too_much_is_refused(self, tmp_path: Path) -> None:
        content = forge([Entry("a", bytes(1000), ZIP_BZIP2, size=MAX_UNPACKED + 1)])
        with pytest.raises(InvalidArtifactError, match="bytes, more than"):
            await download(tmp_path, content)
        assert names(tmp_path) == []


class TestSyncing:
    """What is written is synced behind the writer's back."""

    async def test_the_state_tells_how_far(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resumable, "SYNC_EVERY", 1)
        await broken(tmp_path, LARGE, 2_000_000)
        state = parse_state((tmp_path / PARTS[1]).read_bytes(), "c1", "c1.zip")
        assert state is not None
        assert 0 < state.durable <= 2_000_000

    async def test_a_failure_to_sync_is_told_at_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resumable, "SYNC_EVERY", 1)
        monkeypatch.setattr(os, "fsync", failing(5))
        with pytest.raises(DownloadError, match=r"can't write .*c1\.zip: "):
            await download(tmp_path, LARGE)
        assert not (tmp_path / "c1.zip").exists()

    @sizes
    async def test_what_could_not_be_synced_is_not_gone_on_from(
        self, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: the part stayed, and the next sync of it succeeds, for the system tells of what it has lost only once.
        monkeypatch.setattr(os, "fsync", failing(5))
        with pytest.raises(DownloadError):
            await download(tmp_path, content)
        assert names(tmp_path) == []

    async def test_nor_what_could_not_be_synced_on_its_way(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(resumable, "SYNC_EVERY", 1)
        waited_for, join = threading.Event(), threading.Thread.join

        def sync(_: int) -> None:
            waited_for.wait()
            failing(5)()

        def joined(thread: threading.Thread, timeout: float | None = None) -> None:
            if not thread.name.startswith("dexcmd-"):
                waited_for.set()
            join(thread, timeout)

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(threading.Thread, "join", joined)
        await broken(tmp_path, LARGE, 2_000_000)
        assert waited_for.is_set()
        assert names(tmp_path) == []

    async def test_or_when_it_starts_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Seen: OSError.
        monkeypatch.setattr(resumable, "SYNC_EVERY", 1)
        monkeypatch.setattr(os, "fsync", failing(5))
        with pytest.raises(DownloadError):
            async with target(tmp_path) as place:
                await receive(place, LARGE, strong(LARGE))
                await place.tail(1)
                await place.begin(Body(0, strong(OTHER, '"b"')))

    async def test_it_has_ended_before_a_failed_one_is_closed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: it went on alone, with a descriptor that was closed, or another file's already.
        monkeypatch.setattr(resumable, "SYNC_EVERY", 1)
        syncing, waited_for, order = threading.Event(), threading.Event(), list[str]()
        writev, join, close = os.writev, threading.Thread.join, PartFile.close

        def write(descriptor: int, pieces: Any) -> int:
            return failing(28)() if syncing.is_set() else writev(descriptor, pieces)

        def sync(_: int) -> None:
            syncing.set()
            waited_for.wait()
            order.append("synced")

        def joined(thread: threading.Thread, timeout: float | None = None) -> None:
            if not thread.name.startswith("dexcmd-"):
                waited_for.set()
            join(thread, timeout)

        def closed(part: PartFile) -> None:
            order.append("closed")
            close(part)

        monkeypatch.setattr(os, "writev", write)
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(threading.Thread, "join", joined)
        monkeypatch.setattr(PartFile, "close", closed)
        try:
            with pytest.raises(InsufficientSpaceError):
                async with target(tmp_path) as place:
                    await receive(place, LARGE, strong(LARGE), 0, 1_100_000)
                    await asyncio.to_thread(syncing.wait)
                    await receive(place, LARGE, strong(LARGE), 1_100_000)
                    raise InsufficientSpaceError("the writer has not said it yet")
            assert order.index("synced") < order.index("closed")
        finally:
            waited_for.set()


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


class TestNoSpace:
    """Disks that are full or broken."""

    @pytest.mark.parametrize(("number", "error"), [(28, InsufficientSpaceError), (5, DownloadError)])
    @sizes
    async def test_while_writing(
        self, tmp_path: Path, content: bytes, number: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "writev", failing(number))
        with pytest.raises(DownloadError) as caught:
            await download(tmp_path, content)
        assert type(caught.value) is error
        monkeypatch.undo()
        assert (await download(tmp_path, content)).path.read_bytes() == content

    async def test_what_was_written_before_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        await broken(tmp_path, LARGE, 2_000_000)
        with monkeypatch.context() as patch, pytest.raises(InsufficientSpaceError):
            patch.setattr(os, "writev", failing(28))
            await download(tmp_path, LARGE)
        assert (await download(tmp_path, LARGE)).resumed_from == 2_000_000

    @pytest.mark.parametrize("end", [1_100_000, 2_000_000, len(LARGE)])
    async def test_an_artifact_that_does_not_fit_is_given_up_at_once(self, tmp_path: Path, end: int) -> None:
        # Seen: the part stayed, open and locked.
        version = Version('"a"', None, 2**50)
        with pytest.raises(InsufficientSpaceError, match=r"c1\.zip needs 1125899906842624 bytes, but only .* are free"):
            async with target(tmp_path) as place:
                await receive(place, LARGE, version, 0, end)
                await place.finish(0)
        assert names(tmp_path) == []

    @pytest.mark.parametrize("error", [BrokenError, asyncio.CancelledError])
    async def test_that_does_not_hide_why_a_small_one_broke_off(
        self, tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: InsufficientSpaceError in place of a cancellation.
        with pytest.raises(error):
            async with target(tmp_path) as place:
                await receive(place, LARGE, Version('"a"'), 0, 1_000)
                monkeypatch.setattr(os, "writev", failing(28))
                raise error
        assert names(tmp_path) == []

    @pytest.mark.parametrize("step", ["tail", "begin"])
    async def test_a_failure_that_shows_at_the_next_attempt(
        self, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: OSError, for the first chunk failed and there was no second before the body broke.
        monkeypatch.setattr(os, "writev", failing(28))
        async with target(tmp_path) as place:
            await place.begin(Body(0, weak(LARGE)))
            await place.write(LARGE[:2_000_000])
            if step == "tail":
                with pytest.raises(InsufficientSpaceError):
                    await place.tail(OVERLAP)
            else:
                await place.begin(Body(0, weak(LARGE)))
            monkeypatch.undo()
            await receive(place, LARGE, weak(LARGE))
            await place.finish(0)
        assert (tmp_path / "c1.zip").read_bytes() == LARGE

    @pytest.mark.parametrize("end", [1_000, 2_000_000])
    async def test_a_part_that_can_not_be_kept_does_not_hide_why(
        self, tmp_path: Path, end: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(BrokenError):
            async with target(tmp_path) as place:
                await receive(place, LARGE, strong(LARGE), 0, end)
                monkeypatch.setattr(os, "writev", failing(28))
                raise BrokenError
        monkeypatch.undo()
        saved = await download(tmp_path, LARGE)
        assert saved.path.read_bytes() == LARGE

    async def test_one_that_can_not_even_be_deleted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Seen: PermissionError in place of what had happened.
        with pytest.raises(BrokenError):
            async with target(tmp_path, keep_part=False) as place:
                await receive(place, LARGE, strong(LARGE), 0, 2_000_000)
                await place.tail(1)
                monkeypatch.setattr(os, "unlink", failing(1))
                raise BrokenError

    @sizes
    async def test_a_name_that_may_not_be_durable_is_an_error_and_the_file_stays(
        self, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(commit, "sync_folder", failing(5))
        with pytest.raises(DownloadError, match="can't write"):
            await download(tmp_path, content)
        assert (tmp_path / "c1.zip").read_bytes() == content
        assert names(tmp_path) == ["c1.zip"]

    @pytest.mark.parametrize("failing_call", ["unlink", "lstat", "ftruncate"])
    async def test_a_look_that_fails_is_a_typed_error(
        self, tmp_path: Path, failing_call: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: OSError.
        leave_part(tmp_path, LARGE[:1000], **({"format": 2} if failing_call == "unlink" else {}))
        if failing_call == "lstat":
            # A name longer than any file system takes can't come from here; a folder without permissions can.
            (tmp_path / "c1.zip").symlink_to("c1.zip")
            # Which of the two it is differs between versions of Python.
            for function in (os.stat, os.lstat):
                monkeypatch.setattr(os, function.__name__, no_stat(function, tmp_path / "c1.zip"))
        else:
            monkeypatch.setattr(os, failing_call, failing(13))
        with pytest.raises(DownloadError):
            async with target(tmp_path):
                pytest.fail("entered")
        monkeypatch.undo()


def no_stat(stat: Callable[..., os.stat_result], path: Path) -> Callable[..., os.stat_result]:
    def fail(asked: Any, **options: Any) -> os.stat_result:
        if str(asked) == str(path):
            raise PermissionError(13, "Permission denied")
        return stat(asked, **options)

    return fail


async def held(folder: Path, end: int, go_on: asyncio.Event, ready: asyncio.Event, **options: Any) -> None:
    """Download until `end`, wait, and finish."""
    async with target(folder, **options) as place:
        await receive(place, LARGE, strong(LARGE), 0, end)
        await place.tail(1)
        ready.set()
        await go_on.wait()
        await receive(place, LARGE, strong(LARGE), end)
        await place.finish(0)


class TestTwo:
    """Two downloads of one artifact."""

    async def test_the_second_waits_and_finds_it_whole(self, tmp_path: Path) -> None:
        go_on, ready, clock = asyncio.Event(), asyncio.Event(), SteppedClock()
        first = asyncio.create_task(held(tmp_path, 2_000_000, go_on, ready))
        await ready.wait()
        second = asyncio.create_task(download(tmp_path, LARGE, clock=clock))
        for _ in range(5):
            await clock.step()
        await clock.sleeping.wait()
        assert not second.done()
        go_on.set()
        await first
        clock.free()
        saved = await second
        assert saved.skipped
        assert names(tmp_path) == ["c1.zip"]

    async def test_it_waits_as_long_as_the_first_gets_further(self, tmp_path: Path) -> None:
        ready, clock = asyncio.Event(), SteppedClock()
        more = asyncio.Event()

        async def slow() -> None:
            async with target(tmp_path) as place:
                for at in range(1_100_000, 2_000_000, 100_000):
                    await receive(place, LARGE, strong(LARGE), place.have.offset, at)
                    await place.tail(1)
                    ready.set()
                    await more.wait()
                    more.clear()
                raise BrokenError

        first = asyncio.create_task(slow())
        await ready.wait()
        second = asyncio.create_task(download(tmp_path, LARGE, clock=clock))
        while not first.done():
            ready.clear()
            await clock.sleeping.wait()
            # Most of the time that it may take.
            clock.time += LOCK_STALL_SECONDS - 1
            more.set()
            await asyncio.wait([first, asyncio.ensure_future(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
            await clock.step()
        with pytest.raises(BrokenError):
            await first
        clock.free()
        saved = await second
        # What the first has brought is gone on from.
        assert saved.resumed_from == 1_900_000
        assert saved.path.read_bytes() == LARGE

    @pytest.mark.parametrize("existing", ["verify", "overwrite", "rename", "error"])
    async def test_one_that_hangs_is_waited_for_no_longer(self, tmp_path: Path, existing: Any) -> None:
        go_on, ready, clock = asyncio.Event(), asyncio.Event(), SteppedClock()
        first = asyncio.create_task(held(tmp_path, 2_000_000, go_on, ready, existing="overwrite"))
        await ready.wait()
        second = asyncio.create_task(download(tmp_path, LARGE, clock=clock, existing=existing))
        await clock.sleeping.wait()
        assert not second.done()
        clock.time += LOCK_STALL_SECONDS + 1
        clock.free()
        saved = await second
        assert (saved.resumed_from, saved.skipped) == (0, False)
        assert saved.path.read_bytes() == LARGE
        assert names(tmp_path) == [*PARTS, "c1.zip"]
        go_on.set()
        await first
        assert (tmp_path / "c1.zip").read_bytes() == LARGE
        assert names(tmp_path) == ["c1.zip"]

    async def test_a_second_that_waits_can_be_cancelled(self, tmp_path: Path) -> None:
        go_on, ready, clock = asyncio.Event(), asyncio.Event(), SteppedClock()
        first = asyncio.create_task(held(tmp_path, 2_000_000, go_on, ready))
        await ready.wait()
        second = asyncio.create_task(download(tmp_path, LARGE, clock=clock))
        await clock.sleeping.wait()
        second.cancel()
        await asyncio.wait([second])
        assert second.cancelled()
        go_on.set()
        await first
        assert names(tmp_path) == ["c1.zip"]

    async def test_two_of_one_call_as_well(self, tmp_path: Path) -> None:
        # Seen: what was begun in the same call was not looked for, and was fetched twice.
        clock, ready = SteppedClock(), asyncio.Event()
        async with FileSink(tmp_path).open(clock) as store:

            async def first() -> None:
                async with store.target(C1, "zip") as place:
                    await receive(place, LARGE, strong(LARGE), 0, 2_000_000)
                    await place.tail(1)
                    ready.set()
                    await clock.sleeping.wait()
                    await receive(place, LARGE, strong(LARGE), 2_000_000)
                    await place.finish(0)

            async def second() -> bool:
                await ready.wait()
                async with store.target(C1, "zip") as place:
                    return await place.find(None) is not None

            async with store.target(type(C1)("c2", "c2.zip"), "zip"), store.target(type(C1)("c3", "c3.zip"), "zip"):
                pass
            one, other = asyncio.create_task(first()), asyncio.create_task(second())
            await one
            clock.free()
            assert await other
        assert names(tmp_path) == ["c1.zip"]

    async def test_one_that_finishes_while_the_other_looks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Seen: the second had looked for the file before, and for the part after, found neither, and fetched it again.
        leave_part(tmp_path, LARGE, size=len(LARGE))
        open_existing = PartFile.open_existing

        def finished_meanwhile(final: Path) -> PartFile | None:
            if not final.exists():
                (tmp_path / PARTS[0]).rename(final)
                (tmp_path / PARTS[1]).unlink()
            return open_existing(final)

        monkeypatch.setattr(PartFile, "open_existing", finished_meanwhile)
        assert (await download(tmp_path, LARGE)).skipped


class TestFolder:
    async def test_one_look_at_the_folder_answers_for_many(self, tmp_path: Path) -> None:
        for number in (2, 3):
            (tmp_path / f"c{number}.zip").write_bytes(SMALL)
        async with FileSink(tmp_path).open(ManualClock()) as store:
            skipped = list[bool]()
            for number in (1, 2, 3, 4, 1, 4):
                name = type(C1)(f"c{number}", f"c{number}.zip")
                async with store.target(name, "zip") as place:
                    found = await place.find(None)
                    skipped.append(found is not None)
                    if found is None:
                        await receive(place, SMALL, strong(SMALL))
                        await place.finish(0)
        assert skipped == [False, True, True, False, True, True]

    async def test_those_that_are_begun_together_look_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks, listdir = list[Any](), os.listdir
        monkeypatch.setattr(os, "listdir", lambda folder: (looks.append(folder), listdir(folder))[1])
        async with FileSink(tmp_path).open(ManualClock()) as store:

            async def save(number: int) -> None:
                async with store.target(type(C1)(f"c{number}", f"c{number}.zip"), "zip") as place:
                    await receive(place, SMALL, strong(SMALL))
                    await place.finish(0)

            await asyncio.gather(*(save(number) for number in range(9)))
        assert looks == [tmp_path]
        assert names(tmp_path) == [f"c{number}.zip" for number in range(9)]

    async def test_what_a_failed_one_left_is_gone_on_from_in_the_same_call(self, tmp_path: Path) -> None:
        # Seen: it was not looked for, and stayed behind, beside the whole file.
        async with FileSink(tmp_path).open(ManualClock()) as store:
            for number in (2, 3):
                async with store.target(type(C1)(f"c{number}", f"c{number}.zip"), "zip"):
                    pass
            with pytest.raises(BrokenError):
                async with store.target(C1, "zip") as place:
                    await receive(place, LARGE, strong(LARGE), 0, 2_000_000)
                    raise BrokenError
            async with store.target(C1, "zip") as place:
                assert place.have.offset == 2_000_000
                await receive(place, LARGE, strong(LARGE), 2_000_000)
                await place.finish(2_000_000)
        assert names(tmp_path) == ["c1.zip"]

    async def test_a_state_that_is_left_alone_is_seen_as_well(self, tmp_path: Path) -> None:
        # Seen: it stayed, and would have vouched for a part of another version, had the process been killed there.
        leave_part(tmp_path, LARGE[:1_000_000])
        part_path(tmp_path / "c1.zip").unlink()
        await download_two(tmp_path)
        assert names(tmp_path) == ["c1.zip", "c2.zip"]

    async def test_a_folder_that_is_gone_is_a_typed_error(self, tmp_path: Path) -> None:
        # Seen: FileNotFoundError.
        folder = tmp_path / "captures"
        async with FileSink(folder).open(ManualClock()) as store:
            async with store.target(C1, "zip"):
                folder.rmdir()
            with pytest.raises(DownloadError):
                async with store.target(type(C1)("c2", "c2.zip"), "zip") as place:
                    await receive(place, SMALL, strong(SMALL))
                    await place.finish(0)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_breaks_when_the_file_is_the_artifact(data: st.DataObject) -> None:
    """Downloads of two versions that break anywhere, by one call or many: what gets the name is one of them."""
    versions = {'"a"': LARGE, '"b"': OTHER}

    async def attempt(place: FileTarget, etag: str, end: int) -> None:
        content, have = versions[etag], place.have
        # The service sends from the start what is of another version.
        start = have.offset if have.version.etag == etag else 0
        await receive(place, content, strong(content, etag), start, max(end, start))

    async def run(folder: Path) -> None:
        for _ in range(data.draw(st.integers(0, 4))):
            with pytest.raises(BrokenError):
                async with target(folder) as place:
                    for _ in range(data.draw(st.integers(1, 3))):
                        etag = data.draw(st.sampled_from(['"a"', '"b"']))
                        await attempt(
                            place, etag, data.draw(st.sampled_from([1, 1_000, 900_000, 1_500_000, 2_500_000]))
                        )
                    raise BrokenError
        async with target(folder) as place:
            etag = data.draw(st.sampled_from(['"a"', '"b"']))
            await attempt(place, etag, len(versions[etag]))
            saved = await place.finish(0)
        assert saved.path.read_bytes() == versions[etag]
        assert saved.sha256 == hashlib.sha256(versions[etag]).hexdigest()
        assert names(folder) == ["c1.zip"]

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))
