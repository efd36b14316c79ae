"""Artifacts: GET /dex/commands/{command_id}/downloads/{filename}."""

import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import anyio
import attrs

from dexcmd.async_only import AsyncOnlyContext
from dexcmd.errors import ConfigurationError
from dexcmd.resources.command import Command, command_id_of
from dexcmd.session import Session
from dexcmd.transfer.artifact import Artifact, open_artifact
from dexcmd.transfer.checks import Verify
from dexcmd.transfer.folder import FileSink
from dexcmd.transfer.limits import DownloadLimits
from dexcmd.transfer.many import Save, SaveMany
from dexcmd.transfer.names import Parts
from dexcmd.transfer.save import DEFAULT_LIMITS, OnProgress, SaveOptions, save_artifact
from dexcmd.transfer.saved import R, Saved, SavedArtifact
from dexcmd.transfer.sink import ArtifactName, Sink
from dexcmd.transfer.throttle import Throttle
from dexcmd.validators import number_above_zero, whole_number
from dexcmd.wire.paths import artifact_name, segment

__all__ = ["DownloadsResource", "OpenArtifact", "sink_of"]


MOST_FINISHING = 32
"""Artifacts of `save_many` that are received and not yet synced: enough to be synced together, at most 1 MiB each in
memory.
"""


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

    def name(self, place: Parts | None) -> ArtifactName:
        """Return what a sink calls it that may have a place.  Raises `ConfigurationError` where that can be none."""
        return ArtifactName(self.command_id, self.filename, place)


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

    @overload
    async def save(
        self,
        command: Command | str | None = None,
        into: "str | os.PathLike[str]" = ".",
        *,
        command_id: str | None = None,
        filename: str | None = None,
        place: Parts | None = None,
        verify: Verify | None = None,
        limits: DownloadLimits = ...,
        on_progress: OnProgress | None = None,
    ) -> SavedArtifact: ...

    @overload
    async def save(
        self,
        command: Command | str | None,
        into: Sink[R],
        *,
        command_id: str | None = None,
        filename: str | None = None,
        place: Parts | None = None,
        verify: Verify | None = None,
        limits: DownloadLimits = ...,
        on_progress: OnProgress | None = None,
    ) -> R: ...

    async def save(
        self,
        command: Command | str | None = None,
        into: "str | os.PathLike[str] | Sink[Any]" = ".",
        *,
        command_id: str | None = None,
        filename: str | None = None,
        place: Parts | None = None,
        verify: Verify | None = None,
        limits: DownloadLimits = DEFAULT_LIMITS,
        on_progress: OnProgress | None = None,
    ) -> Saved:
        """Save an artifact into a folder, or another `Sink`, and return what is there then.

            saved = await dex.downloads.save(command, "captures/")      # SavedArtifact

        The file is streamed to a part file, verified, synced to disk and then renamed: under its final name it is
        whole or it is not there.  A download that breaks is taken up where it broke, by this call or a later one of
        any process, if the artifact is still the same.  `FileSink` says what becomes of a file that is there already;
        by default a whole one is left as it is (`skipped`), and another one replaced.  Files and folders are private
        to the user.  `ObjectStoreSink` brings artifacts into S3, R2, GCS or Azure instead.

        `place` says where below the folder it goes, instead of under its own name: the names of folders, then the
        file's, which holds the command's id.  They have to be safe as they stand: `PlaceTemplate` makes such names.

        `verify` is `"zip"` (length, and each checksum in the archive; the default for names in `.zip`), `"size"` or
        `"none"`.  `limits` bound the time, and `on_progress` is called with `Progress`, seldom enough to leave it on.

        Raises `DexError`, in particular `NotFoundError` (artifacts are kept 7 days), `TruncatedArtifactError`,
        `StalledDownloadError`, `InvalidArtifactError`, `ArtifactExistsError` and `InsufficientSpaceError`.
        """
        where = address(command, command_id, filename)
        name = where.name(place)
        options = SaveOptions(verify=verify, limits=limits, on_progress=on_progress)
        async with sink_of(into).open(self._session.settings.clock) as store:
            return await save_artifact(self._session, where.path, name, store, options)

    @overload
    def save_many(
        self,
        commands: "Iterable[Command | str] | AsyncIterable[Command | str]",
        into: "str | os.PathLike[str]",
        *,
        concurrency: int = 8,
        bytes_per_second: float | None = None,
        ordered: bool = False,
        verify: Verify | None = None,
        limits: DownloadLimits = ...,
        on_progress: OnProgress | None = None,
    ) -> SaveMany[SavedArtifact]: ...

    @overload
    def save_many(
        self,
        commands: "Iterable[Command | str] | AsyncIterable[Command | str]",
        into: Sink[R],
        *,
        concurrency: int = 8,
        bytes_per_second: float | None = None,
        ordered: bool = False,
        verify: Verify | None = None,
        limits: DownloadLimits = ...,
        on_progress: OnProgress | None = None,
    ) -> SaveMany[R]: ...

    def save_many(
        self,
        commands: "Iterable[Command | str] | AsyncIterable[Command | str]",
        into: "str | os.PathLike[str] | Sink[Any]",
        *,
        concurrency: int = 8,
        bytes_per_second: float | None = None,
        ordered: bool = False,
        verify: Verify | None = None,
        limits: DownloadLimits = DEFAULT_LIMITS,
        on_progress: OnProgress | None = None,
    ) -> "SaveMany[Any]":
        """Save the artifacts of many commands, `concurrency` at a time, and no faster than `bytes_per_second` in all.

            async with dex.downloads.save_many(dex.commands.list(status="SUCCESS"), "captures/") as results:
                async for result in results: ...        # SaveResult
            print(results.totals)

        They are begun in the order given, as places get free, and results come as artifacts end, or in the order
        given if `ordered`: then at most some thousand behind one that takes long are begun.  One that fails is a result
        with an error and stops no other.  Files that are finished together are synced together, so durability costs
        little.  `results.stop()` begins no more of them.  The rest is as for `save`.

        Raises `ConfigurationError`, and while iterated what `commands` raises, after the results of those before.
        """
        _check_many(commands)
        throttle_at = None if bytes_per_second is None else number_above_zero("bytes_per_second", bytes_per_second)
        slots = anyio.Semaphore(whole_number("concurrency", concurrency), fast_acquire=True)
        stopped = anyio.Event()
        options = SaveOptions(verify=verify, limits=limits, on_progress=on_progress, slots=slots, stopped=stopped)
        sink = sink_of(into)

        def open_saver() -> "AbstractAsyncContextManager[Save[Any]]":
            return self.saver(sink, options, throttle_at)

        # While some are received, others are finished.
        places = concurrency + MOST_FINISHING
        return SaveMany(commands, open_saver, stopped=stopped, concurrency=places, ordered=ordered)

    @asynccontextmanager
    async def saver(
        self, sink: Sink[R], options: SaveOptions, bytes_per_second: float | None = None
    ) -> AsyncGenerator[Save[R]]:
        """Give a function that saves one artifact after the other, or many side by side, into a sink."""
        session = self._session
        if bytes_per_second is not None:
            options = attrs.evolve(options, throttle=Throttle(bytes_per_second, session.settings.clock))
        async with sink.open(session.settings.clock) as store:

            async def save(command: Command | str, place: Parts | None = None) -> R:
                where = address(command, None, None)
                return await save_artifact(session, where.path, where.name(place), store, options)

            yield save


def sink_of(into: "str | os.PathLike[str] | Sink[R]") -> "Sink[SavedArtifact] | Sink[R]":
    """Return the sink that `into` names: a folder, or a sink of its own.  Raises `ConfigurationError`."""
    if isinstance(into, str | os.PathLike):
        return FileSink(Path(into))
    if not callable(getattr(into, "open", None)):
        raise ConfigurationError(f"into must be a folder or a Sink, not {into!r}")
    return into


def _check_many(commands: object) -> None:
    # The letters of an id would each be a command.
    if isinstance(commands, str | bytes) or not isinstance(commands, Iterable | AsyncIterable):
        raise ConfigurationError(f"commands must be several commands or their ids, not {commands!r}")
