"""Retrying: tenacity runs the attempts, and the caller decides whether and when to retry."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["try_again"]

T = TypeVar("T")

Decide = Callable[[Exception], float | None]
"""Returns the seconds to wait before the next attempt; None for no further attempt."""


async def try_again(
    attempt: Callable[[], Awaitable[T]], decide: Decide, sleep: Callable[[float], Awaitable[None]]
) -> T:
    """Return the result of `attempt`, retried as `decide` says; raise its last exception when that says no more.

    tenacity is imported and used only after the first failure, as it costs time per call.  Cancellations pass through.
    """
    failures: list[Exception] = []
    try:
        return await attempt()
    except Exception as error:  # noqa: BLE001 - the first attempt of tenacity raises it again
        failures.append(error)
    from tenacity import AsyncRetrying

    waits: list[float] = []

    async def again() -> T:
        if failures:
            raise failures.pop()
        return await attempt()

    def wanted(state: "RetryCallState") -> bool:
        error = None if state.outcome is None else state.outcome.exception()
        wait = decide(error) if isinstance(error, Exception) else None
        if wait is not None:
            waits.append(wait)
        return wait is not None

    retrying = AsyncRetrying(retry=wanted, wait=lambda _: waits[-1], sleep=sleep)
    return await retrying(again)
