"""Artifacts: streamed, and saved so that a file under its final name is whole."""

import asyncio
import hashlib
import resource
import stat
import threading
import uuid
import zipfile
from collections.abc import AsyncGenerator
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from dexcmd import (
    Command,
    DownloadError,
    InvalidArtifactError,
    NotFoundError,
    RetryPolicy,
    ServerError,
    StalledDownloadError,
    TruncatedArtifactError,
    UnsafeFilenameError,
    WarpDiag,
)
from dexcmd.sandbox import Behaviour, Fault
from tests.conftest import Rig
from tests.test_session import Service
from tests.transfer.filerig import open_parts, refuse_threads

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


async def make(rig: Rig, **changes: Any) -> Command:
    """Return a command in SUCCESS, with an artifact of the sandbox's size."""
    await rig.dex.commands.create(rig.requests(1, WarpDiag()))
    return (await rig.dex.commands.list())[0]


async def content(rig: Rig, command: Command) -> bytes:
    """Return the artifact as another client, that no fault strikes, gets it."""
    async with rig.dex.downloads.open(command) as artifact:
        return b"".join([chunk async for chunk in artifact])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def parts(command: Command) -> list[str]:
    """Return the names of what is kept of a download that can be gone on from."""
    return [f".{command.id}.zip.part", f".{command.id}.zip.part.json"]


async def test_an_artifact_is_a_stream_of_bytes(rig: Rig) -> None:
    await rig.start(artifact_size=2_000_000)
    command = await make(rig)
    async with rig.dex.downloads.open(command) as artifact:
        assert artifact.size == 2_000_000
        assert artifact.filename == f"{command.id}.zip"
        assert artifact.etag is not None
        chunks = [chunk async for chunk in artifact]
    assert len(chunks) > 1
    assert sum(map(len, chunks)) == 2_000_000
    request = rig.sandbox.requests[-1]
    assert request.headers["Accept-Encoding"] == "identity"
    assert "application/json" in request.headers["Accept"]


async def test_an_artifact_is_opened_by_id_and_name(rig: Rig) -> None:
    await rig.start()
    command = await make(rig)
    async with rig.dex.downloads.open(command_id=command.id, filename=command.filename) as artifact:
        assert len(b"".join([chunk async for chunk in artifact])) == artifact.size


@pytest.mark.parametrize("style", ["name", "url"])
async def test_a_file_name_may_be_a_url_and_the_token_stays_home(rig: Rig, style: Any, tmp_path: Path) -> None:
    await rig.start(behaviour=Behaviour.instant(filename_style=style))
    command = await make(rig)
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert saved.path.name == f"{command.id}.zip"
    assert rig.made("storage") == 0


async def test_memory_stays_flat_while_a_large_artifact_streams(rig: Rig) -> None:
    await rig.start(artifact_size=200 * MIB)
    command = await make(rig)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = 0
    async with rig.dex.downloads.open(command) as artifact:
        async for chunk in artifact:
            size += len(chunk)
    assert size == 200 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024


async def test_leaving_a_stream_early_closes_it(rig: Rig) -> None:
    await rig.start(artifact_size=50 * MIB)
    async with rig.dex.downloads.open(await make(rig)) as artifact:
        await anext(artifact)
    assert (await rig.dex.quota.get()).quota == 800


@pytest.mark.parametrize(("framing", "total"), [("length", "300000"), ("chunked", "an unknown number of")])
async def test_a_stream_that_breaks_says_so(rig: Rig, framing: Any, total: str) -> None:
    await rig.start(artifact_size=300_000)
    command = await make(rig)
    rig.sandbox.faults.add(Fault.cut(0.5, framing=framing), on="download")
    with pytest.raises(TruncatedArtifactError, match=rf"the body ended after \d+ of {total} bytes:"):
        await content(rig, command)


async def test_a_stream_that_stalls_says_so(rig: Rig) -> None:
    await rig.start(artifact_size=300_000, retry=RetryPolicy(attempt_seconds=0.5))
    command = await make(rig)
    rig.sandbox.faults.add(Fault.stall(0.5), on="download")
    with pytest.raises(StalledDownloadError):
        await content(rig, command)


@pytest.mark.parametrize("size", [2_000, 300_000, 5_000_000])
async def test_a_saved_file_is_the_artifact(rig: Rig, tmp_path: Path, size: int) -> None:
    await rig.start(artifact_size=size)
    command = await make(rig)
    seen: list[tuple[int, int | None]] = []
    saved = await rig.dex.downloads.save(
        command, tmp_path / "a" / "b", on_progress=lambda now: seen.append((now.received, now.size))
    )
    body = await content(rig, command)
    assert saved.path == tmp_path / "a" / "b" / f"{command.id}.zip"
    assert saved.path.read_bytes() == body
    assert (saved.size, saved.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert (saved.resumed_from, saved.skipped) == (0, False)
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o600
    assert names(saved.path.parent) == [saved.path.name]
    assert seen[-1] == (size, size)


async def test_a_whole_file_is_not_fetched_again(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=3_000_000)
    command = await make(rig)
    first = await rig.dex.downloads.save(command, tmp_path)
    again = await rig.dex.downloads.save(command, tmp_path)
    assert (again.skipped, again.sha256, again.size) == (True, first.sha256, first.size)


async def test_a_file_that_is_not_the_artifact_is_replaced(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=10_000)
    command = await make(rig)
    target = tmp_path / f"{command.id}.zip"
    target.write_bytes(bytes(10_000))
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert not saved.skipped
    assert zipfile.ZipFile(target).testzip() is None


async def test_a_link_in_the_way_is_replaced_and_not_followed(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    command = await make(rig)
    outside = tmp_path / "outside"
    outside.write_text("precious")
    folder = tmp_path / "captures"
    folder.mkdir()
    (folder / f"{command.id}.zip").symlink_to(outside)
    saved = await rig.dex.downloads.save(command, folder)
    assert outside.read_text() == "precious"
    assert not saved.path.is_symlink()


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("at", [0, 1, 0.3, 0.999])
async def test_a_broken_download_goes_on_where_it_broke(rig: Rig, tmp_path: Path, at: float, framing: Any) -> None:
    await rig.start(artifact_size=4_000_000)
    command = await make(rig)
    body = await content(rig, command)
    rig.sandbox.faults.add(Fault.cut(at, framing=framing), on="download")
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert saved.path.read_bytes() == body
    assert saved.sha256 == hashlib.sha256(body).hexdigest()
    # The last bytes before a broken connection may be lost on the way, but never are there more than were
    # sent.
    sent = int(at * len(body)) if isinstance(at, float) else at
    assert saved.resumed_from <= sent
    last = rig.sandbox.requests[-1]
    if saved.resumed_from:
        assert last.headers["Range"] == f"bytes={saved.resumed_from}-"
        assert last.headers["If-Range"].startswith('"')
        assert last.status == 206
    assert names(tmp_path) == [saved.path.name]


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
async def test_whatever_the_service_does_the_file_is_whole(rig: Rig, tmp_path: Path, behaviour: Behaviour) -> None:
    await rig.start(artifact_size=3_000_000, behaviour=behaviour)
    command = await make(rig)
    body = await content(rig, command)
    rig.sandbox.faults.add(Fault.cut(0.5), on=["download", "storage"])
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert saved.path.read_bytes() == body
    assert names(tmp_path) == [saved.path.name]


async def test_an_artifact_that_changes_half_way_is_never_spliced(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=3_000_000)
    command = await make(rig)
    rig.sandbox.faults.add(Fault.revise(0.5), on="download")
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert saved.resumed_from == 0
    assert saved.path.read_bytes() == await content(rig, command)


async def test_a_range_that_was_not_asked_for_is_not_joined(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=3_000_000)
    command = await make(rig)
    body = await content(rig, command)
    rig.sandbox.faults.add(Fault.cut(0.5), on="download")
    rig.sandbox.faults.add(Fault.wrong_range(10), on="download")
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert saved.path.read_bytes() == body


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.cut(0.5), TruncatedArtifactError),
        (Fault.cut(0.5, framing="close"), InvalidArtifactError),
        (Fault.lying_length(-100), InvalidArtifactError),
        (Fault.corrupt(0.5), InvalidArtifactError),
        (Fault.garbage(), InvalidArtifactError),
        (Fault.html(), InvalidArtifactError),
        (Fault.unsuccessful(), InvalidArtifactError),
        (Fault.error(404), NotFoundError),
        (Fault.error(410), NotFoundError),
    ],
    ids=lambda value: f"{value.kind}-{value.status}-{value.framing}" if isinstance(value, Fault) else None,
)
async def test_what_is_not_whole_never_gets_the_name(
    rig: Rig, tmp_path: Path, fault: Fault, error: type[Exception]
) -> None:
    await rig.start(artifact_size=300_000, behaviour=Behaviour.instant(ranges=False))
    command = await make(rig)
    rig.sandbox.faults.add(fault, on="download", times=None)
    with pytest.raises(error):
        await rig.dex.downloads.save(command, tmp_path)
    # What came of it may stay, to be gone on from.
    assert set(names(tmp_path)) <= set(parts(command))


async def test_attempts_count_only_while_they_bring_nothing(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=4_000_000, retry=RetryPolicy(attempts=2, attempt_seconds=0.4))
    command = await make(rig)
    rig.sandbox.faults.add(Fault.stall(300_000), on="download", times=5)
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert saved.resumed_from == 5 * 300_000
    assert saved.size == 4_000_000
    assert rig.made("download") == 6


async def test_a_download_that_brings_nothing_ends(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=4_000_000, retry=RetryPolicy(attempts=3))
    command = await make(rig)
    rig.sandbox.faults.add(Fault.cut(0), on="download", times=None)
    with pytest.raises(TruncatedArtifactError):
        await rig.dex.downloads.save(command, tmp_path)
    assert rig.made("download") == 3


@pytest.mark.parametrize("progress", [False, True])
async def test_answers_that_bring_nothing_count_like_bodies_that_bring_nothing(
    rig: Rig, tmp_path: Path, progress: bool
) -> None:
    await rig.start(artifact_size=4_000_000, retry=RetryPolicy(attempts=4))
    command = await make(rig)
    faults = rig.sandbox.faults
    faults.add(Fault.error(503), on="download", times=2)
    faults.add(Fault.cut(1_000_000 if progress else 0), on="download")
    # Those before do not count any more, if something has come since.
    faults.add(Fault.error(503), on="download", times=2)
    faults.add(Fault.cut(0), on="download", times=None)
    with pytest.raises(TruncatedArtifactError if progress else ServerError):
        await rig.dex.downloads.save(command, tmp_path)
    assert rig.made("download") == (6 if progress else 4)


async def test_a_cancelled_download_leaves_a_part_that_is_gone_on_from(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=20_000_000)
    command = await make(rig)
    rig.sandbox.faults.add(Fault.stall(0.9), on="download")
    part = tmp_path / f".{command.id}.zip.part"
    async with anyio.create_task_group() as group:
        group.start_soon(rig.dex.downloads.save, command, tmp_path)
        while not part.exists() or part.read_bytes()[:2] != b"PK":
            await asyncio.sleep(0.001)
        group.cancel_scope.cancel()
    assert names(tmp_path) == parts(command)
    assert not [thread for thread in threading.enumerate() if thread.name == "dexcmd-writer"]


async def test_two_downloads_of_one_artifact_do_not_hurt_each_other(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=5_000_000)
    command = await make(rig)
    saved = await asyncio.gather(*(rig.dex.downloads.save(command, tmp_path) for _ in range(4)))
    assert len({one.sha256 for one in saved}) == 1
    assert names(tmp_path) == [saved[0].path.name]


async def test_a_hostile_name_does_not_leave_the_folder(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    command = await make(rig)
    with pytest.raises(UnsafeFilenameError):
        await rig.dex.downloads.save(command_id=command.id, filename="..", into=tmp_path)


@pytest.mark.parametrize(
    ("status", "note"),
    [
        ("PENDING_EXEC", "the command was in PENDING_EXEC when it was last seen: `commands.wait` for it first"),
        ("RUNNING", "the command was in RUNNING when it was last seen: `commands.wait` for it first"),
        ("FAILED", "the command has failed: there is no artifact"),
        ("SUCCESS", None),
        (None, None),
    ],
)
async def test_why_there_is_no_artifact(rig: Rig, tmp_path: Path, status: str | None, note: str | None) -> None:
    await rig.start()
    command = Command(id=str(uuid.UUID(int=1)), status=status)

    async def opened() -> None:
        async with rig.dex.downloads.open(command):
            pass

    async def one_of_many() -> None:
        async with rig.dex.downloads.save_many([command], tmp_path) as results:
            [result] = [result async for result in results]
        assert result.error is not None
        raise result.error

    for absent in (opened(), one_of_many(), rig.dex.downloads.save(command, tmp_path)):
        with pytest.raises(NotFoundError) as caught:
            await absent
        assert getattr(caught.value, "__notes__", [None]) == [note]


async def test_many_artifacts_are_saved_side_by_side(rig: Rig, tmp_path: Path) -> None:
    await rig.start(60)
    bulk = await rig.dex.commands.create_many(rig.requests(40))
    gone = bulk.commands[5].id
    rig.sandbox.faults.add(
        Fault.error(410),
        on="download",
        times=None,
        where=lambda request: request.params["command_id"] == gone,
    )
    async with rig.dex.downloads.save_many(bulk.commands, tmp_path, concurrency=5) as results:
        found = [result async for result in results]
    assert len(found) == 40
    [failed] = [result for result in found if result.artifact is None]
    assert failed.command.id == gone
    assert isinstance(failed.error, NotFoundError)
    assert len(names(tmp_path)) == 39


@pytest.mark.parametrize("ordered", [False, True])
async def test_after_a_stop_no_more_are_begun_and_what_is_under_way_ends(
    rig: Rig, tmp_path: Path, ordered: bool
) -> None:
    await rig.start(devices=20, artifact_size=2_000_000)
    await rig.dex.commands.create_many(rig.requests(6, WarpDiag()))
    given: list[Command] = []

    async def finished() -> AsyncGenerator[Command]:
        async for command in rig.dex.commands.list():
            given.append(command)
            yield command

    async with rig.dex.downloads.save_many(
        finished(), tmp_path, concurrency=2, ordered=ordered, on_progress=lambda _: results.stop()
    ) as results:
        saved = [result.artifact async for result in results]
    # More are asked for than are received at a time.
    assert len(given) == 6
    assert 1 <= len(saved) <= 2
    assert rig.made("download") == len(saved) == results.totals.saved
    assert names(tmp_path) == sorted(artifact.path.name for artifact in saved if artifact is not None)


async def test_after_a_stop_a_broken_download_still_goes_on(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=3_000_000)
    command = await make(rig)
    rig.sandbox.faults.add(Fault.cut(0.6), on="download")
    async with rig.dex.downloads.save_many([command], tmp_path, on_progress=lambda _: results.stop()) as results:
        [saved] = [result.artifact async for result in results]
    assert saved is not None
    assert saved.resumed_from > 0


async def test_after_a_stop_no_more_commands_are_asked_for(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    async with rig.dex.downloads.save_many(["one"], tmp_path) as results:
        results.stop()
        assert [result async for result in results] == []
    assert rig.sandbox.requests == []


@pytest.mark.parametrize("cancels", [1, 2, 3])
@pytest.mark.parametrize("when", [0.0, 0.02, 0.1])
async def test_plain_cancellations_leave_a_part_as_well(rig: Rig, tmp_path: Path, cancels: int, when: float) -> None:
    # A shielded scope of anyio holds back its own cancellations, and none of `Task.cancel`.
    await rig.start(artifact_size=30_000_000)
    command = await make(rig)
    rig.sandbox.faults.add(Fault.stall(0.95), on="download")
    task = asyncio.ensure_future(rig.dex.downloads.save(command, tmp_path))
    while rig.made("download") < 1:
        await asyncio.sleep(0.001)
    await asyncio.sleep(when)
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert names(tmp_path) in (parts(command), [])
    assert not [thread for thread in threading.enumerate() if thread.name == "dexcmd-writer"]


@pytest.mark.parametrize("filename", ["capture.zip", "https://storage.example/a/capture.zip?id=3"])
async def test_artifacts_of_one_name_do_not_meet(tmp_path: Path, filename: str) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        body = BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            archive.writestr("of.txt", request.path.split("/")[5])
        return web.Response(body=body.getvalue(), content_type="application/zip")

    async with Service(handler) as service, service.client() as dex:
        saved = [
            await dex.downloads.save(Command(id=command_id, filename=filename), tmp_path)
            for command_id in ("one", "two")
        ]
    assert names(tmp_path) == ["one-capture.zip", "two-capture.zip"]
    assert [zipfile.ZipFile(one.path).read("of.txt") for one in saved] == [b"one", b"two"]


async def test_a_body_whose_end_mark_is_missing_is_fetched_anew(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=200_000, behaviour=Behaviour.instant(download_length=False))
    command = await make(rig)
    rig.sandbox.faults.add(Fault.cut(200_000, framing="chunked"), on="download")
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert saved.size == 200_000


async def test_a_body_without_a_length_that_ends_early_is_fetched_anew(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=200_000, behaviour=Behaviour.instant(download_length=False))
    command = await make(rig)
    rig.sandbox.faults.add(Fault.cut(0.5, framing="close"), on="download")
    saved = await rig.dex.downloads.save(command, tmp_path)
    assert saved.size == 200_000


async def test_commands_may_be_given_by_their_ids(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    command = await make(rig)
    assert command.id is not None
    saved = await rig.dex.downloads.save(command.id, tmp_path)
    async with rig.dex.downloads.save_many([command.id], tmp_path) as results:
        [result] = [result async for result in results]
    assert result.artifact is not None
    assert result.artifact.skipped
    assert result.artifact.path == saved.path


@pytest.mark.parametrize("thread", ["dexcmd-commit", "dexcmd-writer", "dexcmd-checker"])
async def test_a_thread_that_can_not_be_started_fails_one_artifact(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thread: str
) -> None:
    await rig.start(artifact_size=3_000 if thread == "dexcmd-commit" else 3_000_000)
    await rig.dex.commands.create(rig.requests(3, WarpDiag()))
    commands = await rig.dex.commands.list()
    refuse_threads(monkeypatch, thread)
    async with asyncio.timeout(60):
        async with rig.dex.downloads.save_many(commands, tmp_path, concurrency=1) as results:
            ended = [result async for result in results]
    [failed] = [result for result in ended if result.error is not None]
    assert type(failed.error) is DownloadError
    assert "can't start new thread" in str(failed.error)
    assert len(ended) == 3
    # What came of it stays.
    assert open_parts() == []
    async with asyncio.timeout(60):
        await rig.dex.downloads.save(failed.command, tmp_path)
    assert names(tmp_path) == sorted(f"{command.id}.zip" for command in commands)
