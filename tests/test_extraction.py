"""Members of an artifact as files: inside the folder, whole, and not too many."""

import asyncio
import errno
import os
import random
import stat
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd import (
    ArtifactTooLargeError,
    ConfigurationError,
    DexError,
    DownloadError,
    ExtractLimits,
    InsufficientSpaceError,
    InvalidArtifactError,
    MemberNotFoundError,
    UnreadableMemberError,
    UnsafeFilenameError,
)
from dexcmd.transfer import extraction, unpacking
from dexcmd.transfer.extraction import extract_members
from dexcmd.transfer.unpacking import PIECE
from tests.test_members import Gate, cancelled_in, open_files, reached
from tests.zips import METHODS, UTF8, Entry, forge, packed

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
NOISE = random.Random(3).randbytes(5 * PIECE + 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c1.zip"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


def tree(folder: Path) -> dict[str, bytes | str | None]:
    """Return what is below a folder: the bytes of files, the target of links, None for folders."""
    found: dict[str, bytes | str | None] = {}
    for each in sorted(folder.rglob("*")):
        name = str(each.relative_to(folder))
        found[name] = str(each.readlink()) if each.is_symlink() else None if each.is_dir() else each.read_bytes()
    return found


async def refused(path: Path, into: Path, kind: type[DexError], *entries: Entry, **options: Any) -> str:
    """Assert that the archive is refused before anything is made, and return what is said."""
    path.write_bytes(forge(entries))
    with pytest.raises(kind) as caught:
        await extract_members(path, into, **options)
    assert type(caught.value) is kind
    assert not into.exists()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


class TestFiles:
    async def test_all(self, path: Path, into: Path):
        datas = dict(zip("abcd", [b"", NOISE, b"log\n" * 100, bytes(PIECE)], strict=True))
        entries = [
            Entry(f"logs/{name}", data, method) for (name, data), method in zip(datas.items(), METHODS, strict=True)
        ]
        path.write_bytes(forge([Entry("empty/deep/"), *entries, Entry("results.json", b"{}")]))
        files = await extract_members(path, into / "deep")
        assert [str(file.relative_to(into / "deep")) for file in files] == [
            *(f"logs/{name}" for name in datas),
            "results.json",
        ]
        assert tree(into) == {
            "deep": None,
            "deep/empty": None,
            "deep/empty/deep": None,
            "deep/logs": None,
            **{f"deep/logs/{name}": data for name, data in datas.items()},
            "deep/results.json": b"{}",
        }

    async def test_those_that_are_named_in_their_order(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("a", b"1"), Entry("x/b", b"2"), Entry("c", b"3"), Entry("folder/")]))
        files = await extract_members(path, into, ["folder/", "x/b", "a", "x/b"])
        assert files == (into / "x" / "b", into / "a")
        assert tree(into) == {"a": b"1", "folder": None, "x": None, "x/b": b"2"}

    async def test_none_that_are_named(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("a", b"1")]))
        assert await extract_members(path, into, ()) == ()
        assert tree(into) == {}

    @pytest.mark.parametrize("umask", [0o000, 0o077])
    async def test_all_is_private_whatever_the_archive_says(self, path: Path, into: Path, umask: int):
        path.write_bytes(forge([Entry("x/", mode=0o040777), Entry("x/a", b"1", mode=0o104777), Entry("y/z/b")]))
        before = os.umask(umask)
        try:
            await extract_members(path, into)
        finally:
            os.umask(before)
        modes = {str(each.relative_to(into)): stat.S_IMODE(each.stat().st_mode) for each in into.rglob("*")}
        assert modes == {"x": 0o700, "x/a": 0o600, "y": 0o700, "y/z": 0o700, "y/z/b": 0o600}
        assert stat.S_IMODE(into.stat().st_mode) == 0o700

    async def test_twice_gives_the_same_and_leaves_the_rest(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("x/a", b"1"), Entry("A", b"2"), Entry("a", b"3"), Entry("x/")]))
        first = await extract_members(path, into)
        (into / "x" / "a").write_bytes(b"changed")
        (into / "x" / "mine").write_bytes(b"mine")
        assert await extract_members(path, into) == first
        assert tree(into) == {"A": b"2", "a-2": b"3", "x": None, "x/a": b"1", "x/mine": b"mine"}

    async def test_a_place_is_the_same_whatever_else_is_extracted(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("../A", b"1"), Entry("A", b"2"), Entry("a", b"3"), Entry("a/b", b"4")]))
        assert await extract_members(path, into, ["a"]) == (into / "a-3",)
        assert await extract_members(path, into, ["A"]) == (into / "A-2",)
        assert await extract_members(path, into, ["a/b", "a"]) == (into / "a" / "b", into / "a-3")

    async def test_of_two_of_one_name_the_last_counts(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("a", b"old"), Entry("b", b"x"), Entry("a", b"new")]))
        assert await extract_members(path, into) == (into / "a", into / "b")
        assert tree(into) == {"a": b"new", "b": b"x"}

    async def test_a_name_that_is_missing(self, path: Path, into: Path):
        said = await refused(path, into, MemberNotFoundError, Entry("a"), names=["a", "b\n"])
        assert said == "c1.zip has no member 'b'"

    async def test_one_name_for_a_list_of_names(self, path: Path, into: Path):
        await refused(path, into, ConfigurationError, Entry("a"), names="a")

    async def test_no_archive(self, path: Path, into: Path):
        path.write_bytes(b"none")
        with pytest.raises(InvalidArtifactError):
            await extract_members(path, into)
        assert not into.exists()

    async def test_no_folder(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("a")]))
        into.write_bytes(b"")
        with pytest.raises(ConfigurationError, match="can't create the folder "):
            await extract_members(path, into)


class TestInside:
    @pytest.mark.parametrize("name", ["../x", "/x", "C:\\x", "a/../../x", "..\\x", "", "a/.. /x"])
    async def test_a_member_that_would_leave_is_refused_before_anything_is_made(
        self, path: Path, into: Path, name: str
    ):
        said = await refused(path, into, UnsafeFilenameError, Entry("a", b"1"), Entry(name, b"2"))
        assert said.startswith("the archive has an unsafe member name: ")
        # Whoever does not want it gets the rest.
        assert await extract_members(path, into, ["a"]) == (into / "a",)

    @pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o060644])
    async def test_a_link_or_a_device_is_refused(self, path: Path, into: Path, mode: int):
        said = await refused(path, into, UnsafeFilenameError, Entry("a"), Entry("l", b"/etc/passwd", mode=mode))
        assert said == "c1.zip: l is a link or a device"

    @pytest.mark.parametrize("target", ["../outside", ".", "real", "nowhere"])
    async def test_a_link_in_the_folder_is_not_followed(self, path: Path, into: Path, tmp_path: Path, target: str):
        path.write_bytes(forge([Entry("x/y/a", b"1")]))
        (tmp_path / "outside").mkdir()
        (into / "real").mkdir(parents=True)
        (into / "x").symlink_to(target)
        with pytest.raises(UnsafeFilenameError, match="x is a link to another folder"):
            await extract_members(path, into)
        assert tree(into) == {"real": None, "x": target}
        assert tree(tmp_path / "outside") == {}

    async def test_a_link_under_a_files_name_is_replaced_and_not_followed(self, path: Path, into: Path, tmp_path: Path):
        path.write_bytes(forge([Entry("a", b"new")]))
        (tmp_path / "precious").write_bytes(b"old")
        into.mkdir()
        (into / "a").symlink_to(tmp_path / "precious")
        await extract_members(path, into)
        assert tree(into) == {"a": b"new"}
        assert (tmp_path / "precious").read_bytes() == b"old"

    async def test_the_folder_itself_may_be_reached_by_a_link(self, path: Path, into: Path, tmp_path: Path):
        path.write_bytes(forge([Entry("x/a", b"1")]))
        (tmp_path / "real").mkdir()
        into.symlink_to(tmp_path / "real")
        for _ in range(2):
            assert await extract_members(path, into) == (into / "x" / "a",)
        assert tree(tmp_path / "real") == {"x": None, "x/a": b"1"}


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.sampled_from(["..", ".", "", "a", "A", "l", "inner", "out", "C:", "con", "\x00", "/", "\\", ". ."])
                | st.text(max_size=5),
                max_size=5,
            ),
            st.sampled_from(["/", "\\"]),
        ).map(lambda drawn: drawn[1].join(drawn[0])),
        max_size=6,
    ),
    st.booleans(),
)
async def test_whatever_the_names_nothing_outside_is_touched(names: list[str], one_by_one: bool):
    names = [name.encode("utf-8", "replace").decode() for name in names]
    with tempfile.TemporaryDirectory() as place:
        outer = Path(place)
        into, path = outer / "out", outer / "c1.zip"
        (outer / "precious").mkdir()
        (outer / "precious" / "a").write_bytes(b"precious")
        into.mkdir()
        (into / "l").symlink_to("../precious")
        (into / "inner").symlink_to("/")
        path.write_bytes(forge([Entry(name, b"evil") for name in names]))
        before = {name: data for name, data in tree(outer).items() if not name.startswith("out/")}
        for wanted in [[name] for name in names] if one_by_one else [None]:
            try:
                files = await extract_members(path, into, wanted)
            except (UnsafeFilenameError, DownloadError):
                continue
            assert all(file.resolve().is_relative_to(into) and file.is_file() for file in files)
            assert len(set(files)) == len(files)
        after = {name: data for name, data in tree(outer).items() if not name.startswith("out/")}
        assert after == before
        assert not [name for name in tree(into) if name.endswith(".part")]


class TestLimits:
    async def test_a_bomb_of_zeros(self, path: Path, into: Path):
        raw = packed(bytes(64 * MIB), zipfile.ZIP_DEFLATED)
        bomb = Entry("zeros.log", raw=raw, size=64 * MIB, method=zipfile.ZIP_DEFLATED, checksum=0)
        limits = ExtractLimits(ratio_from_bytes=MIB)
        said = await refused(path, into, ArtifactTooLargeError, bomb, limits=limits)
        assert said == f"c1.zip unpacks to 67108864 bytes from {len(raw)}, more than 200 times as much"

    @pytest.mark.parametrize(
        ("entries", "good"),
        [
            ([Entry("zeros.log", bytes(20 * MIB), 8)], False),
            # A log of zeros is no bomb in an artifact that is large by itself, nor where it is a small one.
            ([Entry("zeros.log", bytes(20 * MIB), 8), Entry("x.pcap", NOISE)], True),
            ([Entry("zeros.log", bytes(MIB), 8)], True),
        ],
    )
    async def test_a_log_of_zeros(self, path: Path, into: Path, entries: list[Entry], good: bool):
        limits = ExtractLimits(ratio_from_bytes=MIB)
        if not good:
            await refused(path, into, ArtifactTooLargeError, *entries, limits=limits)
            return
        path.write_bytes(forge(entries))
        assert len(await extract_members(path, into, limits=limits)) == len(entries)

    async def test_just_as_many_times_its_size_is_no_bomb(self, path: Path, into: Path):
        entry = Entry("a", b"as it is")
        path.write_bytes(forge([entry]))
        await extract_members(path, into, limits=ExtractLimits(ratio=1.0, ratio_from_bytes=1))
        assert tree(into) == {"a": entry.data}

    async def test_what_the_usual_limits_are(self, path: Path, into: Path):
        assert ExtractLimits() == ExtractLimits(2**31, 200.0, 2**28, 10_000)
        mib = packed(bytes(MIB), 8)
        await refused(path, into, ArtifactTooLargeError, Entry("a", raw=mib, size=2**31 + 1, method=8))
        await refused(path, into, ArtifactTooLargeError, Entry("a", raw=mib, size=2**28 + 1, method=8))

    async def test_in_total(self, path: Path, into: Path):
        entries = [Entry("a", b"123"), Entry("b", b"4567")]
        said = await refused(path, into, ArtifactTooLargeError, *entries, limits=ExtractLimits(total_bytes=6))
        assert said == "c1.zip unpacks to 7 bytes, more than 6"
        await extract_members(path, into, limits=ExtractLimits(total_bytes=7))
        # Only what is extracted counts.
        assert await extract_members(path, into, ["b"], limits=ExtractLimits(total_bytes=4)) == (into / "b",)

    async def test_in_number(self, path: Path, into: Path):
        entries = [Entry(name) for name in "abc"]
        said = await refused(path, into, ArtifactTooLargeError, *entries, limits=ExtractLimits(members=2))
        assert said == "c1.zip has 3 members, more than 2"
        assert len(await extract_members(path, into, limits=ExtractLimits(members=3))) == 3

    async def test_folders_are_counted_too(self, path: Path, into: Path):
        entry = Entry("a/b/c/d/e")
        said = await refused(path, into, ArtifactTooLargeError, entry, limits=ExtractLimits(members=4))
        assert said == "c1.zip has more than 4 files and folders"
        assert len(await extract_members(path, into, limits=ExtractLimits(members=5))) == 1

    async def test_members_that_overlap(self, path: Path, into: Path):
        said = await refused(path, into, InvalidArtifactError, *quoted())
        assert said == "c1.zip: outer and inner overlap"
        # Each alone is as good as any.
        for name in ("outer", "inner"):
            assert await extract_members(path, into, [name]) == (into / name,)

    async def test_a_size_that_is_a_lie(self, path: Path, into: Path):
        raw = packed(bytes(64 * MIB), 8)
        path.write_bytes(forge([Entry("a", raw=raw, size=10, method=8, checksum=1)]))
        with pytest.raises(InvalidArtifactError, match="the checksum of a is wrong"):
            await extract_members(path, into, limits=ExtractLimits(total_bytes=10))
        assert tree(into) == {}

    @pytest.mark.parametrize("name", ["total_bytes", "ratio", "ratio_from_bytes", "members"])
    @pytest.mark.parametrize("value", [0, -1, True, "1", float("nan")])
    async def test_limits_that_are_none(self, name: str, value: Any):
        with pytest.raises(ConfigurationError, match=name):
            ExtractLimits(**{name: value})


def quoted() -> list[Entry]:
    """Return two members, the second of which is, with its header, what the first stores."""
    inner = Entry("inner", b"data")
    # Of an archive of its own, the part before the directory.
    data = forge([inner])[: 30 + len("inner") + len(b"data")]
    return [Entry("outer", data), Entry("inner", b"data", offset=30 + len("outer"))]


class TestFailures:
    async def test_what_can_not_be_read_is_refused_before_anything_is_made(self, path: Path, into: Path):
        said = await refused(path, into, UnreadableMemberError, Entry("a"), Entry("b", b"x", flags=UTF8 | 1))
        assert said == "c1.zip: b is encrypted, or uses an unsupported compression"
        await refused(path, into, UnreadableMemberError, Entry("a"), Entry("b", b"x", 97))

    async def test_damage_leaves_the_files_before_and_no_part(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("a", b"1"), Entry("b", NOISE, checksum=1), Entry("c", b"3")]))
        into.mkdir()
        (into / "b").write_bytes(b"old")
        with pytest.raises(InvalidArtifactError, match="the checksum of b is wrong"):
            await extract_members(path, into)
        assert tree(into) == {"a": b"1", "b": b"old"}

    async def test_a_folder_where_a_file_should_be(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("a", b"1")]))
        (into / "a").mkdir(parents=True)
        with pytest.raises(DownloadError, match=r"can't write .*/a: Is a directory"):
            await extract_members(path, into)
        assert tree(into) == {"a": None}

    async def test_a_file_where_a_folder_should_be(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("a/b", b"1")]))
        into.mkdir()
        (into / "a").write_bytes(b"mine")
        with pytest.raises(DownloadError, match=r"can't write .*/a: Not a directory"):
            await extract_members(path, into)
        assert tree(into) == {"a": b"mine"}

    async def test_a_path_that_is_too_long(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("/".join(["x" * 200] * 31), b"1")]))
        with pytest.raises(DownloadError, match=r"can't write .*: File name too long"):
            await extract_members(path, into)

    async def test_a_full_disk(self, path: Path, into: Path):
        """The device that is always full; a file takes its place where the part file is opened."""
        path.write_bytes(forge([Entry("a", NOISE)]))
        real = os.open

        def full(name: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
            if str(name).endswith(".part"):
                os.close(real(name, flags, mode, **options))
                return real("/dev/full", os.O_WRONLY)
            return real(name, flags, mode, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", full)
            with pytest.raises(InsufficientSpaceError, match=r"no space left for .*/a$") as caught:
                await extract_members(path, into)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert tree(into) == {}


class TestCancelled:
    @pytest.mark.parametrize("how", ["task", "scope"])
    @pytest.mark.parametrize("fails", [False, True])
    async def test_in_the_middle(self, path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, how: str, fails: bool):
        entries = [Entry("a", NOISE, checksum=1 if fails else None), *(Entry(f"b{number}") for number in range(100))]
        path.write_bytes(forge(entries))
        gate = Gate(unpacking.deflate.crc32)
        monkeypatch.setattr(unpacking.deflate, "crc32", gate)
        scope = anyio.CancelScope()

        async def extracting() -> None:
            with scope:
                await extract_members(path, into)

        task = asyncio.ensure_future(extracting())
        await reached(gate)
        [part] = into.iterdir()
        assert part.name.startswith(".a.")
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        task.cancel() if how == "task" else scope.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        # Its thread is waited for, and so what is half there can't come back.
        assert not task.done()
        task.cancel() if how == "task" else scope.cancel()
        gate.go.set()
        await asyncio.wait([task])
        assert (task.cancelled(), scope.cancelled_caught) == (how == "task", how == "scope")
        assert tree(into) == {}
        assert threading.main_thread() not in gate.threads

    async def test_before_it_has_a_thread(self, path: Path, into: Path):
        path.write_bytes(forge([Entry("folder/"), Entry("a")]))
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens, before = 1, limiter.total_tokens
        try:
            limiter.acquire_on_behalf_of_nowait(limiter)
            task = asyncio.ensure_future(extract_members(path, into))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            limiter.release_on_behalf_of(limiter)
            await asyncio.wait([task])
        finally:
            limiter.total_tokens = before
        assert task.cancelled()
        assert tree(into) == {}

    @pytest.mark.parametrize(("names", "step"), [(["x/", "y/"], "make_inside"), (["a", "b"], "_write")])
    async def test_between_folders_and_between_empty_files(
        self, path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], step: str
    ):
        path.write_bytes(forge(Entry(name) for name in names))
        gate = Gate(getattr(extraction, step))
        monkeypatch.setattr(extraction, step, gate)
        await cancelled_in(extract_members(path, into), gate)
        assert list(tree(into)) == [names[0].strip("/")]
