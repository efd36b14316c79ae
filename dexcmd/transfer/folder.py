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

    Raises `ConfigurationError` for a value that can't be right.
    """

    folder: Path = attrs.field(converter=_folder)
    """Made if need be, private to the user, as the files are."""

    existing: Existing = attrs.field(default="verify", validator=one_of("verify", "overwrite", "rename", "error"))
    """What becomes of a file that is there under the final name.

    - `verify`: a whole one is left as it is, and nothing is fetched; another one is replaced.  With `verify="zip"`
      that is told from the file alone, without a request; otherwise by its size;
    - `overwrite`: it is replaced;
    - `rename`: it stays, and the new one gets a number: `name (1).zip`;
    - `error`: it stays, and `ArtifactExistsError` is raised.
    """

    keep_part: bool = attrs.field(default=True, validator=yes_or_no)
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


@attrs.define
class _Known:
    """What is known of the folder itself, or of one below it."""

    names: set[str] | None
    """What is in it, once that was asked."""

    begun: set[str] = attrs.field(factory=set[str], init=False)
    """The names of those that were to go there."""


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
        """End what runs behind it."""
        self._commit.close()

    @asynccontextmanager
    async def target(self, name: ArtifactName, verify: Verify) -> AsyncGenerator[FileTarget]:
        """Return the target of an artifact.

        Raises `UnsafeFilenameError`, `ArtifactExistsError`, and `DownloadError` where a folder can't be made.
        """
        parts = name.parts
        final = self._sink.folder.joinpath(*parts)
        known = self._known.get(parts[:-1]) or await self._make(parts[:-1])
        target = FileTarget(
            name, final, verify, self._commit, existing=self._sink.existing, keep_part=self._sink.keep_part
        )
        try:
            if await self._may_be_there(final, known):
                await target.look(self._clock)
            yield target
        except BaseException as error:
            if len(parts) > 1 and isinstance(error.__cause__, FileNotFoundError):
                # Somebody has put the folder away: the next one for it makes it anew.
                self._known.pop(parts[:-1], None)
            await target.leave()
            raise

    async def _make(self, above: Parts) -> _Known:
        """Make the folders that are missing, and return what is then known of the last one."""
        async with self._making:
            if above not in self._known:
                made = await run_to_the_end(partial(make_below, self._sink.folder, above))
                # What was just made is empty.
                self._known[above] = _Known(set() if made else None)
            return self._known[above]

    async def _may_be_there(self, final: Path, known: _Known) -> bool:
        """Tell whether it is worth a look: for many files, one look at their folder answers for all."""
        first, again = not known.begun, final.name in known.begun
        known.begun.add(final.name)
        if again or (first and known.names is None):
            return True
        if known.names is None:
            async with self._listing:
                # Another one may have looked meanwhile.
                if known.names is None:
                    known.names = await run_to_the_end(partial(_names, final.parent))
        parts = part_names(final.name)
        # Also a state alone: what is small gets a part without one, and must not find another's beside it.
        return known.names is None or not known.names.isdisjoint((final.name, *parts, state_name(parts[0])))


def _names(folder: Path) -> set[str] | None:
    """Return the names in a folder, None where it can't be listed."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - strings, for there may be very many
    except OSError:
        return None
