"""Artifacts: GET /dex/commands/{command_id}/downloads/{filename}."""

import os
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType

import attrs
from anyio.streams.memory import MemoryObjectSendStream

from dexcmd.async_only import AsyncOnlyContext
from dexcmd.background import Background
from dexcmd.errors import ConfigurationError, DexError
from dexcmd.resources.command import Command, command_id_of
from dexcmd.session import Session
from dexcmd.tasks import run_tasks
from dexcmd.transfer.artifact import Artifact, open_artifact
from dexcmd.transfer.save import OnBytes, SavedArtifact, save_artifact
from dexcmd.validators import whole_number
from dexcmd.wire.paths import artifact_name, segment

__all__ = ["DownloadsResource", "OpenArtifact", "SaveMany", "SaveResult"]


@attrs.frozen
class ArtifactAddress:
    """Where an artifact is: the command's id and the artifact's bare name."""

    command_id: str
    filename: str

    @property
    def path(self) -> str:
        """Return the API path below the account."""
        command_id, filename = segment("command_id", self.command_id), segment("filename", self.filename)
        return f"/dex/commands/{command_id}/downloads/{filename}"


def address(command: Command | str | None, command_id: str | None, filename: str | None) -> ArtifactAddress:
    """Return where the artifact of a command, given as itself or by its id, is.

    The file name may be missing (it can lag behind SUCCESS) and is then `{command_id}.zip`, as the service
    names them. Raises `ConfigurationError` where there is no command, or both a command and an id, and
    `UnsafeFilenameError`.
    """
    if (command is None) == (command_id is None):
        raise ConfigurationError("pass either a command, or command_id= and filename=")
    found_id = command_id_of(command if command is not None else command_id or "")
    found_name = filename or (command.filename if isinstance(command, Command) else None) or f"{found_id}.zip"
    return ArtifactAddress(found_id, artifact_name(found_name))


class OpenArtifact(AsyncOnlyContext):
    """An artifact that is opened by `async with`."""

    def __init__(self, context: AbstractAsyncContextManager[Artifact]) -> None:
        self._context = context

    async def __aenter__(self) -> Artifact:
        """Send the request and return the artifact, its body still to be read.  Raises `DexError`."""
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the body; what was not read is dropped."""
        await self._context.__aexit__(kind, error, trace)


@attrs.frozen
class SaveResult:
    """What became of one artifact of `save_many`: saved, or an error."""

    command: Command | str
    """As it was given."""

    artifact: SavedArtifact | None = None
    error: DexError | None = None


class SaveMany(Background[SaveResult]):
    """The results of `save_many`, each as soon as its artifact is saved or has failed."""

    def __init__(
        self,
        downloads: "DownloadsResource",
        commands: Iterable[Command | str],
        folder: "str | os.PathLike[str]",
        concurrency: int,
    ) -> None:
        super().__init__()
        self._downloads = downloads
        self._commands = iter(commands)
        self._folder = folder
        self._concurrency = concurrency

    async def _produce(self, results: MemoryObjectSendStream[SaveResult]) -> None:
        async def work() -> None:
            for command in self._commands:
                try:
                    result = SaveResult(command, await self._downloads.save(command, self._folder))
                except DexError as error:
                    result = SaveResult(command, error=error)
                await results.send(result)

        await run_tasks([work] * self._concurrency)


class DownloadsResource:
    """`dex.downloads`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(
        self, command: Command | str | None = None, *, command_id: str | None = None, filename: str | None = None
    ) -> OpenArtifact:
        """Open an artifact as a stream of bytes, in constant memory.

            async with dex.downloads.open(command) as artifact:
                async for chunk in artifact: ...

        A stream that breaks is not taken up again: `save` does that.  Raises `ConfigurationError` and, when
        entered or iterated, `DexError`: `NotFoundError` for an artifact that is not there yet or no longer
        (they are kept 7 days), `TruncatedArtifactError`, `StalledDownloadError`.
        """
        where = address(command, command_id, filename)
        return OpenArtifact(open_artifact(self._session, where.path, where.filename))

    async def save(
        self,
        command: Command | str | None = None,
        folder: "str | os.PathLike[str]" = ".",
        *,
        command_id: str | None = None,
        filename: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> SavedArtifact:
        """Save an artifact into a folder, which is made if need be, and return the file.

        The file is streamed to a part file, checked (length, and each checksum inside the zip), synced to
        disk and then renamed: under its final name it is whole or it is not there.  A download that breaks is
        taken up where it broke, if the artifact is still the same.  A whole file that is there already is
        left as it is (`skipped`); another one is replaced.  Files and folders are private to the user.
        `on_bytes` is called with the bytes that are there and the bytes of the whole.

        Raises `DexError`, in particular `NotFoundError`, `TruncatedArtifactError`, `StalledDownloadError`,
        `InvalidArtifactError` and `InsufficientSpaceError`.
        """
        where = address(command, command_id, filename)
        return await save_artifact(self._session, where.path, where.command_id, where.filename, Path(folder), on_bytes)

    def save_many(
        self, commands: Iterable[Command | str], folder: "str | os.PathLike[str]", *, concurrency: int = 8
    ) -> SaveMany:
        """Save the artifacts of many commands, `concurrency` at a time.

            async with dex.downloads.save_many(commands, "captures/") as results:
                async for result in results: ...        # SaveResult

        One that fails is a result with an error and stops no other.
        """
        return SaveMany(self, commands, folder, whole_number("concurrency", concurrency))
