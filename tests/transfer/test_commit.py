"""Finished files, made durable together."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dexcmd.threads import run_to_the_end
from dexcmd.transfer import commit as commit_module
from dexcmd.transfer.commit import GroupCommit
from dexcmd.transfer.system import sync_folder

pytestmark = pytest.mark.anyio


class File:
    """A finished file that notes what is done to it, and fails at a step if told to."""

    def __init__(self, path: Path, steps: list[str], *, fails: str = "", gate: threading.Event | None = None) -> None:
        self.path = path
        self.steps = steps
        self.fails = fails
        self.gate = gate
        self.begun = threading.Event()

    @property
    def folder(self) -> Path:
        return self.path.parent

    def write_rest(self) -> None:
        self.begun.set()
        if self.gate is not None:
            self.gate.wait()
        self._note("write")

    def start_writeback(self) -> None:
        self._note("writeback")

    def sync(self) -> None:
        self._note("sync")

    def put_in_place(self) -> None:
        self._note("place")
        self.path.write_bytes(b"whole")

    def _note(self, step: str) -> None:
        self.steps.append(f"{step} {self.path.name}")
        if step == self.fails:
            raise OSError(5, f"{step} failed")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are synced, as they are."""
    folders = list[Path]()

    def sync(folder: Path) -> None:
        folders.append(folder)
        sync_folder(folder)

    monkeypatch.setattr(commit_module, "sync_folder", sync)
    return folders


@pytest.fixture
async def group() -> AsyncIterator[GroupCommit]:
    """One that is closed after the test; its thread then ends."""
    group = GroupCommit()
    yield group
    group.close()
    for thread in committers():
        await run_to_the_end(thread.join)


async def turns() -> None:
    """Let the loop do all that it can do by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


async def busy(group: GroupCommit, path: Path, steps: list[str]) -> tuple["asyncio.Task[None]", threading.Event]:
    """Have the thread begin with a file, and return its task and what lets it go on."""
    file = File(path, steps, gate=threading.Event())
    task = asyncio.create_task(group.commit(file))
    await run_to_the_end(file.begun.wait)
    assert file.gate is not None
    return task, file.gate


def committers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dexcmd-commit"]


async def test_one_file(tmp_path: Path, group: GroupCommit, synced: list[Path]) -> None:
    steps = list[str]()
    await group.commit(File(tmp_path / "a", steps))
    assert steps == ["write a", "writeback a", "sync a", "place a"]
    assert synced == [tmp_path]
    assert (tmp_path / "a").read_bytes() == b"whole"


async def test_files_that_wait_for_each_other_are_synced_together(
    tmp_path: Path, group: GroupCommit, synced: list[Path]
) -> None:
    steps = list[str]()
    other = tmp_path / "other"
    other.mkdir()
    first, gate = await busy(group, tmp_path / "first", steps)
    paths = [tmp_path / "a", tmp_path / "b", other / "c", tmp_path / "d"]
    rest = [asyncio.ensure_future(group.commit(File(path, steps))) for path in paths]
    await turns()
    assert steps == []
    gate.set()
    await asyncio.gather(first, *rest)
    # The first alone; then one step after the other, each for all, and one sync for each folder.
    assert steps[:4] == ["write first", "writeback first", "sync first", "place first"]
    assert steps[4:] == [f"{step} {name}" for step in ("write", "writeback", "sync", "place") for name in "abcd"]
    assert synced[0] == tmp_path
    assert sorted(synced[1:]) == [tmp_path, other]


async def test_a_hundred_files_need_few_syncs_of_their_folder(
    tmp_path: Path, group: GroupCommit, synced: list[Path]
) -> None:
    first, gate = await busy(group, tmp_path / "first", [])
    rest = [asyncio.ensure_future(group.commit(File(tmp_path / str(number), []))) for number in range(100)]
    await turns()
    gate.set()
    await asyncio.gather(first, *rest)
    assert len(synced) == 2
    assert len(os.listdir(tmp_path)) == 101  # noqa: PTH208


@pytest.mark.parametrize("step", ["write", "writeback", "sync", "place"])
async def test_a_bad_file_fails_alone(tmp_path: Path, group: GroupCommit, step: str) -> None:
    steps = list[str]()
    first, gate = await busy(group, tmp_path / "first", steps)
    files = [File(tmp_path / name, steps, fails=step if name == "b" else "") for name in "abc"]
    results = asyncio.gather(*(group.commit(file) for file in files), return_exceptions=True)
    await turns()
    gate.set()
    await first
    good, bad, other = await results
    assert (good, other) == (None, None)
    assert isinstance(bad, OSError)
    assert str(bad) == f"[Errno 5] {step} failed"
    # Nothing more was done to it.
    assert [each for each in steps if each.endswith(" b")][-1] == f"{step} b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "first"]


async def test_a_folder_that_can_not_be_synced_is_the_fault_of_all_its_files(
    tmp_path: Path, group: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()

    def sync(folder: Path) -> None:
        if folder == bad:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(commit_module, "sync_folder", sync)
    first, gate = await busy(group, good / "first", [])
    files = [File(folder / name, []) for folder in (good, bad) for name in "ab"]
    results = asyncio.gather(*(group.commit(file) for file in files), return_exceptions=True)
    await turns()
    gate.set()
    await first
    one, two, three, four = await results
    assert (one, two) == (None, None)
    assert isinstance(three, OSError)
    assert isinstance(four, OSError)


@pytest.mark.parametrize("cancels", [1, 3])
@pytest.mark.parametrize("fails", ["", "sync"])
async def test_a_cancellation_waits_until_it_is_done(
    tmp_path: Path, group: GroupCommit, cancels: int, fails: str
) -> None:
    gate = threading.Event()
    task = asyncio.create_task(group.commit(File(tmp_path / "a", [], gate=gate, fails=fails)))
    await turns()
    for _ in range(cancels):
        task.cancel()
        await turns()
    assert not task.done()
    gate.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (tmp_path / "a").exists() is not bool(fails)


async def test_one_thread_does_it_all_and_ends_when_it_is_closed(tmp_path: Path) -> None:
    group = GroupCommit()
    assert committers() == []
    for number in range(3):
        await group.commit(File(tmp_path / str(number), []))
        assert len(committers()) == 1
    [thread] = committers()
    group.close()
    thread.join()


async def test_what_waits_when_it_is_closed_is_done(tmp_path: Path) -> None:
    group = GroupCommit()
    first, gate = await busy(group, tmp_path / "first", [])
    rest = [asyncio.create_task(group.commit(File(tmp_path / name, []))) for name in "abc"]
    await turns()
    group.close()
    gate.set()
    await asyncio.gather(first, *rest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "first"]
    for thread in committers():
        thread.join()


def test_closing_one_that_was_not_used() -> None:
    async def close() -> None:
        GroupCommit().close()

    asyncio.run(close())
    assert committers() == []


async def test_one_group_of_many_files_at_any_time(tmp_path: Path, group: GroupCommit) -> None:

    async def commit(number: int) -> None:
        for _ in range(number % 7):
            await asyncio.sleep(0)
        await group.commit(File(tmp_path / str(number), []))

    await asyncio.gather(*(commit(number) for number in range(200)))
    assert len(list(tmp_path.iterdir())) == 200
