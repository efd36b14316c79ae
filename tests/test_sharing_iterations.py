"""Several tasks that share one iteration: each of its rows and commands comes to one of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dexcmd.sandbox import Behaviour
from tests.conftest import Rig

pytestmark = pytest.mark.anyio


async def share(iteration: AsyncIterator[Any]) -> list[Any]:
    """Return what four tasks took from one iteration."""
    taken: list[Any] = []

    async def take() -> None:
        async for one in iteration:
            taken.append(one)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(take())
    return taken


async def test_rows_of_a_list(rig: Rig) -> None:
    await rig.start(420)
    taken = await share(aiter(rig.dex.devices.list()))
    assert len(taken) == 420
    assert set(taken) == set(await rig.dex.devices.list())


async def test_pages_of_a_list(rig: Rig) -> None:
    await rig.start(420)
    pages = await share(rig.dex.devices.list().pages())
    assert [len(page) for page in pages] == [50] * 8 + [20]
    assert {device for page in pages for device in page} == set(await rig.dex.devices.list())
    assert rig.made("list_devices") == 2 * 9


async def test_commands_as_they_end(rig: Rig) -> None:
    await rig.start(150, behaviour=Behaviour(run_seconds=(1.0, 100.0)))
    bulk = await rig.dex.commands.create_many(rig.requests(120))
    async with rig.dex.commands.follow(bulk.commands) as ended:
        taken = await share(ended)
    assert len(taken) == 120
    assert {command.id for command in taken} == set(rig.sandbox.state.commands)
