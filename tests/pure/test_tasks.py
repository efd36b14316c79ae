"""Tasks side by side, with plain exceptions."""

import asyncio
from collections.abc import Callable

import anyio
import pytest

from dexcmd.tasks import run_as_needed, run_beside, run_tasks

pytestmark = pytest.mark.anyio


async def test_all_of_them_run() -> None:
    done: list[int] = []

    def task(number: int):  # type: ignore[no-untyped-def]
        async def run() -> None:
            await asyncio.sleep(0)
            done.append(number)

        return run

    await run_tasks([task(number) for number in range(5)])
    assert sorted(done) == [0, 1, 2, 3, 4]


async def test_the_first_error_comes_as_it_is_and_ends_the_others() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise KeyError("it")

    async def wait() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("waiting")

    with pytest.raises(KeyError, match="it"):
        await run_tasks([wait, fail])
    assert ended == ["waiting"]


async def test_nested_groups_are_unwrapped() -> None:
    async def inner() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)

    async def fail() -> None:
        raise KeyError("deep")

    with pytest.raises(KeyError, match="deep"):
        await run_tasks([inner])


async def test_a_cancellation_stays_one() -> None:
    async def wait() -> None:
        await asyncio.sleep(3600)

    with anyio.move_on_after(0.01) as scope:
        await run_tasks([wait, wait])
    assert scope.cancelled_caught


@pytest.mark.parametrize(("most", "ran"), [(1, 1), (3, 3), (2**40, 10)])
async def test_no_more_are_started_than_asked_for_and_allowed(most: int, ran: int) -> None:
    started = 0

    async def task(start_one: Callable[[], None]) -> None:
        nonlocal started
        started += 1
        if started < 10:
            start_one()

    await run_as_needed(task, most)
    assert started == ran


async def test_an_error_of_one_that_was_started_ends_the_others() -> None:
    started = 0

    async def task(start_one: Callable[[], None]) -> None:
        nonlocal started
        started += 1
        if started == 3:
            raise KeyError("it")
        start_one()
        await asyncio.sleep(3600)

    with pytest.raises(KeyError, match="it"):
        await run_as_needed(task, 5)


async def test_helpers_end_with_what_they_help() -> None:
    ended: list[str] = []

    async def main() -> None:
        await asyncio.sleep(0)
        ended.append("main")

    async def helper() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("helper")

    await run_beside(main, [helper, helper])
    assert ended == ["main", "helper", "helper"]


@pytest.mark.parametrize("failing", ["main", "helper"])
async def test_whichever_fails_first_ends_the_others(failing: str) -> None:
    async def fail() -> None:
        raise KeyError(failing)

    async def wait() -> None:
        await asyncio.sleep(3600)

    with pytest.raises(KeyError, match=failing):
        await run_beside(*((fail, [wait]) if failing == "main" else (wait, [wait, fail])))


async def test_a_helper_that_has_ended_ends_nobody() -> None:
    done: list[str] = []

    async def main() -> None:
        while not done:
            await asyncio.sleep(0)
        done.append("main")

    async def helper() -> None:
        done.append("helper")

    await run_beside(main, [helper])
    assert done == ["helper", "main"]
