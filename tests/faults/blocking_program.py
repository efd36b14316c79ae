"""Run by `test_download_blocking` in a process of its own, for a hook that watches can't be taken away again.

Downloads in every way, and prints as JSON each call to the system that had to do with the folder and was made in the
thread of the event loop; and how many were made elsewhere, so that it can be seen that the watch works.
"""

import asyncio
import json
import os
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dexcmd import DexClient, FileSink, InvalidArtifactError, RetryPolicy, StalledDownloadError
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from dexcmd.sandbox.state import NewCommand
from tests.faults.loops import HastyLoop, wait_for_threads

EVENTS = frozenset(
    {
        "open",
        "os.chmod",
        "os.link",
        "os.listdir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.truncate",
        "os.utime",
        "fcntl.flock",
        "fcntl.lockf",
        "shutil.disk_usage",
    }
)
"""What Python tells its audit hooks of."""

CALLS = (
    "close",
    "fstat",
    "fsync",
    "ftruncate",
    "lseek",
    "lstat",
    "posix_fadvise",
    "read",
    "stat",
    "statvfs",
    "write",
    "writev",
)
"""What it doesn't tell them of."""


class Watch:
    """Notes calls to the system that have to do with a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._loop_thread = threading.get_ident()
        self.on_the_loop: list[str] = []
        self.elsewhere: Counter[str] = Counter()
        self.watching = False
        sys.addaudithook(self._hook)
        for name in CALLS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.watching and event in EVENTS:
            self._note(event, args)

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(what: Any, *args: Any, **options: Any) -> Any:
            if self.watching:
                self._note(name, (what,))
            return call(what, *args, **options)

        return wrapper

    def _note(self, name: str, args: tuple[Any, ...]) -> None:
        if not any(self._is_inside(arg) for arg in args):
            return
        if threading.get_ident() == self._loop_thread:
            frames = [frame for frame in traceback.extract_stack() if "dexcmd" in frame.filename]
            where = [f"{frame.filename}:{frame.lineno}" for frame in frames[-3:]]
            self.on_the_loop.append(f"{name} {args} {where}")
        else:
            self.elsewhere[name] += 1

    def _is_inside(self, what: object) -> bool:
        if isinstance(what, int):
            try:
                what = os.readlink(f"/proc/self/fd/{what}")  # noqa: PTH115 - `Path` would call what is watched
            except OSError:
                return False
        return isinstance(what, str | os.PathLike) and str(what).startswith(self._folder)


async def downloads(sandbox: Sandbox, dex: DexClient, folder: Path, size: int) -> None:
    """Save, resume, skip, cancel, fail and save many."""
    state, faults = sandbox.state, sandbox.faults

    def make() -> str:
        return state.create(NewCommand(state.devices[0], "warp-diag")).id

    for number, options in enumerate(({"verify": "zip"}, {"verify": "size"}, {"verify": "none"})):
        command, into = make(), folder / f"{size}" / f"{number}"
        # Goes on within one call, then is there, by its checksums or by its size.
        faults.add(Fault.stall(0.6), on="download")
        await dex.downloads.save(command, into, **options)
        await dex.downloads.save(command, into, **options)
        # The same, beside it, over it, and in its way.
        for existing in ("rename", "overwrite"):
            await dex.downloads.save(command, FileSink(into, existing=existing), **options)
        # Fails, and is gone on from by the next call.
        command = make()
        faults.add(Fault.stall(0.5), on="download", times=2)
        impatient = dex.with_retry(RetryPolicy(attempts=1))
        try:
            await impatient.downloads.save(command, into, **options)
        except StalledDownloadError:
            await dex.downloads.save(command, into, **options)
        # Cancelled while it comes.
        command = make()
        faults.add(Fault.stall(0.7), on="download")
        task = asyncio.ensure_future(dex.downloads.save(command, into, **options))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        faults.clear()
        sandbox.behaviour = Behaviour.instant(etag="weak", rate_limit=None)
        await dex.downloads.save(command, into, **options)
        sandbox.behaviour = Behaviour.instant(rate_limit=None)
    command = make()
    faults.add(Fault.corrupt(0.5), on="download")
    try:
        await dex.downloads.save(command, folder)
    except InvalidArtifactError:
        pass
    else:
        raise AssertionError("what is damaged was saved")
    commands = [make() for _ in range(6)]
    for _ in range(2):
        async with dex.downloads.save_many(commands, folder / f"{size}" / "many", concurrency=3) as results:
            async for result in results:
                assert result.error is None
    # Left in the middle.
    faults.add(Fault.stall(0.5), on="download", times=3)
    async with dex.downloads.save_many([make() for _ in range(6)], folder / "left", concurrency=3) as results:
        await anext(results)
    faults.clear()


async def main() -> None:
    wait_for_threads()
    with tempfile.TemporaryDirectory() as name:
        watch = Watch(Path(name))
        for size in (50_000, 2_500_000):
            behaviour = Behaviour.instant(rate_limit=None)
            async with (
                Sandbox(1, behaviour=behaviour, quota=10**6, artifact_size=size) as sandbox,
                DexClient(
                    api_token=sandbox.token,
                    account_id=sandbox.account_id,
                    base_url=sandbox.base_url,
                ) as dex,
            ):
                watch.watching = True
                await downloads(sandbox, dex, Path(name), size)
                watch.watching = False
        print(json.dumps({"on_the_loop": watch.on_the_loop, "elsewhere": watch.elsewhere}))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        runner.run(main())
