"""A program that saves artifacts and can be killed, for `test_download_kill`."""

import mmap
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dexcmd import DexClient, FileSink
from dexcmd.clock import Clock
from dexcmd.transfer.filetarget import FileTarget
from dexcmd.transfer.options import Verify
from dexcmd.transfer.sink import ArtifactName
from tests.forking import run_each_task

CALLS = ("writev", "fsync", "ftruncate", "lseek", "read", "close")
EVENTS = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "fcntl.flock", "os.listdir")


class CountingSink:
    """A `FileSink` that notes, where a kill can't reach it, how many bytes of the artifact were taken."""

    def __init__(self, folder: Path, counter: mmap.mmap) -> None:
        self._sink = FileSink(folder)
        self._counter = counter

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncIterator["CountingSink"]:
        async with self._sink.open(clock) as self._store:
            yield self

    @asynccontextmanager
    async def target(self, name: ArtifactName, verify: Verify) -> AsyncIterator[FileTarget]:
        async with self._store.target(name, verify) as target:
            write = target.write

            async def counted(chunk: bytes) -> None:
                # Before it is queued: what is lost in there counts as well.
                self._counter[:8] = struct.pack("<Q", target.have.offset + len(chunk))
                await write(chunk)

            target.write = counted  # type: ignore[method-assign]
            yield target


class Death:
    """Kills this process just before its nth call to the system that has to do with a folder."""

    def __init__(self, folder: str, last: int) -> None:
        self._folder = folder
        self._left = last
        sys.addaudithook(self._hook)
        for name in CALLS:
            setattr(os, name, self._wrapped(getattr(os, name)))

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event in EVENTS and any(self._is_inside(arg) for arg in args):
            self._step()

    def _wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(descriptor: int, *args: Any) -> Any:
            if self._is_inside(descriptor):
                self._step()
            return call(descriptor, *args)

        return wrapper

    def _is_inside(self, what: object) -> bool:
        if isinstance(what, int):
            try:
                what = Path(f"/proc/self/fd/{what}").readlink()
            except OSError:
                return False
        return isinstance(what, str | os.PathLike) and str(what).startswith(self._folder)

    def _step(self) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def shared_counter(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)


async def save(task: dict[str, Any]) -> None:
    counter = shared_counter(Path(task["counter"]))
    if task.get("die_at"):
        Death(task["folder"], task["die_at"])
    async with (
        DexClient(api_token=task["token"], account_id=task["account"], base_url=task["base_url"]) as dex,
        dex.downloads.save_many(
            task["commands"],
            CountingSink(Path(task["folder"]), counter),
            bytes_per_second=task.get("bytes_per_second"),
            verify=task.get("verify"),
        ) as results,
    ):
        async for result in results:
            if result.error is not None:
                raise result.error


if __name__ == "__main__":
    run_each_task(save)
