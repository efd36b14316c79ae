"""The people of the tests, and their devices."""

import pytest

from dexcmd.sandbox import Sandbox, SandboxDevice


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def ada(dex_sandbox: Sandbox) -> SandboxDevice:
    return dex_sandbox.state.add_device(SandboxDevice(name="LON-LAPTOP-1", user_email="ada@example.com"))


@pytest.fixture
def bo(dex_sandbox: Sandbox) -> SandboxDevice:
    return dex_sandbox.state.add_device(SandboxDevice(name="LON-LAPTOP-2", user_email="bo@example.com"))
