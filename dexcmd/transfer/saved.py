"""Descriptions of artifacts that are complete at their destination."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import dexcmd
from dexcmd.loading import load
from dexcmd.validators import as_text, folder_path

if TYPE_CHECKING:
    # Type checkers know it even if it isn't installed; defaults for type variables need Python 3.13.
    from typing_extensions import TypeVar
else:
    from typing import TypeVar

__all__ = ["R", "R_co", "Saved", "SavedArtifact", "StoredArtifact"]


@attrs.frozen(kw_only=True)
class Saved:
    """An artifact that is complete at its destination."""

    size: int
    """Bytes."""

    sha256: str
    """In hex."""

    resumed_from: int = 0
    """The offset at which the last attempt resumed the download of earlier ones, in this call or another."""

    skipped: bool = False
    """Whether it was already there, so that nothing was downloaded."""


@attrs.frozen(kw_only=True)
class SavedArtifact(Saved):
    """A complete file: of the announced length, with every checksum in the zip verified, and synced to disk."""

    path: Path

    async def members(self) -> "tuple[dexcmd.Member, ...]":
        """List the contents of the zip, in the order of its directory, without unpacking anything.

        Raises `InvalidArtifactError` if the file is not a zip archive, `DownloadError` if it can't be read.
        """
        await load("dexcmd.transfer.members")
        from dexcmd.transfer.members import list_members

        return await list_members(self.path)

    def read(self, name: str) -> "dexcmd.OpenMember":
        """Open a member of the zip as a stream of bytes, in bounded memory.

            async with saved.read("results.json") as member:
                results = json.loads(await member.read_all())

        When entered or iterated, raises `MemberNotFoundError`, `UnreadableMemberError`, `InvalidArtifactError`, or
        `DownloadError` if the file can't be read.
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

        Nothing is written outside the folder, whatever names and links the archive has; `limits` bounds what is
        unpacked, and each file is either complete or absent.  Raises `UnsafeFilenameError`, `ArtifactTooLargeError`,
        `MemberNotFoundError`, `UnreadableMemberError`, `InvalidArtifactError`, `InsufficientSpaceError` or
        `DownloadError`, and `ConfigurationError` if the folder can't be created.
        """
        folder = folder_path("into", into)
        await load("dexcmd.transfer.extraction")
        from dexcmd.transfer.extraction import extract_members

        return await extract_members(self.path, folder, names, limits=limits)


@attrs.frozen(kw_only=True)
class StoredArtifact(Saved):
    """A complete object, verified like a `SavedArtifact`, with its checksum stored beside it."""

    key: str
    """The key within the store that was given to the sink."""

    e_tag: str | None
    """The ETag that the store reports; None if it reports none."""


if TYPE_CHECKING:
    R = TypeVar("R", bound=Saved, default=SavedArtifact)
    """What a sink returns; `SavedArtifact` by default in results."""
else:
    R = TypeVar("R", bound=Saved)

R_co = TypeVar("R_co", bound=Saved, covariant=True)
