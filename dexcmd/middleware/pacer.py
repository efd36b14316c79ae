"""Who may send when: shared by all clients of a token in this process, to stay under its rate limit."""

import threading
import weakref
from functools import partial

import attrs

from dexcmd.clock import Clock
from dexcmd.polling.share import PollShare
from dexcmd.wire.ratelimit import Allowance
from dexcmd.wire.window import RateLimit, ServiceView, Window

__all__ = ["Pacer", "Place", "pacer_for"]


@attrs.define
class Place:
    """A request's place in the queue of its token: the time at which it may be sent."""

    limit: RateLimit | None
    """None: only the pauses and allowances from the service delay the request."""

    time: float | None = None


class Pacer:
    """Who may send when, for one token at one origin.

    Shared by all clients of the token, in any event loop or thread, so every method briefly takes a lock.  Times are
    seconds by the clock that the clients share.
    """

    def __init__(self, address: Window) -> None:
        self.polls: PollShare = PollShare()
        """Polling's share of the token's limit, for all who share it."""

        self._lock = threading.Lock()
        self._token = Window()
        self._address = address
        self._service = ServiceView()
        self._in_flight = 0

    def ask(self, place: Place, now: float) -> float:
        """Return when `place` may be sent.

        If that is not after `now`, it counts as sent, and as in progress until `answered`.

        The first call for a place queues it behind all requests that wait already, as if they will all be sent.  When
        its time has come, the next call counts only requests that were really sent, as some may have left the queue.
        """
        with self._lock:
            at = max(self._service.earliest(now, _requests(place.limit)), self._turn(place, now))
            self._release(place)
            if at > now:
                self._reserve(place, at)
                return at
            if place.limit is not None:
                self._token.send(now, place.limit.seconds)
                self._address.send(now, 1.0)
            self._service.take(now)
            self._in_flight += 1
            return at

    def opens_at(self, limit: RateLimit | None, now: float) -> float:
        """Return the earliest time at which any request can be sent; `now` if one can be sent now.

        The limit per second is ignored here, as it never delays a request for long.
        """
        with self._lock:
            at = self._service.earliest(now, _requests(limit))
            return at if limit is None else max(at, self._token.earliest(now, limit.requests, limit.seconds))

    def leave(self, place: Place) -> None:
        """Release a place that was not used."""
        with self._lock:
            self._release(place)

    def answered(self, now: float, allowance: Allowance | None) -> None:
        """Record that a request ended, and what its response said about the limit."""
        with self._lock:
            self._in_flight -= 1
            if allowance is not None:
                self._service.learn(allowance, now, self._in_flight)

    def pause(self, until: float) -> None:
        """Send no request of the token before `until`, as the service has refused one with a 429."""
        with self._lock:
            self._service.pause(until)

    def _turn(self, place: Place, now: float) -> float:
        limit = place.limit
        if limit is None:
            return now
        token = self._token.plan if place.time is None else self._token.earliest
        address = self._address.plan if place.time is None else self._address.earliest
        return max(token(now, limit.requests, limit.seconds), address(now, limit.per_second, 1.0))

    def _reserve(self, place: Place, time: float) -> None:
        place.time = time
        self._token.reserve(time)
        self._address.reserve(time)

    def _release(self, place: Place) -> None:
        if place.time is not None:
            self._token.release(place.time)
            self._address.release(place.time)
            place.time = None


def _requests(limit: RateLimit | None) -> int:
    return 0 if limit is None else limit.requests


@attrs.frozen
class _Counted:
    """The counters that belong to one clock."""

    clock: weakref.ref[Clock]
    """When it is garbage collected, the rest is dropped."""

    addresses: dict[str, Window] = attrs.field(factory=dict[str, Window], init=False)
    pacers: dict[tuple[str, str], Pacer] = attrs.field(factory=dict[tuple[str, str], Pacer], init=False)


class _Registry:
    """The pacers and windows of this process, by clock (tests bring their own), origin and token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By identity: a clock need not be hashable, and equal clocks are still different ones.
        self._counted: dict[int, _Counted] = {}

    def pacer(self, clock: Clock, origin: str, token_digest: str) -> Pacer:
        with self._lock:
            counted = self._counted.get(id(clock))
            if counted is None:
                # The callback runs before another object can get the same id.  It may run in any thread, also while
                # this one holds the lock, so it takes no lock.
                gone = partial(self._forget, id(clock))
                counted = self._counted[id(clock)] = _Counted(weakref.ref(clock, gone))
            address = counted.addresses.setdefault(origin, Window())
            return counted.pacers.setdefault((origin, token_digest), Pacer(address))

    def _forget(self, number: int, _: object) -> None:
        self._counted.pop(number, None)


_registry = _Registry()


def pacer_for(clock: Clock, origin: str, token_digest: str) -> Pacer:
    """Return the one pacer of a token at an origin.

    It outlives the clients: creating a client for each operation must not start with an empty window every time.
    """
    return _registry.pacer(clock, origin, token_digest)
