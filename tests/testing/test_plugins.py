"""How the kit gets along with other plugins, and what it costs whoever has no use for it."""

import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"

BODY = """
import asyncio
import pytest
from dexcmd import DexClient
from dexcmd.sandbox import Fault

pytestmark = {mark}

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def names(dex):
    return [device.device_name async for device in dex.devices.list()]

{fixture}
async def started(dex_client):
    yield await names(dex_client)
    # It is still open, whenever this ends.
    assert len(await names(dex_client)) == 10

{decorator}
async def test_a_client(dex_sandbox, dex_client):
    dex_sandbox.faults.add(Fault.rate_limited(), on="list_devices")
    assert len(await names(dex_client)) == 10
    assert dex_sandbox.clock.slept == [300.0]
    dex_sandbox.assert_requested("GET", "/commands/devices", times=2)

{decorator}
async def test_one_of_its_own(dex_sandbox):
    async with DexClient() as dex:
        assert len(await names(dex)) == 10
    dex_sandbox.assert_requested("GET", "/commands/devices", times=1)

{decorator}
async def test_an_asynchronous_fixture(started, dex_client):
    assert started == await names(dex_client)

def test_without_a_loop(dex_sandbox, dex_client):
    assert len(asyncio.run(names(dex_client))) == 10
    dex_sandbox.assert_requested("GET", "/commands/devices", times=1)
"""

WIDE = """
@pytest.mark.asyncio(loop_scope="module")
class TestALoopForAll:
    async def test_one(self, dex_client):
        assert len(await names(dex_client)) == 10

    async def test_another(self, dex_client):
        assert len(await names(dex_client)) == 10
"""

PLAIN = """
import asyncio
import os
from dexcmd import DexClient

def test_without_a_loop(dex_sandbox, dex_client):
    async def main():
        await dex_client.quota.get()
        async with DexClient() as dex:
            await dex.quota.get()

    asyncio.run(main())
    dex_sandbox.assert_requested("GET", "/commands/quota", times=2)
"""

LIGHT = """
import sys

def test_nothing_heavy_is_loaded():
    heavy = ("aiohttp", "attr", "cattrs", "tenacity", "dexcmd.client", "dexcmd.clock", "dexcmd.sandbox")
    assert "dexcmd.testing" in sys.modules
    assert [name for name in heavy if name in sys.modules] == []
"""


def asyncio_ini(mode: str) -> str:
    settings = {"asyncio_mode": mode, "asyncio_default_fixture_loop_scope": "function"}
    return "[pytest]\nfilterwarnings = error\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments)


def test_pytest_asyncio_in_strict_mode(pytester: pytest.Pytester):
    pytester.makeini(asyncio_ini("strict"))
    body = BODY.format(
        mark="[]", fixture="import pytest_asyncio\n@pytest_asyncio.fixture", decorator="@pytest.mark.asyncio"
    )
    pytester.makepyfile(body + WIDE)
    run(pytester, "-p", "no:anyio").assert_outcomes(passed=6)


def test_pytest_asyncio_in_auto_mode(pytester: pytest.Pytester):
    pytester.makeini(asyncio_ini("auto"))
    pytester.makepyfile(BODY.format(mark="[]", fixture="@pytest.fixture", decorator="") + WIDE)
    run(pytester).assert_outcomes(passed=6)


@pytest.mark.parametrize("other", [[], ["-p", "no:asyncio"]], ids=["beside pytest-asyncio", "alone"])
def test_anyio(pytester: pytest.Pytester, other: list[str]):
    pytester.makeini(asyncio_ini("strict") if not other else "[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(BODY.format(mark="pytest.mark.anyio", fixture="@pytest.fixture", decorator=""))
    run(pytester, *other).assert_outcomes(passed=4)


def test_no_plugin_for_asyncio(pytester: pytest.Pytester):
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(PLAIN)
    run(pytester, "-p", "no:anyio", "-p", "no:asyncio").assert_outcomes(passed=1)


def test_workers_have_sandboxes_of_their_own(pytester: pytest.Pytester):
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(test_one=PLAIN, test_other=PLAIN)
    result = run(pytester, "-p", "no:asyncio", "-n", "2", "--dist", "loadfile", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(["*gw0*PASSED*", "*gw1*PASSED*"])


def test_it_loads_nothing_heavy(pytester: pytest.Pytester):
    pytester.makepyfile(LIGHT)
    run(pytester, "-p", "no:anyio", "-p", "no:asyncio").assert_outcomes(passed=1)


def test_it_can_be_named_and_turned_off(pytester: pytest.Pytester):
    """Some name every plugin, by its module, although its distribution names it too."""
    pytester.makeconftest("pytest_plugins = ['dexcmd.testing']")
    pytester.makepyfile(PLAIN)
    run(pytester, "-p", "dexcmd.testing", "-p", "no:asyncio").assert_outcomes(passed=1)
    pytester.makeconftest("")
    run(pytester, "-p", "no:dexcmd.testing", "-p", "no:asyncio").assert_outcomes(errors=1)


def test_the_distribution_names_it():
    [found] = [entry for entry in entry_points(group="pytest11") if entry.value == "dexcmd.testing"]
    assert found.name == "dexcmd.testing"
    assert found.load() is sys.modules["dexcmd.testing"]


def test_the_sample_application(pytester: pytest.Pytester):
    folder = pytester.path / "sample"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    run(
        pytester, "-p", "no:asyncio", f"--rootdir={folder}", f"--config-file={folder / 'pyproject.toml'}", str(folder)
    ).assert_outcomes(passed=7)
