"""A sink opened for many artifacts, saved sequentially or concurrently."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dexcmd.resources.command import Command
from dexcmd.session import Session
from dexcmd.threads import run_to_the_end
from dexcmd.transfer.address import address, explained_absence
from dexcmd.transfer.files import check_writable
from dexcmd.transfer.folder import FileSink
from dexcmd.transfer.many import Save
from dexcmd.transfer.names import Parts
from dexcmd.transfer.options import SaveOptions
from dexcmd.transfer.save import save_artifact
from dexcmd.transfer.saved import R, SavedArtifact
from dexcmd.transfer.sharing import NOTHING_SHARED, Shared
from dexcmd.transfer.sink import Sink

__all__ = ["check_ready", "saver", "sink_of"]


@asynccontextmanager
async def saver(
    session: Session, sink: Sink[R], options: SaveOptions, shared: Shared = NOTHING_SHARED
) -> AsyncGenerator[Save[R]]:
    """Yield a function that saves artifacts, one at a time or concurrently."""
    async with sink.open(session.settings.clock) as store:

        async def save(command: Command | str, place: Parts | None = None) -> R:
            with explained_absence(command):
                return await save_artifact(session, address(command).name(place), store, options, shared)

        yield save


async def check_ready(sink: Sink[Any]) -> None:
    """Raise `ConfigurationError` if an open sink can't store anything, as far as that can be told beforehand.

    A complete artifact is found in a folder that can't be written to as well, so opening a sink doesn't check this.
    """
    if isinstance(sink, FileSink):
        await run_to_the_end(partial(check_writable, sink.folder))


def sink_of(into: "str | os.PathLike[str] | Sink[R]") -> "Sink[SavedArtifact] | Sink[R]":
    """Return the sink for `into`: a `FileSink` for a folder, or `into` itself."""
    return FileSink(Path(into)) if isinstance(into, str | os.PathLike) else into
