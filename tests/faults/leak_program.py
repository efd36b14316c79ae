"""Run by `test_leaks` in a process of its own: cancels calls at random moments, and tells what is left as JSON.

python leak_program.py CALLS SEED
"""

import asyncio
import gc
import json
import os
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dexcmd import Command, DexClient, DexError, RetryPolicy
from dexcmd.clock import ManualClock
from dexcmd.resources.requests import CommandRequest, Pcap
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from dexcmd.sandbox.state import NewCommand

ARTIFACT_BYTES = 1_500_000
"""Enough for a writer thread."""

AT_ONCE = 8
DEVICES = 60
LONGEST_SECONDS = 0.05

FAULTS = [
    Fault.error(500),
    Fault.error(502, form="html", processed=True),
    Fault.rate_limited(2),
    Fault.drop(),
    Fault.drop(processed=True),
    Fault.silence(),
    Fault.silence(headers=False),
    Fault.slow(1.0),
    Fault.cut(0.5),
    Fault.stall(0.5),
    Fault.garbage(),
    Fault.unsuccessful(),
]


class Calls:
    """The kinds of calls, against one sandbox with one client."""

    def __init__(self, sandbox: Sandbox, dex: DexClient, folder: Path, rng: random.Random) -> None:
        self.sandbox = sandbox
        self.dex = dex
        self.folder = folder
        self.rng = rng
        state = sandbox.state
        self.ready = [Command(id=state.create(NewCommand(device, "pcap")).id) for device in state.devices[:10]]
        self.kinds: dict[str, Callable[[], Awaitable[object]]] = {
            "quota": self.quota,
            "list": self.list_devices,
            "create": self.create,
            "create_many": self.create_many,
            "follow": self.follow,
            "open": self.open,
            "save": self.save,
            "save_many": self.save_many,
            "capture": self.capture,
        }

    def requests(self, count: int) -> list[CommandRequest]:
        return [
            CommandRequest(
                device_id=device.device_id,
                registration_id=device.registration_id,
                user_email=device.user_email,
                args=Pcap(),
            )
            for device in self.rng.sample(self.sandbox.state.devices, count)
        ]

    async def quota(self) -> None:
        await self.dex.quota.get()

    async def list_devices(self) -> None:
        async for _ in self.dex.devices.list(per_page=20):
            pass

    async def create(self) -> None:
        await self.dex.commands.create(self.requests(3))

    async def create_many(self) -> None:
        await self.dex.commands.create_many(self.requests(30), concurrency=3)

    async def follow(self) -> None:
        async with self.dex.commands.follow(self.ready) as ended:
            async for _ in ended:
                pass

    async def open(self) -> None:
        async with self.dex.downloads.open(self.rng.choice(self.ready)) as artifact:
            async for _ in artifact:
                pass

    async def save(self) -> None:
        await self.dex.downloads.save(self.rng.choice(self.ready), self.folder)

    async def save_many(self) -> None:
        async with self.dex.downloads.save_many(self.ready[:4], self.folder, concurrency=2) as results:
            async for _ in results:
                pass

    async def capture(self) -> None:
        async with self.dex.capture(self.requests(4), into=self.folder, concurrency=2) as results:
            async for _ in results:
                pass


async def cancel_at_random(calls: Calls, wanted: int, ended: Counter[str]) -> None:
    """Make calls, several at a time, until `wanted` of them were cancelled."""
    rng = calls.rng

    async def work() -> None:
        while ended["cancelled"] < wanted:
            kind = rng.choice(list(calls.kinds))
            task = asyncio.ensure_future(calls.kinds[kind]())
            if rng.random() < 0.3:
                for _ in range(rng.randrange(60)):
                    await asyncio.sleep(0)
            else:
                await asyncio.wait([task], timeout=rng.random() ** 2 * LONGEST_SECONDS)
            task.cancel()
            await asyncio.wait([task])
            ended[kind] += 1
            if task.cancelled():
                ended["cancelled"] += 1
            elif (error := task.exception()) is None:
                ended["done"] += 1
            elif isinstance(error, DexError):
                ended["failed"] += 1
            else:
                raise error
            # The sandbox remembers everything for its tests, which is not what is looked at here.
            calls.sandbox.requests.clear()
            for path in calls.folder.glob("[!.]*"):
                path.unlink()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def go_on(dex: DexClient, left: list[str], folder: Path) -> list[str]:
    """Save what a part is left of, and return what went wrong."""
    commands = [name.removeprefix(".").removesuffix(".zip.part") for name in left if name.endswith(".zip.part")]
    async with dex.downloads.save_many(commands, folder) as results:
        return [repr(result.error) async for result in results if result.error is not None]


async def round_of_calls(wanted: int, seed: int) -> dict[str, Any]:
    """Cancel calls against a sandbox, close all, and return what is left."""
    ended: Counter[str] = Counter()
    clock = ManualClock()
    behaviour = Behaviour.instant(rate_limit=None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Sandbox(
            DEVICES, clock=clock, behaviour=behaviour, quota=10**9, artifact_size=ARTIFACT_BYTES
        ) as sandbox:
            sandbox.faults.add_random(rate=0.15, mix=FAULTS, seed=seed)
            async with DexClient(
                api_token=sandbox.token,
                account_id=sandbox.account_id,
                base_url=sandbox.base_url,
                clock=clock,
                rate_limit=None,
                retry=RetryPolicy(attempts=3, attempt_seconds=0.5),
                settle_seconds=20.0,
            ) as dex:
                await cancel_at_random(Calls(sandbox, dex, folder, random.Random(seed)), wanted, ended)
                # A call that was cancelled has ended all of its own, so nothing has to be waited for.
                busy = [task for task in asyncio.all_tasks() if _is_clients(task)]
                left = [path.name for path in folder.glob(".*")]
                sandbox.faults.clear()
                failed = await go_on(dex, left, folder)
                after = [path.name for path in folder.glob(".*")]
            for _ in range(400):
                if sandbox.open_connections == 0:
                    break
                await asyncio.sleep(0.005)
            connections = sandbox.open_connections
    return {
        "ended": dict(ended),
        "client_tasks": [repr(task) for task in busy],
        "left": left,
        "failed": failed,
        "left_after": after,
        "connections": connections,
    }


def _is_clients(task: "asyncio.Task[Any]") -> bool:
    """Tell whether a task is neither this program's nor one of the sandbox, which has one for each connection."""
    code = getattr(task.get_coro(), "cr_code", None)
    path = "" if code is None else code.co_filename
    return task is not asyncio.current_task() and "web_" not in path and "sandbox" not in path


def resident_kib() -> int:
    """Return the memory that this process holds; 0 where that can't be told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def descriptors() -> int:
    """Return how many files are open; 0 where that can't be told."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def objects() -> int:
    """Return how many objects there are but the sandbox's own.

    With the lowest versions of the dependencies something holds the sandbox that was closed last, and that one has seen
    more calls than the one before.
    """
    return sum(not str(type(each)).startswith("<class 'dexcmd.sandbox.") for each in gc.get_objects())


async def main(wanted: int, seed: int) -> dict[str, Any]:
    # The first round loads modules, starts threads and fills caches and pools.
    await round_of_calls(wanted // 4, seed)
    gc.collect()
    before = {"descriptors": descriptors(), "resident_kib": resident_kib(), "objects": objects()}
    report = await round_of_calls(wanted, seed + 1)
    gc.collect()
    report["tasks"] = [repr(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]
    report["threads"] = [thread.name for thread in threading.enumerate() if thread.name.startswith("dexcmd-")]
    report["before"] = before
    report["after"] = {"descriptors": descriptors(), "resident_kib": resident_kib(), "objects": objects()}
    return report


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))))
