"""`capture`: from targets to whole files."""

import asyncio
import itertools
import stat
import zipfile
from collections import Counter
from pathlib import Path
from typing import Literal

import anyio
import pytest

from dexcmd import (
    CaptureResult,
    CommandFailedError,
    ConfigurationError,
    InvalidArtifactError,
    NotFoundError,
    PermissionDeniedError,
    RetryPolicy,
    WaitTimeoutError,
)
from dexcmd.clock import ManualClock
from dexcmd.events import RequestFinished
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.transfer.progress import Progress
from tests.between import in_capitals, of_uuids
from tests.conftest import Rig
from tests.faults.mounts import TMPFS, mounted, read_only
from tests.loops import ON_EACH_LOOP
from tests.service import Service
from tests.transfer.filerig import SteppedClock

pytestmark = [pytest.mark.anyio, ON_EACH_LOOP]


async def collect(capture: object) -> list[CaptureResult]:
    async with capture as results:  # type: ignore[attr-defined]
        return [result async for result in results]


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith(".zip") or path.name.startswith(".")]


async def test_ids_in_other_letters_than_the_service_lists(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    async with Service(of_uuids(rig)) as service:
        dex = rig.client(base_url=f"{service.origin}/client/v4")
        [result] = await collect(dex.capture([in_capitals(rig.requests(1)[0])], into=tmp_path, timeout=60))
        await dex.close()
    assert (result.state, result.error) == ("saved", None)


async def test_targets_become_whole_private_files(rig: Rig, tmp_path: Path) -> None:
    await rig.start(60, behaviour=Behaviour())
    requests = rig.requests(35)
    folder = tmp_path / "captures" / "of today"
    results = await collect(rig.dex.capture(requests, into=folder))
    assert Counter(result.state for result in results) == {"saved": 35}
    assert {result.request.target for result in results} == {request.target for request in requests}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for result in results:
        assert result.artifact is not None
        assert result.command is not None
        path = result.artifact.path
        assert path == folder / f"{result.command.id}.zip"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size == result.artifact.size
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert "capture-default.pcap" in archive.namelist()
    assert left_over(folder) == []
    # A tenth of a POST, one download, and the polls.
    assert rig.made("create_commands") == 4
    assert rig.made("download") == 35


@pytest.mark.parametrize("kind", [TMPFS])
async def test_nothing_is_created_for_a_folder_that_can_not_be_written_to(rig: Rig, kind: str) -> None:
    await rig.start()
    with mounted(kind) as disk:
        with (
            read_only(disk),
            pytest.raises(ConfigurationError, match=f"^can't write into the folder {disk}: Read-only"),
        ):
            await collect(rig.dex.capture(rig.requests(3), into=disk))
        assert rig.made("create_commands") == 0
        results = await collect(rig.dex.capture(rig.requests(3), into=disk))
        assert Counter(result.state for result in results) == {"saved": 3}


@pytest.mark.parametrize(("on_quota", "state"), [("wait", "saved"), ("stop", "not_attempted")])
async def test_what_is_refused_for_the_quota_has_one_result(
    rig: Rig, tmp_path: Path, on_quota: Literal["wait", "stop"], state: str
) -> None:
    await rig.start()

    def others(_: object) -> bool:
        if rig.clock.monotonic() < 60:
            rig.sandbox.state.quota.usage = 800
        return False

    rig.sandbox.faults.add(Fault.drop(), on="create_commands", where=others)
    capture = rig.dex.capture(rig.requests(3), into=tmp_path, on_quota=on_quota)
    assert [result.state for result in await collect(capture)] == [state] * 3


@pytest.mark.parametrize("processed", [True, False])
async def test_what_becomes_of_a_lost_answer_is_a_result(rig: Rig, tmp_path: Path, processed: bool) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.drop(processed=processed), on="create_commands", times=None)
    results = await collect(rig.dex.capture(rig.requests(3), into=tmp_path))
    assert [result.state for result in results] == ["saved" if processed else "unknown"] * 3


async def test_results_come_as_they_are_known(
    rig: Rig, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Or else minutes pass while a slow machine saves the first.
    monkeypatch.setattr(clock, "SETTLE_SECONDS", 0.01)
    await rig.start(60, behaviour=Behaviour(run_seconds=(1.0, 300.0)))
    seen_at = []
    async with rig.dex.capture(rig.requests(30), into=tmp_path) as results:
        async for _ in results:
            seen_at.append(rig.clock.monotonic())
    assert seen_at[0] < 60
    assert seen_at[-1] > 150


async def test_everything_that_can_go_wrong_is_a_result(rig: Rig, tmp_path: Path) -> None:
    await rig.start(30, behaviour=Behaviour(), quota=20)
    requests = rig.requests(22)
    doomed = requests[0].device_id
    rig.sandbox.faults.add(
        Fault.error(404), on="download", times=None, where=lambda r: r.params["command_id"] == _first(rig)
    )
    rig.sandbox.faults.add(
        Fault.corrupt(), on="download", times=None, where=lambda r: r.params["command_id"] == _nth(rig, 1)
    )
    results = await collect(rig.dex.capture(requests, into=tmp_path))
    by_state = Counter(result.state for result in results)
    assert by_state == {"saved": 18, "failed": 2, "not_attempted": 2}
    failed = {result.request.device_id: result for result in results if result.state == "failed"}
    assert isinstance(failed[doomed].error, NotFoundError)
    assert isinstance(failed[requests[1].device_id].error, InvalidArtifactError)
    assert {result.reason for result in results if result.state == "not_attempted"} == {"quota"}
    assert len(list(tmp_path.iterdir())) == 18
    assert left_over(tmp_path) == []


def _first(rig: Rig) -> str:
    return _nth(rig, 0)


def _nth(rig: Rig, index: int) -> str:
    return list(rig.sandbox.state.commands)[index]


async def test_devices_that_fail_are_results_with_an_error(rig: Rig, tmp_path: Path) -> None:
    await rig.start(behaviour=Behaviour(failure_rate=1.0))
    results = await collect(rig.dex.capture(rig.requests(5), into=tmp_path))
    assert [result.state for result in results] == ["failed"] * 5
    assert all(isinstance(result.error, CommandFailedError) for result in results)
    assert all(result.command is not None and result.command.status == "FAILED" for result in results)


async def test_commands_that_do_not_end_are_given_up(rig: Rig, tmp_path: Path, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(5000.0, 5000.0)))
    results = await collect(rig.dex.capture(rig.requests(3), into=tmp_path, timeout=120))
    assert [result.state for result in results] == ["failed"] * 3
    errors = [result.error for result in results if isinstance(result.error, WaitTimeoutError)]
    assert [error.last_seen for error in errors] == [(result.command,) for result in results]
    assert clock.monotonic() == pytest.approx(120, abs=15)


async def test_time_goes_on_for_what_waits_for_room(rig: Rig, tmp_path: Path, clock: ManualClock) -> None:
    await rig.start(behaviour=Behaviour(run_seconds=(5000.0, 5000.0)))
    results = await collect(rig.dex.capture(rig.requests(5), into=tmp_path, timeout=120, most_in_flight=1))
    assert [type(result.error) for result in results] == [WaitTimeoutError] * 5
    assert clock.monotonic() == pytest.approx(120, abs=5)


async def test_what_had_no_room_in_its_time_is_looked_for_once(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    # The first of the POST takes all the time, and the others end meanwhile.
    first = rig.requests(1)[0].device_id
    rig.sandbox.faults.add(
        Fault.slow(200.0), on="download", where=lambda r: r.params["command_id"] == _of_device(rig, first)
    )
    results = await collect(rig.dex.capture(rig.requests(5), into=tmp_path, timeout=60, most_in_flight=1))
    assert [result.state for result in results] == ["saved"] * 5


def _of_device(rig: Rig, device_id: str) -> str:
    return next(one.id for one in rig.sandbox.state.commands.values() if one.device.device_id == device_id)


async def test_any_number_of_downloads_at_a_time_may_be_asked_for(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    results = await collect(rig.dex.capture(rig.requests(2), into=tmp_path, concurrency=10**12))
    assert [result.state for result in results] == ["saved"] * 2


async def test_a_file_name_that_comes_late_is_waited_for(rig: Rig, tmp_path: Path) -> None:
    await rig.start(behaviour=Behaviour.instant(filename_delay=20.0))
    [result] = await collect(rig.dex.capture(rig.requests(1), into=tmp_path))
    assert result.state == "saved"
    assert result.command is not None
    assert result.command.filename is not None


async def test_a_file_name_that_never_comes_is_guessed(rig: Rig, tmp_path: Path) -> None:
    await rig.start(behaviour=Behaviour.instant(filename_style="null"))
    [result] = await collect(rig.dex.capture(rig.requests(1), into=tmp_path))
    assert result.state == "saved"
    assert result.artifact is not None
    assert result.artifact.path.name == f"{_first(rig)}.zip"


async def test_the_commands_of_one_post_are_polled_for_together(
    rig: Rig, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Time goes on whenever somebody sleeps and the loop comes round, as where the machine is too busy for this process.
    monkeypatch.setattr(clock, "SETTLE_SECONDS", 0.0)
    await rig.start()
    rig.sandbox.faults.add(Fault.error(418), on="list_commands", times=None)
    async with rig.dex.capture(rig.requests(4), into=tmp_path, timeout=8.0) as results:
        assert [result.state async for result in results] == ["failed"] * 4
    # At 2, 5 and 8 s.
    assert rig.made("list_commands") == 3


async def test_polls_that_fail_lose_nothing(rig: Rig, tmp_path: Path) -> None:
    await rig.start(behaviour=Behaviour(), retry=RetryPolicy(attempts=1))
    rig.sandbox.faults.add(Fault.error(503), on="list_commands", times=3)
    results = await collect(rig.dex.capture(rig.requests(4), into=tmp_path))
    assert [result.state for result in results] == ["saved"] * 4


async def test_a_list_that_is_forbidden_ends_the_following_at_once(rig: Rig, tmp_path: Path) -> None:
    await rig.start(behaviour=Behaviour())
    rig.sandbox.faults.add(Fault.error(403), on="list_commands", times=None)
    results = await collect(rig.dex.capture(rig.requests(4), into=tmp_path))
    assert [result.state for result in results] == ["failed"] * 4
    assert all(isinstance(result.error, PermissionDeniedError) for result in results)
    assert rig.made("list_commands") == 1


async def test_nothing_is_created_where_nothing_can_be_saved(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    (tmp_path / "file").write_text("in the way")
    async with rig.dex.capture(rig.requests(3), into=tmp_path / "file" / "captures") as results:
        with pytest.raises(ConfigurationError, match="can't create the folder"):
            await anext(results)
    assert rig.sandbox.requests == []


async def test_leaving_early_leaves_whole_files_only(rig: Rig, tmp_path: Path) -> None:
    await rig.start(60, artifact_size=3_000_000)
    rig.sandbox.faults.add(Fault.stall(0.9), on="download", times=None, skip=3)
    async with rig.dex.capture(rig.requests(40), into=tmp_path, concurrency=6) as results:
        async for result in results:
            assert result.state == "saved"
            if len(list(tmp_path.glob("*.zip"))) == 3:
                break
    assert len(list(tmp_path.glob("*.zip"))) == 3
    # What can be gone on from: parts, each with its state.
    left = left_over(tmp_path)
    parts = [name for name in left if name.endswith(".zip.part")]
    assert 0 < len(parts) <= 6
    assert sorted(left) == sorted([*parts, *(f"{part}.json" for part in parts)])


async def test_an_error_of_the_consumer_comes_through_as_it_is(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    with pytest.raises(ZeroDivisionError):
        async with rig.dex.capture(rig.requests(5), into=tmp_path) as results:
            async for _ in results:
                raise ZeroDivisionError
    assert left_over(tmp_path) == []


async def test_a_cancellation_from_outside_comes_through(rig: Rig, tmp_path: Path) -> None:
    await rig.start(artifact_size=3_000_000)
    rig.sandbox.faults.add(Fault.stall(0.5), on="download", times=None)
    with anyio.move_on_after(0.3) as scope:
        await collect(rig.dex.capture(rig.requests(5), into=tmp_path))
    assert scope.cancelled_caught
    assert list(tmp_path.glob("*.zip")) == []


@pytest.mark.parametrize(("bound", "posts"), [(20, 1), (5, 1), (5, 4)])
async def test_commands_in_flight_are_bounded(rig: Rig, tmp_path: Path, bound: int, posts: int) -> None:
    await rig.start(100, behaviour=Behaviour())
    most = 0
    async with rig.dex.capture(
        rig.requests(90), into=tmp_path, most_in_flight=bound, create_concurrency=posts, concurrency=2
    ) as results:
        done = 0
        async for _ in results:
            done += 1
            most = max(most, len(rig.sandbox.state.commands) - done)
    assert done == 90
    # Each POST that is under way when the bound is met adds its ten, and results wait for the consumer.
    assert most <= bound + 10 * posts + 16 + 2


async def test_a_slow_consumer_holds_the_work_back(rig: Rig, tmp_path: Path) -> None:
    await rig.start(100)
    async with rig.dex.capture(rig.requests(90), into=tmp_path, concurrency=2, most_in_flight=30) as results:
        await anext(results)
        await asyncio.sleep(0.3)
        assert len(list(tmp_path.glob("*.zip"))) <= 1 + 16 + 2
        assert len([result async for result in results]) == 89


async def test_a_capture_is_entered_once(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    capture = rig.dex.capture([], into=tmp_path)
    assert await collect(capture) == []
    with pytest.raises(RuntimeError, match="entered only once"):
        await collect(capture)


async def test_a_page_that_fails_loses_no_command_that_has_ended(rig: Rig, tmp_path: Path) -> None:
    await rig.start(100, retry=RetryPolicy(attempts=1))
    rig.sandbox.faults.add(Fault.error(500), on="list_commands", times=2, where=lambda r: r.query["page"] == "2")
    results = await collect(rig.dex.capture(rig.requests(70), into=tmp_path, most_in_flight=70))
    assert Counter(result.state for result in results) == {"saved": 70}


async def test_a_consumer_that_takes_its_time_fails_no_command(rig: Rig, tmp_path: Path, clock: ManualClock) -> None:
    await rig.start(100, behaviour=Behaviour(run_seconds=(1.0, 400.0)))
    states = []
    async with rig.dex.capture(rig.requests(60), into=tmp_path) as results:
        async for result in results:
            states.append(result.state)
            await clock.sleep(60)
    assert Counter(states) == {"saved": 60}


async def test_no_sleep_is_so_long_that_what_is_created_meanwhile_waits(
    rig: Rig, tmp_path: Path, clock: ManualClock
) -> None:
    await rig.start(100, behaviour=Behaviour(run_seconds=(300.0, 300.0)))
    results = await collect(rig.dex.capture(rig.requests(70), into=tmp_path, poll_interval=3.0))
    assert Counter(result.state for result in results) == {"saved": 70}
    polls = [request.at for request in rig.sandbox.requests if request.operation == "list_commands"]
    assert max(later - earlier for earlier, later in itertools.pairwise(polls)) > 60.0
    # What is created while it sleeps is due an interval later.
    assert max(clock.slept) <= 3.0


async def test_success_at_the_end_of_the_time_is_saved_under_the_usual_name(rig: Rig, tmp_path: Path) -> None:
    await rig.start(behaviour=Behaviour.instant(filename_style="null"))
    [result] = await collect(rig.dex.capture(rig.requests(1), into=tmp_path, timeout=30))
    assert result.state == "saved"


async def test_a_capture_that_was_left_tells_what_it_created(rig: Rig, tmp_path: Path) -> None:
    await rig.start(60, behaviour=Behaviour())
    capture = rig.dex.capture(rig.requests(20), into=tmp_path)
    with anyio.CancelScope() as scope:
        async with capture as results:
            await anext(results)
            scope.cancel()
            await asyncio.sleep(3600)
    assert {command.id for command in capture.created.commands} == set(rig.sandbox.state.commands)


async def test_a_closed_client_captures_nothing(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    await rig.dex.close()
    with pytest.raises(ConfigurationError, match="closed"):
        rig.dex.capture(rig.requests(1), into=tmp_path)


async def test_stop_waits_for_no_device_and_tells_of_each_command(rig: Rig, tmp_path: Path) -> None:
    await rig.start(60, behaviour=Behaviour(run_seconds=(600.0, 600.0)))
    posts = 0

    def stop(event: object) -> None:
        nonlocal posts
        if isinstance(event, RequestFinished) and event.method == "POST":
            posts += 1
            if posts == 2:
                capture.stop()

    capture = rig.client(on_event=stop).capture(rig.requests(40), into=tmp_path, create_concurrency=1)
    results = await collect(capture)
    assert Counter((result.state, result.reason) for result in results) == {
        ("created", "cancelled"): 20,
        ("not_attempted", "cancelled"): 20,
    }
    made = [result.command.id for result in results if result.command is not None]
    assert set(made) == set(rig.sandbox.state.commands)
    assert rig.clock.monotonic() < 60
    assert list(tmp_path.iterdir()) == []


async def test_stop_waits_for_no_poll(rig: Rig, tmp_path: Path) -> None:
    # What it sleeps until the next one never ends by itself.
    await rig.start(behaviour=Behaviour(run_seconds=(600.0, 600.0)))
    clock = SteppedClock()
    capture = rig.client(clock=clock).capture(rig.requests(2), into=tmp_path, poll_interval=20)
    async with asyncio.timeout(60), capture as results:
        await clock.sleeping.wait()
        results.stop()
        states = [(result.state, result.reason) async for result in results]
    assert states == [("created", "cancelled")] * 2


async def test_stop_finishes_downloads_that_are_under_way(rig: Rig, tmp_path: Path) -> None:
    await rig.start(30)
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        capture.stop()

    capture = rig.dex.capture(rig.requests(20), into=tmp_path, concurrency=2, on_progress=stop)
    results = await collect(capture)
    states = Counter(result.state for result in results)
    assert states["saved"] + states["created"] == 20
    assert 1 <= states["saved"] <= 2
    assert seen
    assert left_over(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == states["saved"]
