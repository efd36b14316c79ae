"""The engine against services that do what the sandbox's would not."""

import asyncio
import hashlib
import io
import logging
import random
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from aiohttp import web
from obstore.store import MemoryStore

from dexcmd import (
    Command,
    ConfigurationError,
    ObjectStoreSink,
    RetryPolicy,
    StalledDownloadError,
    TruncatedArtifactError,
)
from dexcmd.clock import Clock, ManualClock
from dexcmd.errors import ArtifactChangedError, BadRequestError, DownloadError, InvalidArtifactError, ServerError
from dexcmd.transfer.folder import FileSink
from dexcmd.transfer.limits import DownloadLimits
from dexcmd.transfer.options import Verify
from dexcmd.transfer.progress import Progress
from dexcmd.transfer.ranges import OVERLAP, Body, Have
from dexcmd.transfer.saved import Saved
from dexcmd.transfer.sink import ArtifactName
from dexcmd.transfer.zipformat import ENCRYPTED
from tests.conftest import Rig
from tests.test_session import Service
from tests.zips import Entry, forge

pytestmark = pytest.mark.anyio

RETRY = RetryPolicy(attempts=3, attempt_seconds=5.0)


def archive(size: int = 300_000, seed: int = 1) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("capture.pcap", random.Random(seed).randbytes(size))
    return buffer.getvalue()


def sealed(size: int, seed: int = 1) -> bytes:
    """Return an archive with an encrypted member; those of other seeds differ in its first half only, and the CRC."""
    data = random.Random(seed).randbytes(size // 2) + random.Random(0).randbytes(size - size // 2)
    return forge([Entry("capture.pcap", data, flags=ENCRYPTED)])


BODY = archive()
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Script:
    """Answers one request after the other as it is told, the last answer for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.ranges: list[str | None] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.ranges.append(request.headers.get("Range"))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


def sends(
    *pieces: bytes,
    status: int = 200,
    length: int | None = None,
    between: Callable[[], Awaitable[None]] | None = None,
    breaks: bool = False,
    **headers: str,
) -> Answer:
    """Return an answer: of `length`, or chunked; `between` is called between the pieces."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/zip", **named})
        if length is not None:
            response.content_length = length
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        for number, piece in enumerate(pieces):
            if number and between is not None:
                await between()
            await response.write(piece)
        if breaks:
            assert request.transport is not None
            request.transport.close()
        return response

    return answer


def whole(body: bytes = BODY, **headers: str) -> Answer:
    return sends(body, length=len(body), **headers)


def half(body: bytes = BODY, end: int = 200_000, **headers: str) -> Answer:
    return sends(body[:end], length=len(body), breaks=True, **headers)


def rest(start: int, body: bytes = BODY, total: str | None = None, **headers: str) -> Answer:
    span = f"bytes {start}-{len(body) - 1}/{len(body) if total is None else total}"
    return sends(body[start:], status=206, length=len(body) - start, Content_Range=span, **headers)


async def save(
    script: Script,
    into: Path | FileSink | ObjectStoreSink,
    *,
    filename: str = "c1.zip",
    clock: Any = None,
    retry: RetryPolicy | None = None,
    **options: Any,
) -> Any:
    clock = clock or ManualClock()
    async with Service(script) as service, service.client(retry=retry or RETRY, clock=clock, random=lambda: 0.0) as dex:
        return await dex.downloads.save(command_id="c1", filename=filename, into=into, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestGoingOn:
    async def test_with_a_strong_etag_from_the_last_byte(self, tmp_path: Path) -> None:
        script = Script(half(ETag='"a"'), rest(200_000, ETag='"a"'))
        saved = await save(script, tmp_path)
        assert saved.resumed_from in range(1, 200_001)
        assert saved.path.read_bytes() == BODY

    @pytest.mark.parametrize("validators", [{"ETag": 'W/"a"'}, {"Last_Modified": "Thu, 01 Jan 2026 12:00:00 GMT"}, {}])
    async def test_without_one_from_before_it_where_the_bytes_are_the_same(
        self, tmp_path: Path, validators: dict[str, str]
    ) -> None:
        script = Script(half(**validators), part_that_is_asked_for(BODY, **validators))
        saved = await save(script, tmp_path)
        assert saved.path.read_bytes() == BODY
        assert 0 < saved.resumed_from <= 200_000
        assert script.ranges == [None, f"bytes={saved.resumed_from - OVERLAP}-"]

    async def test_an_overlap_that_comes_in_pieces(self, tmp_path: Path) -> None:
        clock = ManualClock()

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            pieces = BODY[start : start + 100], BODY[start + 100 : start + 200], BODY[start + 200 :]
            span = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
            return await sends(*pieces, status=206, between=lambda: clock.sleep(0.1), Content_Range=span)(request)

        saved = await save(Script(half(), answer), tmp_path, clock=clock)
        assert saved.path.read_bytes() == BODY

    async def test_nothing_is_asked_for_where_all_is_there(self, tmp_path: Path) -> None:
        script = Script(whole(ETag='"a"'))
        (tmp_path / "c1.zip").mkdir()
        with pytest.raises(DownloadError, match="can't write"):
            await save(script, tmp_path)
        (tmp_path / "c1.zip").rmdir()
        saved = await save(script, tmp_path)
        assert saved.path.read_bytes() == BODY
        assert len(script.ranges) == 1

    async def test_other_bytes_there_are_another_artifact(self, tmp_path: Path) -> None:
        other = archive(seed=2)
        script = Script(half(), part_that_is_asked_for(other), whole(other))
        saved = await save(script, tmp_path)
        assert (saved.path.read_bytes(), saved.resumed_from) == (other, 0)
        assert [asked is None for asked in script.ranges] == [True, False, True]

    async def test_a_range_that_can_not_be_satisfied_means_from_the_start(self, tmp_path: Path) -> None:
        # The end was not announced, and so nobody knew that all was there.
        script = Script(
            sends(BODY[:200_000], breaks=True, ETag='"a"'), sends(b"", status=416, length=0), whole(ETag='"a"')
        )
        saved = await save(script, tmp_path)
        assert saved.path.read_bytes() == BODY
        assert [asked is None for asked in script.ranges] == [True, False, True]

    async def test_one_that_was_not_asked_for_is_an_error(self, tmp_path: Path) -> None:
        script = Script(sends(b"", status=416, length=0))
        with pytest.raises(BadRequestError):
            await save(script, tmp_path)
        assert len(script.ranges) == 1

    async def test_an_archive_put_together_that_does_not_fit_is_fetched_anew(self, tmp_path: Path) -> None:
        # A strong ETag that lies.
        other = archive(seed=2)
        script = Script(half(ETag='"a"'), part_that_is_asked_for(other, ETag='"a"'), whole(other, ETag='"a"'))
        saved = await save(script, tmp_path)
        assert saved.path.read_bytes() == other

    @pytest.mark.parametrize("validators", [{"ETag": 'W/"a"'}, {}])
    @pytest.mark.parametrize("size", [400_000, 3_000_000], ids=["in memory", "in a file"])
    @pytest.mark.parametrize("sink", ["files", "objects"])
    async def test_what_nobody_can_check_is_not_put_together_on_the_word_of_an_overlap(
        self, tmp_path: Path, validators: dict[str, str], size: int, sink: str
    ) -> None:
        # Seen: the start of one version and the end of another under the final name.
        one, other = sealed(size, seed=1), sealed(size, seed=2)
        script = Script(
            half(one, size - 50_000, **validators),
            part_that_is_asked_for(other, **validators),
            whole(other, **validators),
        )
        store = MemoryStore()
        saved = await save(script, tmp_path if sink == "files" else ObjectStoreSink(store))
        assert saved.sha256 == hashlib.sha256(other).hexdigest()
        assert saved.resumed_from == 0
        assert [asked is None for asked in script.ranges] == [True, False, True]

    async def test_a_strong_etag_is_word_enough_for_what_nobody_can_check(self, tmp_path: Path) -> None:
        body = sealed(3_000_000)
        script = Script(half(body, 2_900_000, ETag='"a"'), part_that_is_asked_for(body, ETag='"a"'))
        saved = await save(script, tmp_path)
        assert saved.path.read_bytes() == body
        assert saved.resumed_from > 0

    async def test_a_service_that_always_sends_another_part_is_given_up(self, tmp_path: Path) -> None:
        script = Script(rest(10, ETag='"a"'))
        with pytest.raises(ArtifactChangedError):
            await save(script, tmp_path)
        assert len(script.ranges) == 3
        assert names(tmp_path) == []

    async def test_a_page_that_stays_ends_it_and_what_came_stays(self, tmp_path: Path) -> None:
        script = Script(half(ETag='"a"'), sends(b"<html>", Content_Type="text/html"))
        with pytest.raises(InvalidArtifactError, match="the service sent text/html"):
            await save(script, tmp_path)
        assert len(script.ranges) == RETRY.attempts
        assert None not in script.ranges[1:]
        part = (tmp_path / ".c1.zip.part").read_bytes()
        assert part
        assert BODY.startswith(part)

    async def test_a_page_at_first_ends_it(self, tmp_path: Path) -> None:
        script = Script(sends(b"<html>", Content_Type="text/html"))
        with pytest.raises(InvalidArtifactError, match="the service sent text/html"):
            await save(script, tmp_path)
        assert len(script.ranges) == 1

    @pytest.mark.parametrize("etag", ['"\u00e9"', '"a b"'])
    async def test_an_etag_that_may_not_stand_in_a_request(self, tmp_path: Path, etag: str) -> None:
        # It is compared with the answer's, and not sent.
        script = Script(half(ETag=etag), part_that_is_asked_for(BODY, ETag=etag))
        assert (await save(script, tmp_path)).path.read_bytes() == BODY


def part_that_is_asked_for(body: bytes, **headers: str) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        return await rest(start, body, **headers)(request)

    return answer


class TestLength:
    async def test_an_announced_end_that_does_not_come(self, tmp_path: Path) -> None:
        # The part says how long the whole is; the body ends as it says itself.
        answer = sends(BODY[:1000], status=206, length=1000, Content_Range=f"bytes 0-999/{len(BODY)}")
        with pytest.raises(TruncatedArtifactError, match=f"1000 of {len(BODY)} bytes arrived"):
            await save(Script(answer), tmp_path)

    async def test_more_than_announced(self, tmp_path: Path) -> None:
        answer = sends(BODY, status=206, length=len(BODY), Content_Range="bytes 0-999/1000")
        with pytest.raises(TruncatedArtifactError, match="more than the announced 1000 bytes arrived"):
            await save(Script(answer), tmp_path)
        assert names(tmp_path) == []

    async def test_no_byte_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidArtifactError, match="an empty artifact"):
            await save(Script(sends(length=0)), tmp_path)


class TestLimits:
    async def test_one_that_is_too_slow_is_given_up(self, tmp_path: Path) -> None:
        clock = ManualClock()
        slow = sends(*[BODY[:100]] * 20, length=len(BODY), between=lambda: clock.sleep(10.0))
        with pytest.raises(StalledDownloadError, match="too slow after"):
            await save(Script(slow), tmp_path, clock=clock)

    async def test_one_that_takes_too_long_in_all(self, tmp_path: Path) -> None:
        clock = ManualClock()
        slow = sends(BODY[:100_000], BODY[100_000:], length=len(BODY), between=lambda: clock.sleep(100.0))
        with pytest.raises(StalledDownloadError, match="not complete after 50 s"):
            await save(
                Script(slow),
                tmp_path,
                clock=clock,
                limits=DownloadLimits(total_seconds=50.0, stall_bytes_per_second=0.001),
            )

    async def test_nor_longer_where_it_has_to_wait_for_its_share_of_a_limit(self, tmp_path: Path) -> None:
        clock = ManualClock()
        script, command = Script(sends(BODY[:100_000], BODY[100_000:], length=len(BODY))), Command(id="c1")
        limits = DownloadLimits(total_seconds=50.0)
        async with (
            Service(script) as service,
            service.client(retry=RETRY, clock=clock) as dex,
            dex.downloads.save_many([command], tmp_path, bytes_per_second=1.0, limits=limits) as results,
        ):
            [result] = [result async for result in results]
        assert isinstance(result.error, StalledDownloadError)
        assert "not complete after 50 s" in str(result.error)
        assert clock.monotonic() == 50.0

    async def test_no_attempt_begins_after_that(self, tmp_path: Path) -> None:
        script = Script(sends(BODY[:100], length=len(BODY), breaks=True))
        with pytest.raises(TruncatedArtifactError):
            late = attrs.evolve(RETRY, backoff_seconds=60.0, backoff_max_seconds=60.0)
            await save(script, tmp_path, retry=late, limits=DownloadLimits(total_seconds=50.0))
        assert len(script.ranges) == 1

    async def test_nor_does_a_wait_for_the_service_go_beyond_that(self, tmp_path: Path) -> None:
        clock = ManualClock()
        busy = sends(b"busy", status=503, length=4, Retry_After="100")
        with pytest.raises(ServerError):
            await save(Script(busy), tmp_path, clock=clock, limits=DownloadLimits(total_seconds=50.0))
        assert clock.monotonic() < 50.0

    async def test_nor_does_it_when_its_turn_comes_too_late(self, tmp_path: Path) -> None:
        script = Script(half(ETag='"a"'))

        class Late(ManualClock):
            async def sleep(self, seconds: float) -> None:
                self.advance(1000.0)

        clock = Late()
        with pytest.raises(StalledDownloadError, match="not complete after 50 s"):
            await save(script, tmp_path, clock=clock, limits=DownloadLimits(total_seconds=50.0))
        assert len(script.ranges) == 1

    async def test_silence_is_a_stall_however_long_an_attempt_may_take(self, tmp_path: Path) -> None:
        over = asyncio.Event()
        script = Script(sends(BODY[:100_000], BODY[100_000:], length=len(BODY), between=over.wait))
        patient = RetryPolicy(attempts=1, attempt_seconds=3600.0)
        async with Service(script) as service, service.client(retry=patient) as dex:
            try:
                with (
                    anyio.fail_after(30),
                    pytest.raises(StalledDownloadError, match="no more bytes arrived after 100000"),
                ):
                    await dex.downloads.save("c1", tmp_path, limits=DownloadLimits(stall_seconds=0.5))
            finally:
                over.set()

    @pytest.mark.parametrize("options", [{"verify": "md5"}, {"limits": 5}])
    async def test_options_are_checked(self, tmp_path: Path, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            await save(Script(whole()), tmp_path, **options)


class TestProgress:
    async def test_it_is_told_and_what_it_raises_is_logged(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen = list[Progress]()

        def look(progress: Progress) -> None:
            seen.append(progress)
            raise ValueError("a bug of theirs")

        saved = await save(Script(whole()), tmp_path, on_progress=look)
        assert saved.path.read_bytes() == BODY
        assert (seen[-1].received, seen[-1].size, seen[-1].filename) == (len(BODY), len(BODY), "c1.zip")
        assert any("on_progress raised" in record.getMessage() for record in caplog.get_records("call"))
        assert {record.levelno for record in caplog.records if record.exc_info} == {logging.ERROR}

    async def test_bytes_that_come_once_more_to_be_compared_take_nothing_back(self, tmp_path: Path) -> None:
        # Seen: fewer bytes than before, and so many a second that it was less than nothing.
        clock, seen = ManualClock(), list[Progress]()

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            pieces = [BODY[at : at + 10_000] for at in range(start, len(BODY), 10_000)]
            span = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
            return await sends(*pieces, status=206, between=lambda: clock.sleep(0.2), Content_Range=span)(request)

        saved = await save(Script(half(), answer), tmp_path, clock=clock, on_progress=seen.append)
        assert saved.path.read_bytes() == BODY
        received = [progress.received for progress in seen]
        assert received == sorted(received)
        assert received[-1] == len(BODY)
        assert all(progress.rate >= 0 for progress in seen)

    async def test_the_end_is_told_where_the_size_was_not(self, tmp_path: Path) -> None:
        seen = list[Progress]()
        await save(Script(sends(BODY)), tmp_path, on_progress=seen.append)
        assert (seen[-1].received, seen[-1].size) == (len(BODY), len(BODY))

    async def test_so_is_that_of_a_part_that_misses_nothing(self, tmp_path: Path) -> None:
        seen = list[Progress]()
        with pytest.raises(TruncatedArtifactError):
            await save(Script(half(ETag='"one"')), tmp_path, retry=RetryPolicy(attempts=1))
        with (tmp_path / ".c1.zip.part").open("ab") as part:
            part.write(BODY[part.tell() :])
        saved = await save(Script(), tmp_path, on_progress=seen.append)
        assert (saved.path.read_bytes(), saved.resumed_from) == (BODY, len(BODY))
        assert [(progress.received, progress.size, progress.rate) for progress in seen] == [(len(BODY), len(BODY), 0.0)]


class TestThere:
    async def test_by_its_size_where_it_is_no_zip(self, tmp_path: Path) -> None:
        (tmp_path / "c1.pcap").write_bytes(BODY)
        script = Script(whole())
        saved = await save(script, tmp_path, filename="c1.pcap")
        assert saved.skipped
        assert len(script.ranges) == 1

    async def test_into_a_sink(self, tmp_path: Path) -> None:
        (tmp_path / "c1.zip").write_bytes(BODY)
        saved = await save(Script(whole()), FileSink(tmp_path, existing="rename"))
        assert saved.path == tmp_path / "c1 (1).zip"


class InBytes:
    """A path that is not text, which `Path` does not take."""

    def __fspath__(self) -> bytes:
        return b"folder"


class TestMany:
    async def test_they_share_a_limit_of_bytes(self, tmp_path: Path) -> None:
        clock, script = ManualClock(), Script(whole())
        async with (
            Service(script) as service,
            service.client(retry=RETRY, clock=clock) as dex,
            dex.downloads.save_many(["c1", "c2", "c3"], tmp_path, bytes_per_second=100_000) as results,
        ):
            found = [result async for result in results]
        assert all(result.artifact is not None for result in found)
        assert clock.monotonic() == pytest.approx(3 * len(BODY) / 100_000, rel=0.1)

    async def test_waiting_for_the_others_takes_nothing_of_the_time_of_one(self, tmp_path: Path) -> None:
        clock = ManualClock()
        script = Script(sends(BODY[:1000], BODY[1000:], length=len(BODY), between=lambda: clock.sleep(20.0)))
        limits = DownloadLimits(total_seconds=30.0)
        async with (
            Service(script) as service,
            service.client(retry=RETRY, clock=clock) as dex,
            dex.downloads.save_many(["c1", "c2", "c3", "c4"], tmp_path, concurrency=1, limits=limits) as results,
        ):
            assert [result.error async for result in results] == [None] * 4

    @pytest.mark.parametrize("rate", [0, -1, float("inf"), "fast"])
    async def test_the_limit_is_checked(self, tmp_path: Path, rate: Any) -> None:
        async with Service(Script(whole())) as service, service.client() as dex:
            with pytest.raises(ConfigurationError, match="bytes_per_second"):
                dex.downloads.save_many(["c1"], tmp_path, bytes_per_second=rate)

    @pytest.mark.parametrize("commands", ["c1", b"c1", Command(id="c1"), None, 5])
    async def test_so_is_what_they_are(self, tmp_path: Path, commands: Any) -> None:
        async with Service(Script(whole())) as service, service.client() as dex:
            with pytest.raises(ConfigurationError, match="commands must be an iterable of commands or their ids"):
                dex.downloads.save_many(commands, tmp_path)

    @pytest.mark.parametrize("into", [5, None, object(), b"folder", InBytes()])
    async def test_so_is_where_they_go(self, into: Any) -> None:
        async with Service(Script(whole())) as service, service.client() as dex:
            with pytest.raises(ConfigurationError, match="into must be a folder or a Sink"):
                await dex.downloads.save("c1", into)
            with pytest.raises(ConfigurationError, match="into must be a folder or a Sink"):
                dex.downloads.save_many(["c1"], into)
            with pytest.raises(ConfigurationError, match="into must be a folder or a Sink"):
                dex.capture([], into)

    @pytest.mark.parametrize("arguments", [{}, {"command": "c1", "command_id": "c1"}])
    async def test_and_what_is_to_be_saved(self, tmp_path: Path, arguments: dict[str, Any]) -> None:
        async with Service(Script(whole())) as service, service.client() as dex:
            with pytest.raises(ConfigurationError, match="pass either a command, or command_id"):
                await dex.downloads.save(into=tmp_path, **arguments)


class OwnSink:
    """A sink of one's own, that fails at every other artifact with an error of the system."""

    def __init__(self) -> None:
        self.begun = 0
        self.content: dict[str, bytes] = {}

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncGenerator["OwnSink"]:
        yield self

    @asynccontextmanager
    async def target(self, name: ArtifactName, verify: Verify) -> AsyncGenerator["OwnTarget"]:
        self.begun += 1
        yield OwnTarget(self, name.command_id, fails=self.begun % 2 == 0)


class OwnTarget:
    def __init__(self, sink: OwnSink, key: str, *, fails: bool) -> None:
        self._sink, self._key, self._fails = sink, key, fails
        self._body = b""

    @property
    def have(self) -> Have:
        return Have()

    async def find(self, size: int | None) -> Saved | None:
        return None

    async def begin(self, body: Body) -> None:
        self._body = b""

    async def tail(self, size: int) -> bytes:
        raise AssertionError("nothing is ever joined")

    async def write(self, chunk: bytes) -> None:
        if self._fails:
            raise ConnectionResetError("the other side is gone")
        self._body += chunk

    async def finish(self, resumed_from: int) -> Saved:
        self._sink.content[self._key] = self._body
        return Saved(size=len(self._body), sha256="")


async def test_a_sink_of_ones_own_and_its_failures() -> None:
    sink = OwnSink()
    async with (
        Service(Script(whole())) as service,
        service.client() as dex,
        dex.downloads.save_many(["a", "b", "c", "d"], sink, concurrency=1) as results,
    ):
        found = [result async for result in results]
    assert len(sink.content) == 2
    assert set(sink.content.values()) == {BODY}
    errors = [str(result.error) for result in found if result.error is not None]
    assert [error.endswith(".zip: the other side is gone") for error in errors] == [True, True]
    assert all(isinstance(result.error, DownloadError | None) for result in found)


async def test_what_is_being_finished_has_no_place_among_those_that_receive() -> None:
    received, another = 0, asyncio.Event()

    class WaitsForAnother(OwnTarget):
        async def begin(self, body: Body) -> None:
            nonlocal received
            await super().begin(body)
            received += 1
            if received > 1:
                another.set()

        async def finish(self, resumed_from: int) -> Saved:
            await another.wait()
            return await super().finish(resumed_from)

    class Patient(OwnSink):
        @asynccontextmanager
        async def target(self, name: ArtifactName, verify: Verify) -> AsyncGenerator[OwnTarget]:
            yield WaitsForAnother(self, name.command_id, fails=False)

    async with Service(Script(whole())) as service, service.client() as dex:
        with anyio.fail_after(60):
            async with dex.downloads.save_many(["a", "b"], Patient(), concurrency=1) as results:
                assert [result.error async for result in results] == [None] * 2


class Deserter(OwnSink):
    """A sink that ends as if it were cancelled, which nobody asked for."""

    @asynccontextmanager
    async def target(self, name: ArtifactName, verify: Verify) -> AsyncGenerator[OwnTarget]:
        raise asyncio.CancelledError
        yield


class DesertsAtOnce(OwnSink):
    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncGenerator[OwnSink]:
        raise asyncio.CancelledError
        yield


async def deserting() -> AsyncGenerator[str]:
    yield "c1"
    raise asyncio.CancelledError


@pytest.mark.parametrize("sink", [Deserter(), DesertsAtOnce()])
async def test_a_sink_that_cancels_itself_does_not_end_an_iteration_in_silence(rig: Rig, sink: OwnSink) -> None:
    await rig.start()
    told = "raised CancelledError, but was not cancelled"
    with anyio.fail_after(60):
        async with rig.dex.capture(rig.requests(3), sink) as captured:
            with pytest.raises(RuntimeError, match=told):
                [result async for result in captured]
        async with rig.dex.downloads.save_many(["c1", "c2"], sink) as saved:
            with pytest.raises(RuntimeError, match=told):
                [result async for result in saved]


async def test_nor_do_commands_that_cancel_themselves(tmp_path: Path) -> None:
    async with Service(Script(whole())) as service, service.client() as dex:
        with anyio.fail_after(60):
            async with dex.downloads.save_many(deserting(), tmp_path, concurrency=1) as results:
                with pytest.raises(RuntimeError, match="raised CancelledError, but was not cancelled"):
                    [result async for result in results]


async def test_who_is_cancelled_is_told_so_whatever_the_sink_does(rig: Rig) -> None:
    await rig.start()
    begun = asyncio.Event()

    class Slow(OwnSink):
        @asynccontextmanager
        async def target(self, name: ArtifactName, verify: Verify) -> AsyncGenerator[OwnTarget]:
            begun.set()
            await asyncio.Event().wait()
            yield OwnTarget(self, name.command_id, fails=False)

    async def capture() -> None:
        async with rig.dex.capture(rig.requests(1), Slow()) as results:
            [result async for result in results]

    task = asyncio.create_task(capture())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
