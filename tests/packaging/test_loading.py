"""What is loaded while an event loop runs: in a thread, where it is much, so that nobody else's work stands still."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, json, sys, threading
from importlib.abc import MetaPathFinder

from dexcmd import DexClient, DexError, RetryPolicy

HERE, ELSEWHERE = [], []

class Watcher(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        (HERE if threading.current_thread() is threading.main_thread() else ELSEWHERE).append(name)

async def main():
    async with DexClient(
        api_token="t", account_id="0" * 32, base_url="http://127.0.0.1:9", retry=RetryPolicy(attempts=1)
    ) as dex:
        sys.meta_path.insert(0, Watcher())
        {work}
        try:
            await work()
        except DexError:
            pass

asyncio.run(main())
print(json.dumps([HERE, ELSEWHERE]))
"""

WORK = {
    "save": """
        async def work():
            await dex.downloads.save("c1", {folder!r})
        """,
    "save_many": """
        async def work():
            async with dex.downloads.save_many(["c1"], {folder!r}) as results:
                async for _ in results:
                    pass
        """,
    "open": """
        async def work():
            async with dex.downloads.open("c1"):
                pass
        """,
}

HEAVY = {
    "save": {"dexcmd.transfer.filetarget", "dexcmd.transfer.save", "zipfile", "anyio._backends._asyncio"},
    "save_many": {"dexcmd.transfer.filetarget", "dexcmd.transfer.save", "zipfile", "anyio._backends._asyncio"},
    "open": {"dexcmd.transfer.artifact"},
}


LIGHT = [
    *("resources", "resources.downloads", "resources.command", "loading", "tasks", "background"),
    *("wire.converter", "wire.columns", "wire.times", "transfer", "transfer.address", "transfer.limits"),
    *("transfer.names", "transfer.options", "transfer.progress", "transfer.many", "transfer.saved", "transfer.sharing"),
    "transfer.throttle",
]
"""Modules that need no others: what takes longer belongs to those above."""


@pytest.mark.parametrize("name", WORK)
def test_what_downloads_need_is_loaded_beside_the_event_loop(name: str, tmp_path_factory: pytest.TempPathFactory):
    folder = str(tmp_path_factory.mktemp("saved"))
    code = PROGRAM.replace("{work}", WORK[name].format(folder=folder).strip())
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here, elsewhere = json.loads(run.stdout)
    assert set(elsewhere) >= HEAVY[name]
    assert not set(here) & HEAVY[name]
    assert {module for module in here if module.startswith("dexcmd.")} <= {f"dexcmd.{module}" for module in LIGHT}
