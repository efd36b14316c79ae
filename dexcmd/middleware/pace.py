"""The pace middleware.

Stay under the rate limit, together with every other client of the token in this process.
"""

import logging
import threading
import weakref

import attrs
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from dexcmd.clock import Clock
from dexcmd.errors import ErrorDetail, RateLimitError
from dexcmd.events import Paced
from dexcmd.middleware.call import Call
from dexcmd.wire.ratelimit import Allowance, parse_ratelimit
from dexcmd.wire.retrying import rate_limit_wait
from dexcmd.wire.window import RateLimit, ServiceView, Window

__all__ = ["Pace", "Pacer", "Place", "pacer_for"]

logger = logging.getLogger(__name__)


@attrs.define
class Place:
    """A request's place in the queue of its token: the time at which it is to go out."""

    limit: RateLimit | None
    """None: only the pauses and allowances that the service itself tells hold the request back."""

    time: float | None = None


class Pacer:
    """Who may send when, for one token at one origin.

    Shared by all clients of the token, whatever event loop or thread they run in, so every method takes a
    lock, briefly. Times are seconds by the clock that the clients share.
    """

    def __init__(self, address: Window) -> None:
        self._lock = threading.Lock()
        self._token = Window()
        self._address = address
        self._service = ServiceView()
        self._in_flight = 0

    def ask(self, place: Place, now: float) -> float:
        """Return when `place` may go out.

        If that is not after `now`, it goes, and is under way until `answered`.

        The first time a place is reserved.  One that was held back past its time counts from when it goes
        out, which may move it to the end of the queue.
        """
        with self._lock:
            if place.limit is not None and (place.time is None or place.time < now):
                self._move(place, place.limit, now)
            at = max(
                now if place.time is None else place.time, self._service.earliest(now, _requests(place.limit))
            )
            if at <= now:
                self._service.take(now)
                self._in_flight += 1
            return at

    def leave(self, place: Place) -> None:
        """Give up a place that was not used."""
        with self._lock:
            self._remove(place)

    def answered(self, now: float, allowance: Allowance | None) -> None:
        """Note that a request ended, and what its answer said of the limit."""
        with self._lock:
            self._in_flight -= 1
            if allowance is not None:
                self._service.learn(allowance, now, self._in_flight)

    def pause(self, until: float) -> None:
        """Hold every request of the token back until a time: the service refused one for its rate limit."""
        with self._lock:
            self._service.pause(until)

    def _move(self, place: Place, limit: RateLimit, now: float) -> None:
        waited = place.time is not None
        self._remove(place)
        if waited and self._token.fits(now, limit.requests, limit.seconds):
            place.time = now
        else:
            self._token.forget(now - limit.seconds)
            self._address.forget(now - 1.0)
            place.time = max(
                self._token.earliest(now, limit.requests, limit.seconds),
                self._address.earliest(now, limit.per_second, 1.0),
            )
        self._token.add(place.time)
        self._address.add(place.time)

    def _remove(self, place: Place) -> None:
        if place.time is not None:
            self._token.remove(place.time)
            self._address.remove(place.time)
            place.time = None


def _requests(limit: RateLimit | None) -> int:
    return 0 if limit is None else limit.requests


class _Registry:
    """The pacers and windows of this process, by clock (tests bring their own), origin and token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._addresses: weakref.WeakKeyDictionary[Clock, dict[str, Window]] = weakref.WeakKeyDictionary()
        self._pacers: weakref.WeakKeyDictionary[Clock, dict[tuple[str, str], Pacer]] = (
            weakref.WeakKeyDictionary()
        )

    def pacer(self, clock: Clock, origin: str, token_digest: str) -> Pacer:
        with self._lock:
            address = self._addresses.setdefault(clock, {}).setdefault(origin, Window())
            return self._pacers.setdefault(clock, {}).setdefault((origin, token_digest), Pacer(address))


_registry = _Registry()


def pacer_for(clock: Clock, origin: str, token_digest: str) -> Pacer:
    """Return the one pacer of a token at an origin.

    It outlives the clients: one made for each operation in turn must not start from an empty window every
    time.
    """
    return _registry.pacer(clock, origin, token_digest)


class Pace:
    """Holds each attempt of one call back until it may go out, and learns from its answer."""

    def __init__(self, call: Call, pacer: Pacer, limit: RateLimit | None) -> None:
        self._call = call
        self._pacer = pacer
        self._limit = limit

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send the request in its turn.

        Raises `RateLimitError`, with the wait, where that does not fit what is left of the call's budget.
        """
        await self._turn()
        call, clock = self._call, self._call.clock
        call.headers = None
        try:
            return await handler(request)
        except RateLimitError as error:
            self._pacer.pause(clock.monotonic() + rate_limit_wait(error, call.attempt))
            raise
        finally:
            allowance = None if call.headers is None else parse_ratelimit(call.headers)
            self._pacer.answered(clock.monotonic(), allowance)

    async def _turn(self) -> None:
        call, clock = self._call, self._call.clock
        place = Place(self._limit)
        try:
            while (wait := self._pacer.ask(place, now := clock.monotonic()) - now) > 0:
                if wait >= call.seconds_left:
                    raise _does_not_fit(call, wait)
                logger.debug("%s %s: held back %.3f s for the rate limit", call.method, call.path, wait)
                call.emit(Paced(call.method, call.path, wait))
                await clock.sleep(wait)
        except BaseException:
            self._pacer.leave(place)
            raise


def _does_not_fit(call: Call, wait: float) -> RateLimitError:
    detail = ErrorDetail(
        f"not sent: the rate limit has no room for it within the {call.seconds_left:.1f} s left"
    )
    return RateLimitError(429, (detail,), method=call.method, path=call.path, retry_after=wait)
