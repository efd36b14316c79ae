"""The file sink: saves artifacts to a folder."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import attrs

from dexcmd.clock import Clock
from dexcmd.threads import run_to_the_end
from dexcmd.transfer.commit import GroupCommit
from dexcmd.transfer.files import make_below, make_folder
from dexcmd.transfer.filetarget import Existing, FileTarget
from dexcmd.transfer.names import Parts
from dexcmd.transfer.options import Verify
from dexcmd.transfer.partfile import part_names, state_name
from dexcmd.transfer.sink import ArtifactName
from dexcmd.validators import folder_path, one_of, yes_or_no

__all__ = ["FileSink"]


def _folder(folder: str | os.PathLike[str]) -> Path:
    return folder_path("folder", folder)


@attrs.frozen
class FileSink:
    """Saves artifacts as files in a folder.  `downloads.save(command, "captures/")` makes one with the defaults.

    Raises `ConfigurationError` for an invalid value.
    """

    folder: Path = attrs.field(converter=_folder)
    """Created if missing; private to the user, as are the files."""

    existing: Existing = attrs.field(default="verify", validator=one_of("verify", "overwrite", "rename", "error"))
    """What to do with an existing file that has the final name.

    - `verify`: a complete one is kept, and nothing is downloaded; any other is replaced.  With `verify="zip"` the file
      itself is checked, without a request; otherwise its size decides;
    - `overwrite`: it is replaced;
    - `rename`: it is kept, and the new one gets a number: `name (1).zip`;
    - `error`: it is kept, and `ArtifactExistsError` is raised.
    """

    keep_part: bool = attrs.field(default=True, validator=yes_or_no)
    """Whether to keep what a failed or cancelled download has received, as a hidden `.part` file beside a small state
    file, for the next call (in any process) to resume.
    """

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncGenerator["Folder"]:
        """Create the folder.  Raises `ConfigurationError` if it can't be created."""
        await run_to_the_end(partial(make_folder, self.folder))
        folder = Folder(self, clock)
        try:
            yield folder
        finally:
            folder.close()


@attrs.define
class _Known:
    """What is known about the folder itself, or one below it."""

    names: set[str] | None
    """Its contents, once listed."""

    begun: set[str] = attrs.field(factory=set[str], init=False)
    """The names of the artifacts started there."""


class Folder:
    """A folder, for as long as artifacts are saved into it."""

    def __init__(self, sink: FileSink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._commit = GroupCommit()
        self._listing = anyio.Lock()
        self._making = anyio.Lock()
        self._known: dict[Parts, _Known] = {(): _Known(None)}

    def close(self) -> None:
        """End its background work."""
        self._commit.close()

    @asynccontextmanager
    async def target(self, name: ArtifactName, verify: Verify) -> AsyncGenerator[FileTarget]:
        """Return the target of an artifact.

        Raises `UnsafeFilenameError`, `ArtifactExistsError`, and `DownloadError` if a folder can't be created.
        """
        parts = name.parts
        final = self._sink.folder.joinpath(*parts)
        known = self._known.get(parts[:-1]) or await self._make(parts[:-1])
        target = FileTarget(
            name, final, verify, self._commit, existing=self._sink.existing, keep_part=self._sink.keep_part
        )
        try:
            if await self._may_be_there(final, known):
                await target.check_existing(self._clock)
            yield target
        except BaseException as error:
            if len(parts) > 1 and isinstance(error.__cause__, FileNotFoundError):
                # The folder has been removed: the next artifact for it creates it again.
                self._known.pop(parts[:-1], None)
            await target.close()
            raise

    async def _make(self, above: Parts) -> _Known:
        """Create the missing folders, and return what is then known about the last one."""
        async with self._making:
            if above not in self._known:
                made = await run_to_the_end(partial(make_below, self._sink.folder, above))
                # A new folder is empty.
                self._known[above] = _Known(set() if made else None)
            return self._known[above]

    async def _may_be_there(self, final: Path, known: _Known) -> bool:
        """Tell whether to look for the file: with many files, one listing of their folder answers for all."""
        first, again = not known.begun, final.name in known.begun
        known.begun.add(final.name)
        if again or (first and known.names is None):
            return True
        if known.names is None:
            async with self._listing:
                # Another task may have listed it meanwhile.
                if known.names is None:
                    known.names = await run_to_the_end(partial(_names, final.parent))
        parts = part_names(final.name)
        # A state file alone counts too: a small artifact has a part without one, and must not find a stale one there.
        return known.names is None or not known.names.isdisjoint((final.name, *parts, state_name(parts[0])))


def _names(folder: Path) -> set[str] | None:
    """Return the names in a folder, or None if it can't be listed."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - strings, for there may be very many
    except OSError:
        return None
