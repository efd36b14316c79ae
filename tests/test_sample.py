"""The sample of user code works as it stands."""

from pathlib import Path

import pytest

from dexcmd import DexClient
from dexcmd.sandbox import Fault, Sandbox
from tests.sample_user_code import capture_office, measure, step_by_step

pytestmark = pytest.mark.anyio


@pytest.mark.dex_sandbox(devices=24)
async def test_an_office_is_captured(dex_sandbox: Sandbox, tmp_path: Path) -> None:
    dex_sandbox.faults.add(Fault.error(503), on="list_devices")
    found = [device for device in dex_sandbox.state.devices if "LON" in device.name and device.eligible]
    assert len(found) == 3
    assert await capture_office("LON", tmp_path) == {"saved": len(found)}
    with pytest.raises(RuntimeError, match="a quota of 0"):
        dex_sandbox.state.quota.usage = 800
        await capture_office("LON", tmp_path)


async def test_step_by_step(dex_sandbox: Sandbox, dex_client: DexClient, tmp_path: Path) -> None:
    dex_sandbox.faults.add(Fault.error(404), on="download")
    paths = await step_by_step(dex_client, tmp_path)
    assert len(paths) == 3
    assert all(path.exists() for path in paths)
    command = (await dex_client.commands.list())[0]
    assert command.id is not None
    size = await measure(dex_client, command.id)
    async with dex_client.downloads.open(command) as artifact:
        assert size == artifact.size
