"""The download engine: brings one artifact to its target, over as many attempts as it takes."""

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
"""A body broke off, and what came of it is good.  Failures to open one are none of these: the retry middleware has had
them already.
"""


async def save_artifact(
    session: Session, name: ArtifactName, store: Store[R], options: SaveOptions, shared: Shared = NOTHING_SHARED
) -> R:
    """Bring an artifact into a store.  Raises `DexError`."""
    path = ArtifactAddress(name.command_id, name.filename).path
    verify = options.verification(name.filename)
    try:
        async with store.target(name, verify) as target:
            return await _Download(session, path, name, target, verify, options, shared).run()
    except OSError as error:
        if isinstance(error, DexError):
            raise
        # Of a sink that is somebody's own: one that fails stops no other.
        raise DownloadError(f"can't store {one_line(name.filename)}: {one_line(str(error))}") from error


class _Download(Generic[R]):
    """One artifact on its way, over all of its attempts."""

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
        """Whether what is there may be gone on from."""

        self._resumed = target.have.offset > 0
        """Whether what is there came in more than one body."""

        self._size_announced = True
        """Whether the last body said how long the artifact is."""

        self._has_slot = False
        """Whether it has one of the slots."""

        self._requested = False
        """Whether the service was asked for it."""

        self._opened = False
        """Whether the last attempt got as far as an artifact that comes, or is there."""

        self._failures = 0
        """How many attempts have failed since it got further."""

        self._highest_offset = target.have.offset
        """As many bytes were there at the most."""

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
        """Have a slot.  It is kept until all bytes are there, also between two attempts.

        What is there of an artifact may hold what another one waits for with its slot: an upload of the few that a
        sink has at a time.
        """
        if self._shared.slots is None or self._has_slot:
            return
        queued = self._clock.monotonic()
        await self._shared.slots.acquire()
        self._has_slot = True
        # The time that others take is not its own.
        self._deadline += self._clock.monotonic() - queued

    def _release_slot(self) -> None:
        if self._shared.slots is not None and self._has_slot:
            self._has_slot = False
            self._shared.slots.release()

    async def _fetch(self, have: Have) -> R | None:
        """Receive what is missing; return what turns out to be there already."""
        target, ask = self._target, what_to_ask(have, checked=self._checked)
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise self._deadline_error()
        policy = self._session.settings.retry
        # What failed since bytes came last counts, whether there was no answer or no byte in it.
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
                # Of an overlap more is there than has come by now.
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
            # Its end tells how long it is.
            self._report(options.on_progress, artifact.received, artifact.received, now)

    def _report(self, on_progress: OnProgress, received: int, size: int | None, now: float) -> None:
        report = self._meter.report(received, size, now)
        if report is None:
            return
        try:
            on_progress(report)
        except Exception:
            # It only looks on, and must not change what happens.
            logger.exception("on_progress raised for %r", report)

    def _deadline_error(self) -> StalledDownloadError:
        seconds = self._options.limits.total_seconds
        return StalledDownloadError(f"{self._path}: not whole after {seconds:g} s")

    def _should_retry(self, error: Exception) -> bool:
        """Tell whether another attempt may do better, and note whether what is there can be gone on from."""
        if isinstance(error, _RESUMABLE):
            return True
        there = self._target.have.offset > 0
        if isinstance(error, InvalidArtifactError) and not self._opened:
            # No byte was taken of what came instead: a page in passing, where an artifact has been already.
            return there
        self._usable = False
        if isinstance(error, APIError):
            # There is nothing after the bytes that are there, though their end was not announced: so from the start.
            return error.status == RANGE_NOT_SATISFIABLE and there
        if isinstance(error, InvalidArtifactError) and not isinstance(error, UncheckedError):
            # Without a length, a body that ends with its connection looks whole until the zip is read; and what was
            # put together may not fit.
            return there and (self._resumed or not self._size_announced)
        return isinstance(error, ArtifactChangedError | UncheckedError)

    def _retry_delay(self, error: Exception) -> float | None:
        """Return how long to wait before the next attempt: they count only while they get no further."""
        if not self._should_retry(error):
            return None
        settings, offset = self._session.settings, self._target.have.offset
        if offset > self._highest_offset:
            self._highest_offset, self._failures = offset, 0
        if isinstance(error, UncheckedError):
            # All of it has come, and is to come once more.
            self._highest_offset = 0
        self._failures += 1
        wait = settings.retry.backoff(self._failures, settings.random())
        if self._failures >= settings.retry.attempts or self._clock.monotonic() + wait >= self._deadline:
            return None
        logger.warning("%s; going on in %.1f s", error, wait)
        return wait
