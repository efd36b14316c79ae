"""The retry middleware: `dexcmd.wire.retrying` decides, `dexcmd.retrying` drives."""

import logging

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from dexcmd.errors import APIError, DexError, ResponseDecodeError
from dexcmd.events import Retrying
from dexcmd.middleware.call import Call
from dexcmd.retrying import try_again
from dexcmd.wire.retrying import TryAgain, decide

__all__ = ["Retry"]

logger: logging.Logger = logging.getLogger(__name__)


class Retry:
    """Retries one call until it succeeds, fails for good, or uses up its budget, and then raises the last error.

    aiohttp itself repeats the whole middleware chain of an idempotent request after a dropped connection.  The
    middlewares below this one turn that error into a `DexError`, so aiohttp never sees it, and there are only as many
    attempts as the policy allows.
    """

    def __init__(self, call: Call) -> None:
        self._call = call

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request, retrying as the policy allows."""
        self._call.begun = True
        return await try_again(lambda: handler(request), self._decide, self._call.clock.sleep)

    def _decide(self, error: Exception) -> float | None:
        if not isinstance(error, DexError):
            return None
        call = self._call
        decision = decide(
            error,
            idempotent=call.idempotent,
            attempt=call.attempt,
            unreadable=call.unreadable,
            seconds_left=call.seconds_left,
            policy=call.policy,
            random=call.random(),
        )
        if isinstance(decision, TryAgain):
            self._tell(decision.wait, str(error))
            call.attempt += 1
            call.unreadable += isinstance(error, ResponseDecodeError)
            call.waited += decision.wait
            if call.on_retry is not None:
                call.on_retry()
            if call.on_sent is not None and not call.idempotent:
                # Only a request that certainly had no effect is retried.
                call.on_sent(False)
            return decision.wait
        logger.debug("%s %s: giving up: %s", call.method, call.path, decision.reason)
        if isinstance(error, APIError) and error.retry_after is None:
            error.retry_after = decision.wait
        return None

    def _tell(self, wait: float, error: str) -> None:
        call = self._call
        logger.warning(
            "%s %s: attempt %d failed, retrying in %.1f s: %s",
            call.method,
            call.path,
            call.attempt,
            wait,
            error,
        )
        call.emit(Retrying(call.method, call.path, call.attempt, wait, error))
