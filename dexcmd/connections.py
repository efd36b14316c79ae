"""The aiohttp sessions of a client, and their lifetime."""

import asyncio
import warnings
from contextlib import AsyncExitStack
from weakref import WeakSet

import aiohttp

from dexcmd.async_only import running_loop
from dexcmd.errors import ConfigurationError

__all__ = ["Connections"]

KEEP_ALIVE_SECONDS = 15.0


class Connections:
    """Creates sessions on first use, or uses an injected one, which it never closes.

    They set no limit on connections: `Session` limits the calls, and waiting for a connection would use up the time of
    an attempt.
    """

    def __init__(self, injected: aiohttp.ClientSession | None) -> None:
        self._home = injected
        self._fresh: aiohttp.ClientSession | None = None
        self._elsewhere: aiohttp.ClientSession | None = None
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop that the connections belong to; they can't be used in another one."""

        self.injected: bool = injected is not None
        self.answers: WeakSet[aiohttp.ClientResponse] = WeakSet()
        """Responses whose bodies may still be arriving."""

    def __del__(self) -> None:
        """Warn if nobody closed it: aiohttp warns as well, but names only its own objects."""
        if self._loop is not None and not self.injected and not self.closed:
            warnings.warn(
                "unclosed DexClient: use it as `async with DexClient(...)`, or await its `close()`",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    @property
    def home(self) -> aiohttp.ClientSession:
        """Return the session for the base URL.

        Raises `ConfigurationError` as `check_open`.
        """
        self.check_open()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._home is None:
            self._home = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS))
        return self._home

    @property
    def fresh(self) -> aiohttp.ClientSession:
        """Return the session whose requests to the base URL each have a connection of their own.

        A connection that was used before may be about to close, or hold a response that nobody asked for: aiohttp takes
        it for the next request's.  An injected session serves all requests as it was configured.

        Raises `ConfigurationError` as `check_open`.
        """
        home = self.home
        if self.injected:
            return home
        if self._fresh is None:
            self._fresh = _session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self._fresh

    def check_open(self) -> None:
        """Raise `ConfigurationError` if nothing can be sent: no event loop, another event loop, or closed."""
        # Check the loop first: the client may have been closed at the end of its loop, and then "closed" would not tell
        # the user of another loop what is wrong.
        if self._loop not in (None, running_loop()):
            raise ConfigurationError("this client belongs to another event loop: create one client per event loop")
        if self.closed:
            raise ConfigurationError(
                "this client is closed" if self._closed else "the session of this client is closed"
            )

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closed or (self._home is not None and self._home.closed)

    @property
    def elsewhere(self) -> aiohttp.ClientSession:
        """The session for other origins.  It shares only the connections with `home`.

        An injected session may have secrets in its default headers, which other origins must not get.
        """
        home = self.home
        if self._elsewhere is None:
            self._elsewhere = aiohttp.ClientSession(
                connector=home.connector, connector_owner=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._elsewhere

    async def close(self) -> None:
        """Close everything but an injected session.  Calls in progress fail."""
        self._closed = True
        # Closing an aiohttp session does not wake readers that wait for the rest of a body, so close the responses too.
        for answer in list(self.answers):
            answer.close()
        # Each is closed even if a cancellation ends the closing of another.
        async with AsyncExitStack() as stack:
            for session in (self._home if not self.injected else None, self._fresh, self._elsewhere):
                if session is not None:
                    stack.push_async_callback(session.close)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
