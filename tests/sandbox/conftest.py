"""A running sandbox by a clock that stands still, and a plain HTTP client for it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Sandbox
from tests.sandbox.sandbox_api import Api


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    # What a sandbox does must not be hidden by the client: no decoding, no retrying by reused connections.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield session


@pytest.fixture
async def api(clock: ManualClock, session: aiohttp.ClientSession) -> AsyncIterator[Api]:
    """A sandbox of 200 devices whose commands are done at once."""
    async with Sandbox(200, clock=clock, behaviour=Behaviour.instant()) as sandbox:
        yield Api(sandbox, session)


@pytest.fixture
async def command(api: Api) -> str:
    """A command with an artifact."""
    (command_id,) = await api.make(1, "warp-diag")
    return command_id


@pytest.fixture
def whole(api: Api, command: str) -> bytes:
    """That artifact."""
    return b"".join(api.sandbox.artifact(command).read())
