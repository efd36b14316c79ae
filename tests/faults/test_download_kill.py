"""A process that is killed costs the next one no more than what was not in its file yet."""

import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dexcmd import DexClient, RetryPolicy, StalledDownloadError
from dexcmd.sandbox import Fault, Sandbox
from dexcmd.sandbox.requestlog import RecordedRequest
from dexcmd.transfer.partfile import part_path
from tests.faults.download_kill import STATE, Processes, is_whole, kill_at_random, make, sandbox_of

pytestmark = pytest.mark.anyio

KILLS = 100


async def test_kills_at_random() -> None:
    report = await kill_at_random(KILLS, seed=3)
    assert report.kills == KILLS
    # At least some of the kills came while bytes did.
    assert any(report.lost)
    assert all(STATE.fullmatch(name) for name in report.left)


def client(sandbox: Sandbox, **options: Any) -> DexClient:
    return DexClient(api_token=sandbox.token, account_id=sandbox.account_id, base_url=sandbox.base_url, **options)


async def leave_a_part(sandbox: Sandbox, command: str, folder: Path) -> None:
    sandbox.faults.add(Fault.stall(0.5), on="download")
    async with client(sandbox, retry=RetryPolicy(attempts=1, attempt_seconds=0.5)) as dex:
        with pytest.raises(StalledDownloadError):
            await dex.downloads.save(command, folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def deaths(tmp_path: Path, size: int, *, part: bool) -> set[str]:
    """Let a process die before its first call to the system that has to do with the folder, another one before its
    second, and so on; check what the next one makes of it, and return the names of what is left for ever.
    """
    left: set[str] = set()
    async with sandbox_of(size) as sandbox, Processes.open(sandbox) as processes:
        command, before = make(sandbox), tmp_path / "before"
        before.mkdir()
        if part:
            await leave_a_part(sandbox, command, before)
        final, killed, die_at = f"{command}.zip", True, 0
        while killed:
            die_at += 1
            folder = tmp_path / str(die_at)
            shutil.copytree(before, folder)
            await processes.start([command], folder, die_at=die_at)
            killed = await processes.end()
            if final in names(folder):
                assert is_whole(sandbox, command, folder)
            async with client(sandbox) as dex:
                await dex.downloads.save(command, folder)
            assert is_whole(sandbox, command, folder)
            left.update(name for name in names(folder) if name != final)
            shutil.rmtree(folder)
    # Some of what there surely is: to open, to lock, to write, to sync, to rename, to sync the folder.
    assert die_at > 8
    return left


@pytest.mark.parametrize(("size", "part"), [(100_000, False), (2_500_000, False), (2_500_000, True)])
async def test_death_at_each_call_to_the_system(tmp_path: Path, size: int, part: bool) -> None:
    # Nothing is left for ever either: the next call sweeps up what a death has left.
    assert await deaths(tmp_path, size, part=part) == set()


async def test_a_kill_amid_many_small_files(tmp_path: Path) -> None:
    rng = random.Random(1)
    async with sandbox_of(20_000) as sandbox, Processes.open(sandbox) as processes:
        for number in range(4):
            folder = tmp_path / str(number)
            commands = [make(sandbox) for _ in range(80)]
            sandbox.requests.clear()
            await kill_at(rng.randrange(5, 70), sandbox, processes, commands, folder)
            there = {name for name in names(folder) if not name.startswith(".")}
            assert all(is_whole(sandbox, name.removesuffix(".zip"), folder) for name in there)
            done = {
                command for command in commands if f"{command}.zip" in there or is_left_whole(sandbox, command, folder)
            }
            first = len(sandbox.requests)
            await processes.start(commands, folder)
            assert not await processes.end()
            assert names(folder) == sorted(f"{command}.zip" for command in commands)
            assert all(is_whole(sandbox, command, folder) for command in commands)
            # What was there is not fetched again, under its name or with none yet, and nothing else more than once.
            again = Counter(request.params["command_id"] for request in sandbox.requests[first:])
            assert set(again) == set(commands) - done
            assert set(again.values()) <= {1}
            assert max(Counter(request.params["command_id"] for request in sandbox.requests).values()) <= 2


def is_left_whole(sandbox: Sandbox, command: str, folder: Path) -> bool:
    """Tell whether all of a small artifact is there, and only its name is missing: then its checksums tell."""
    part = part_path(folder / f"{command}.zip")
    return part.exists() and part.read_bytes() == b"".join(sandbox.artifact(command).read())


async def kill_at(request: int, sandbox: Sandbox, processes: Processes, commands: list[str], folder: Path) -> None:
    """Kill a process when its nth request has come, or a later one: it can't have ended, for that has no answer."""
    alive: list[int] = []

    def strike(_: RecordedRequest) -> bool:
        if alive and len(sandbox.requests) >= request:
            os.kill(alive.pop(), signal.SIGKILL)
        return False

    sandbox.faults.add(Fault.drop(), on="download", times=None, where=strike)
    alive.append(await processes.start(commands, folder))
    assert await processes.end()
