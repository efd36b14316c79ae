"""The aiohttp sessions of a client, and how long they live."""

import asyncio
from weakref import WeakSet

import aiohttp

from dexcmd.async_only import running_loop
from dexcmd.errors import ConfigurationError

__all__ = ["Connections"]

KEEP_ALIVE_SECONDS = 15.0


class Connections:
    """Makes a session when it is first needed, or uses one that was injected, which it never closes."""

    def __init__(self, injected: aiohttp.ClientSession | None) -> None:
        self._home = injected
        self._elsewhere: aiohttp.ClientSession | None = None
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop that connections were made in, for they are of no use in another one."""

        self.injected: bool = injected is not None
        self.answers: WeakSet[aiohttp.ClientResponse] = WeakSet()
        """Answers whose bodies may still be on their way."""

    @property
    def home(self) -> aiohttp.ClientSession:
        """Return the session for the base URL.

        Raises `ConfigurationError` as `check_open`.
        """
        self.check_open()
        if self._home is None:
            self._loop = asyncio.get_running_loop()
            self._home = aiohttp.ClientSession(
                # No limit on connections: a session bounds its calls itself, and a wait for a connection would eat an
                # attempt's time.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._home

    def check_open(self) -> None:
        """Raise `ConfigurationError` where nothing can be sent: in no or another event loop, or once it is closed."""
        # The loop first: one may have closed the client at its end, and whoever runs another one has closed nothing.
        if self._loop not in (None, running_loop()):
            raise ConfigurationError("this client was used in another event loop: make one in each")
        if self.closed:
            raise ConfigurationError(
                "this client is closed" if self._closed else "the session of this client is closed"
            )

    @property
    def closed(self) -> bool:
        """Tell whether nothing can be sent any more."""
        return self._closed or (self._home is not None and self._home.closed)

    @property
    def elsewhere(self) -> aiohttp.ClientSession:
        """Return a session for other origins, which shares the connections and nothing else.

        An injected session may have secrets in its headers.
        """
        home = self.home
        if self._elsewhere is None:
            self._elsewhere = aiohttp.ClientSession(
                connector=home.connector, connector_owner=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._elsewhere

    async def close(self) -> None:
        """Close what is not injected.  What is under way fails."""
        self._closed = True
        # Whoever waits for more of a body is not told by the session: aiohttp forgets the body with its connection.
        for answer in list(self.answers):
            answer.close()
        if self._elsewhere is not None:
            await self._elsewhere.close()
        if self._home is not None and not self.injected:
            await self._home.close()
