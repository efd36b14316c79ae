"""Kills a process that downloads, at random moments, and looks at what the next one makes of it.

The tests do it a hundred times.  For more:

    python -m tests.faults.download_kill --kills 1000 --seed 1
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from dexcmd.sandbox import Behaviour, RecordedRequest, Sandbox
from dexcmd.sandbox.state import NewCommand
from dexcmd.transfer.uncached import BUFFER
from dexcmd.transfer.writer import HIGH_WATER

MIB = 1024 * 1024
ARTIFACT_BYTES = 24 * MIB
BYTES_PER_SECOND = 120 * MIB
LATEST_SECONDS = 0.1
"""After the first request; so a kill comes before a half of an artifact is there, and some come after its end."""

CHUNK = 3 * 256 * 1024
"""The largest chunk: aiohttp stops reading when it holds more than 512 KiB, and asyncio reads 256 KiB at a time."""

MAX_LOST = HIGH_WATER + CHUNK + BUFFER
"""How many of the bytes that a process has taken may be missing from its file when it is killed.

The queue stops the download once it holds more than `HIGH_WATER`, with the chunk that brought it there.  What is being
written still counts as queued, and may then be held until it fills a buffer.  Before there is a queue, 1 MiB is kept in
memory.  (What is in the buffers of aiohttp and the socket has not been taken.)
"""


@attrs.frozen
class Run:
    """One process."""

    start: int | None
    """The byte from which it asked on; None if it asked for nothing."""

    taken: int
    """The bytes of the artifact up to where it has taken them; 0 if it took none."""

    killed: bool


@attrs.define
class Report:
    """What was measured."""

    kills: int = 0
    runs: int = 0
    artifacts: int = 0
    useful: int = 0
    """Bytes of the artifacts."""
    taken: int = 0
    """Bytes that came from the service."""
    lost: list[int] = attrs.field(factory=list[int])
    """Per kill, the bytes that had been taken and had to be asked for again."""
    left: list[str] = attrs.field(factory=list[str])
    """Names of what there is beside the files when all are whole."""
    seconds: float = 0.0

    def __str__(self) -> str:
        mean, most, allowed = statistics.fmean(self.lost) / MIB, max(self.lost) / MIB, MAX_LOST / MIB
        more = (self.taken - self.useful) / MIB
        return (
            f"{self.kills} kills, {self.runs} processes, {self.artifacts} artifacts, {self.seconds:.1f} s: "
            f"{self.taken / MIB:.1f} MiB came for {self.useful / MIB:.1f} MiB, {more:.1f} MiB more; "
            f"lost per kill {mean:.2f} MiB in the mean, {most:.2f} at the most ({allowed:.2f} allowed); "
            f"{len(self.left)} files left"
        )


class Processes:
    """Starts processes that save, and kills them."""

    def __init__(self, program: asyncio.subprocess.Process, sandbox: Sandbox, counter: Path) -> None:
        self._program = program
        self._sandbox = sandbox
        self._counter = counter

    @classmethod
    @asynccontextmanager
    async def open(cls, sandbox: Sandbox) -> AsyncIterator["Processes"]:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.kill_program",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        with tempfile.NamedTemporaryFile() as counter:
            try:
                yield cls(program, sandbox, Path(counter.name))
            finally:
                assert program.stdin is not None
                program.stdin.close()
                await program.wait()

    async def _line(self) -> int:
        assert self._program.stdout is not None
        return int(await self._program.stdout.readline())

    async def start(self, commands: Sequence[str], folder: Path, **task: Any) -> int:
        """Start one and return its number."""
        self._counter.write_bytes(bytes(8))
        sandbox = self._sandbox
        task |= {
            "token": sandbox.token,
            "account": sandbox.account_id,
            "base_url": sandbox.base_url,
            "commands": commands,
            "folder": str(folder),
            "counter": str(self._counter),
        }
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(task).encode() + b"\n")
        return await self._line()

    async def end(self) -> bool:
        """Return, when it has ended, whether it was killed.  It may not end in another way but well."""
        status = await self._line()
        assert status == 0 or os.WIFSIGNALED(status)
        return status != 0

    @property
    def taken(self) -> int:
        return struct.unpack("<Q", self._counter.read_bytes())[0]


STATE = re.compile(r"\..*\.part\.(json|[0-9a-f]{8})")
"""What a kill may leave for ever: a state that vouches for nothing any more, or one that was not in force yet."""


def start_of(request: RecordedRequest) -> int:
    return int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=")[:-1])


async def until(condition: Any, process: "asyncio.Future[bool]") -> None:
    """Wait until something is so, or the process has ended."""
    while not (condition() or process.done()):
        await asyncio.sleep(0.002)


def sandbox_of(size: int, **behaviour: Any) -> Sandbox:
    return Sandbox(100, behaviour=Behaviour.instant(rate_limit=None, **behaviour), quota=10**6, artifact_size=size)


def make(sandbox: Sandbox) -> str:
    return sandbox.state.create(NewCommand(sandbox.state.devices[0], "warp-diag")).id


def is_whole(sandbox: Sandbox, command: str, folder: Path) -> bool:
    return (folder / f"{command}.zip").read_bytes() == b"".join(sandbox.artifact(command).read())


class Artifact:
    """One artifact, saved by as many processes as it takes."""

    def __init__(self, sandbox: Sandbox, processes: Processes, folder: Path) -> None:
        self._sandbox = sandbox
        self._processes = processes
        self._folder = folder
        self.command = make(sandbox)
        self.runs: list[Run] = []

    async def run(self, kill_after: float | None, die_at: int | None = None) -> bool:
        """Let one process save it, to be killed so many seconds after its first request; return whether it was."""
        before = len(self._sandbox.requests)
        number = await self._processes.start(
            [self.command], self._folder, bytes_per_second=BYTES_PER_SECOND, die_at=die_at
        )
        process = asyncio.ensure_future(self._processes.end())
        if kill_after is not None:
            await until(lambda: len(self._sandbox.requests) > before, process)
            await asyncio.wait([process], timeout=kill_after)
            if not process.done():
                # It may have ended without us having heard of it.
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        killed = await process
        asked = self._sandbox.requests[before:]
        assert len(asked) <= 1
        self.runs.append(Run(start_of(asked[0]) if asked else None, self._processes.taken, killed))
        return killed

    def check(self, report: Report) -> None:
        """Check the file, and that no kill has cost more than it may."""
        assert is_whole(self._sandbox, self.command, self._folder)
        size = self._sandbox.artifact(self.command).size
        report.runs += len(self.runs)
        report.kills += sum(run.killed for run in self.runs)
        report.artifacts += 1
        report.useful += size
        there = 0
        for run in self.runs:
            if run.start is None and run.killed:
                # It came to nothing.
                continue
            again = size if run.start is None else run.start
            if there:
                report.lost.append(there - again)
                assert 0 <= there - again <= MAX_LOST
            there = max(again, run.taken)
            report.taken += there - again
        assert there == size


async def kill_at_random(kills: int, seed: int) -> Report:
    """Save artifacts one after the other until so many processes were killed."""
    rng, report, started = random.Random(seed), Report(), time.monotonic()
    async with sandbox_of(ARTIFACT_BYTES) as sandbox, Processes.open(sandbox) as processes:
        while report.kills < kills:
            folder = Path(tempfile.mkdtemp())
            artifact = Artifact(sandbox, processes, folder)
            left = kills - report.kills
            while left > 0:
                # Mostly by time; and at a call to the system, which also are those of the end.
                die_at = rng.randrange(1, 150) if rng.random() < 0.3 else None
                if not await artifact.run(rng.random() * LATEST_SECONDS, die_at):
                    break
                left -= 1
            else:
                await artifact.run(None)
            artifact.check(report)
            report.left += [path.name for path in folder.iterdir() if path.name != f"{artifact.command}.zip"]
            shutil.rmtree(folder)
    report.seconds = time.monotonic() - started
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(asyncio.run(kill_at_random(options.kills, options.seed)))


if __name__ == "__main__":
    main()
