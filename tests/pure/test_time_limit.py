"""The limit in time of an attempt."""

import asyncio
import time

import pytest

from dexcmd.middleware.limit import TimeLimit

pytestmark = pytest.mark.anyio


async def test_what_came_while_the_loop_was_held_up_counts() -> None:
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    async with TimeLimit(0.02):
        loop.call_soon(answer.set_result, "here")
        time.sleep(0.05)  # noqa: ASYNC251 - it is held up
        assert await answer == "here"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.01])
async def test_it_ends_what_takes_longer(seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with TimeLimit(seconds):
            await asyncio.Event().wait()
    # And nothing but that.
    await asyncio.sleep(0)


async def test_it_is_over_with_the_block() -> None:
    async with TimeLimit(0.0):
        pass
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_cancellation_from_elsewhere_is_none_of_its_own() -> None:
    async def wait() -> None:
        async with TimeLimit(100):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_block_raises_comes_through() -> None:
    with pytest.raises(KeyError):
        async with TimeLimit(100):
            raise KeyError
