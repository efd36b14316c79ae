"""What tests of file targets share: archives, a clock that is stepped, and downloads without a service."""

import asyncio
import io
import os
import random
import threading
import zipfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dexcmd.clock import Clock, ManualClock
from dexcmd.threads import run_to_the_end
from dexcmd.transfer.files import check_zip
from dexcmd.transfer.filetarget import FileTarget
from dexcmd.transfer.folder import FileSink
from dexcmd.transfer.options import Verify
from dexcmd.transfer.partfile import PartFile
from dexcmd.transfer.partstate import PartState
from dexcmd.transfer.ranges import Body, Have, Version
from dexcmd.transfer.saved import SavedArtifact
from dexcmd.transfer.sink import ArtifactName
from dexcmd.transfer.system import boot_id
from dexcmd.transfer.zipstream import ZipStream

C1 = ArtifactName("c1", "c1.zip")
CHUNK = 100_000


def archive(size: int, seed: int = 1) -> bytes:
    """Return an archive with a member of `size` bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("capture.pcap", random.Random(seed).randbytes(size))
    return buffer.getvalue()


SMALL, LARGE, OTHER = archive(10_000), archive(3_000_000), archive(3_000_000, 2)


def strong(content: bytes, etag: str = '"a"') -> Version:
    return Version(etag, None, len(content))


def weak(content: bytes) -> Version:
    return Version('W/"a"', None, len(content))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


PARTS = [".c1.zip.part", ".c1.zip.part.json"]


@asynccontextmanager
async def target(
    folder: Path, *, name: ArtifactName = C1, verify: Verify = "zip", clock: Clock | None = None, **sink: Any
) -> AsyncGenerator[FileTarget]:
    async with FileSink(folder, **sink).open(clock or ManualClock()) as store, store.target(name, verify) as place:
        yield place


async def receive(place: FileTarget, content: bytes, version: Version, start: int = 0, end: int | None = None) -> None:
    """Bring the bytes from `start` to `end` of an artifact."""
    await place.begin(Body(start, version))
    for at in range(start, len(content) if end is None else end, CHUNK):
        await place.write(content[at : min(at + CHUNK, len(content) if end is None else end)])


async def download(folder: Path, content: bytes, *, version: Version | None = None, **options: Any) -> SavedArtifact:
    """Save an artifact, going on from what is there, as the engine does."""
    async with target(folder, **options) as place:
        found = await place.find(None) or await place.find(len(content))
        if found is not None:
            return found
        start = place.have.offset
        await receive(place, content, version or strong(content), start)
        return await place.finish(start)


async def download_two(folder: Path) -> None:
    """Save two small artifacts, `c2` and then `c1`, by one sink that is opened once."""
    async with FileSink(folder).open(ManualClock()) as store:
        for number in (2, 1):
            async with store.target(ArtifactName(f"c{number}", f"c{number}.zip"), "zip") as place:
                await receive(place, SMALL, strong(SMALL))
                await place.finish(0)


class BrokenError(Exception):
    """A download that breaks off."""


async def broken(
    folder: Path,
    content: bytes,
    end: int,
    *,
    version: Version | None = None,
    error: BaseException | None = None,
    **options: Any,
) -> None:
    """Save an artifact until it breaks off at `end`."""
    raised = error or BrokenError()
    with suppress(type(raised)):
        async with target(folder, **options) as place:
            await receive(place, content, version or strong(content), place.have.offset, end)
            raise raised


async def there(folder: Path, **options: Any) -> Have:
    """Return what a download that then breaks off finds to go on from."""
    found = Have()
    with suppress(BrokenError):
        async with target(folder, **options) as place:
            found = place.have
            raise BrokenError
    return found


def leave_part(folder: Path, content: bytes, **state: Any) -> None:
    """Leave a part and its state, as an earlier download of any process does."""
    part = PartFile.create(folder / "c1.zip")
    part.write([content])
    described: dict[str, Any] = {
        "command_id": "c1",
        "filename": "c1.zip",
        "etag": '"a"',
        "last_modified": None,
        "size": None,
        "durable": 0,
        "boot": boot_id(),
        **state,
    }
    part.write_state(PartState(**described))
    part.close()


class SteppedClock:
    """A clock whose sleeps end when a test lets them."""

    def __init__(self) -> None:
        self.time = 0.0
        self.sleeping = asyncio.Event()
        self._steps = asyncio.Semaphore(0)

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        self.sleeping.set()
        await self._steps.acquire()
        self.time += seconds

    async def step(self) -> None:
        """Let a sleep end, once somebody sleeps."""
        await self.sleeping.wait()
        self.sleeping.clear()
        self._steps.release()

    def free(self) -> None:
        """Let all sleeps end at once from now on."""
        for _ in range(10_000):
            self._steps.release()


def open_parts() -> list[str]:
    """Return the paths of part files that this process has open."""
    found = list[str]()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if ".part" in (path := os.readlink(link)):  # noqa: PTH115
                found.append(path)
    return found


def refuse_threads(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the system refuse the next thread of a name, and only that one."""
    start, refused = threading.Thread.start, list[bool]()

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name and not refused:
            refused.append(True)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


@asynccontextmanager
async def no_workers(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[None]:
    """Have the system refuse threads for blocking work, with those busy that are there."""
    start, go_on = threading.Thread.start, threading.Event()

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "AnyIO worker thread":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        # More than there are: the first that fails comes after all that found one.
        busy = [asyncio.ensure_future(run_to_the_end(partial(go_on.wait, 60))) for _ in range(20)]
        await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield
        finally:
            go_on.set()
            await asyncio.gather(*busy, return_exceptions=True)


class HeldReading:
    """Holds the reading of a file for its check, as `module` does it, until the download is being cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        self._begun, self._may, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
        self._ended = False

        def held(*arguments: Any, **joined: bool) -> None:
            loop.call_soon_threadsafe(self._begun.set)
            assert self._may.wait(60)
            check_zip(*arguments, **joined)
            self._ended = True

        monkeypatch.setattr(module, "check_zip", held)

    async def cancel(self, task: "asyncio.Task[Any]") -> None:
        """Cancel a download while its file is being read."""
        await self._begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        self._may.set()
        await asyncio.wait([task])
        assert (task.cancelled(), self._ended) == (True, False)


class HeldCheck:
    """Holds the first piece that a check unpacks until the check is stopped, and counts the pieces."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = asyncio.Event()
        self.pieces = 0
        loop, count = asyncio.get_running_loop(), ZipStream._count

        def held(stream: ZipStream, unpacked: bytes | memoryview) -> None:
            self.pieces += 1
            if self.pieces == 1:
                loop.call_soon_threadsafe(self.begun.set)
                assert stream._stop.wait(60)
            count(stream, unpacked)

        monkeypatch.setattr(ZipStream, "_count", held)

    async def cancel(self, task: "asyncio.Task[Any]") -> None:
        """Cancel a download while its check is under way, and see that the check ends with that piece."""
        await self.begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert (task.cancelled(), self.pieces) == (True, 1)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith(("dexcmd-", "Thread-"))]
