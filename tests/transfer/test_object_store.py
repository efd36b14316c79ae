"""Artifacts into an object store: a real server that speaks S3, over sockets, and obstore's small stores."""

import asyncio
import hashlib
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
import zipfile
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import attrs
import obstore
import pytest
from aiohttp import web
from obstore.store import LocalStore, MemoryStore
from yarl import URL

from dexcmd import (
    ArtifactExistsError,
    Command,
    ConfigurationError,
    DexClient,
    DownloadError,
    InsufficientSpaceError,
    InvalidArtifactError,
    ObjectStoreSink,
    RetryPolicy,
    StoredArtifact,
    TruncatedArtifactError,
    UnsafeFilenameError,
    WarpDiag,
)
from dexcmd.clock import Clock, SystemClock
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.transfer import objecttarget, unpacking
from dexcmd.transfer import spool as spool_module
from dexcmd.transfer.bucket import ObjectLocation
from dexcmd.transfer.objectstore import Objects
from dexcmd.transfer.objecttarget import Tail
from dexcmd.transfer.options import Verify
from dexcmd.transfer.ranges import OVERLAP, Body, Version
from dexcmd.transfer.saver import check_ready
from dexcmd.transfer.sink import ArtifactName
from tests.conftest import Rig
from tests.sandbox.sandbox_api import until
from tests.test_downloads import content, make
from tests.test_session import Service
from tests.transfer.filerig import HeldCheck, HeldReading
from tests.transfer.s3server import WEED, S3Server, s3_server
from tests.zips import forge, zeros

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PART = 5 * MIB
SMALL = 300_000
LARGE = 12_000_000


@attrs.frozen
class Place:
    """A folder of its own in the bucket."""

    server: S3Server
    prefix: str

    def sink(self, **options: Any) -> ObjectStoreSink:
        return ObjectStoreSink(self.server.store(), self.prefix, **{"buffer_size": PART, **options})

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self.server.reader, key).bytes())

    def attributes(self, key: str) -> dict[str, str]:
        return dict(obstore.get(self.server.reader, key, options={"head": True}).attributes)

    def assert_holds(self, *keys: str) -> None:
        """Check that there is nothing but these artifacts, each with a checksum that is right, and no trace else."""
        assert self.server.keys(self.prefix) == sorted([*keys, *(f"{key}.sha256" for key in keys)])
        for key in keys:
            name = key.rpartition("/")[2]
            expected = f"{hashlib.sha256(self.read(key)).hexdigest()}  {name}\n"
            assert self.read(f"{key}.sha256").decode() == expected
        assert self.server.unfinished(self.prefix) == []
        assert not [thread for thread in threading.enumerate() if thread.name == "dexcmd-uploader"]


@pytest.fixture
def place(s3: S3Server) -> Place:
    return Place(s3, f"{uuid.uuid4()}/of today/")


def memory(**options: Any) -> ObjectStoreSink:
    return ObjectStoreSink(MemoryStore(), **options)


def listed(store: Any) -> list[str]:
    return sorted(meta["path"] for batch in obstore.list(store) for meta in batch)


@pytest.mark.parametrize("size", [2_000, SMALL, MIB + 1, 4 * MIB, 20_000_000])
async def test_an_artifact_becomes_an_object(rig: Rig, place: Place, size: int) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)
    body = await content(rig, command)
    async with rig.dex.downloads.open(command) as artifact:
        etag = artifact.etag
    stored = await rig.dex.downloads.save(command, place.sink(attributes={"Cache-Control": "no-store", "team": "net"}))
    assert stored.key == f"{place.prefix}{command.id}.zip"
    place.assert_holds(stored.key)
    assert place.read(stored.key) == body
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(body).hexdigest())
    assert (stored.resumed_from, stored.skipped) == (0, False)
    assert stored.e_tag == obstore.head(place.server.reader, stored.key)["e_tag"]
    assert place.attributes(stored.key) == {
        "Content-Type": "application/zip",
        "Cache-Control": "no-store",
        "dexcommand": command.id,
        "dexfilename": f"{command.id}.zip",
        "dexetag": str(etag).replace('"', "%22"),
        "team": "net",
    }
    assert place.attributes(f"{stored.key}.sha256")["Content-Type"] == "text/plain"


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_what_is_there_whole_is_skipped_without_a_request(rig: Rig, place: Place, size: int) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)
    first = await rig.dex.downloads.save(command, place.sink())
    again = await rig.dex.downloads.save(command, place.sink())
    assert again == attrs.evolve(first, skipped=True)
    assert rig.made("download") == 1


@pytest.mark.parametrize(
    "mark", [None, b"", b"what?\n", b"0" * 64 + b"  of-another.zip\n", b"0" * 5000], ids=["none", "empty", *"abc"]
)
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_what_has_no_checksum_is_not_whole(rig: Rig, place: Place, size: int, mark: bytes | None) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)
    key = f"{place.prefix}{command.id}.zip"
    obstore.put(place.server.store(), key, b"something")
    if mark is not None:
        obstore.put(place.server.store(), f"{key}.sha256", mark)
    stored = await rig.dex.downloads.save(command, place.sink())
    assert not stored.skipped
    place.assert_holds(key)


async def test_a_checksum_without_its_object_is_nothing(rig: Rig, place: Place) -> None:
    await rig.start(artifact_size=SMALL)
    command = await make(rig)
    stored = await rig.dex.downloads.save(command, place.sink())
    obstore.delete(place.server.store(), stored.key)
    again = await rig.dex.downloads.save(command, place.sink())
    assert not again.skipped
    place.assert_holds(stored.key)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_object_that_is_there_is_replaced_where_told_so(rig: Rig, place: Place, size: int) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)
    key = f"{place.prefix}{command.id}.zip"
    for _ in range(2):
        stored = await rig.dex.downloads.save(command, place.sink(existing="overwrite"))
        assert not stored.skipped
        place.assert_holds(key)
    assert rig.made("download") == 2


async def test_an_object_that_is_there_is_an_error_where_told_so(rig: Rig, place: Place) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    sink = place.sink(existing="error")
    stored = await rig.dex.downloads.save(command, sink)
    with pytest.raises(ArtifactExistsError, match="already exists"):
        await rig.dex.downloads.save(command, sink)
    assert rig.made("download") == 1
    place.assert_holds(stored.key)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_an_object_that_comes_meanwhile_is_an_error_where_told_so(rig: Rig, place: Place, size: int) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)

    async def meanwhile(step: str) -> None:
        if step == "finish":
            obstore.put(place.server.store(), f"{place.prefix}{command.id}.zip", b"mine")

    with pytest.raises(ArtifactExistsError):
        await rig.dex.downloads.save(command, Stepping(place.sink(existing="error"), meanwhile))
    assert place.server.keys(place.prefix) == [f"{place.prefix}{command.id}.zip"]
    assert place.server.unfinished(place.prefix) == []


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("at", [0, 1, 0.02, 0.5, 0.999])
async def test_a_broken_download_goes_on_in_the_same_upload(rig: Rig, place: Place, at: float, framing: Any) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    body = await content(rig, command)
    rig.sandbox.faults.add(Fault.cut(at, framing=framing), on="download")
    stored = await rig.dex.downloads.save(command, place.sink())
    assert place.read(stored.key) == body
    place.assert_holds(stored.key)
    if stored.resumed_from:
        assert rig.sandbox.requests[-1].headers["Range"] == f"bytes={stored.resumed_from}-"
    if at == 0.5:
        assert stored.resumed_from > 0


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.instant(ranges=False),
        Behaviour.instant(etag="weak"),
        Behaviour.instant(etag="none"),
        Behaviour.instant(download_length=False),
        Behaviour.instant(download_encoding="gzip-always"),
        Behaviour.instant(download_redirect=307),
    ],
    ids=["no ranges", "weak", "no etag", "no length", "gzip", "redirect"],
)
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_whatever_the_service_does_the_object_is_whole(
    rig: Rig, place: Place, behaviour: Behaviour, size: int
) -> None:
    await rig.start(artifact_size=size, behaviour=behaviour)
    command = await make(rig)
    body = await content(rig, command)
    rig.sandbox.faults.add(Fault.cut(0.5), on=["download", "storage"])
    stored = await rig.dex.downloads.save(command, place.sink())
    assert place.read(stored.key) == body
    place.assert_holds(stored.key)


async def test_an_overlap_is_compared_where_the_etag_is_weak(rig: Rig, place: Place) -> None:
    await rig.start(artifact_size=LARGE, behaviour=Behaviour.instant(etag="weak"))
    command = await make(rig)
    body = await content(rig, command)
    rig.sandbox.faults.add(Fault.cut(0.5), on="download")
    stored = await rig.dex.downloads.save(command, place.sink())
    assert stored.resumed_from > 0
    assert rig.sandbox.requests[-1].headers["Range"] == f"bytes={stored.resumed_from - 64 * 1024}-"
    assert place.read(stored.key) == body


async def test_an_artifact_that_changes_half_way_is_never_spliced(rig: Rig, place: Place) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    rig.sandbox.faults.add(Fault.revise(0.5), on="download")
    stored = await rig.dex.downloads.save(command, place.sink())
    assert stored.resumed_from == 0
    assert place.read(stored.key) == await content(rig, command)
    place.assert_holds(stored.key)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.cut(0.7), TruncatedArtifactError),
        (Fault.cut(0.7, framing="close"), InvalidArtifactError),
        (Fault.lying_length(-100), InvalidArtifactError),
        (Fault.corrupt(0.5), InvalidArtifactError),
        (Fault.corrupt(0), InvalidArtifactError),
        (Fault.garbage(), InvalidArtifactError),
    ],
    ids=lambda value: f"{value.kind}-{value.at}-{value.framing}" if isinstance(value, Fault) else None,
)
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_what_is_not_whole_is_never_seen(
    rig: Rig, place: Place, size: int, fault: Fault, error: type[Exception]
) -> None:
    await rig.start(artifact_size=size, behaviour=Behaviour.instant(ranges=False))
    command = await make(rig)
    rig.sandbox.faults.add(fault, on="download", times=None)
    with pytest.raises(error):
        await rig.dex.downloads.save(command, place.sink())
    place.assert_holds()


async def test_an_object_that_is_there_outlives_a_download_that_fails(rig: Rig, place: Place) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    stored = await rig.dex.downloads.save(command, place.sink())
    rig.sandbox.faults.add(Fault.corrupt(0.5), on="download", times=None)
    with pytest.raises(InvalidArtifactError):
        await rig.dex.downloads.save(command, place.sink(existing="overwrite"))
    place.assert_holds(stored.key)


async def test_many_artifacts_are_stored_side_by_side(rig: Rig, place: Place) -> None:
    await rig.start(60)
    bulk = await rig.dex.commands.create_many(rig.requests(40))
    keys = [f"{place.prefix}{command.id}.zip" for command in bulk.commands]
    for skipped in (0, 40):
        async with rig.dex.downloads.save_many(bulk.commands, place.sink()) as results:
            found = [result.artifact async for result in results]
        assert {artifact.key for artifact in found if artifact is not None} == set(keys)
        assert (results.totals.saved, results.totals.skipped) == (40 - skipped, skipped)
        place.assert_holds(*keys)
    assert rig.made("download") == 40


async def test_large_ones_wait_for_their_turn(rig: Rig, place: Place) -> None:
    await rig.start(artifact_size=3 * MIB)
    bulk = await rig.dex.commands.create_many(rig.requests(6))
    keys = [f"{place.prefix}{command.id}.zip" for command in bulk.commands]
    most = 0

    async def count(step: str) -> None:
        nonlocal most
        # The first one may be whole before another has begun, but its turn is not over before it is finished.
        with anyio.fail_after(30):
            while True:
                most = max(most, sum(thread.name == "dexcmd-uploader" for thread in threading.enumerate()))
                if step != "finish" or most > 1:
                    return
                await asyncio.sleep(0.001)

    sink = Stepping(place.sink(uploads=2), count)
    async with rig.dex.downloads.save_many(bulk.commands, sink, concurrency=6) as results:
        assert len([result async for result in results if result.artifact is not None]) == 6
    assert most == 2
    place.assert_holds(*keys)


async def test_a_damaged_one_makes_room_for_no_more_than_one() -> None:
    much = bytes(2 * MIB)
    async with memory(uploads=1).open(SystemClock()) as store:
        with pytest.raises(InvalidArtifactError):
            async with store.target(ArtifactName("c1", "c1.zip"), "zip") as damaged:
                await damaged.begin(Body(0, Version()))
                await damaged.write(much)
                await damaged.finish(0)
        async with (
            store.target(ArtifactName("c2", "c2.zip"), "none") as first,
            store.target(ArtifactName("c3", "c3.zip"), "none") as second,
        ):
            await first.begin(Body(0, Version()))
            await first.write(much)
            await second.begin(Body(0, Version()))
            waiting = asyncio.ensure_future(second.write(much))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not waiting.done()
            await first.finish(0)
            await first.close()
            await waiting


async def test_targets_become_objects(rig: Rig, place: Place) -> None:
    await rig.start()
    async with rig.dex.capture(rig.requests(5), into=place.sink()) as results:
        found = [result.artifact async for result in results]
    place.assert_holds(*(artifact.key for artifact in found if artifact is not None))
    assert len(found) == 5


class Stepping:
    """A sink around another one: calls `on_step` before each call of a target's, with its name."""

    def __init__(self, sink: ObjectStoreSink, on_step: Any) -> None:
        self._sink = sink
        self._on_step = on_step

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncIterator["Stepping"]:
        async with self._sink.open(clock) as self._store:
            yield self

    @asynccontextmanager
    async def target(self, name: ArtifactName, verify: Verify) -> AsyncIterator["SteppingTarget"]:
        await self._on_step("target")
        async with self._store.target(name, verify) as target:
            yield SteppingTarget(target, self._on_step)


class SteppingTarget:
    def __init__(self, target: Any, on_step: Any) -> None:
        self._target = target
        self._on_step = on_step

    @property
    def have(self) -> Any:
        return self._target.have

    async def find(self, size: int | None) -> Any:
        await self._on_step("find")
        return await self._target.find(size)

    async def begin(self, body: Body) -> None:
        await self._on_step("begin")
        await self._target.begin(body)

    async def tail(self, size: int) -> bytes:
        await self._on_step("tail")
        return await self._target.tail(size)

    async def write(self, chunk: bytes) -> None:
        await self._on_step("write")
        await self._target.write(chunk)

    async def finish(self, resumed_from: int) -> Any:
        await self._on_step("finish")
        return await self._target.finish(resumed_from)


async def cancelled_at(rig: Rig, sink: ObjectStoreSink, command: Command, step: str, number: int, turns: int) -> Any:
    """Save, and cancel that `turns` of the loop after the given call of a step; return what came of it."""
    loop, seen = asyncio.get_running_loop(), 0

    def cancel(left: int) -> None:
        if left:
            loop.call_soon(cancel, left - 1)
        else:
            task.cancel()

    async def on_step(name: str) -> None:
        nonlocal seen
        seen += name == step
        if name == step and seen == number:
            cancel(turns)

    task = asyncio.ensure_future(rig.dex.downloads.save(command, Stepping(sink, on_step)))
    [outcome] = await asyncio.gather(task, return_exceptions=True)
    return outcome


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 20])
@pytest.mark.parametrize(
    ("step", "number"),
    [("target", 1), ("find", 2), ("write", 1), ("write", 8), ("write", 25), ("begin", 2), ("finish", 1)],
)
async def test_a_cancellation_leaves_nothing_or_the_whole(
    rig: Rig, place: Place, step: str, number: int, turns: int
) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    rig.sandbox.faults.add(Fault.revise(0.7), on="download")
    outcome = await cancelled_at(rig, place.sink(), command, step, number, turns)
    whole = [f"{place.prefix}{command.id}.zip"] if place.server.keys(place.prefix) else []
    assert isinstance(outcome, asyncio.CancelledError | StoredArtifact)
    assert whole or isinstance(outcome, asyncio.CancelledError)
    place.assert_holds(*whole)
    if step not in ("begin", "finish"):
        assert not whole


async def test_a_cancellation_while_bytes_are_on_their_way_aborts_the_upload(rig: Rig, place: Place) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    rig.sandbox.faults.add(Fault.stall(0.9), on="download")
    task = asyncio.ensure_future(rig.dex.downloads.save(command, place.sink()))
    while not await asyncio.to_thread(place.server.unfinished, place.prefix):
        assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    place.assert_holds()


HOSTILE = [
    "../../etc/passwd.zip",
    "a/b//c.zip",
    "..%2f..%2fx.zip",
    "C:\\windows\\x.zip",
    "nul.zip",
    "sp ace #[1]{2}~%41?&+.zip",
    "zażółć ‮gnp.zip",
    "x\x00y\nz.zip",
    "日本" * 300 + ".zip",
]


@pytest.mark.parametrize("filename", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_names_stay_below_the_prefix(place: Place, filename: str) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=zipped(ZIP_DEFLATED, b"x"), content_type="application/zip")

    async with Service(handler) as service, service.client() as dex:
        try:
            stored = await dex.downloads.save(Command(id="c", filename=filename), place.sink(existing="overwrite"))
        except UnsafeFilenameError:
            place.assert_holds()
            return
    assert re.fullmatch(re.escape(place.prefix) + r"[^/\x00-\x1f]+", stored.key)
    place.assert_holds(stored.key)
    assert all(text.isascii() for text in place.attributes(stored.key).values())


ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2 = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2


class Unseekable(BytesIO):
    """A file that nobody can go back in: sizes are written behind the members."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    seek = None  # type: ignore[assignment]


def zipped(method: int, data: bytes, into: BytesIO | None = None) -> bytes:
    into = BytesIO() if into is None else into
    with zipfile.ZipFile(into, "w", method) as archive:
        archive.writestr("of.txt", data)
    return into.getvalue()


@asynccontextmanager
async def serving(body: bytes, attempts: int = 2) -> AsyncIterator[tuple[Any, list[int]]]:
    """Give a client for a service with one artifact, and the numbers of bytes that it has been asked for."""
    asked: list[int] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(len(body))
        return web.Response(body=body, content_type="application/zip")

    retry = RetryPolicy(attempts=attempts, attempt_seconds=5.0)
    async with Service(handler) as service, service.client(retry=retry, random=lambda: 0.0) as dex:
        yield dex, asked


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("method", [ZIP_STORED, ZIP_BZIP2], ids=["stored", "bzip2"])
@pytest.mark.parametrize("size", [SMALL, 12_000_000])
async def test_what_one_pass_can_not_verify_is_verified_all_the_same(
    place: Place, temporary: Path, size: int, method: int
) -> None:
    body = zipped(method, os.urandom(size), Unseekable() if method == ZIP_STORED else None)
    async with serving(body) as (dex, asked):
        stored = await dex.downloads.save("c", place.sink())
    assert place.read(stored.key) == body
    assert (stored.size, stored.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    place.assert_holds(stored.key)
    assert len(asked) == (1 if size == SMALL else 2)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("size", [SMALL, 12_000_000])
async def test_what_one_pass_can_not_verify_and_is_damaged_is_never_seen(
    place: Place, temporary: Path, size: int
) -> None:
    body = bytearray(zipped(ZIP_STORED, os.urandom(size), Unseekable()))
    body[size // 2] ^= 1
    async with serving(bytes(body)) as (dex, _):
        with pytest.raises(InvalidArtifactError):
            await dex.downloads.save("c", place.sink())
    place.assert_holds()
    assert list(temporary.iterdir()) == []


async def test_with_one_attempt_what_one_pass_can_not_verify_is_an_error(place: Place) -> None:
    async with serving(zipped(ZIP_STORED, os.urandom(2 * MIB), Unseekable()), attempts=1) as (dex, asked):
        with pytest.raises(InvalidArtifactError, match="can't be verified in one pass"):
            await dex.downloads.save("c", place.sink())
    assert len(asked) == 1
    place.assert_holds()


@pytest.mark.parametrize("comes", ["twice", "in two parts"])
async def test_those_that_are_tried_again_and_those_that_wait_for_their_turn_do_not_wait_for_each_other(
    comes: str,
) -> None:
    framing = Unseekable() if comes == "twice" else None
    body = zipped(ZIP_STORED, os.urandom(3 * MIB), framing)
    asked = 0

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        headers = {"ETag": '"one"', "Content-Type": "application/zip"}
        if comes == "in two parts" and "Range" not in request.headers:
            response = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[: 2 * MIB])
            assert request.transport is not None
            request.transport.close()
            return response
        part = request.http_range
        start = part.start or 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return web.Response(status=206 if start else 200, body=body[start:], headers=headers)

    retry = RetryPolicy(attempts=3, attempt_seconds=5.0)
    sink = memory(uploads=1)
    async with Service(handler) as service, service.client(retry=retry, random=lambda: 0.0) as dex:
        with anyio.fail_after(60):
            async with dex.downloads.save_many(["c1", "c2", "c3"], sink, concurrency=1) as results:
                assert [result.error async for result in results] == [None] * 3
    assert asked == 6
    assert listed(sink.store) == sorted(f"{name}.zip{mark}" for name in ("c1", "c2", "c3") for mark in ("", ".sha256"))


async def test_what_comes_in_the_second_pass_counts_as_well() -> None:
    body = zipped(ZIP_STORED, os.urandom(6 * MIB), Unseekable())
    asked: list[int] = []
    refused = 0

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal refused
        if refused < 2:
            # Nor does what came before the first pass count any more.
            refused += 1
            return web.Response(status=503)
        start = request.http_range.start or 0
        asked.append(start)
        headers = {"ETag": '"one"', "Content-Type": "application/zip", "Content-Length": str(len(body) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        # In the second pass a piece at a time.
        await response.write(body[start:] if len(asked) == 1 else body[start : start + 2 * MIB])
        if len(asked) > 1:
            assert request.transport is not None
            request.transport.close()
        return response

    retry = RetryPolicy(attempts=3, attempt_seconds=5.0)
    sink = memory()
    async with Service(handler) as service, service.client(retry=retry, random=lambda: 1.0) as dex:
        await dex.downloads.save("c", sink)
    assert asked[:2] == [0, 0]
    assert len(asked) > 1 + retry.attempts
    assert listed(sink.store) == ["c.zip", "c.zip.sha256"]


@pytest.mark.parametrize("turns", range(0, 40, 4))
async def test_a_cancellation_of_the_second_pass_leaves_no_file(place: Place, temporary: Path, turns: int) -> None:
    body = zipped(ZIP_STORED, os.urandom(12_000_000), Unseekable())
    loop, finishes = asyncio.get_running_loop(), 0

    async def on_step(name: str) -> None:
        nonlocal finishes
        finishes += name == "finish"
        if finishes == 2:
            cancel(turns)

    def cancel(left: int) -> None:
        if left:
            loop.call_soon(cancel, left - 1)
        else:
            task.cancel()

    async with serving(body) as (dex, _):
        task = asyncio.ensure_future(dex.downloads.save("c", Stepping(place.sink(), on_step)))
        [outcome] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    assert list(temporary.iterdir()) == []
    place.assert_holds()


async def test_a_cancellation_ends_the_reading_of_the_file(
    place: Place, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seen: it was read to its end all the same.
    reading = HeldReading(monkeypatch, objecttarget)
    async with serving(zipped(ZIP_BZIP2, os.urandom(SMALL))) as (dex, _):
        await reading.cancel(asyncio.ensure_future(dex.downloads.save("c", place.sink())))
    assert list(temporary.iterdir()) == []
    place.assert_holds()


@pytest.mark.parametrize("mebibytes", [500, 2_000], ids=["small", "large"])
async def test_a_cancellation_ends_a_check_that_takes_long(
    place: Place, monkeypatch: pytest.MonkeyPatch, mebibytes: int
) -> None:
    check = HeldCheck(monkeypatch)
    async with serving(forge([zeros(mebibytes)])) as (dex, _):
        await check.cancel(asyncio.ensure_future(dex.downloads.save("c", place.sink())))
    place.assert_holds()


async def test_one_that_unpacks_to_too_much_is_refused(
    place: Place, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MAX_UNPACKED", SMALL - 1)
    async with serving(zipped(ZIP_BZIP2, bytes(SMALL))) as (dex, _):
        with pytest.raises(InvalidArtifactError, match="bytes, more than"):
            await dex.downloads.save("c", place.sink())
    assert list(temporary.iterdir()) == []
    place.assert_holds()


async def test_a_full_disk_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # A device that is full whenever it is written to.
    monkeypatch.setattr(spool_module.tempfile, "TemporaryFile", lambda **_: open("/dev/full", "r+b", buffering=0))  # noqa: PTH123, SIM115
    async with serving(zipped(ZIP_STORED, os.urandom(SMALL), Unseekable())) as (dex, _):
        with pytest.raises(InsufficientSpaceError):
            await dex.downloads.save("c", place.sink())
    place.assert_holds()


async def test_no_folder_for_the_second_pass_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    async with serving(zipped(ZIP_STORED, os.urandom(SMALL), Unseekable())) as (dex, _):
        with pytest.raises(DownloadError, match="No such file"):
            await dex.downloads.save("c", memory())


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_bucket_that_is_missing_is_a_typed_error(rig: Rig, s3: S3Server, size: int) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)
    with pytest.raises(DownloadError, match="NoSuchBucket"):
        await rig.dex.downloads.save(command, ObjectStoreSink(s3.store("no-such-bucket"), buffer_size=PART))
    assert [bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]] == ["downloads"]


@pytest.mark.skipif(WEED is None, reason="moto lets everybody in")
@pytest.mark.parametrize("existing", ["verify", "overwrite", "error"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_credentials_that_are_wrong_are_a_typed_error(rig: Rig, s3: S3Server, size: int, existing: Any) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)
    sink = ObjectStoreSink(s3.store(secret_access_key="very-wrong"), existing=existing, buffer_size=PART)
    with pytest.raises(DownloadError) as caught:
        await rig.dex.downloads.save(command, sink)
    text = str(caught.value)
    assert text.startswith(f"{command.id}.zip")
    assert "403" in text
    assert "\n" not in text
    assert "very-wrong" not in text


@pytest.mark.parametrize("step", ["target", "write", "finish"])
async def test_a_server_that_goes_away_is_a_typed_error(rig: Rig, step: str, caplog: pytest.LogCaptureFixture) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    with s3_server() as server:

        async def on_step(name: str) -> None:
            # Of bytes, once some of them are there.
            if name == step and server.process.poll() is None and (step != "write" or server.unfinished("")):
                server.kill()

        store = server.store(retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=2)})
        with pytest.raises(DownloadError) as caught:
            await rig.dex.downloads.save(command, Stepping(ObjectStoreSink(store, buffer_size=PART), on_step))
    assert "\n" not in str(caught.value)
    assert not [thread for thread in threading.enumerate() if thread.name == "dexcmd-uploader"]
    logged = [record for record in caplog.records if "unfinished upload" in record.getMessage()]
    assert bool(logged) == (step != "target")
    assert all(record.levelno == logging.WARNING for record in logged)


async def test_nothing_is_created_for_a_store_that_does_not_answer(rig: Rig, s3: S3Server) -> None:
    await rig.start()
    with socket.socket() as nobody:
        # Bound, but not listening: connections are refused.
        nobody.bind(("127.0.0.1", 0))
        silent = attrs.evolve(s3, url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        store = silent.store(retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=2)})
        with pytest.raises(DownloadError, match=r"^captures/\.dexcmd: "):
            async with rig.dex.capture(rig.requests(3), into=ObjectStoreSink(store, "captures/")) as results:
                assert [result async for result in results] == []
    assert rig.made("create_commands") == 0


@pytest.mark.skipif(WEED is None, reason="moto lets everybody in")
async def test_a_store_that_refuses_to_be_read_is_not_refused_beforehand(rig: Rig, place: Place) -> None:
    await rig.start()
    sink = ObjectStoreSink(place.server.store(secret_access_key="very-wrong"), place.prefix)
    await check_ready(sink)
    with pytest.raises(DownloadError, match="403"):
        await rig.dex.downloads.save(await make(rig), sink)


async def test_an_abort_that_fails_hides_no_error(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    with s3_server() as server:

        async def on_step(name: str) -> None:
            if name == "write" and server.unfinished(""):
                server.kill()
                raise ZeroDivisionError

        store = server.store(retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=2)})
        with pytest.raises(ZeroDivisionError):
            await rig.dex.downloads.save(command, Stepping(ObjectStoreSink(store, buffer_size=PART), on_step))
    assert "the unfinished upload could not be aborted: " in caplog.text


@pytest.mark.parametrize(
    ("method", "query"),
    [("POST", "?uploads"), ("PUT", "partNumber=1&"), ("PUT", "partNumber=3&"), ("POST", "?uploadId")],
)
async def test_an_upload_that_is_refused_is_a_typed_error_and_is_aborted(
    rig: Rig, place: Place, method: str, query: str
) -> None:
    await rig.start(artifact_size=LARGE)
    command = await make(rig)
    refused = 0

    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal refused
        body = await request.content.read()
        if request.method == method and query in request.raw_path:
            refused += 1
            answer = web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        else:
            answer = await forwarded(request, place.server.url, body)
        answer.force_close()
        return answer

    before = asyncio.all_tasks()
    async with Service(forward) as proxy:
        store = place.server.store(endpoint=proxy.origin)
        with pytest.raises(DownloadError, match="AccessDenied"):
            await rig.dex.downloads.save(command, ObjectStoreSink(store, place.prefix, buffer_size=PART))
    assert refused > 0
    place.assert_holds()
    # The proxy's connections end a few turns of the loop later.
    await until(lambda: asyncio.all_tasks() <= before)


async def forwarded(request: web.BaseRequest, origin: str, body: bytes) -> web.Response:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    url = URL(origin + request.raw_path, encoded=True)
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(request.method, url, headers=headers, data=BytesIO(body)) as answer,
    ):
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        return web.Response(status=answer.status, headers=kept, body=await answer.read())


HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


async def test_no_checksum_ever_stands_beside_an_object_that_it_does_not_describe(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=SMALL)
    command = await make(rig)
    sink = ObjectStoreSink(LocalStore(tmp_path), attributes=None, existing="overwrite")
    stored = await rig.dex.downloads.save(command, sink)
    # It takes no metadata, so the next write fails: at that time the checksum must be gone.
    with pytest.raises(DownloadError):
        await rig.dex.downloads.save(command, attrs.evolve(sink, attributes={}))
    assert listed(sink.store) == [stored.key]


@pytest.mark.parametrize("stores", ["files of a server", "memory"])
async def test_a_checksum_of_another_version_is_no_reason_to_skip(
    place: Place, stores: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seen: two calls at the same time, and a checksum of the one beside the object of the other, believed for ever.
    bodies = [zipped(ZIP_STORED, os.urandom(SMALL)) for _ in range(2)]
    sink = place.sink() if stores != "memory" else memory()
    asked: list[bytes] = []
    may, reached, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()
    write_checksum, held = ObjectLocation.write_checksum, list[bool]()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(bodies[min(len(asked), 1)])
        return web.Response(
            body=asked[-1], content_type="application/zip", headers={"ETag": f'"{zlib.crc32(asked[-1])}"'}
        )

    def hold_the_first(bucket: ObjectLocation, sha256: str, attributes: Any) -> None:
        if not held:
            held.append(True)
            loop.call_soon_threadsafe(reached.set)
            may.wait()
        write_checksum(bucket, sha256, attributes)

    monkeypatch.setattr(ObjectLocation, "write_checksum", hold_the_first)
    async with Service(handler) as service, service.client() as dex:
        first = asyncio.ensure_future(dex.downloads.save("c", sink))
        await reached.wait()
        await dex.downloads.save("c", sink)
        may.set()
        await first
        stored = await dex.downloads.save("c", sink)
        assert (stored.sha256, stored.skipped) == (hashlib.sha256(bodies[1]).hexdigest(), False)
        stored = await dex.downloads.save("c", sink)
        assert (stored.sha256, stored.skipped) == (hashlib.sha256(bodies[1]).hexdigest(), True)
    assert len(asked) == 3


@pytest.mark.parametrize("size", [1, 1000, OVERLAP - 1, OVERLAP, 3 * OVERLAP])
def test_the_tail_is_as_long_as_an_overlap(size: int) -> None:
    tail, body = Tail(), os.urandom(5 * OVERLAP)
    for start in range(0, len(body), size):
        tail.add(body[start : start + size])
    assert tail.last(OVERLAP) == body[-OVERLAP:]
    assert tail.last(10) == body[-10:]
    assert tail.size < OVERLAP + size


def test_messages_hold_no_secrets() -> None:
    from dexcmd.transfer.bucket import _message

    text = (
        "Error performing PUT https://user:pass@store.example/container/key?sig=SECRET%3D&se=2026 in 3 ms - "
        "403 Forbidden\n\nDebug source:\nGeneric { key: SECRET }"
    )
    assert _message(ValueError(text)) == (
        "Error performing PUT https://store.example/container/key in 3 ms - 403 Forbidden"
    )


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_store_without_metadata_needs_to_be_told(rig: Rig, tmp_path: Path, size: int) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)
    store = LocalStore(tmp_path)
    with pytest.raises(DownloadError, match="attributes"):
        await rig.dex.downloads.save(command, ObjectStoreSink(store, buffer_size=PART))
    assert listed(store) == []
    sink = ObjectStoreSink(store, "a/b", buffer_size=PART, attributes=None)
    stored = await rig.dex.downloads.save(command, sink)
    assert (tmp_path / stored.key).read_bytes() == await content(rig, command)
    assert (await rig.dex.downloads.save(command, sink)).skipped
    assert not (await rig.dex.downloads.save(command, attrs.evolve(sink, existing="overwrite"))).skipped


@pytest.mark.parametrize(("prefix", "below"), [("", ""), ("/", ""), ("a", "a/"), ("/a/b c/", "a/b c/")])
async def test_a_prefix_is_a_folder(rig: Rig, prefix: str, below: str) -> None:
    await rig.start()
    command = await make(rig)
    sink = memory(prefix=prefix)
    stored = await rig.dex.downloads.save(command, sink)
    assert stored.key == f"{below}{command.id}.zip"
    assert listed(sink.store) == [stored.key, f"{stored.key}.sha256"]


async def test_no_artifact_meets_the_checksum_of_another(place: Place) -> None:
    keys = {"c.zip": "c.zip", "c.zip.sha256": "c.zip.sha256_", "c.zip.SHA256_": "c.zip.SHA256__"}
    async with serving(zipped(ZIP_DEFLATED, b"x")) as (dex, asked):
        for skipped in (False, True):
            for name, key in keys.items():
                stored = await dex.downloads.save(Command(id="c", filename=name), place.sink())
                assert (stored.key, stored.skipped) == (f"{place.prefix}{key}", skipped)
    assert len(asked) == len(keys)
    place.assert_holds(*(f"{place.prefix}{key}" for key in keys.values()))


async def test_a_name_without_a_suffix_is_stored_as_bytes(place: Place) -> None:
    async with serving(b"no zip") as (dex, _):
        stored = await dex.downloads.save(Command(id="c", filename="notes"), place.sink())
    assert stored.key == f"{place.prefix}c-notes"
    assert place.attributes(stored.key)["Content-Type"] == "application/octet-stream"
    assert "dexetag" not in place.attributes(stored.key)


@pytest.mark.parametrize(
    "options",
    [
        {"store": "s3://bucket"},
        {"prefix": 3},
        {"prefix": "a//b"},
        {"prefix": "a/../b"},
        {"prefix": "."},
        {"prefix": "a\nb"},
        {"existing": "rename"},
        {"buffer_size": PART - 1},
        {"buffer_size": "8 MiB"},
        {"concurrency": 0},
        {"uploads": 0},
        {"attributes": {"name": "zażółć"}},
        {"attributes": {"name": 3}},
        {"attributes": {"na me": "x"}},
        {"attributes": {"": "x"}},
    ],
    ids=str,
)
def test_options_that_can_not_be_right(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ObjectStoreSink(**{"store": MemoryStore(), **options})


@pytest.mark.parametrize("size", [SMALL, 2 * MIB])
async def test_an_etag_that_is_no_text(place: Place, size: int) -> None:
    # Seen: UnicodeEncodeError, which ended all of `save_many`.
    body = zipped(ZIP_STORED, os.urandom(size))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "\xe9"\r\nContent-Length: %d\r\n\r\n' % len(body))
        writer.write(body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with (
        server,
        DexClient(
            api_token="t", account_id="0" * 32, base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ) as dex,
    ):
        stored = await dex.downloads.save("c", place.sink())
    assert place.attributes(stored.key)["dexetag"] == "%22%E9%22"
    place.assert_holds(stored.key)


@pytest.mark.parametrize("size", [SMALL, 2 * MIB])
async def test_what_is_told_of_a_name_is_one_line(place: Place, size: int) -> None:
    # Seen: the name as the service gives it, line break and all.
    body = bytearray(zipped(ZIP_STORED, os.urandom(size)))
    body[size // 2] ^= 1
    async with serving(bytes(body)) as (dex, _):
        with pytest.raises(InvalidArtifactError) as caught:
            await dex.downloads.save(Command(id="c", filename="a\nb.zip"), place.sink())
    assert "\n" not in str(caught.value)


async def test_a_turn_is_given_up_however_often_its_holder_is_cancelled(place: Place) -> None:
    # Seen: a second cancellation, while the upload was being aborted, kept the turn for ever.
    begun, aborting, may_abort = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        if request.method == "DELETE":
            aborting.set()
            await may_abort.wait()
        answer = await forwarded(request, place.server.url, body)
        if request.method == "PUT":
            begun.set()
        answer.force_close()
        return answer

    async def upload(store: Objects) -> None:
        async with store.target(ArtifactName("c", "c.zip"), "none") as target:
            await target.begin(Body(0, Version()))
            await target.write(bytes(2 * PART))
            await asyncio.Event().wait()

    async with (
        Service(forward) as proxy,
        ObjectStoreSink(place.server.store(endpoint=proxy.origin), place.prefix, uploads=1, buffer_size=PART).open(
            SystemClock()
        ) as store,
    ):
        task = asyncio.ensure_future(upload(store))
        with anyio.fail_after(60):
            await begun.wait()
            task.cancel()
            await aborting.wait()
            task.cancel()
            await asyncio.sleep(0)
            may_abort.set()
            await asyncio.wait([task])
            async with store.target(ArtifactName("c", "c.zip"), "none") as target:
                await target.begin(Body(0, Version()))
                await target.write(bytes(2 * MIB))
    place.assert_holds()


def run(code: str, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def test_without_the_extra_the_error_says_how_to_get_it() -> None:
    code = """
import sys
sys.modules["obstore"] = None
from dexcmd import ConfigurationError, ObjectStoreSink
try:
    ObjectStoreSink(object())
except ConfigurationError as error:
    print(error)
"""
    assert "pip install 'dexcmd[object-store]'" in run(code)


def test_obstore_is_loaded_only_for_a_sink() -> None:
    code = "import sys; from dexcmd import DexClient, FileSink, ObjectStoreSink; print('obstore' in sys.modules)"
    assert run(code).strip() == "False"


SAVE = """
import asyncio, re, sys
from datetime import timedelta
from pathlib import Path
from obstore.store import S3Store
from dexcmd import DexClient, ObjectStoreSink

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

async def main():
    url, prefix, *commands = sys.argv[1:] or {arguments!r}
    store = S3Store(
        "downloads", endpoint=url, region="us-east-1", access_key_id="AK", secret_access_key="SKSKSKSK",
        client_options={{"allow_http": True, "timeout": timedelta(seconds=60)}},
    )
    async with DexClient() as dex:
        for number, command in enumerate(commands):
            await dex.downloads.save(command, ObjectStoreSink(store, prefix, buffer_size=5 * 2**20))
            print(peak())

asyncio.run(main())
"""


async def made(rig: Rig, count: int) -> list[str]:
    await rig.dex.commands.create(rig.requests(count, WarpDiag()))
    commands = [command async for command in rig.dex.commands.list()]
    devices = [request.device_id for request in rig.requests(count)]
    return [str(command.id) for command in sorted(commands, key=lambda command: devices.index(str(command.device_id)))]


async def test_memory_stays_flat_while_a_large_artifact_is_stored(rig: Rig, place: Place) -> None:
    # In the order of the devices.
    await rig.start(artifact_size=lambda command: (12 if command["device_id"] == first else 100) * MIB)
    first = rig.requests()[0].device_id
    commands = await made(rig, 2)
    code = SAVE.format(arguments=[place.server.url, place.prefix, *commands])
    first, last = map(float, (await asyncio.to_thread(run, code, **rig.sandbox.environment)).split())
    place.assert_holds(*(f"{place.prefix}{command}.zip" for command in commands))
    # 12 MiB fit into the parts that are under way; of 100 MiB there are never more than these and a queue.
    assert last - first < 40


async def test_short_programs_end_well(rig: Rig, place: Place) -> None:
    await rig.start(artifact_size=6 * MIB)
    commands = await made(rig, 5)
    for command in commands:
        code = SAVE.format(arguments=[place.server.url, place.prefix, command])
        assert float(await asyncio.to_thread(run, code, **rig.sandbox.environment)) > 0
