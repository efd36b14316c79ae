"""The download engine: downloads one artifact into its target, with as many attempts as necessary."""

import logging
from typing import Generic

import attrs

from dexcmd.errors import (
    APIError,
    ArtifactChangedError,
    DexError,
    DownloadError,
    InvalidArtifactError,
    StalledDownloadError,
    TruncatedArtifactError,
)
from dexcmd.retrying import try_again
from dexcmd.safe_text import one_line
from dexcmd.session import Session
from dexcmd.transfer.address import ArtifactAddress
from dexcmd.transfer.artifact import Artifact, open_artifact
from dexcmd.transfer.limits import StallMeter
from dexcmd.transfer.options import OnProgress, SaveOptions, Verify
from dexcmd.transfer.progress import ProgressMeter
from dexcmd.transfer.ranges import Have, Joint, what_to_ask
from dexcmd.transfer.saved import R
from dexcmd.transfer.sharing import NOTHING_SHARED, NotStartedError, Shared
from dexcmd.transfer.sink import ArtifactName, Store, Target, UncheckedError

__all__ = ["save_artifact"]

logger: logging.Logger = logging.getLogger(__name__)

RANGE_NOT_SATISFIABLE = 416

_RESUMABLE = (TruncatedArtifactError, StalledDownloadError)
"""The body broke off, and what arrived of it is valid.  Failed requests are not included: the retry middleware has
already retried those.
"""


async def save_artifact(
    session: Session, name: ArtifactName, store: Store[R], options: SaveOptions, shared: Shared = NOTHING_SHARED
) -> R:
    """Download an artifact into a store.  Raises `DexError`."""
    path = ArtifactAddress(name.command_id, name.filename).path
    verify = options.verification(name.filename)
    try:
        async with store.target(name, verify) as target:
            return await _Download(session, path, name, target, verify, options, shared).run()
    except OSError as error:
        if isinstance(error, DexError):
            raise
        # Raised by a custom sink: as a `DexError`, it ends only this download.
        raise DownloadError(f"can't store {one_line(name.filename)}: {one_line(str(error))}") from error


class _Download(Generic[R]):
    """The download of one artifact, over all of its attempts."""

    def __init__(
        self,
        session: Session,
        path: str,
        name: ArtifactName,
        target: Target[R],
        verify: Verify,
        options: SaveOptions,
        shared: Shared,
    ) -> None:
        self._session = session
        self._path = path
        self._filename = name.filename
        self._target = target
        self._checked = verify == "zip"
        self._options = options
        self._shared = shared
        self._clock = session.settings.clock
        self._deadline = self._clock.monotonic() + options.limits.total_seconds
        self._meter = ProgressMeter(name.command_id, name.filename)
        self._usable = True
        """Whether the bytes stored so far can be resumed from."""

        self._resumed = target.have.offset > 0
        """Whether the stored bytes come from more than one response."""

        self._size_announced = True
        """Whether the last response announced the size of the artifact."""

        self._has_slot = False
        """Whether it holds one of the slots."""

        self._requested = False
        """Whether it has started to request the artifact."""

        self._opened = False
        """Whether the last attempt got a response with the artifact, or had all bytes already."""

        self._failures = 0
        """How many attempts have failed since the last progress."""

        self._highest_offset = target.have.offset
        """The most bytes stored at any time."""

    async def run(self) -> R:
        if (found := await self._target.find(None)) is not None:
            return found
        try:
            return await try_again(self._attempt, self._retry_delay, self._clock.sleep)
        finally:
            self._release_slot()

    async def _attempt(self) -> R:
        target = self._target
        have = target.have if self._usable else Have()
        self._opened = have.whole
        if have.whole:
            now = self._clock.monotonic()
            self._meter.start(have.offset, now)
            if self._options.on_progress is not None:
                self._report(self._options.on_progress, have.offset, have.offset, now)
            return await target.finish(have.offset)
        await self._acquire_slot()
        if not self._requested and self._shared.stopped is not None and self._shared.stopped.is_set():
            raise NotStartedError(f"{self._path}: not begun")
        self._requested = True
        found = await self._fetch(have)
        self._release_slot()
        return found or await target.finish(have.offset if self._resumed else 0)

    async def _acquire_slot(self) -> None:
        """Acquire a slot, and keep it until all bytes have arrived, also between attempts.

        A partly received artifact may hold one of the few uploads of a sink.  If it waited for a slot, downloads that
        have slots could be waiting for its upload: a deadlock.
        """
        if self._shared.slots is None or self._has_slot:
            return
        queued = self._clock.monotonic()
        await self._shared.slots.acquire()
        self._has_slot = True
        # Waiting for a slot doesn't count towards the time limit.
        self._deadline += self._clock.monotonic() - queued

    def _release_slot(self) -> None:
        if self._shared.slots is not None and self._has_slot:
            self._has_slot = False
            self._shared.slots.release()

    async def _fetch(self, have: Have) -> R | None:
        """Receive the missing bytes, or return the artifact if it turns out to be stored already."""
        target, ask = self._target, what_to_ask(have, checked=self._checked)
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise self._deadline_error()
        policy = self._session.settings.retry
        # All failures since the last progress count together: failed requests, and responses without new bytes.
        attempts, seconds = policy.attempts - self._failures, min(policy.total_seconds, left)
        session = self._session
        if (attempts, seconds) != (policy.attempts, policy.total_seconds):
            session = session.with_retry(attrs.evolve(policy, attempts=attempts, total_seconds=seconds))
        silence = min(self._options.limits.stall_seconds, left)
        async with open_artifact(
            session, self._path, self._filename, ask, have.version, silence, self._count_failure
        ) as artifact:
            self._opened = True
            if (found := await target.find(artifact.size)) is not None:
                return found
            self._resumed = artifact.offset > 0
            self._size_announced = artifact.size is not None
            await target.begin(artifact.body)
            self._usable = True
            overlap = have.offset - artifact.offset if self._resumed else 0
            await self._receive(artifact, Joint(await target.tail(overlap) if overlap else b""))
        return None

    def _count_failure(self) -> None:
        self._failures += 1

    async def _receive(self, artifact: Artifact, joint: Joint) -> None:
        target, clock, options, throttle = self._target, self._clock, self._options, self._shared.throttle
        stall = StallMeter(options.limits)
        now = clock.monotonic()
        self._meter.start(target.have.offset, now)
        async for chunk in artifact:
            asked, now = now, clock.monotonic()
            if new := joint.join(chunk):
                await target.write(new)
            if options.on_progress is not None:
                # During an overlap, more is stored than this response has brought so far.
                there = max(artifact.received, target.have.offset)
                self._report(options.on_progress, there, artifact.size, now)
            if throttle is not None:
                await throttle.take(len(chunk), until=self._deadline)
            if stall.stalled(now - asked, len(chunk)):
                raise StalledDownloadError(f"{self._path}: too slow after {artifact.received} bytes")
            if now >= self._deadline:
                raise self._deadline_error()
            now = clock.monotonic()
        if options.on_progress is not None and artifact.size is None:
            # Only the end of the body tells its size.
            self._report(options.on_progress, artifact.received, artifact.received, now)

    def _report(self, on_progress: OnProgress, received: int, size: int | None, now: float) -> None:
        report = self._meter.report(received, size, now)
        if report is None:
            return
        try:
            on_progress(report)
        except Exception:
            # A progress callback must not affect the download.
            logger.exception("on_progress raised for %r", report)

    def _deadline_error(self) -> StalledDownloadError:
        seconds = self._options.limits.total_seconds
        return StalledDownloadError(f"{self._path}: not complete after {seconds:g} s")

    def _should_retry(self, error: Exception) -> bool:
        """Tell whether another attempt may succeed, and record in `_usable` whether it can resume."""
        if isinstance(error, _RESUMABLE):
            return True
        there = self._target.have.offset > 0
        if isinstance(error, InvalidArtifactError) and not self._opened:
            # Something else was sent instead, such as an HTML page, and nothing of it was stored.  If bytes of the
            # artifact have arrived before, that may be temporary.
            return there
        self._usable = False
        if isinstance(error, APIError):
            # The service has nothing after the stored bytes, but no announced size shows that they are all: start over.
            return error.status == RANGE_NOT_SATISFIABLE and there
        if isinstance(error, InvalidArtifactError) and not isinstance(error, UncheckedError):
            # Without an announced size, a body cut off with its connection looks complete until the zip is read; and
            # joined bytes may be of two versions.  Otherwise, the service's artifact itself is invalid.
            return there and (self._resumed or not self._size_announced)
        return isinstance(error, ArtifactChangedError | UncheckedError)

    def _retry_delay(self, error: Exception) -> float | None:
        """Return how long to wait before the next attempt; None to give up.  Only attempts without progress count."""
        if not self._should_retry(error):
            return None
        settings, offset = self._session.settings, self._target.have.offset
        if offset > self._highest_offset:
            self._highest_offset, self._failures = offset, 0
        if isinstance(error, UncheckedError):
            # All of it has arrived, and has to be received again.
            self._highest_offset = 0
        self._failures += 1
        wait = settings.retry.backoff(self._failures, settings.random())
        if self._failures >= settings.retry.attempts or self._clock.monotonic() + wait >= self._deadline:
            return None
        logger.warning("%s; resuming in %.1f s", error, wait)
        return wait
