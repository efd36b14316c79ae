"""Running tasks concurrently, with plain exceptions: no exception group escapes dexcmd."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import cast

import anyio
from anyio.abc import TaskGroup

__all__ = ["run_as_needed", "run_beside", "run_tasks", "run_unsilenced"]


async def run_tasks(tasks: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Run all of `tasks` and return when they are done.

    The first that raises cancels the others, and its exception is raised unchanged.
    """

    def start(group: TaskGroup) -> None:
        for task in tasks:
            group.start_soon(run_unsilenced, task)

    await _run_group(start)


async def run_as_needed(task: Callable[[Callable[[], None]], Awaitable[object]], most: int) -> None:
    """Run `task`, which gets a function that starts another copy of it, up to `most` copies in all.

    Exceptions are raised as by `run_tasks`.
    """
    begun = 0

    def start(group: TaskGroup) -> None:
        def start_one() -> None:
            nonlocal begun
            if begun < most:
                begun += 1
                group.start_soon(run_unsilenced, partial(task, start_one))

        start_one()

    await _run_group(start)


async def run_unsilenced(task: Callable[[], Awaitable[object]]) -> None:
    """Run `task`, and raise `RuntimeError` if it ends as if it were cancelled, although nobody cancelled it.

    A future that somebody else cancelled does that to whoever awaits it, and a task group would ask no more: its other
    tasks would go on, or wait for ever, without that one.
    """
    try:
        await task()
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        raise RuntimeError("something that was awaited raised CancelledError, but was not cancelled") from error


async def _run_group(start: Callable[[TaskGroup], None]) -> None:
    failure: BaseException
    try:
        async with anyio.create_task_group() as group:
            start(group)
        return
    except BaseExceptionGroup as errors:
        failure = _first(errors)
    raise failure


async def run_beside(main: Callable[[], Awaitable[object]], helpers: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Run `main` together with `helpers`, which are cancelled when it ends.

    The first of them all that raises cancels the others, and its exception is raised unchanged.
    """
    with anyio.CancelScope() as scope:

        async def run_main() -> None:
            await main()
            scope.cancel()

        await run_tasks([run_main, *helpers])


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    inner: BaseException = errors.exceptions[0]
    while isinstance(inner, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", inner).exceptions[0]
    return inner
