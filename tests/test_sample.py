"""The sample of user code works as it stands."""

from pathlib import Path

import pytest

from dexcmd.sandbox import Fault
from tests.conftest import Rig
from tests.sample_user_code import capture_office, measure, step_by_step

pytestmark = pytest.mark.anyio


async def test_an_office_is_captured(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.start(24)
    for name, value in rig.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    rig.sandbox.faults.add(Fault.error(503), on="list_devices")
    found = [device for device in rig.sandbox.state.devices if "LON" in device.name and device.eligible]
    assert len(found) == 3
    assert await capture_office("LON", tmp_path) == {"saved": len(found)}
    with pytest.raises(RuntimeError, match="a quota of 0"):
        rig.sandbox.state.quota.usage = 800
        await capture_office("LON", tmp_path)


async def test_step_by_step(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    rig.sandbox.faults.add(Fault.error(404), on="download")
    paths = await step_by_step(rig.dex, tmp_path)
    assert len(paths) == 3
    assert all(path.exists() for path in paths)
    command = (await rig.dex.commands.list())[0]
    assert command.id is not None
    size = await measure(rig.dex, command.id)
    async with rig.dex.downloads.open(command) as artifact:
        assert size == artifact.size
