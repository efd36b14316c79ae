"""Artifacts: GET /dex/commands/{command_id}/downloads/{filename}.

The implementation is imported when first awaited (`dexcmd.loading`).
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import dexcmd
from dexcmd.async_only import AsyncOnlyContext
from dexcmd.errors import ConfigurationError
from dexcmd.loading import load
from dexcmd.resources.command import Command
from dexcmd.session import Session
from dexcmd.transfer.address import ArtifactAddress, address, explained_absence
from dexcmd.transfer.limits import DownloadLimits
from dexcmd.transfer.names import Parts
from dexcmd.transfer.options import DEFAULT_LIMITS, OnProgress, SaveOptions, Verify
from dexcmd.transfer.saved import R
from dexcmd.validators import number_above_zero, several, whole_number

if TYPE_CHECKING:
    from dexcmd.transfer.artifact import Artifact
    from dexcmd.transfer.many import Save

__all__ = ["DownloadsResource", "OpenArtifact", "check_into"]

MAX_FINISHING = 16
"""How many artifacts of `save_many` may be received but not yet synced: enough to sync them together, each with at
most 1 MiB in memory.
"""


class OpenArtifact(AsyncOnlyContext):
    """An artifact to be opened with `async with`."""

    def __init__(self, context: "AbstractAsyncContextManager[dexcmd.Artifact]") -> None:
        self._context = context
        self._entered = False

    async def __aenter__(self) -> "dexcmd.Artifact":
        """Send the request and return the artifact, its body not yet read.  Raises `DexError`."""
        if self._entered:
            raise RuntimeError("an artifact can be opened only once: ask for it again")
        self._entered = True
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the body, discarding what was not read."""
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

        A broken stream is not resumed; `save` does that.  Raises `ConfigurationError`, `UnsafeFilenameError` for an
        unusable file name and, when entered or iterated, `DexError`: `NotFoundError` for an artifact that does not
        exist yet or any more (they are kept for 7 days), `TruncatedArtifactError`, `StalledDownloadError`.
        """
        where = address(command, command_id, filename)
        return OpenArtifact(_opened(self._session, where, command))

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
    ) -> "dexcmd.SavedArtifact": ...

    @overload
    async def save(
        self,
        command: Command | str | None,
        into: "dexcmd.Sink[R]",
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
        into: "str | os.PathLike[str] | dexcmd.Sink[Any]" = ".",
        *,
        command_id: str | None = None,
        filename: str | None = None,
        place: Parts | None = None,
        verify: Verify | None = None,
        limits: DownloadLimits = DEFAULT_LIMITS,
        on_progress: OnProgress | None = None,
    ) -> "dexcmd.Saved":
        """Save an artifact to a folder or another `Sink`, and return a description of the saved artifact.

            saved = await dex.downloads.save(command, "captures/")      # SavedArtifact

        The data is streamed to a part file, verified, synced to disk and then renamed, so a file with the final name
        is always complete.  A broken download is resumed where it broke off, by this call or a later one in any
        process, if the artifact has not changed.  `FileSink` says how an existing file is treated; by default a
        complete one is kept (`skipped`), and any other is replaced.  Files and folders are private to the user.
        `ObjectStoreSink` stores artifacts in S3, R2, GCS or Azure instead.

        `place` is the path below the folder, in place of the default name: the names of folders, then the file name,
        which contains the command's id.  The names must already be safe; `PlaceTemplate` makes such names.

        `verify` is `"zip"` (length, and each checksum in the archive; the default for names ending in `.zip`), `"size"`
        or `"none"`.  `limits` bounds the time, and `on_progress` is called with `Progress`, at most ten times a second.

        Raises `DexError`, in particular `NotFoundError` (artifacts are kept for 7 days), `TruncatedArtifactError`,
        `StalledDownloadError`, `InvalidArtifactError`, `ArtifactExistsError` and `InsufficientSpaceError`.
        """
        where = address(command, command_id, filename)
        options = SaveOptions(verify=verify, limits=limits, on_progress=on_progress)
        check_into(into)
        await load("dexcmd.transfer.saver")
        from dexcmd.transfer.save import save_artifact
        from dexcmd.transfer.saver import sink_of

        name = where.name(place)
        async with sink_of(into).open(self._session.settings.clock) as store:
            with explained_absence(command):
                return await save_artifact(self._session, name, store, options)

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
    ) -> "dexcmd.SaveMany[dexcmd.SavedArtifact]": ...

    @overload
    def save_many(
        self,
        commands: "Iterable[Command | str] | AsyncIterable[Command | str]",
        into: "dexcmd.Sink[R]",
        *,
        concurrency: int = 8,
        bytes_per_second: float | None = None,
        ordered: bool = False,
        verify: Verify | None = None,
        limits: DownloadLimits = ...,
        on_progress: OnProgress | None = None,
    ) -> "dexcmd.SaveMany[R]": ...

    def save_many(
        self,
        commands: "Iterable[Command | str] | AsyncIterable[Command | str]",
        into: "str | os.PathLike[str] | dexcmd.Sink[Any]",
        *,
        concurrency: int = 8,
        bytes_per_second: float | None = None,
        ordered: bool = False,
        verify: Verify | None = None,
        limits: DownloadLimits = DEFAULT_LIMITS,
        on_progress: OnProgress | None = None,
    ) -> "dexcmd.SaveMany[Any]":
        """Save the artifacts of many commands, `concurrency` at once and at most `bytes_per_second` in total.

            async with dex.downloads.save_many(dex.commands.list(status="SUCCESS"), "captures/") as results:
                async for result in results: ...        # SaveResult
            print(results.totals)

        Downloads start in the order given.  Results arrive as downloads finish or, with `ordered`, in the order given;
        then at most about a thousand downloads are started behind a slow one.  A failure is a result with an error and
        does not stop the others.  Files finished at about the same time are synced together, so durability costs
        little.  `results.stop()` starts no more downloads.  Everything else is as for `save`.

        Raises `ConfigurationError` and, while iterated, whatever `commands` raises, after the results of the commands
        before that.
        """
        several("commands", commands, "commands or their ids", asynchronous=True)
        if bytes_per_second is not None:
            bytes_per_second = number_above_zero("bytes_per_second", bytes_per_second)
        # While some are being received, others are being finished.
        places = whole_number("concurrency", concurrency) + MAX_FINISHING
        options = SaveOptions(verify=verify, limits=limits, on_progress=on_progress)
        check_into(into)
        from dexcmd.transfer.many import SaveMany

        @asynccontextmanager
        async def open_saver(stopped: asyncio.Event) -> "AsyncGenerator[Save[Any]]":
            await load("dexcmd.transfer.saver")
            from dexcmd.transfer.saver import saver, sink_of
            from dexcmd.transfer.sharing import Shared

            shared = Shared.among(concurrency, bytes_per_second, stopped, self._session.settings.clock)
            async with saver(self._session, sink_of(into), options, shared) as save:
                yield save

        return SaveMany(commands, open_saver, concurrency=places, ordered=ordered)


@asynccontextmanager
async def _opened(
    session: Session, where: ArtifactAddress, command: Command | str | None
) -> "AsyncGenerator[Artifact]":
    await load("dexcmd.transfer.artifact")
    from dexcmd.transfer.artifact import open_artifact

    async with AsyncExitStack() as stack:
        with explained_absence(command):
            artifact = await stack.enter_async_context(open_artifact(session, where.path, where.filename))
        yield artifact


def check_into(into: object) -> None:
    """Raise `ConfigurationError` if `into` is neither a folder nor a `Sink`."""
    folder = isinstance(into, str | os.PathLike) and isinstance(os.fspath(into), str) and into != ""
    if not folder and (isinstance(into, os.PathLike) or not callable(getattr(into, "open", None))):
        raise ConfigurationError(f"into must be a folder or a Sink, not {into!r}")
