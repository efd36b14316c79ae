"""What comes unasked on a connection that nobody uses is no answer to a POST."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import attrs
import pytest
from yarl import URL

from dexcmd.clock import Clock
from tests.conftest import Rig

pytestmark = pytest.mark.anyio

REFUSAL = b'{"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"result":null}'
UNASKED = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(REFUSAL),
    REFUSAL,
)


@attrs.define
class Relay:
    """Passes everything on between clients and a service, and can speak up itself."""

    service: URL
    base_url: str = ""
    _clients: list[asyncio.StreamWriter] = attrs.field(factory=list[asyncio.StreamWriter])

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return len(self._clients)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(writer)
        up, down = await asyncio.open_connection(self.service.host, self.service.port)
        await asyncio.gather(_pass_on(reader, down), _pass_on(up, writer))

    async def all_gone(self) -> None:
        """Return when each client has closed its connection."""
        await asyncio.gather(*(client.wait_closed() for client in self._clients))

    async def say(self, text: bytes) -> None:
        """Send something to whoever is connected, and let it arrive."""
        for client in self._clients:
            client.write(text)
            await client.drain()
        # Client and relay share the loop, whose next turns see what was sent.
        for _ in range(5):
            await asyncio.sleep(0.001)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while text := await source.read(65536):
        target.write(text)
        await target.drain()
    target.close()


@asynccontextmanager
async def relay(base_url: str) -> AsyncIterator[Relay]:
    relay = Relay(URL(base_url))
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    async with server:
        relay.base_url = str(relay.service.with_port(server.sockets[0].getsockname()[1]))
        yield relay


async def test_it_refuses_no_command_that_is_created(rig: Rig) -> None:
    await rig.start()
    async with relay(rig.sandbox.base_url) as between:
        dex = rig.client(base_url=between.base_url)
        await dex.quota.get()
        await between.say(UNASKED)
        [command] = await dex.commands.create(rig.requests(1))
        await dex.close()
    assert [command.id] == list(rig.sandbox.state.commands)


async def test_each_post_has_a_connection_of_its_own_and_reading_shares_one(rig: Rig, clock: Clock) -> None:
    await rig.start()
    async with relay(rig.sandbox.base_url) as between:
        dex = rig.client(base_url=between.base_url)
        for _ in range(3):
            await dex.quota.get()
        assert between.connections == 1
        for request in rig.requests(3):
            await dex.commands.create([request])
        assert between.connections == 4
        await dex.quota.get()
        assert between.connections == 4
        await dex.close()


async def test_a_cancellation_while_they_are_closed_leaves_none_open(rig: Rig) -> None:
    await rig.start()
    async with relay(rig.sandbox.base_url) as between:
        dex = rig.client(base_url=between.base_url)
        await dex.quota.get()
        await dex.commands.create(rig.requests(1))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await dex.close()
        # One that is left open ends after 15 s.
        with anyio.fail_after(10):
            await between.all_gone()
