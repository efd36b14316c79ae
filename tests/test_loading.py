"""Importing in a thread: once for all who wait, whatever becomes of one of them."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dexcmd import DexClient, loading
from dexcmd.loading import load
from tests.transfer.filerig import refuse_threads

pytestmark = pytest.mark.anyio

MODULE = f"""
import sys, threading
told = sys.modules[{__name__!r}]
told.threads.append(threading.current_thread())
told.begun.set()
assert told.go_on.wait(30)
if told.failures:
    raise told.failures.pop()
"""

threads: list[threading.Thread] = []
begun = threading.Event()
go_on = threading.Event()
failures: list[Exception] = []


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the name of a module that was never imported."""
    name = f"loaded_by_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loading, "_loads", {})
    threads.clear(), failures.clear(), begun.clear(), go_on.clear()
    return name


async def until_begun() -> None:
    while not begun.is_set():
        await asyncio.sleep(0.001)


async def test_one_thread_does_it_for_all(name: str) -> None:
    waiting = [asyncio.create_task(load(name)) for _ in range(50)]
    await until_begun()
    go_on.set()
    await asyncio.gather(*waiting)
    assert name in sys.modules
    await load(name)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_who_is_cancelled_does_not_cancel_it_for_others(name: str) -> None:
    first, second = asyncio.create_task(load(name)), asyncio.create_task(load(name))
    await until_begun()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go_on.set()
    await second
    assert (name in sys.modules, len(threads)) == (True, 1)


async def test_what_fails_is_told_to_all_and_tried_again(name: str) -> None:
    failures.append(ImportError("broken"))
    waiting = [asyncio.create_task(load(name)) for _ in range(2)]
    await until_begun()
    go_on.set()
    for told in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(told, ImportError)
    await load(name)
    assert (name in sys.modules, len(threads)) == (True, 2)


async def test_a_thread_that_can_not_be_started_is_tried_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch, "dexcmd-import")
    go_on.set()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await load(name)
    async with asyncio.timeout(60):
        await load(name)
    assert name in sys.modules


async def test_it_needs_none_of_the_threads_of_the_loop(name: str) -> None:
    release = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(release.wait, 30)
        asyncio.get_running_loop().set_default_executor(executor)
        go_on.set()
        try:
            await load(name)
        finally:
            release.set()
    assert name in sys.modules


async def test_what_is_entered_while_it_loads_is_entered_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "_loads", {})
    async with DexClient(api_token="t", account_id="0" * 32) as dex:
        results = dex.downloads.save_many([], tmp_path)
        other = asyncio.ensure_future(results.__aenter__())
        async with results:
            with pytest.raises(RuntimeError, match="entered only once"):
                await other
