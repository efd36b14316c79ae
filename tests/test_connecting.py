"""What is told of a request for which no connection came about."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from dexcmd import ConfigurationError, DexClient, RetryPolicy, TransportError, TransportTimeoutError
from dexcmd.clock import ManualClock
from dexcmd.sandbox import Fault
from tests.conftest import Rig

pytestmark = pytest.mark.anyio

HASTY = RetryPolicy(attempts=1, total_seconds=0.3)


class Names(AbstractResolver):
    """Says where the service is, unless it is silent."""

    silent = True
    asked = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked = True
        if self.silent:
            await asyncio.Event().wait()
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def session(names: Names) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(resolver=names, use_dns_cache=False, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


def named(rig: Rig, session: aiohttp.ClientSession, retry: RetryPolicy, clock: ManualClock) -> DexClient:
    base_url = rig.sandbox.base_url.replace("127.0.0.1", "localhost")
    return rig.client(base_url=base_url, session=session, retry=retry, clock=clock)


async def test_what_was_never_connected_was_not_sent(
    rig: Rig, session: aiohttp.ClientSession, clock: ManualClock
) -> None:
    await rig.start()
    dex = named(rig, session, HASTY, clock)
    with pytest.raises(TransportTimeoutError, match=r"not sent: no connection within 0\.3 s") as caught:
        await dex.quota.get()
    assert not caught.value.sent
    # So nothing is ambiguous, and nothing is looked for.
    with pytest.raises(TransportTimeoutError):
        await dex.commands.create(rig.requests(1))
    assert rig.sandbox.requests == []


async def test_an_earlier_attempt_that_was_answered_does_not_count_as_sent(
    rig: Rig, names: Names, session: aiohttp.ClientSession
) -> None:
    class Hush(ManualClock):
        async def sleep(self, seconds: float) -> None:
            names.silent = True
            await super().sleep(seconds)

    await rig.start()
    names.silent = False
    rig.sandbox.faults.add(Fault.rate_limited(1), on="create_commands")
    dex = named(rig, session, RetryPolicy(attempts=2, total_seconds=1.3), Hush())
    with pytest.raises(TransportTimeoutError, match="no connection") as caught:
        await dex.commands.create(rig.requests(1))
    assert not caught.value.sent
    assert rig.made("create_commands") == 1


async def test_closing_while_a_name_is_resolved_is_no_cancellation(rig: Rig, names: Names, clock: ManualClock) -> None:
    # aiohttp then cancels the lookup of the name, and with it both that wait for it.
    await rig.start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=names)) as session:
        dex = named(rig, session, RetryPolicy(), clock)
        calls = [asyncio.ensure_future(call) for call in (dex.quota.get(), dex.commands.create(rig.requests(1)))]
        while not (names.asked and len(rig.sent_at) == 2):
            await asyncio.sleep(0)
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [(type(error), str(error)) for error in ended] == [(ConfigurationError, "this client is closed")] * 2
    assert rig.sandbox.requests == []


async def test_a_call_that_is_cancelled_while_its_session_closes_is_cancelled(
    rig: Rig, names: Names, clock: ManualClock
) -> None:
    await rig.start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=names)) as session:
        call = asyncio.ensure_future(named(rig, session, RetryPolicy(), clock).quota.get())
        while not names.asked:
            await asyncio.sleep(0)
        call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_what_was_connected_may_have_arrived(
    rig: Rig, names: Names, session: aiohttp.ClientSession, clock: ManualClock
) -> None:
    await rig.start()
    names.silent = False
    rig.sandbox.faults.add(Fault.silence(), on="get_quota")
    with pytest.raises(TransportTimeoutError, match=r"no response within 0\.3 s") as caught:
        await named(rig, session, HASTY, clock).quota.get()
    assert caught.value.sent


async def test_a_handshake_that_does_not_end_is_no_connection(rig: Rig, clock: ManualClock) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    await rig.start()
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        dex = rig.client(base_url=f"https://{address(server)}", retry=HASTY)
        with pytest.raises(TransportTimeoutError, match="no connection") as caught:
            await dex.quota.get()
        await dex.close()
    assert not caught.value.sent


async def test_a_handshake_that_is_refused_is_tried_again(rig: Rig) -> None:
    connections = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(1)
        # A fatal alert: internal error.
        writer.write(bytes.fromhex("15030300020250"))
        await writer.drain()
        writer.close()

    await rig.start()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        dex = rig.client(base_url=f"https://{address(server)}", retry=RetryPolicy(attempts=3))
        with pytest.raises(TransportError, match=r"(?i)alert.internal.error") as caught:
            await dex.quota.get()
        await dex.close()
    assert (caught.value.permanent, caught.value.sent) == (False, False)
    assert connections == 3


@pytest.mark.parametrize("check", [True, aiohttp.Fingerprint(b"another certificate's digest, 32")])
async def test_a_certificate_that_is_not_trusted_is_final(
    rig: Rig, clock: ManualClock, check: bool | aiohttp.Fingerprint
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    await rig.start()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server, aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=check)) as session:
        dex = rig.client(base_url=f"https://{address(server)}", session=session)
        with pytest.raises(TransportError) as caught:
            await dex.quota.get()
        await dex.close()
    assert (caught.value.permanent, caught.value.sent) == (True, False)
    assert clock.slept == []


def address(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()
    return f"{host}:{port}"
