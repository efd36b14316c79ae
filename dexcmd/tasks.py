"""Running tasks side by side, with plain exceptions: no exception group leaves dexcmd."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import anyio

__all__ = ["run_beside", "run_tasks"]


async def run_tasks(tasks: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Run all of `tasks` and return when they are done.

    The first that raises cancels the others, and its exception is raised as it is.
    """

    async def run(task: Callable[[], Awaitable[object]]) -> None:
        await task()

    failure: BaseException
    try:
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(run, task)
        return
    except BaseExceptionGroup as errors:
        failure = _first(errors)
    raise failure


async def run_beside(main: Callable[[], Awaitable[object]], helpers: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Run `main` with `helpers` beside it, and cancel these when it ends.

    The first of them all that raises cancels the others, and its exception is raised as it is.
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
