"""What is told of an artifact that is whole at its destination."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import dexcmd
from dexcmd.loading import load
from dexcmd.validators import as_text, folder_path

if TYPE_CHECKING:
    # Type checkers know it without its being installed; a default for a type variable is Python 3.13's.
    from typing_extensions import TypeVar
else:
    from typing import TypeVar

__all__ = ["R", "R_co", "Saved", "SavedArtifact", "StoredArtifact"]


@attrs.frozen(kw_only=True)
class Saved:
    """An artifact that is whole at its destination."""

    size: int
    """Bytes."""

    sha256: str
    """In hex."""

    resumed_from: int = 0
    """The byte at which the last attempt took up what earlier ones, of this call or another, had brought."""

    skipped: bool = False
    """Whether it was there already, so that nothing was fetched."""


@attrs.frozen(kw_only=True)
class SavedArtifact(Saved):
    """A file that is whole: of the announced length, each checksum in the zip right, synced to disk."""

    path: Path

    async def members(self) -> "tuple[dexcmd.Member, ...]":
        """Return what is inside the zip, in the order of its directory, without unpacking anything.

        Raises `InvalidArtifactError` where the file is no zip archive, `DownloadError` where it can't be read.
        """
        await load("dexcmd.transfer.members")
        from dexcmd.transfer.members import list_members

        return await list_members(self.path)

    def read(self, name: str) -> "dexcmd.OpenMember":
        """Open a member of the zip as a stream of bytes, in bounded memory.

            async with saved.read("results.json") as member:
                results = json.loads(await member.read_all())

        Raises, when entered or iterated, `MemberNotFoundError`, `UnreadableMemberError` and `InvalidArtifactError`, and
        `DownloadError` where the file can't be read.
        """
        from dexcmd.transfer.members import read_member

        as_text("name", name)
        return read_member(self.path, name)

    async def extract(
        self,
        into: "str | os.PathLike[str]",
        names: Iterable[str] | None = None,
        *,
        limits: "dexcmd.ExtractLimits | None" = None,
    ) -> tuple[Path, ...]:
        """Unpack all members, or those called `names`, into a folder, and return the files.

        Nothing gets out of the folder, whatever the names and links inside; `limits` bound what is unpacked, and each
        file is whole or not there.  Raises `UnsafeFilenameError`, `ArtifactTooLargeError`, `MemberNotFoundError`,
        `UnreadableMemberError`, `InvalidArtifactError`, `InsufficientSpaceError` or `DownloadError`, and
        `ConfigurationError` where there can be no such folder.
        """
        folder = folder_path("into", into)
        await load("dexcmd.transfer.extraction")
        from dexcmd.transfer.extraction import extract_members

        return await extract_members(self.path, folder, names, limits=limits)


@attrs.frozen(kw_only=True)
class StoredArtifact(Saved):
    """An object that is whole: all that `SavedArtifact` promises but the disk, and its checksum beside it."""

    key: str
    """Within the store that was given to the sink."""

    e_tag: str | None
    """As the store says it; None where it says none."""


if TYPE_CHECKING:
    R = TypeVar("R", bound=Saved, default=SavedArtifact)
    """What a sink returns; in results it is a `SavedArtifact` unless told otherwise."""
else:
    R = TypeVar("R", bound=Saved)

R_co = TypeVar("R_co", bound=Saved, covariant=True)
