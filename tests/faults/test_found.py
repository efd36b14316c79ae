"""What these suites have found, each with the least that shows it."""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dexcmd import Command, DexError, InvalidArtifactError, RateLimitError, RetryPolicy, StalledDownloadError
from dexcmd.clock import ManualClock
from dexcmd.events import RequestSent
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.sandbox.state import NewCommand
from dexcmd.transfer.partfile import PartFile
from tests.conftest import Rig
from tests.faults.loops import HastyLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": HastyLoop}


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_a_download_that_stalls_after_its_last_byte_is_saved(rig: Rig, tmp_path: Path, framing: Any) -> None:
    # All bytes are there, so the next try asks for a range past the end, which is answered with 416.
    await rig.start(artifact_size=3000, retry=RetryPolicy(attempts=4))
    made = rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap"))
    rig.sandbox.faults.add(Fault.stall(1.0, framing=framing), on="download")
    saved = await rig.dex.downloads.save(Command(id=made.id), tmp_path)
    assert saved.size == 3000
    assert [path.name for path in tmp_path.iterdir()] == [f"{made.id}.zip"]


async def test_a_save_that_is_cancelled_while_it_syncs_closes_its_file_once(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A plain `task.cancel()` (or `asyncio.timeout`) gets through to a wait for a thread, which works on: the file was
    # closed under it, twice in the worst case, and by then its number may be another file's, or a connection's.
    await rig.start(artifact_size=3000)
    made = rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap"))
    syncing, go_on = threading.Event(), threading.Event()
    seen: list[object] = []

    def slow_sync(file: int) -> None:
        syncing.set()
        go_on.wait(10)
        try:
            seen.append(os.fstat(file).st_size)
        except OSError as error:
            seen.append(error)

    task = asyncio.ensure_future(rig.dex.downloads.save(Command(id=made.id), tmp_path))
    monkeypatch.setattr("dexcmd.transfer.partfile.os.fsync", slow_sync)
    while not syncing.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    for _ in range(50):
        await asyncio.sleep(0.001)
    go_on.set()
    await asyncio.wait([task])
    assert task.cancelled()
    while not seen:
        await asyncio.sleep(0.001)
    assert seen[0] == 3000
    assert not list(tmp_path.glob(".*"))


async def test_the_reset_of_the_quota_is_waited_for_by_the_services_clock(rig: Rig, clock: ManualClock) -> None:
    # The service is 5 minutes behind, so by this machine's clock the reset is over while it is to come.
    await rig.start(quota=5, behaviour=Behaviour.instant(clock_skew=-300.0))
    bulk = await rig.dex.commands.create_many(rig.requests(8), on_quota="wait")
    assert len(bulk.in_state("created")) == 8
    assert rig.made("get_quota") <= 5


async def test_a_list_of_nothing_may_be_null(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(null_when_empty=True))
    assert await rig.dex.commands.list() == []


async def test_a_command_that_is_not_listed_yet_is_waited_for_where_a_list_of_nothing_is_null(rig: Rig) -> None:
    await rig.start(behaviour=Behaviour.instant(null_when_empty=True, list_lag=4.0))
    [command] = await rig.dex.commands.create(rig.requests(1))
    assert (await rig.dex.commands.wait(command)).id == command.id


async def test_a_refusal_for_the_quota_with_status_429_is_one_for_the_quota(rig: Rig) -> None:
    await rig.start(quota=100, behaviour=Behaviour.instant(quota_status=429))

    def take(_: object) -> bool:
        # Others use the quota up after it was asked for.
        rig.sandbox.state.quota.usage = 100
        return False

    rig.sandbox.faults.add(Fault.drop(), on="create_commands", where=take)
    bulk = await rig.dex.commands.create_many(rig.requests(3))
    assert {outcome.reason for outcome in bulk.outcomes} == {"quota"}


async def test_a_download_that_never_gets_anywhere_ends(rig: Rig, tmp_path: Path) -> None:
    # All bytes come, their end does not; the range past them is refused; from the start nothing comes; and that all
    # over again.  What was there before is no progress.
    await rig.start(artifact_size=3000, retry=RetryPolicy(attempts=4))
    made = rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap"))
    rig.sandbox.faults.add(Fault.cut(1.0, framing="chunked"), on="download", times=100)
    with pytest.raises(DexError):
        await rig.dex.downloads.save(Command(id=made.id), tmp_path)
    assert rig.made("download") < 10


async def test_a_429_that_does_not_fit_is_told_at_once(rig: Rig, clock: ManualClock) -> None:
    # After the second 429 there is no room for another wait of 300 s, and asking for the quota has to wait as long.
    await rig.start(retry=RetryPolicy(total_seconds=330.0))
    rig.sandbox.faults.add(Fault.rate_limited(300), on="create_commands", times=2)
    with pytest.raises(RateLimitError):
        await rig.dex.commands.create(rig.requests(1))
    assert clock.monotonic() < 330


async def test_a_part_that_is_found_before_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other one takes it for one that was left and is worth nothing.  The first went on with a file without a name,
    # and in the end renamed whatever then had that name: the other one's, however much of it was written.
    final, lock, found = tmp_path / "a.zip", PartFile._lock, False

    def found_first(part: PartFile) -> None:
        nonlocal found
        if not found:
            found = True
            other = PartFile.open_existing(final)
            assert other is not None
            other.remove()
        lock(part)

    monkeypatch.setattr(PartFile, "_lock", found_first)
    part = PartFile.create(final)
    try:
        part.write([b"all of it"])
        assert part.path.read_bytes() == b"all of it"
    finally:
        part.remove()


async def leave_a_part(rig: Rig, folder: Path, command: Command) -> Path:
    """Leave the first 1,500,000 bytes of an artifact, and return where they are."""
    rig.sandbox.faults.add(Fault.stall(1_500_000), on="download")
    with pytest.raises(StalledDownloadError):
        await rig.client(retry=RetryPolicy(attempts=1)).downloads.save(command, folder)
    return folder / f".{command.id}.zip.part"


async def test_a_page_of_a_proxy_does_not_cost_what_came_before(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=3_000_000)
    command = Command(id=rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap")).id)
    rig.sandbox.faults.add(Fault.stall(1_500_000), on="download")
    rig.sandbox.faults.add(Fault.html(), on="download", times=None)
    with pytest.raises(InvalidArtifactError):
        await rig.dex.downloads.save(command, tmp_path)
    assert (tmp_path / f".{command.id}.zip.part").stat().st_size == 1_500_000


async def test_what_starts_over_is_not_durable_any_more(rig: Rig, tmp_path: Path) -> None:
    # After a power cut that counts.
    await rig.start(artifact_size=3_000_000)
    command = Command(id=rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "pcap")).id)
    part = await leave_a_part(rig, tmp_path, command)
    state = part.with_name(f"{part.name}.json")
    # As it is once enough has come to be synced.
    state.write_text(json.dumps({**json.loads(state.read_text()), "durable": 1_500_000}))
    rig.sandbox.behaviour = Behaviour.instant(ranges=False)
    await leave_a_part(rig, tmp_path, command)
    assert json.loads(state.read_text())["durable"] == 0


async def test_a_limit_of_a_body_does_not_strike_what_comes_after_it(rig: Rig) -> None:
    # Where reading lags, aiohttp finds the end of a body as it goes on with what it holds, and then arms its own limit
    # once more: on a connection that is idle by then, and fails the next request on it at once.
    await rig.start(artifact_size=560_000)
    made = rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "speed-test"))
    async with rig.dex.downloads.open(Command(id=made.id)) as artifact:
        await asyncio.sleep(1)
        assert sum([len(chunk) async for chunk in artifact]) == 560_000
    # Longer than an attempt may take, and not so long that connections are not kept.
    await asyncio.sleep(10)
    await rig.dex.commands.create(rig.requests())
    assert [event.method for event in rig.events if isinstance(event, RequestSent)] == ["GET", "POST"]
