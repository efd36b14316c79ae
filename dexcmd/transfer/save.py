"""An artifact, saved: streamed to a part file, checked, synced, and only then given its name."""

import logging
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
from tenacity import AsyncRetrying, RetryCallState

from dexcmd.errors import (
    APIError,
    ArtifactChangedError,
    InvalidArtifactError,
    StalledDownloadError,
    TruncatedArtifactError,
)
from dexcmd.session import Session
from dexcmd.threads import run_to_the_end
from dexcmd.transfer.artifact import Artifact, open_artifact
from dexcmd.transfer.files import check_zip, make_folder, put_in_place, whole_file_hash
from dexcmd.transfer.names import safe_name
from dexcmd.transfer.writer import FileWriter

__all__ = ["SavedArtifact", "save_artifact"]

logger = logging.getLogger(__name__)

RANGE_NOT_SATISFIABLE = 416

BROKEN = (TruncatedArtifactError, StalledDownloadError, ArtifactChangedError)
"""What a body can break with.  Failures to open one are none of these: the retry middleware has had them
already.
"""


@attrs.frozen
class SavedArtifact:
    """A file that is whole: of the announced length, each checksum in the zip right, synced to disk."""

    path: Path
    size: int
    """Bytes."""

    sha256: str
    """In hex."""

    resumed_from: int
    """The byte at which the last attempt took up what earlier ones had brought; 0 where there was one
    attempt.
    """

    skipped: bool
    """Whether the whole file was there already, so that nothing was fetched."""


OnBytes = Callable[[int, int | None], None]
"""Called, each time bytes have arrived, with how many are there and how many there will be."""


async def save_artifact(
    session: Session, path: str, command_id: str, filename: str, folder: Path, on_bytes: OnBytes | None = None
) -> SavedArtifact:
    """Save the artifact at the API path `path` under `folder`.

    Raises `DexError`; only a whole file gets the final name.
    """
    # Names come from the service, and two commands may have artifacts of one name.
    final = folder / safe_name(filename if command_id in filename else f"{command_id}-{filename}")
    await run_to_the_end(partial(make_folder, folder))
    download = _Download(session, path, filename, final, on_bytes)
    try:
        return await download.run()
    except BaseException:
        # Also when cancelled: what is not whole must not be left behind.
        await download.discard()
        raise


class _Download:
    """One artifact on its way to disk, over all of its attempts."""

    def __init__(self, session: Session, path: str, filename: str, final: Path, on_bytes: OnBytes | None) -> None:
        self._session = session
        self._path = path
        self._filename = filename
        self._final = final
        self._on_bytes = on_bytes
        # A name of its own for each download, so that two of one artifact don't write into each other's file.
        self._writer = FileWriter(final.with_name(f".{final.name}.{secrets.token_hex(4)}.part"))
        self._etag: str | None = None
        self._announced = True
        self._fruitless = 0
        self._furthest = 0
        self._wait = 0.0
        self._progressed_at = session.settings.clock.monotonic()

    async def run(self) -> SavedArtifact:
        retrying = AsyncRetrying(
            retry=self._decide, wait=lambda _: self._wait, sleep=self._session.settings.clock.sleep
        )
        return await retrying(self._attempt)

    async def discard(self) -> None:
        await self._writer.abort()

    async def _attempt(self) -> SavedArtifact:
        writer = self._writer
        async with open_artifact(
            self._session, self._path, self._filename, offset=writer.size, etag=self._etag
        ) as artifact:
            if (skipped := await self._skip(artifact)) is not None:
                return skipped
            if artifact.offset != writer.size:
                await writer.restart()
            self._announced = artifact.size is not None
            self._etag = None if artifact.encoded else artifact.etag
            async for chunk in artifact:
                await writer.write(chunk)
                if self._on_bytes is not None:
                    self._on_bytes(writer.size, artifact.size)
        sha256, _ = await writer.finish(self._complete)
        return SavedArtifact(self._final, writer.size, sha256, artifact.offset, skipped=False)

    async def _skip(self, artifact: Artifact) -> SavedArtifact | None:
        """Return what is there already, if that is whole and as large as the artifact."""
        if artifact.size is None:
            return None
        sha256 = await run_to_the_end(partial(whole_file_hash, self._final, artifact.size))
        if sha256 is None:
            return None
        return SavedArtifact(self._final, artifact.size, sha256, 0, skipped=True)

    def _complete(self) -> None:
        check_zip(self._writer.path, self._final.name)
        put_in_place(self._writer.path, self._final)

    def _is_broken(self, error: BaseException | None) -> bool:
        if isinstance(error, APIError):
            # There is nothing after the bytes that are there, though their end was not announced: so from the start.
            return error.status == RANGE_NOT_SATISFIABLE and self._writer.size > 0
        if isinstance(error, InvalidArtifactError):
            # Without a length, a body that ends with its connection looks whole until the zip is read.
            return not self._announced and self._writer.size > 0
        return isinstance(error, BROKEN)

    def _decide(self, state: RetryCallState) -> bool:
        """Tell whether a broken download is taken up again: attempts count only while they get no further."""
        error = None if state.outcome is None else state.outcome.exception()
        if not self._is_broken(error):
            return False
        settings, clock = self._session.settings, self._session.settings.clock
        if not isinstance(error, TruncatedArtifactError | StalledDownloadError):
            # What is there can't be gone on from.
            self._etag = None
        if self._writer.size > self._furthest:
            self._furthest, self._fruitless, self._progressed_at = self._writer.size, 0, clock.monotonic()
        self._fruitless += 1
        self._wait = settings.retry.backoff(self._fruitless, settings.random())
        seconds_left = self._progressed_at + settings.retry.total_seconds - clock.monotonic()
        again = self._fruitless < settings.retry.attempts and self._wait < seconds_left
        if again:
            logger.warning("GET %s: %s; going on in %.1f s", self._path, error, self._wait)
        return again
