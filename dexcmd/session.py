"""The session core: the one place where a request becomes a result or a typed error."""

import asyncio
import copy
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from urllib.parse import urlencode, urljoin

import aiohttp
import attrs
from yarl import URL

from dexcmd._version import __version__
from dexcmd.clock import Clock
from dexcmd.connections import Connections
from dexcmd.errors import ConfigurationError, DexError, DownloadError
from dexcmd.events import Event
from dexcmd.middleware.attempt import Attempt, transport_error
from dexcmd.middleware.call import Call
from dexcmd.middleware.pace import Pace
from dexcmd.middleware.pacer import pacer_for
from dexcmd.middleware.retry import Retry
from dexcmd.polling.share import PollShare
from dexcmd.proxy import Proxy, proxy_for, proxy_of
from dexcmd.safe_text import one_line, safe_url
from dexcmd.secret import Secret
from dexcmd.wire.envelope import Envelope
from dexcmd.wire.paths import BaseURL, is_loopback, segment
from dexcmd.wire.retrying import RetryPolicy
from dexcmd.wire.service_clock import ServiceClock
from dexcmd.wire.window import RateLimit

__all__ = ["SETTLE_SECONDS", "Request", "Session", "Settings"]

logger: logging.Logger = logging.getLogger(__name__)

USER_AGENT = f"dexcmd/{__version__}"
ACCEPT_ENCODING = "gzip, deflate"

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
STREAMED = frozenset({200, 206})

MAX_CALLS_AT_ONCE = 64
"""How many calls of a client may be in progress at once.  Others wait, and the wait does not count against the time
limit of an attempt.
"""

CONNECT_SECONDS = 10.0
"""The connect timeout: short, because the next attempt may connect at once."""

SETTLE_SECONDS = 120.0
"""By default, how long a created command may take to appear in the list."""


@attrs.frozen
class Request:
    """A call to make, as data.  `path` is below the account and percent-encoded; `body` is encoded JSON."""

    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice has the same effect as sending it once."""
        return self.method == "GET"


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a session."""

    base_url: BaseURL
    account_id: str
    token: Secret
    retry: RetryPolicy
    rate_limit: RateLimit | None
    clock: Clock
    random: Callable[[], float]
    on_event: Callable[[Event], object] | None
    settle_seconds: float


class Session:
    """Sends requests for one account with one token."""

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self.settings = settings
        self.service_clock: ServiceClock = ServiceClock()
        self._connections = connections
        # Reading the environment takes longer than all other work before a request is sent.
        self._proxy_for = lru_cache(maxsize=16)(proxy_for)
        self._slots = asyncio.Semaphore(MAX_CALLS_AT_ONCE)
        self._pacer = pacer_for(settings.clock, str(settings.base_url.origin), settings.token.digest())

    @property
    def polls(self) -> PollShare:
        """Polling's share of the rate limit: one for all clients that share the limit."""
        return self._pacer.polls

    def opens_at(self, now: float) -> float:
        """Return the earliest time at which the rate limit allows a request; `now` if it allows one now."""
        return self._pacer.opens_at(self.settings.rate_limit, now)

    def service_now(self) -> datetime:
        """Return the service's time, or, before the first response, this machine's, which may be minutes off."""
        clock = self.settings.clock
        return self.service_clock.at(clock.monotonic()) or clock.now()

    def with_retry(self, retry: RetryPolicy) -> "Session":
        """Return a session with another retry policy that shares everything else."""
        session = copy.copy(self)
        session.settings = attrs.evolve(self.settings, retry=retry)
        return session

    async def call(self, request: Request, on_sent: Callable[[bool], None] | None = None) -> Envelope:
        """Send a request for JSON and return its envelope; `on_sent` is as in `Call`.

        Raises `DexError`.
        """
        call = self._call(request, on_sent)
        async with await self._send(call, self._url(request), request, stream=frozenset()):
            return call.envelope

    @asynccontextmanager
    async def stream(
        self, request: Request, on_retry: Callable[[], None] | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a request for bytes and yield the response, with status 200 or 206 and its body not yet read.

        Redirects are followed, at most five and only to https (http is for loopback).  Neither the token nor any header
        of an injected session is sent along a redirect.  `on_retry` is as in `Call`.  Raises `DexError`.
        """
        url, at_home = self._url(request), True
        # One call for all hops: they share its time and attempts.
        call = self._call(request, on_retry=on_retry)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(call, url, request, stream=STREAMED | REDIRECTS, at_home=at_home)
            async with response:
                if response.status not in REDIRECTS:
                    yield response
                    return
                # Once redirected, always without the token: even a redirect back to the base URL's origin.
                url, at_home = _redirect(url, response), False
        raise DownloadError(f"{request.method} {request.path}: more than {MAX_REDIRECTS} redirects")

    async def close(self) -> None:
        """Close the connections, unless they belong to an injected session.  Calls in progress fail."""
        await self._connections.close()

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._connections.closed

    def check_open(self) -> None:
        """Raise `ConfigurationError` if nothing can be sent: no event loop, another event loop, or closed."""
        self._connections.check_open()

    def emit(self, event: Event) -> None:
        """Pass an event to the user's hook.

        Exceptions of the hook are logged, since it must not change what happens.
        """
        if self.settings.on_event is None:
            return
        try:
            self.settings.on_event(event)
        except Exception:
            logger.exception("on_event raised for %r", event)

    async def _send(
        self, call: Call, url: URL, request: Request, stream: Collection[int], *, at_home: bool = True
    ) -> aiohttp.ClientResponse:
        connections, settings = self._connections, self.settings
        if not at_home:
            http = connections.elsewhere
        elif request.idempotent:
            http = connections.home
        else:
            # What becomes of it must be known, and that is worth a handshake.
            http = connections.fresh
        chain: list[aiohttp.ClientMiddlewareType] = [Retry(call)]
        if at_home:
            chain.append(Pace(call, self._pacer, settings.rate_limit, self._slots, self.service_clock))
        chain.append(Attempt(call, settings.token, stream, at_home=at_home, connections=connections))
        proxy = self._proxy(url, at_home=at_home)
        failure: DexError
        try:
            return await http.request(
                request.method,
                url,
                data=request.body,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": ACCEPT_ENCODING, **request.headers},
                # aiohttp would run the middlewares on each hop of a redirect, and so send the token to its target.
                allow_redirects=False,
                raise_for_status=False,
                # aiohttp accepts truncated gzip data as complete, so bodies are decoded where they are read.
                auto_decompress=False,
                middlewares=chain,
                # No total timeout: `Attempt` limits an attempt, and the reader of a streamed body limits the reading.
                # aiohttp may restart its own timer after the end of a body, and then it hits the next request on the
                # connection.
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
                proxy=None if proxy is None else proxy.url,
                proxy_headers=None if proxy is None else proxy.headers,
            )
        except aiohttp.ClientError as error:
            # Raised by an injected session, for example because of its proxy.
            sent = not isinstance(error, aiohttp.InvalidURL)
            failure = transport_error(error, call.method, call.path, settings.token, sent=sent)
        except ValueError:
            if call.begun or not http.trust_env:
                raise
            # Without the original text, which may contain a password.
            failure = ConfigurationError(
                "the session has trust_env=True, and the environment has an unusable setting: an invalid proxy URL, or "
                "a netrc user in addition to the session's own Authorization"
            )
        raise failure

    def _proxy(self, url: URL, *, at_home: bool) -> Proxy | None:
        """Return the proxy to pass to aiohttp; None where an injected session applies its own."""
        connections = self._connections
        if not connections.injected:
            return self._proxy_for(url.scheme, url.host or "")
        if at_home:
            return None
        # The session for other origins does not have the injected one's settings.
        return proxy_of(connections.home) or (
            self._proxy_for(url.scheme, url.host or "") if connections.home.trust_env else None
        )

    def _url(self, request: Request) -> URL:
        account = segment("account_id", self.settings.account_id)
        return self.settings.base_url.url(f"/accounts/{account}{request.path}", urlencode(request.query))

    def _call(
        self,
        request: Request,
        on_sent: Callable[[bool], None] | None = None,
        on_retry: Callable[[], None] | None = None,
    ) -> Call:
        settings = self.settings
        return Call(
            method=request.method,
            path=request.path,
            idempotent=request.idempotent,
            policy=settings.retry,
            clock=settings.clock,
            random=settings.random,
            emit=self.emit,
            on_sent=on_sent,
            on_retry=on_retry,
            deadline=settings.clock.monotonic() + settings.retry.total_seconds,
        )


def _redirect(url: URL, response: aiohttp.ClientResponse) -> URL:
    """Return the target of a redirect; raises `DownloadError` if a download must not go there."""
    location = response.headers.get("Location", "")
    try:
        text = urljoin(str(url), location)
        # Requested exactly as given, as the signature covers the text.  Only invalid characters are encoded.
        target = URL(text, encoded=text.isascii() and text.isprintable() and " " not in text)
        host = target.host or ""
        # An invalid name would fail in the resolver, with an error that is not a `DexError`.
        host.encode("idna")
    except ValueError:
        target, host = URL(), ""
    # A service on the network must not be able to redirect this client to a service on the client's own machine.
    on_loopback = url.scheme == "http" and target.scheme == "http" and is_loopback(host)
    if not location or not host or not (target.scheme == "https" or on_loopback):
        raise DownloadError(f"{response.method} {url.path}: refusing a redirect to {one_line(safe_url(location))!r}")
    return target
