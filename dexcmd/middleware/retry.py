"""The retry middleware: `dexcmd.wire.retrying` decides, tenacity drives."""

import logging

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from tenacity import AsyncRetrying, RetryCallState

from dexcmd.errors import APIError, DexError
from dexcmd.events import Retrying
from dexcmd.middleware.call import Call
from dexcmd.wire.retrying import TryAgain, decide

__all__ = ["Retry"]

logger = logging.getLogger(__name__)


class Retry:
    """Tries one call until it succeeds, its failure is final, or its budget is spent.

    Then raises the last error.

    The handlers below it raise nothing but `DexError`.  So aiohttp, which repeats the whole chain of an
    idempotent request for a dropped connection, never sees one, and the attempts stay as many as the policy
    says.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._wait = 0.0

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request, again where that is right."""
        failures: list[DexError] = []
        try:
            return await handler(request)
        except DexError as error:
            # Only from the first failure on is tenacity worth what it costs a call.
            failures.append(error)

        async def attempt() -> ClientResponse:
            if failures:
                raise failures.pop()
            self._call.attempt += 1
            return await handler(request)

        retrying = AsyncRetrying(
            retry=self._decide,
            wait=lambda _: self._wait,
            before_sleep=self._tell,
            sleep=self._call.clock.sleep,
        )
        return await retrying(attempt)

    def _decide(self, state: RetryCallState) -> bool:
        error = _failure(state)
        if error is None:
            return False
        call = self._call
        decision = decide(
            error,
            idempotent=call.idempotent,
            attempt=call.attempt,
            seconds_left=call.seconds_left,
            policy=call.policy,
            random=call.random(),
        )
        if isinstance(decision, TryAgain):
            self._wait = decision.wait
            call.waited += decision.wait
            if call.on_sent is not None and not call.idempotent:
                # Only what surely had no effect is sent again.
                call.on_sent(False)
            return True
        logger.debug("%s %s: giving up: %s", call.method, call.path, decision.reason)
        if isinstance(error, APIError) and error.retry_after is None:
            error.retry_after = decision.wait
        return False

    def _tell(self, state: RetryCallState) -> None:
        call, error = self._call, str(_failure(state))
        logger.warning(
            "%s %s: attempt %d failed, next in %.1f s: %s",
            call.method,
            call.path,
            call.attempt,
            self._wait,
            error,
        )
        call.emit(Retrying(call.method, call.path, call.attempt, self._wait, error))


def _failure(state: RetryCallState) -> DexError | None:
    """Return what an attempt failed with, if it is for this middleware: never a cancellation."""
    error = None if state.outcome is None else state.outcome.exception()
    return error if isinstance(error, DexError) else None
