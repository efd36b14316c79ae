"""What is never awaited or entered does nothing, and says so."""

import asyncio
import gc
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from dexcmd import DexClient
from dexcmd.resources.requests import CommandRequest
from tests.conftest import Rig

pytestmark = pytest.mark.anyio

Make = Callable[[DexClient, list[CommandRequest], Path], object]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda dex, requests, _: dex.commands.create_many(requests),
            "BulkCreate was never awaited: nothing was created",
        ),
        (
            lambda dex, requests, folder: dex.capture(requests, folder),
            "Capture was never entered with `async with`: nothing was captured",
        ),
        (
            lambda dex, _, folder: dex.downloads.save_many(["c1"], folder),
            "SaveMany was never entered with `async with`: nothing was saved",
        ),
        (
            lambda dex, *_: dex.commands.follow(["c1"]),
            "Follow was never entered with `async with`: nothing was waited for",
        ),
    ],
    ids=["create_many", "capture", "save_many", "follow"],
)
async def test_it_is_told_of(rig: Rig, tmp_path: Path, make: Make, told: str) -> None:
    await rig.start()

    def forget() -> None:
        make(rig.dex, rig.requests(1), tmp_path)
        gc.collect()

    with pytest.warns(RuntimeWarning) as caught:
        forget()
    # One for a capture as well, which has a creation of its own.
    assert [str(warning.message) for warning in caught] == [told]
    assert rig.sandbox.requests == []


async def test_nothing_is_told_of_what_was_cancelled_or_closed_before_it_began(rig: Rig) -> None:
    await rig.start()
    task = asyncio.create_task(rig.dex.commands.create_many(rig.requests(1)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    never = rig.dex.commands.create_many(rig.requests(1))
    assert inspect.isawaitable(never)
    never.close()
    del never
    # A warning would be an error here.
    gc.collect()
    assert rig.sandbox.requests == []
