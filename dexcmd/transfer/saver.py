"""From a command to its artifact at a destination: a sink opened for one, or for many side by side."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dexcmd.resources.command import Command
from dexcmd.session import Session
from dexcmd.transfer.address import ArtifactAddress, address
from dexcmd.transfer.folder import FileSink
from dexcmd.transfer.many import Save
from dexcmd.transfer.names import Parts
from dexcmd.transfer.options import SaveOptions
from dexcmd.transfer.save import save_artifact
from dexcmd.transfer.saved import Saved
from dexcmd.transfer.sharing import ALONE, Shared
from dexcmd.transfer.sink import ArtifactName, Sink

__all__ = ["save_one", "saver"]

Into = str | os.PathLike[str] | Sink[Any]
"""A folder, or a sink."""


async def save_one(
    session: Session, into: Into, where: ArtifactAddress, place: Parts | None, options: SaveOptions
) -> Saved:
    """Save one artifact.  Raises as `downloads.save` does."""
    name = ArtifactName(where.command_id, where.filename, place)
    async with _sink(into).open(session.settings.clock) as store:
        return await save_artifact(session, where.path, name, store, options)


@asynccontextmanager
async def saver(
    session: Session, into: Into, options: SaveOptions, shared: Shared = ALONE
) -> AsyncGenerator[Save[Any]]:
    """Give a function that saves one artifact after the other, or many side by side."""
    async with _sink(into).open(session.settings.clock) as store:

        async def save(command: Command | str, place: Parts | None = None) -> Saved:
            where = address(command)
            name = ArtifactName(where.command_id, where.filename, place)
            return await save_artifact(session, where.path, name, store, options, shared)

        yield save


def _sink(into: Into) -> Sink[Any]:
    return FileSink(Path(into)) if isinstance(into, str | os.PathLike) else into
