"""Many artifacts side by side, and what is told of each."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dexcmd.errors import NotFoundError
from dexcmd.resources.command import Command
from dexcmd.transfer.many import MAX_AHEAD, SaveMany, SaveResult, SaveTotals
from dexcmd.transfer.saved import Saved

pytestmark = pytest.mark.anyio


def many(commands: Any, save: Callable[[Any], Awaitable[Saved]], *, concurrency: int = 3, ordered: bool = False) -> Any:
    @asynccontextmanager
    async def saver(_: asyncio.Event) -> AsyncGenerator[Any]:
        yield save

    return SaveMany(commands, saver, concurrency=concurrency, ordered=ordered)


async def stream(*commands: str, error: Exception | None = None) -> AsyncIterator[str]:
    for command in commands:
        await asyncio.sleep(0)
        yield command
    if error is not None:
        raise error


@pytest.mark.parametrize("concurrency", [1, 2, 5, 50])
@pytest.mark.parametrize("form", [list, tuple, iter, lambda names: stream(*names)])
async def test_each_has_one_result(concurrency: int, form: Callable[[list[str]], Any]) -> None:
    names, running, most = [str(number) for number in range(20)], 0, 0

    async def save(command: Command | str) -> Saved:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(int(str(command)) % 4 + 1):
            await asyncio.sleep(0)
        running -= 1
        return Saved(size=1, sha256=str(command))

    async with many(form(names), save, concurrency=concurrency) as results:
        found = [result async for result in results]
    assert sorted(int(result.command) for result in found) == list(range(20))
    assert all(result.artifact.sha256 == result.command for result in found)
    assert most <= concurrency
    assert results.totals == SaveTotals(saved=20, size=20)


@pytest.mark.parametrize("ordered", [False, True])
async def test_places_that_nothing_needs_cost_nothing(ordered: bool) -> None:
    together = asyncio.Barrier(5)

    async def save(command: Any) -> Saved:
        await together.wait()
        return Saved(size=1, sha256=command)

    async with many("abcde", save, ordered=ordered, concurrency=2**40) as results:
        assert {result.command async for result in results} == set("abcde")


@pytest.mark.parametrize("ordered", [False, True])
async def test_results_come_as_they_end_or_as_they_were_given(ordered: bool) -> None:
    gates = {name: asyncio.Event() for name in "abc"}

    async def save(command: Any) -> Saved:
        await gates[command].wait()
        return Saved(size=1, sha256=command)

    async with many("abc", save, ordered=ordered) as results:
        found = list[str]()
        for name in "cba":
            gates[name].set()
            if not ordered:
                found.append((await anext(results)).command)
        found += [result.command async for result in results]
    assert found == (list("abc") if ordered else list("cba"))


@pytest.mark.parametrize("ordered", [False, True])
async def test_one_that_fails_stops_no_other(ordered: bool) -> None:
    error = NotFoundError(404)

    async def save(command: Any) -> Saved:
        if command == "b":
            raise error
        return Saved(size=10, sha256=command, skipped=command == "c")

    async with many("abcd", save, ordered=ordered, concurrency=1) as results:
        found = [result async for result in results]
    assert found[1] == SaveResult("b", None, error)
    assert results.totals == SaveTotals(saved=2, skipped=1, failed=1, size=20)


async def test_many_results_in_order_while_nobody_takes_them() -> None:
    async def save(command: Any) -> Saved:
        for _ in range(command % 3):
            await asyncio.sleep(0)
        return Saved(size=1, sha256="")

    async with many(range(200), save, ordered=True, concurrency=7) as results:
        for _ in range(300):
            await asyncio.sleep(0)
        assert [result.command async for result in results] == list(range(200))


async def test_no_more_are_begun_than_may_wait_for_an_earlier_one() -> None:
    gate, begun = asyncio.Event(), 0

    async def save(command: Any) -> Saved:
        nonlocal begun
        begun += 1
        if command == 0:
            await gate.wait()
        return Saved(size=1, sha256="")

    async with many(range(MAX_AHEAD * 2), save, ordered=True, concurrency=2) as results:
        for _ in range(MAX_AHEAD * 4):
            await asyncio.sleep(0)
        assert begun == MAX_AHEAD + 2
        gate.set()
        assert [result.command async for result in results] == list(range(MAX_AHEAD * 2))


async def test_what_the_commands_raise_is_raised_where_results_are_taken() -> None:
    async def save(command: Any) -> Saved:
        return Saved(size=1, sha256=command)

    async with many(stream("a", error=LookupError("gone")), save) as results:
        with pytest.raises(LookupError, match="gone"):
            async for _ in results:
                pass


@pytest.mark.parametrize("ordered", [False, True])
async def test_after_the_results_of_those_before(ordered: bool) -> None:
    over = asyncio.Event()

    async def commands() -> AsyncIterator[str]:
        yield "a"
        yield "b"
        over.set()
        raise LookupError("gone")

    async def save(command: Any) -> Saved:
        if command == "a":
            await over.wait()
            await asyncio.sleep(0)
        return Saved(size=1, sha256=command)

    found = list[str]()
    async with many(commands(), save, ordered=ordered) as results:
        with pytest.raises(LookupError, match="gone"):
            async for result in results:
                found.append(result.command)
    assert found == (["a", "b"] if ordered else ["b", "a"])


@pytest.mark.parametrize("turns", range(8))
async def test_a_result_that_comes_as_its_wait_is_cancelled_comes_to_the_next(turns: int) -> None:
    gate = asyncio.Event()

    async def save(command: Any) -> Saved:
        await gate.wait()
        return Saved(size=1, sha256=command)

    async with many("a", save) as results:
        waiting = asyncio.create_task(anext(results))
        for _ in range(5):
            await asyncio.sleep(0)
        gate.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        [found] = await asyncio.gather(waiting, return_exceptions=True)
        if isinstance(found, asyncio.CancelledError):
            found = await anext(results)
        assert found.command == "a"
        with pytest.raises(StopAsyncIteration):
            await anext(results)
