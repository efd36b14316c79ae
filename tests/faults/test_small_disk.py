"""Full disks, on real file systems of a few MB."""

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from dexcmd import CampaignError, Command, DownloadError, FileSink, InsufficientSpaceError
from dexcmd.campaign.journal import open_journal
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.sandbox.state import NewCommand
from dexcmd.transfer.system import write_all
from tests.campaign.facts import Facts
from tests.conftest import Rig
from tests.faults.loops import HastyLoop, wait_for_threads
from tests.faults.mounts import EXT4, KINDS, mounted

KIB, MIB = 1024, 1024 * 1024

UNCACHED = pytest.param("ext4, uncached", marks=EXT4.marks)
"""Where all artifacts that are not small are written past the system's cache."""

pytestmark = [pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": HastyLoop}


@attrs.define
class Disk:
    """A small file system, with a folder for artifacts in it."""

    root: Path
    folder: Path = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.folder = self.root / "captures"
        self.folder.mkdir()

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.root).free

    def leave(self, size: int) -> None:
        """Let something else use all but `size` bytes, or a little less."""
        with (self.root / "ballast").open("ab", buffering=0) as file:
            while (more := self.free - size) > 0:
                try:
                    file.write(bytes(min(more, 64 * KIB)))
                except OSError:
                    break

    def make_room(self) -> None:
        (self.root / "ballast").unlink()

    def names(self) -> list[str]:
        """Return what is in the folder; none of it may still be open."""
        assert self.descriptors() == []
        return sorted(path.name for path in self.folder.iterdir())

    def descriptors(self) -> list[str]:
        """Return which files in here this process has open."""
        found: list[str] = []
        for path in Path("/proc/self/fd").iterdir():
            try:
                target = str(path.readlink())
            except FileNotFoundError:
                continue
            if target.startswith(f"{self.root}/"):
                found.append(target)
        return found


@pytest.fixture(params=[*KINDS, UNCACHED])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    kind, _, uncached = request.param.partition(", ")
    if uncached:
        monkeypatch.setattr("dexcmd.transfer.resumable.UNCACHED_FROM", 0)
    with mounted(kind) as root:
        yield Disk(root)


async def make(rig: Rig, *sizes: int, **behaviour: Any) -> list[Command]:
    wait_for_threads()
    left = list(sizes)
    await rig.start(len(sizes), artifact_size=lambda _: left.pop(0), behaviour=Behaviour.instant(**behaviour))
    state = rig.sandbox.state
    return [Command(id=state.create(NewCommand(device, "warp-diag")).id) for device in state.devices]


def truth(rig: Rig, command: Command) -> bytes:
    assert command.id is not None
    return b"".join(rig.sandbox.artifact(command.id).read())


def parts(command: Command) -> list[str]:
    return [f".{command.id}.zip.part", f".{command.id}.zip.part.json"]


@pytest.mark.parametrize("keep_part", [True, False])
async def test_what_is_announced_and_has_no_room_is_refused_before_it_is_written(
    rig: Rig, disk: Disk, keep_part: bool
) -> None:
    [command] = await make(rig, 8 * MIB)
    disk.leave(7 * MIB)
    free = disk.free
    with pytest.raises(InsufficientSpaceError, match="are free"):
        await rig.dex.downloads.save(command, FileSink(disk.folder, keep_part=keep_part))
    assert disk.names() == []
    assert disk.free == free
    assert rig.made("download") == 1
    await check_nothing_holds_the_name(rig, disk, command)


async def check_nothing_holds_the_name(rig: Rig, disk: Disk, command: Command) -> None:
    """Check that the next download does not wait for a lock that the last one has left."""
    disk.make_room()
    before = rig.clock.monotonic()
    saved = await rig.dex.downloads.save(command, disk.folder)
    assert rig.clock.monotonic() == before
    assert saved.path.read_bytes() == truth(rig, command)


@pytest.mark.parametrize("keep_part", [True, False])
async def test_a_disk_that_gets_full_half_way(rig: Rig, disk: Disk, keep_part: bool) -> None:
    # Its length is not announced, so room can't be asked for.
    [command] = await make(rig, 8 * MIB, download_length=False)
    disk.leave(4 * MIB)
    free = disk.free
    sink = FileSink(disk.folder, keep_part=keep_part)
    with pytest.raises(InsufficientSpaceError, match="no space left"):
        await rig.dex.downloads.save(command, sink)
    body = truth(rig, command)
    kept = 0
    if keep_part:
        assert disk.names() == parts(command)
        part = (disk.folder / parts(command)[0]).read_bytes()
        kept = len(part)
        assert body.startswith(part)
        # (An ext4 refuses a large write as a whole.)
        assert MIB <= kept <= free
        # Trying again does no harm, and asks for no more than the rest.
        with pytest.raises(InsufficientSpaceError):
            await rig.dex.downloads.save(command, sink)
        assert disk.names() == parts(command)
        assert len((disk.folder / parts(command)[0]).read_bytes()) >= kept
    else:
        assert disk.names() == []
        assert disk.free == free
    disk.make_room()
    kept = (disk.folder / parts(command)[0]).stat().st_size if keep_part else 0
    saved = await rig.client().downloads.save(command, sink)
    assert saved.path.read_bytes() == body
    assert saved.resumed_from == kept
    assert disk.names() == [saved.path.name]
    assert rig.sandbox.requests[-1].headers.get("Range") == (f"bytes={kept}-" if keep_part else None)


async def test_what_has_room_when_it_begins_keeps_it(rig: Rig, disk: Disk) -> None:
    [command] = await make(rig, 6 * MIB)
    disk.leave(7 * MIB)

    def others_fill_it(_: object) -> bool:
        disk.leave(0)
        return True

    rig.sandbox.faults.add(Fault.stall(3 * MIB), on="download")
    # By the second request the first 3 MiB are there, and the room for the rest is set aside.
    rig.sandbox.faults.add(Fault.slow(0), on="download", where=others_fill_it)
    saved = await rig.dex.downloads.save(command, disk.folder)
    assert saved.path.read_bytes() == truth(rig, command)
    assert saved.resumed_from == 3 * MIB


@pytest.mark.parametrize("keep_part", [True, False])
@pytest.mark.parametrize("left", [0, 150 * KIB])
async def test_a_small_artifact_on_a_full_disk(rig: Rig, disk: Disk, keep_part: bool, left: int) -> None:
    [command] = await make(rig, 300_000)
    disk.leave(left)
    free = disk.free
    sink = FileSink(disk.folder, keep_part=keep_part)
    with pytest.raises(InsufficientSpaceError):
        await rig.dex.downloads.save(command, sink)
    assert disk.names() == []
    assert disk.free == free
    disk.make_room()
    saved = await rig.dex.downloads.save(command, sink)
    assert saved.path.read_bytes() == truth(rig, command)
    assert disk.names() == [saved.path.name]


async def test_a_cancellation_is_one_although_the_disk_has_no_room_for_the_part(rig: Rig, disk: Disk) -> None:
    [command] = await make(rig, 8 * MIB, download_length=False)
    disk.leave(100_000)
    # So little came that it is in memory still, and is written only to be kept.
    rig.sandbox.faults.add(Fault.stall(500_000, framing="chunked"), on="download")
    with anyio.move_on_after(1.0) as scope:
        await rig.dex.downloads.save(command, disk.folder)
    assert scope.cancelled_caught
    # What fitted of it may be kept.
    assert set(disk.names()) <= set(parts(command))


async def test_many_on_a_disk_that_has_no_room_for_one(rig: Rig, disk: Disk) -> None:
    sizes = [20_000, 9 * MIB, 200_000, 30_000, 9 * MIB, 2 * MIB, 40_000]
    commands = await make(rig, *sizes)
    disk.leave(6 * MIB)
    async with rig.dex.downloads.save_many(commands, disk.folder, concurrency=3) as results:
        found = {result.command: result async for result in results}
    for command, size in zip(commands, sizes, strict=True):
        result = found[command]
        if size == 9 * MIB:
            assert isinstance(result.error, InsufficientSpaceError)
        else:
            assert result.artifact is not None
            assert result.artifact.path.read_bytes() == truth(rig, command)
    assert results.totals.saved == 5
    assert disk.names() == sorted(f"{command.id}.zip" for command in commands if found[command].artifact)


async def test_many_on_a_disk_that_gets_full(rig: Rig, disk: Disk) -> None:
    commands = await make(rig, *[1_500_000] * 8, download_length=False)
    disk.leave(6 * MIB)
    async with rig.dex.downloads.save_many(commands, disk.folder, concurrency=3) as results:
        found = [result async for result in results]
    assert len(found) == 8
    assert all(result.error is None or isinstance(result.error, InsufficientSpaceError) for result in found)
    assert 1 <= results.totals.saved <= 4
    assert results.totals.failed == 8 - results.totals.saved
    # What has its final name is whole; and once there is room all come, each byte once.
    for result in found:
        if result.artifact is not None:
            assert result.artifact.path.read_bytes() == truth(rig, result.command)
    disk.make_room()
    for path in disk.folder.glob("[!.]*"):
        path.unlink()
    left = [result.command for result in found if result.error is not None]
    async with rig.client().downloads.save_many(left[:5], disk.folder) as results:
        for result in [result async for result in results]:
            assert result.artifact is not None
            assert result.artifact.path.read_bytes() == truth(rig, result.command)


@pytest.mark.parametrize("kind", KINDS[:1])
async def test_a_disk_that_has_no_room_for_another_name(rig: Rig, kind: str) -> None:
    with mounted(kind, nr_inodes="6") as root:
        disk = Disk(root)
        for number in range(3):
            (root / str(number)).touch()
        [one, other] = await make(rig, 100_000, 2 * MIB)
        (root / "last").touch()
        for command in (one, other):
            with pytest.raises(InsufficientSpaceError):
                await rig.dex.downloads.save(command, disk.folder)
            assert disk.names() == []
        assert disk.descriptors() == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file get larger, as near as it gets to a quota without one: there is room on the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("keep_part", [True, False])
async def test_a_limit_in_the_middle_of_the_first_write(rig: Rig, tmp_path: Path, keep_part: bool) -> None:
    [command] = await make(rig, 3 * MIB, download_length=False)
    sink = FileSink(tmp_path, keep_part=keep_part)
    with largest_file(600_001), pytest.raises(DownloadError, match="can't write"):
        await rig.dex.downloads.save(command, sink)
    assert sorted(path.name for path in tmp_path.iterdir()) == (parts(command) if keep_part else [])
    saved = await rig.client().downloads.save(command, sink)
    assert saved.path.read_bytes() == truth(rig, command)
    assert saved.resumed_from == (600_001 if keep_part else 0)


@pytest.mark.parametrize("keep_part", [True, False])
async def test_a_limit_in_the_middle_of_a_later_write(rig: Rig, tmp_path: Path, keep_part: bool) -> None:
    [command] = await make(rig, 6 * MIB, download_length=False)
    sink = FileSink(tmp_path, keep_part=keep_part)
    # All of it is written, and the thread that writes is done with it, before more comes.
    rig.sandbox.faults.add(Fault.stall(2 * MIB, framing="chunked"), on="download")
    with largest_file(4 * MIB + 77), pytest.raises(DownloadError, match="can't write"):
        await rig.dex.downloads.save(command, sink)
    assert sorted(path.name for path in tmp_path.iterdir()) == (parts(command) if keep_part else [])
    saved = await rig.client().downloads.save(command, sink)
    assert saved.path.read_bytes() == truth(rig, command)
    assert saved.resumed_from == (4 * MIB + 77 if keep_part else 0)


@pytest.mark.parametrize("verify", ["zip", "size"])
async def test_room_that_comes_back_at_once(rig: Rig, tmp_path: Path, verify: Any) -> None:
    # Another download gives up, and its part is removed, just when this one has found the disk full.
    [command] = await make(rig, 300_000)
    writes: list[int] = []

    def full_once(descriptor: int, pieces: Any) -> int:
        writes.append(descriptor)
        if len(writes) > 1:
            return write_all(descriptor, pieces)
        write_all(descriptor, [b"".join(pieces)[:100_000]])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dexcmd.transfer.partfile.write_all", full_once)
        with pytest.raises(InsufficientSpaceError):
            await rig.dex.downloads.save(command, tmp_path, verify=verify)
    part = tmp_path / parts(command)[0]
    body = truth(rig, command)
    assert not part.exists() or body.startswith(part.read_bytes())
    saved = await rig.client().downloads.save(command, tmp_path, verify=verify)
    assert saved.path.read_bytes() == body


@pytest.mark.parametrize("kind", KINDS[:1])
@pytest.mark.parametrize("left", range(0, 100 * KIB, 12 * KIB))
async def test_a_journal_that_has_no_room(kind: str, left: int) -> None:
    # Seen: "disk I/O error", where only the file beside it had none.
    with mounted(kind) as root:
        Disk(root).leave(left)
        with pytest.raises(CampaignError, match=r"journal\.db: the disk is full: free some space and try again$"):
            async with open_journal(root / "journal.db") as store:
                await store.append("c", [Facts().campaign(), *map(Facts().target, range(1, 1000))])
