"""The queue to the thread that writes."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.threads import run_to_the_end
from dexcmd.transfer.writer import GATHER, HIGH_WATER, LOW_WATER, QueueThread

pytestmark = pytest.mark.anyio

PIECE = b"x" * (64 * 1024)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dexcmd-test"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


class Ended(BaseException):
    """What ends a thread, and is no failure that anybody expects."""


class Disk:
    """Takes what is written while its gate is open, and fails when told to."""

    def __init__(self, *, open_gate: bool = True) -> None:
        self.calls: list[list[bytes]] = []
        self.gate = threading.Event()
        self.error: BaseException | None = None
        if open_gate:
            self.gate.set()

    def write(self, pieces: list[bytes]) -> None:
        self.gate.wait()
        if self.error is not None:
            raise self.error
        self.calls.append(pieces)

    @property
    def content(self) -> bytes:
        return b"".join(b"".join(pieces) for pieces in self.calls)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 3 * GATHER) | st.integers(1, 100), max_size=12))
def test_order_is_kept(sizes: list[int]) -> None:
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]
    disk = Disk()

    async def write() -> None:
        writer = QueueThread(disk.write, "dexcmd-test")
        for chunk in chunks:
            await writer.put(chunk)
        await run_to_the_end(writer.end)

    asyncio.run(write())
    assert disk.content == b"".join(chunks)


async def test_small_chunks_are_gathered() -> None:
    disk = Disk()
    writer = QueueThread(disk.write, "dexcmd-test")
    for _ in range(100):
        await writer.put(b"abc")
    assert disk.calls == []
    await run_to_the_end(writer.end)
    assert disk.calls == [[b"abc"] * 100]


async def test_the_thread_takes_many_at_once_and_not_too_many() -> None:
    disk = Disk(open_gate=False)
    writer = QueueThread(disk.write, "dexcmd-test")
    for _ in range(HIGH_WATER // len(PIECE)):
        await writer.put(PIECE)
    disk.gate.set()
    await run_to_the_end(writer.end)
    assert sum(map(len, disk.calls)) == HIGH_WATER // len(PIECE)
    sizes = [len(pieces) * len(PIECE) for pieces in disk.calls]
    assert all(GATHER <= size < GATHER + len(PIECE) for size in sizes[:-1])
    assert sizes[-1] < GATHER + len(PIECE)


async def test_a_full_queue_holds_the_download_back() -> None:
    disk = Disk(open_gate=False)
    writer = QueueThread(disk.write, "dexcmd-test")
    queued = 0
    while queued + len(PIECE) <= HIGH_WATER:
        await asyncio.wait_for(writer.put(PIECE), 60)
        queued += len(PIECE)
    waiting = asyncio.ensure_future(writer.put(PIECE))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    disk.gate.set()
    await waiting
    await writer.put(b"last")
    await run_to_the_end(writer.end)
    assert disk.content == PIECE * (queued // len(PIECE) + 1) + b"last"


async def test_a_download_that_is_held_back_can_be_cancelled() -> None:
    disk = Disk(open_gate=False)
    writer = QueueThread(disk.write, "dexcmd-test")
    waiting = asyncio.ensure_future(writer.put(bytes(HIGH_WATER + 1)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    disk.gate.set()
    await run_to_the_end(writer.end)
    assert disk.content == bytes(HIGH_WATER + 1)


def test_the_marks_fit() -> None:
    # A thread that has made room has to wake up for what is left above that.
    assert GATHER <= LOW_WATER < HIGH_WATER


@pytest.mark.parametrize("error", [OSError(28, "full"), ValueError("bug"), Ended()], ids=repr)
async def test_what_writing_raises_reaches_the_next_chunk_and_the_end(error: BaseException) -> None:
    disk = Disk(open_gate=False)
    disk.error = error
    writer = QueueThread(disk.write, "dexcmd-test")
    [thread] = threads()
    await writer.put(bytes(GATHER))
    disk.gate.set()
    thread.join()
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            await writer.put(b"more")
        assert caught.value is error
    with pytest.raises(type(error)):
        await run_to_the_end(writer.end)


async def test_a_full_queue_is_left_when_writing_fails() -> None:
    disk = Disk(open_gate=False)
    disk.error = OSError(28, "full")
    writer = QueueThread(disk.write, "dexcmd-test")
    waiting = asyncio.ensure_future(writer.put(bytes(HIGH_WATER + 1)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    disk.gate.set()
    await waiting
    with pytest.raises(OSError, match="full"):
        await run_to_the_end(writer.end)


async def test_drop_forgets_what_is_queued() -> None:
    disk = Disk()
    writer = QueueThread(disk.write, "dexcmd-test")
    for _ in range(GATHER // len(PIECE) - 1):
        await writer.put(PIECE)
    await run_to_the_end(writer.drop)
    assert disk.calls == []


async def test_drop_waits_for_what_is_being_written_and_raises_nothing() -> None:
    disk = Disk(open_gate=False)
    disk.error = OSError(28, "full")
    writer = QueueThread(disk.write, "dexcmd-test")
    await writer.put(bytes(GATHER))
    dropping = asyncio.ensure_future(run_to_the_end(writer.drop))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not dropping.done()
    disk.gate.set()
    await dropping


@pytest.mark.parametrize("way", ["end", "drop"])
async def test_an_unused_one_ends(way: str) -> None:
    disk = Disk()
    await run_to_the_end(getattr(QueueThread(disk.write, "dexcmd-test"), way))
    assert disk.calls == []
