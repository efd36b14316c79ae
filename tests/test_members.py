"""Members of an artifact, listed and read inside the archive."""

import asyncio
import json
import random
import threading
import zipfile
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import anyio
import pytest

from dexcmd import (
    ArtifactTooLargeError,
    ConfigurationError,
    DownloadError,
    InvalidArtifactError,
    MemberNotFoundError,
    UnreadableMemberError,
)
from dexcmd.sandbox.artifacts import ArtifactSpec, build_artifact
from dexcmd.transfer import unpacking
from dexcmd.transfer.members import Member, MemberStream, list_members, read_member
from dexcmd.transfer.unpacking import PIECE
from tests.zips import METHOD_NAMES, METHODS, Entry, forge

pytestmark = pytest.mark.anyio

NOISE = random.Random(3).randbytes(5 * PIECE + 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c1.zip"


def open_files() -> list[str]:
    return sorted(each.name for each in Path("/dev/fd").iterdir())


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = open_files()
    yield
    assert open_files() == before


class TestList:
    async def test_what_is_told_of_each(self, path: Path):
        entries = [
            Entry("logs/", mode=0o040755),
            Entry("logs/warp.log", b"line\n" * 100, zipfile.ZIP_DEFLATED),
            Entry("../x\n", b"12345", flags=1),
            Entry("link", b"target", mode=0o120777, method=99),
        ]
        path.write_bytes(forge(entries))
        folder, log, odd, link = await list_members(path)
        when = datetime.fromisoformat("2026-03-04T05:06:08")
        assert folder == Member("logs/", 0, 0, when, is_folder=True, is_special=False, readable=True)
        assert log == Member("logs/warp.log", 500, 12, when, is_folder=False, is_special=False, readable=True)
        assert odd == Member("../x\n", 5, 5, when, is_folder=False, is_special=False, readable=False)
        assert link == Member("link", 6, 6, when, is_folder=False, is_special=True, readable=False)

    @pytest.mark.parametrize(("date", "time"), [(0, 0), (33, 0xFFFF), ((46 << 9) | (2 << 5) | 30, 0)])
    async def test_a_time_that_is_none(self, path: Path, date: int, time: int):
        path.write_bytes(forge([Entry("a", date=date, time=time)]))
        [member] = await list_members(path)
        assert member.modified is None

    async def test_names_without_unicode_and_two_of_one_name(self, path: Path):
        # Nothing says that it is UTF-8: then the format's own encoding is meant.
        path.write_bytes(forge([Entry("x\x01\u00e9", flags=0), Entry("a"), Entry("a")]))
        assert [member.name for member in await list_members(path)] == ["x\x01\u251c\u2310", "a", "a"]

    async def test_an_archive_without_members(self, path: Path):
        path.write_bytes(forge([]))
        assert await list_members(path) == ()

    async def test_no_archive_and_no_file(self, path: Path):
        with pytest.raises(DownloadError, match="No such file"):
            await list_members(path)
        path.write_bytes(b"none")
        with pytest.raises(InvalidArtifactError):
            await list_members(path)


class TestRead:
    @pytest.mark.parametrize("method", METHODS, ids=METHOD_NAMES)
    async def test_a_stream_of_bytes(self, path: Path, method: int):
        path.write_bytes(forge([Entry("a", b"other"), Entry("b", NOISE, method)]))
        async with read_member(path, "b") as member:
            assert (member.name, member.size) == ("b", len(NOISE))
            chunks = [chunk async for chunk in member]
        assert b"".join(chunks) == NOISE
        assert all(0 < len(chunk) <= PIECE for chunk in chunks)

    async def test_a_report_of_the_sandbox_is_parsed(self, path: Path):
        spec = ArtifactSpec(
            command_id="c1",
            command_type="pcap",
            args={},
            device_name="laptop",
            platform="linux",
            version="1",
            user_email="a@example.com",
            created=datetime.fromisoformat("2026-03-04T05:06:07+00:00"),
        )
        path.write_bytes(b"".join(build_artifact(spec).read()))
        async with read_member(path, "results.json") as member:
            results = json.loads(await member.read_all())
        assert results["command_id"] == "c1"

    async def test_all_at_once_is_bounded(self, path: Path):
        path.write_bytes(forge([Entry("a\nb", b"12345")]))
        async with read_member(path, "a\nb") as member:
            with pytest.raises(ArtifactTooLargeError, match=r"^c1\.zip: a b has 5 bytes, more than 4$"):
                await member.read_all(4)
            assert await member.read_all(5) == b"12345"
            assert await member.read_all() == b""
            with pytest.raises(ConfigurationError, match="most must be a whole number of at least 1, not -1"):
                await member.read_all(-1)

    async def test_all_at_once_is_64_mib_unless_it_is_said(self, path: Path):
        path.write_bytes(forge([Entry("a", size=64 * 1024 * 1024 + 1)]))
        async with read_member(path, "a") as member:
            with pytest.raises(ArtifactTooLargeError, match="67108865 bytes, more than 67108864"):
                await member.read_all()

    async def test_all_that_is_still_to_come(self, path: Path):
        path.write_bytes(forge([Entry("a", NOISE)]))
        async with read_member(path, "a") as member:
            start = await anext(member)
            assert start + await member.read_all() == NOISE

    @pytest.mark.parametrize("name", ["A", "./a", "a/", "", "folder", "B\n"])
    async def test_a_name_is_taken_exactly(self, path: Path, name: str):
        path.write_bytes(forge([Entry("a", b"x"), Entry("folder/")]))
        with pytest.raises(MemberNotFoundError) as caught:
            async with read_member(path, name):
                pass
        assert isinstance(caught.value, LookupError)
        # Not the text's repr, as a KeyError would have it.
        assert str(caught.value) == f"c1.zip has no member {name.strip()!r}"

    async def test_of_two_of_one_name_the_last_counts(self, path: Path):
        path.write_bytes(forge([Entry("a", b"old"), Entry("b", b"x"), Entry("a", b"newer")]))
        async with read_member(path, "a") as member:
            assert (member.size, await member.read_all()) == (5, b"newer")

    async def test_an_empty_member_and_a_folder(self, path: Path):
        path.write_bytes(forge([Entry("a"), Entry("folder/")]))
        for name in ("a", "folder/"):
            async with read_member(path, name) as member:
                assert [chunk async for chunk in member] == []

    async def test_a_piece_that_brings_nothing_is_not_given(self, path: Path):
        raw = b"\0\0\0\xff\xff" * 300_000 + b"\1\1\0\xfe\xffx"
        path.write_bytes(forge([Entry("a", b"x", zipfile.ZIP_DEFLATED, raw=raw)]))
        async with read_member(path, "a") as member:
            assert [chunk async for chunk in member] == [b"x"]

    async def test_damage_and_what_can_not_be_read(self, path: Path):
        path.write_bytes(forge([Entry("a", b"x", checksum=1), Entry("b", b"x", flags=1)]))
        for name, kind in (("a", InvalidArtifactError), ("b", UnreadableMemberError)):
            async with read_member(path, name) as member:
                with pytest.raises(kind):
                    await anext(member)
                with pytest.raises(StopAsyncIteration):
                    await anext(member)

    async def test_no_archive(self, path: Path):
        path.write_bytes(b"none")
        with pytest.raises(InvalidArtifactError):
            await read_member(path, "a").__aenter__()

    async def test_leaving_early(self, path: Path):
        path.write_bytes(forge([Entry("a", NOISE)]))
        async with read_member(path, "a") as member:
            async for _ in member:
                break
        with pytest.raises(RuntimeError, match="a is closed: read it inside its `async with` block"):
            await anext(member)

    async def test_an_error_in_the_block_comes_out_as_it_is(self, path: Path):
        path.write_bytes(forge([Entry("a", NOISE)]))
        with pytest.raises(ZeroDivisionError):
            async with read_member(path, "a") as member:
                await anext(member)
                raise ZeroDivisionError

    async def test_it_is_opened_once(self, path: Path):
        path.write_bytes(forge([Entry("a", b"x")]))
        opened = read_member(path, "a")
        async with opened:
            with pytest.raises(RuntimeError, match="a member can be opened only once"):
                await opened.__aenter__()
        with pytest.raises(RuntimeError, match="a member can be opened only once"):
            await opened.__aenter__()

    async def test_sync_use_is_told(self, path: Path):
        path.write_bytes(forge([Entry("a", b"x")]))
        with pytest.raises(TypeError, match="write `async with`"), read_member(path, "a"):  # type: ignore[attr-defined]
            pass
        async with read_member(path, "a") as member:
            with pytest.raises(TypeError, match="write `async for`"):
                list(member)


class Gate:
    """Holds up a function until it is let go, and notes in which threads it is called."""

    def __init__(self, function: object) -> None:
        self._function = function
        self.reached = threading.Event()
        self.go = threading.Event()
        self.threads: set[threading.Thread] = set()

    def __call__(self, *args: object) -> object:
        self.threads.add(threading.current_thread())
        self.reached.set()
        assert self.go.wait(60)
        return self._function(*args)  # type: ignore[operator]


async def reached(gate: Gate) -> None:
    """Wait, without a thread, until something is held up."""
    while not gate.reached.is_set():
        await asyncio.sleep(0)


async def cancelled_in(call: Awaitable[object], gate: Gate) -> None:
    """Cancel a call that is held up, then let it go."""
    task = asyncio.ensure_future(call)
    await reached(gate)
    task.cancel()
    await asyncio.sleep(0)
    gate.go.set()
    await asyncio.wait([task])
    assert task.cancelled()


class TestThreads:
    async def test_the_event_loop_goes_on_meanwhile(self, path: Path, monkeypatch: pytest.MonkeyPatch):
        path.write_bytes(forge([Entry("a", NOISE)]))
        gate = Gate(zipfile.ZipFile)
        monkeypatch.setattr(unpacking.zipfile, "ZipFile", gate)

        async def open_and_leave() -> None:
            async with read_member(path, "a"):
                pass

        for call in (list_members(path), open_and_leave()):
            gate.reached.clear()
            gate.go.clear()
            task = asyncio.ensure_future(call)
            await reached(gate)
            gate.go.set()
            await task
        assert threading.main_thread() not in gate.threads

    async def test_cancelled_while_it_is_opened(self, path: Path, monkeypatch: pytest.MonkeyPatch):
        path.write_bytes(forge([Entry("a", NOISE)]))
        gate = Gate(zipfile.ZipFile)
        monkeypatch.setattr(unpacking.zipfile, "ZipFile", gate)

        async def opening() -> None:
            async with read_member(path, "a"):
                raise AssertionError("it was opened")

        await cancelled_in(opening(), gate)

    async def test_a_scope_that_is_cancelled_ends_a_loop(self, path: Path):
        path.write_bytes(forge([Entry("a", NOISE)]))
        got = 0
        with anyio.CancelScope() as scope:
            async with read_member(path, "a") as member:
                async for _ in member:
                    got += 1
                    scope.cancel()
        assert scope.cancelled_caught
        assert got == 1

    async def test_cancelled_while_it_is_read(self, path: Path, monkeypatch: pytest.MonkeyPatch):
        path.write_bytes(forge([Entry("a", NOISE)]))
        gate = Gate(unpacking.deflate.crc32)

        async def reading() -> None:
            async with read_member(path, "a") as member:
                monkeypatch.setattr(unpacking.deflate, "crc32", gate)
                async for _ in member:
                    raise AssertionError("it was read")

        task = asyncio.ensure_future(reading())
        await reached(gate)
        task.cancel()
        await asyncio.sleep(0)
        # Its thread still reads from the file, so that is not closed yet.
        assert not task.done()
        gate.go.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert threading.main_thread() not in gate.threads

    async def test_what_was_read_for_a_call_that_was_cancelled_is_given_to_the_next(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path.write_bytes(forge([Entry("a", NOISE)]))
        gate = Gate(unpacking.deflate.crc32)
        async with read_member(path, "a") as member:
            start = await anext(member)
            monkeypatch.setattr(unpacking.deflate, "crc32", gate)
            await cancelled_in(anext(member), gate)
            assert start + await member.read_all() == NOISE

    async def test_damage_that_was_found_for_a_call_that_was_cancelled_is_told_to_the_next(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path.write_bytes(forge([Entry("a", b"x", checksum=1)]))
        gate = Gate(unpacking.deflate.crc32)
        async with read_member(path, "a") as member:
            monkeypatch.setattr(unpacking.deflate, "crc32", gate)
            await cancelled_in(anext(member), gate)
            with pytest.raises(InvalidArtifactError):
                await anext(member)

    async def test_two_tasks_get_all_of_it_between_them(self, path: Path):
        path.write_bytes(forge([Entry("a", NOISE)]))
        got: list[bytes] = []

        async def reading(member: MemberStream) -> None:
            async for piece in member:
                got.append(piece)

        async with read_member(path, "a") as member:
            await asyncio.gather(reading(member), reading(member))
        assert sorted(got) == sorted(NOISE[at : at + PIECE] for at in range(0, len(NOISE), PIECE))

    async def test_leaving_it_while_a_piece_is_read_for_a_task_that_was_cancelled(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path.write_bytes(forge([Entry("a", NOISE)]))
        gate = Gate(unpacking.deflate.crc32)

        async def reading() -> None:
            async with read_member(path, "a") as member:
                monkeypatch.setattr(unpacking.deflate, "crc32", gate)
                task = asyncio.ensure_future(anext(member))
                await reached(gate)
                task.cancel()

        block = asyncio.ensure_future(reading())
        await reached(gate)
        for _ in range(20):
            await asyncio.sleep(0)
        # Its thread still reads from the file, so that is not closed yet.
        assert not block.done()
        gate.go.set()
        await block

    async def test_leaving_it_while_another_task_reads(self, path: Path, monkeypatch: pytest.MonkeyPatch):
        path.write_bytes(forge([Entry("a", NOISE)]))
        gate = Gate(unpacking.deflate.crc32)
        async with read_member(path, "a") as member:
            monkeypatch.setattr(unpacking.deflate, "crc32", gate)
            task = asyncio.ensure_future(anext(member))
            await reached(gate)
            asyncio.get_running_loop().call_soon(gate.go.set)
        # The piece still comes, or is too late.
        with suppress(RuntimeError):
            assert await task == NOISE[:PIECE]

    async def test_leaving_it_before_the_thread_has_begun(self, path: Path):
        path.write_bytes(forge([Entry("a", NOISE)]))
        async with read_member(path, "a") as member:
            task = asyncio.ensure_future(anext(member))
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="a is closed"):
            await task
