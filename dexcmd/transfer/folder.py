"""The file sink: artifacts into a folder."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import attrs

from dexcmd.clock import Clock
from dexcmd.threads import run_to_the_end
from dexcmd.transfer.checks import Verify
from dexcmd.transfer.commit import GroupCommit
from dexcmd.transfer.files import make_folder
from dexcmd.transfer.filetarget import Existing, FileTarget
from dexcmd.transfer.names import final_name
from dexcmd.transfer.partfile import part_path
from dexcmd.transfer.sink import ArtifactName
from dexcmd.validators import one_of

__all__ = ["FileSink"]


@attrs.frozen
class FileSink:
    """Saves artifacts as files in a folder.  `downloads.save(command, "captures/")` makes one with the defaults."""

    folder: Path = attrs.field(converter=Path)
    """Made if need be, private to the user, as the files are."""

    existing: Existing = attrs.field(default="verify", validator=one_of("verify", "overwrite", "rename", "error"))
    """What becomes of a file that is there under the final name.

    - `verify`: a whole one is left as it is, and nothing is fetched; another one is replaced.  With `verify="zip"`
      that is told from the file alone, without a request; otherwise by its size;
    - `overwrite`: it is replaced;
    - `rename`: it stays, and the new one gets a number: `name (1).zip`;
    - `error`: it stays, and `ArtifactExistsError` is raised.
    """

    keep_part: bool = True
    """Whether what came of a download that failed or was cancelled stays, as a hidden `.part` file beside a small
    state file, for the next call (of any process) to go on from.
    """

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncGenerator["Folder"]:
        """Make the folder.  Raises `ConfigurationError` where there can be none."""
        await run_to_the_end(partial(make_folder, self.folder))
        folder = Folder(self, clock)
        try:
            yield folder
        finally:
            folder.close()


class Folder:
    """A folder, for as long as artifacts are saved into it."""

    def __init__(self, sink: FileSink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._commit = GroupCommit()
        self._listing = anyio.Lock()
        self._names: set[str] | None = None
        self._begun: set[str] = set()

    def close(self) -> None:
        """End what runs behind it."""
        self._commit.close()

    @asynccontextmanager
    async def target(self, name: ArtifactName, verify: Verify) -> AsyncGenerator[FileTarget]:
        """Return the place of an artifact.  Raises `UnsafeFilenameError`, `ArtifactExistsError`."""
        final = self._sink.folder / final_name(name.command_id, name.filename)
        target = FileTarget(
            name, final, verify, self._commit, existing=self._sink.existing, keep_part=self._sink.keep_part
        )
        try:
            if await self._may_be_there(final):
                await target.look(self._clock)
            yield target
        except BaseException:
            await target.leave()
            raise

    async def _may_be_there(self, final: Path) -> bool:
        """Tell whether it is worth a look: for many files, one look at the folder answers for all."""
        first, again = not self._begun, final.name in self._begun
        self._begun.add(final.name)
        if first or again:
            return True
        async with self._listing:
            if self._names is None:
                self._names = await run_to_the_end(partial(_names, self._sink.folder))
        return self._names is None or final.name in self._names or part_path(final).name in self._names


def _names(folder: Path) -> set[str] | None:
    """Return the names in a folder, None where it can't be listed."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - strings, for there may be very many
    except OSError:
        return None
