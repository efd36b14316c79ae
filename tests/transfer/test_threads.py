"""Work in threads is seen through to its end."""

import asyncio
import threading

import anyio
import pytest

from dexcmd.threads import run_to_the_end

pytestmark = pytest.mark.anyio


async def test_what_it_returns_and_raises() -> None:
    assert await run_to_the_end(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await run_to_the_end(lambda: 1 / 0)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_cancellation_waits(fails: bool, cancels: int) -> None:
    go_on, begun, ended = threading.Event(), asyncio.Event(), list[bool]()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        ended.append(True)
        if fails:
            raise ValueError

    task = asyncio.ensure_future(run_to_the_end(work))
    await begun.wait()
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    assert not ended
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_a_scope_waits_too() -> None:
    go_on, ended = threading.Event(), list[bool]()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(scope.cancel)
        loop.call_soon_threadsafe(go_on.set)
        go_on.wait()
        ended.append(True)

    with anyio.CancelScope() as scope:
        await run_to_the_end(work)
        await anyio.sleep(3600)
    assert ended == [True]
    assert scope.cancelled_caught
