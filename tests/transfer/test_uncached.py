"""Writing past the system's cache: the same bytes are in the file as through it, whatever the sizes."""

import errno
import mmap
import os
import random
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.transfer import uncached
from dexcmd.transfer.partfile import PartFile
from dexcmd.transfer.uncached import ALIGNMENT, BUFFER
from tests.faults.mounts import EXT4, TMPFS, mounted

MIB = 1024 * 1024


@pytest.fixture(params=[EXT4], scope="module")
def ext4(request: pytest.FixtureRequest) -> Iterator[Path]:
    with mounted(request.param) as folder:
        yield folder


@pytest.fixture
def part(ext4: Path) -> Iterator[PartFile]:
    file = PartFile.create(ext4 / "c1.zip")
    yield file
    file.remove()


class Writes:
    """Counts what is written uncached, and can refuse it, or take less."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.failure: OSError | None = None
        self.shorten_to: int | None = None

    def __call__(self, descriptor: int, data: memoryview, position: int) -> int:
        if self.failure is not None:
            raise self.failure
        if position % ALIGNMENT:
            raise OSError(errno.EINVAL, "unaligned")
        if self.shorten_to is not None:
            data, self.shorten_to = data[: self.shorten_to], None
        self.sizes.append(_pwrite(descriptor, data, position))
        return self.sizes[-1]


_pwrite = os.pwrite


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    counting = Writes()
    monkeypatch.setattr(os, "pwrite", counting)
    return counting


def noise(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def content(part: PartFile) -> bytes:
    return part.path.read_bytes()


def test_full_buffers_go_past_the_cache_and_the_rest_through_it(part: PartFile, writes: Writes) -> None:
    body = noise(3 * BUFFER + 12_345)
    part.bypass_cache()
    part.write([body[:100], body[100 : 2 * MIB], body[2 * MIB :]])
    assert writes.sizes == [BUFFER] * 3
    assert part.size == 3 * BUFFER
    assert content(part) == body[: part.size]
    part.flush()
    assert part.size == len(body)
    assert content(part) == body


def test_it_is_read_and_written_on_after_a_flush(part: PartFile, writes: Writes) -> None:
    body = noise(5 * BUFFER)
    part.bypass_cache()
    part.write([body[: BUFFER + 1000]])
    part.flush()
    assert part.tail(500) == body[BUFFER + 500 : BUFFER + 1000]
    part.bypass_cache()
    part.write([body[BUFFER + 1000 :]])
    part.flush()
    assert b"".join(part.pieces(len(body))) == body
    # The rest of the block in which it went on was written through the cache.
    assert writes.sizes == [BUFFER] * 4


def test_what_is_held_is_discarded_with_the_rest(part: PartFile) -> None:
    part.bypass_cache()
    part.write([noise(BUFFER + 5000)])
    part.truncate(0)
    part.write([b"other"])
    part.flush()
    assert content(part) == b"other"


@pytest.mark.parametrize("start", [0, 1000, ALIGNMENT, BUFFER + 1])
def test_it_goes_on_from_anywhere(part: PartFile, start: int, writes: Writes) -> None:
    body = noise(3 * BUFFER)
    part.write([body[: start + 77]])
    part.truncate(start)
    part.bypass_cache()
    part.write([body[start:]])
    part.flush()
    assert content(part) == body
    assert writes.sizes


def test_a_file_system_that_refuses_gets_it_through_the_cache(part: PartFile, writes: Writes) -> None:
    body = noise(3 * BUFFER + 5)
    part.bypass_cache()
    writes.failure = OSError(errno.EINVAL, "no")
    part.write([body[: 2 * BUFFER], body[2 * BUFFER :]])
    part.flush()
    assert content(part) == body
    assert part.size == len(body)


@pytest.mark.parametrize(
    ("count", "uncached_writes"),
    # In the middle of a block the system refuses to go on.
    [(ALIGNMENT, [ALIGNMENT, BUFFER - ALIGNMENT]), (512, [512])],
)
def test_a_short_write_is_followed_by_the_rest(
    part: PartFile, writes: Writes, count: int, uncached_writes: list[int]
) -> None:
    body = noise(BUFFER + 5)
    part.bypass_cache()
    writes.shorten_to = count
    part.write([body])
    part.flush()
    assert content(part) == body
    assert writes.sizes == uncached_writes


def test_an_error_leaves_what_is_written(part: PartFile, writes: Writes) -> None:
    body = noise(2 * BUFFER)
    part.bypass_cache()
    part.write([body[:BUFFER]])
    writes.failure = OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="full"):
        part.write([body[BUFFER:]])
    assert part.size == BUFFER
    assert content(part) == body[:BUFFER]


def test_another_file_of_that_name_is_not_written_to(ext4: Path, part: PartFile, writes: Writes) -> None:
    part.path.rename(ext4 / "moved")
    os.mkfifo(part.path)
    part.bypass_cache()
    body = noise(2 * BUFFER)
    part.write([body])
    assert writes.sizes == [BUFFER] * 2
    assert (ext4 / "moved").read_bytes() == body
    part.close()
    part.path.unlink()
    (ext4 / "moved").unlink()


def test_without_memory_for_the_buffer_it_goes_through_the_cache(
    part: PartFile, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> mmap.mmap:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    before = descriptors()
    part.bypass_cache()
    body = noise(2 * BUFFER)
    part.write([body])
    assert writes.sizes == []
    assert content(part) == body
    assert descriptors() == before


def test_what_is_flushed_takes_no_memory_and_no_descriptor(part: PartFile) -> None:
    before = descriptors()
    part.bypass_cache()
    assert descriptors() == before + 1
    part.write([bytes(BUFFER + 1)])
    part.flush()
    assert descriptors() == before


def test_an_error_that_is_kept_holds_no_buffer(ext4: Path, writes: Writes) -> None:
    part = PartFile.create(ext4 / "c1.zip")
    part.bypass_cache()
    held = part._uncached
    assert held is not None
    buffer = weakref.ref(held._buffer)
    writes.failure = OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="full") as failed:
        part.write([bytes(BUFFER)])
    part.remove()
    assert failed.value.__traceback__ is not None
    assert buffer() is None


def test_what_could_not_be_written_is_once_there_is_room(part: PartFile, writes: Writes) -> None:
    body = noise(BUFFER)
    part.bypass_cache()
    writes.failure = OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="full"):
        part.write([body])
    part.flush()
    assert content(part) == body


@pytest.mark.parametrize("kind", [TMPFS])
def test_other_file_systems_are_written_through_the_cache(kind: str, writes: Writes) -> None:
    with mounted(kind) as folder:
        part = PartFile.create(folder / "c1.zip")
        part.bypass_cache()
        part.write([bytes(2 * BUFFER)])
        assert part.size == 2 * BUFFER
        assert writes.sizes == []
        part.close()


def test_nothing_stays_open(ext4: Path) -> None:
    before = descriptors()
    part = PartFile.create(ext4 / "c1.zip")
    part.bypass_cache()
    part.bypass_cache()
    part.write([bytes(BUFFER + 1)])
    part.remove()
    assert descriptors() == before
    assert list(ext4.glob("*c1*")) == []


STEPS: Any = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.integers(0, 40_000), min_size=1, max_size=4)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("truncate"), st.integers(0, 10**6)),
        st.tuples(st.just("bypass"), st.just(0)),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(steps=STEPS)
def test_whatever_is_done_the_file_is_what_was_written(ext4: Path, steps: list[tuple[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(uncached, "BUFFER", 4 * ALIGNMENT)
        part, expected = PartFile.create(ext4 / "c1.zip"), b""
        for number, (step, value) in enumerate(steps):
            if step == "write":
                pieces = [noise(size, number) for size in value]
                part.write(pieces)
                expected += b"".join(pieces)
            elif step == "flush":
                part.flush()
                assert (part.size, content(part)) == (len(expected), expected)
            elif step == "truncate":
                part.flush()
                expected = expected[:value]
                part.truncate(len(expected))
            else:
                part.bypass_cache()
        assert content(part) == expected[: part.size]
        part.flush()
        assert content(part) == expected
        part.remove()
