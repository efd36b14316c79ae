"""The pace middleware: delays a request until its turn under the rate limit."""

import asyncio
import logging

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from dexcmd.errors import ErrorDetail, RateLimitError, TransportTimeoutError
from dexcmd.events import Paced
from dexcmd.middleware.call import Call
from dexcmd.middleware.limit import TimeLimit
from dexcmd.middleware.pacer import Pacer, Place
from dexcmd.wire.ratelimit import parse_ratelimit
from dexcmd.wire.retrying import rate_limit_wait
from dexcmd.wire.service_clock import ServiceClock
from dexcmd.wire.window import RateLimit

__all__ = ["Pace"]

logger: logging.Logger = logging.getLogger(__name__)


class Pace:
    """Delays each attempt of one call until it may be sent, and learns from its response."""

    def __init__(
        self,
        call: Call,
        pacer: Pacer,
        limit: RateLimit | None,
        slots: asyncio.Semaphore,
        service_clock: ServiceClock,
    ) -> None:
        self._call = call
        self._pacer = pacer
        self._limit = limit
        self._slots = slots
        self._service_clock = service_clock

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request in its turn.

        Raises `RateLimitError`, with the wait, if that does not fit the rest of the call's budget.
        """
        place = Place(self._limit)
        try:
            while True:
                await self._take_slot()
                try:
                    if (wait := self._ask(place)) <= 0:
                        return await self._send(request, handler)
                finally:
                    self._slots.release()
                # Without the slot: a request that waits for the rate limit must not block others.
                await self._wait(wait)
        finally:
            self._pacer.leave(place)

    async def _take_slot(self) -> None:
        """Take one of the slots for calls in progress; if all are taken, wait for one, within the budget."""
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with TimeLimit(self._call.seconds_left):
                await self._slots.acquire()
        except TimeoutError:
            call = self._call
            message = (
                f"{call.method} {call.path}: not sent: too many other calls were in progress until its time was up"
            )
            raise TransportTimeoutError(message, sent=False) from None

    def _ask(self, place: Place) -> float:
        now = self._call.clock.monotonic()
        return self._pacer.ask(place, now) - now

    async def _wait(self, wait: float) -> None:
        call = self._call
        if wait >= call.seconds_left:
            raise _does_not_fit(call, wait)
        logger.debug("%s %s: waiting %.3f s for the rate limit", call.method, call.path, wait)
        call.emit(Paced(call.method, call.path, wait))
        call.waited += wait
        await call.clock.sleep(wait)

    async def _send(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        call, clock = self._call, self._call.clock
        call.headers = None
        try:
            response = await handler(request)
            if call.headers is not None:
                # From good responses only: an error page may come from a proxy, with a `Date` by that machine's clock.
                self._service_clock.learn(call.headers, call.answered_at)
            return response
        except RateLimitError as error:
            self._pacer.pause(clock.monotonic() + rate_limit_wait(error, call.attempt))
            raise
        finally:
            allowance = None
            if call.headers is not None:
                # Several limits may be sent in one header each, which is equivalent to a single header.
                allowance = parse_ratelimit(",".join(call.headers.getall("Ratelimit", ())))
            self._pacer.answered(clock.monotonic(), allowance)


def _does_not_fit(call: Call, wait: float) -> RateLimitError:
    detail = ErrorDetail(f"not sent: the rate limit requires a longer wait than the {call.seconds_left:.1f} s left")
    return RateLimitError(429, (detail,), method=call.method, path=call.path, retry_after=wait)
