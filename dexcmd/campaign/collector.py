"""The collecting side of a shard: fetches artifacts, those that will expire soonest first."""

import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from dexcmd.campaign.desk import Desk, Flight, Refused
from dexcmd.campaign.events import ArtifactFailed, ArtifactSaved
from dexcmd.campaign.recorder import Recorder
from dexcmd.errors import (
    AuthenticationError,
    ConfigurationError,
    DexError,
    DownloadError,
    InsufficientSpaceError,
    PermissionDeniedError,
)
from dexcmd.resources.command import Command, command_id_of
from dexcmd.resources.quota import QuotaResource
from dexcmd.tasks import run_tasks
from dexcmd.transfer.saved import Saved
from dexcmd.transfer.system import UNWRITABLE

__all__ = ["Collector", "Fetch"]

logger: logging.Logger = logging.getLogger(__name__)

Fetch = Callable[[Flight, Command], Awaitable[tuple[str, Saved]]]
"""Fetches a command's artifact to its destination and returns its location.  Raises `DexError`."""


class Collector:
    """Fetches the artifacts of an account."""

    def __init__(self, desk: Desk, fetch: Fetch) -> None:
        self._desk = desk
        self._fetch = fetch
        self._ready: list[tuple[datetime, int, Flight, Command]] = []
        """Ordered by when the command ended: the service keeps artifacts for a limited time, so the oldest expire
        first.
        """

        self._later: list[tuple[float, int, Flight, Command]] = []
        """Ordered by when they are to be retried, by the monotonic clock."""

        self._count = itertools.count()
        """Breaks ties between entries of the same time, as flights can't be compared."""

        self._recorder = Recorder(desk)
        self._fetching = 0

    @property
    def under_way(self) -> int:
        """Return how many artifacts are being fetched, or are in place but not recorded yet."""
        return self._fetching + self._recorder.waiting

    async def load(self) -> None:
        """Resume with the artifacts that an earlier process left to be fetched."""
        desk = self._desk
        commands = await desk.ledger.store.collecting(*desk.key)
        targets = await desk.ledger.store.targets(desk.ledger.campaign, [command.target for command in commands])
        by_number = {target.number: target for target in targets}
        for record in commands:
            target = by_number[record.target]
            command = Command(
                id=record.command_id,
                status=record.status,
                created_date=record.created_date,
                completed_date=record.completed_date,
                filename=record.filename,
            )
            flight = desk.flight(target)
            flight.command_id = record.command_id
            if target.not_before is not None:
                # Not longer than it was put off for, should the clock have been set back since.
                self._put_off(flight, command, target.not_before - max(target.changed_at, desk.clock.now()))
            else:
                self.add(flight, command)

    def add(self, flight: Flight, command: Command) -> None:
        """Fetch an artifact as soon as a worker is free."""
        heapq.heappush(self._ready, (_ended(command), next(self._count), flight, command))
        self._desk.pulse.touch()

    def drop_all(self) -> list[Flight]:
        """Forget and return everything that is not being fetched yet."""
        flights = [entry[2] for entry in (*self._ready, *self._later)]
        self._ready.clear()
        self._later.clear()
        return flights

    async def run(self) -> None:
        """Fetch until cancelled.  Raises `Refused`, and `DexError` if the destination is broken."""
        await run_tasks([self._recorder.run, *[self._work] * self._desk.spec.pace.downloads])

    async def _work(self) -> None:
        while True:
            version = self._desk.pulse.version
            self._promote()
            if self._ready and not self._desk.steering.stopping:
                _, _, flight, command = heapq.heappop(self._ready)
                self._fetching += 1
                try:
                    await self._collect(flight, command)
                finally:
                    self._fetching -= 1
                    self._desk.pulse.touch()
                continue
            wait = self._later[0][0] - self._desk.clock.monotonic() if self._later else None
            await self._desk.pulse.wait(version, wait)

    def _promote(self) -> None:
        """Move what was put off and is now due to the ready queue."""
        now = self._desk.clock.monotonic()
        while self._later and self._later[0][0] <= now:
            _, _, flight, command = heapq.heappop(self._later)
            heapq.heappush(self._ready, (_ended(command), next(self._count), flight, command))

    def _put_off(self, flight: Flight, command: Command, wait: timedelta) -> None:
        at = self._desk.clock.monotonic() + wait.total_seconds()
        heapq.heappush(self._later, (at, next(self._count), flight, command))

    async def _collect(self, flight: Flight, command: Command) -> None:
        desk, command_id = self._desk, command_id_of(command)
        try:
            location, saved = await self._fetch(flight, command)
        except DexError as error:
            if _is_of_destination(error):
                raise
            await self._check_account(error)
            logger.warning("%s: %s: %s", desk.name, command_id, error)
            failed = ArtifactFailed(
                at=desk.clock.now(),
                account=desk.name,
                target=flight.target.number,
                command_id=command_id,
                error=str(error),
            )
            again = desk.retry(flight, "download")
            await desk.ledger.note(failed, *again)
            if again:
                self._put_off(flight, command, again[0].not_before - again[0].at)
            else:
                desk.land(flight.target.number)
            return
        self._recorder.add(
            ArtifactSaved(
                at=desk.clock.now(),
                account=desk.name,
                target=flight.target.number,
                command_id=command_id,
                location=location,
                size=saved.size,
                sha256=saved.sha256,
                resumed_from=saved.resumed_from,
                skipped=saved.skipped,
            )
        )

    async def _check_account(self, error: DexError) -> None:
        """Raise `Refused` if an artifact was refused because its account is.

        Otherwise one artifact, or the storage that holds it, would end the account in every run.
        """
        if not isinstance(error, AuthenticationError | PermissionDeniedError):
            return
        try:
            await QuotaResource(self._desk.session).get()
        except DexError:
            # Or there is no telling, in which case the artifact is not abandoned either.
            raise Refused(error) from error


def _is_of_destination(error: DexError) -> bool:
    """Tell whether an error is that of the destination, rather than of one artifact."""
    cause = error.__cause__
    # A connection can be forbidden with the same numbers, but that is a `TransportError`.
    unwritable = isinstance(error, DownloadError) and isinstance(cause, OSError) and cause.errno in UNWRITABLE
    return unwritable or isinstance(error, InsufficientSpaceError | ConfigurationError)


def _ended(command: Command) -> datetime:
    return command.completed_date or command.created_date or datetime.max.replace(tzinfo=UTC)
