"""One account of a campaign, from its state in the journal to its end."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from dexcmd.campaign.audit import OnAdopted, audit
from dexcmd.campaign.collector import Collector
from dexcmd.campaign.creator import Creator, Stopped
from dexcmd.campaign.desk import Desk, Flight, Refused
from dexcmd.campaign.events import AccountStarted, AccountStopped, AuditFailed, StopKind, TargetDropped
from dexcmd.campaign.follower import Follower
from dexcmd.campaign.records import AccountRecord
from dexcmd.created import CreatedLog
from dexcmd.errors import CampaignError, DexError
from dexcmd.resources.command import Command
from dexcmd.safe_text import one_line
from dexcmd.tasks import run_beside

__all__ = ["Shard"]

logger: logging.Logger = logging.getLogger(__name__)

AUDIT_TRIES = 3
AUDIT_WAIT = timedelta(minutes=1)
"""The wait between tries."""

AuditEnd = Literal["complete", "adopted", "failed"]
"""The result of an audit.

- `complete`: the list was read, or there was no need to, or no time because this process is to end;
- `adopted`: it found commands for targets, which are to be followed;
- `failed`: the list could not be read.
"""


class Shard:
    """Runs one account, independently of the others."""

    def __init__(self, desk: Desk, record: AccountRecord, collector: Collector, created: CreatedLog) -> None:
        self._desk = desk
        self._collector = collector
        self._follower = Follower(desk, collector)
        self._creator = Creator(desk, self._follower, created, record)

    async def run(self) -> None:
        """Do everything there is to do for the account, unless this process is told to stop before.

        A refusal of the whole account ends this shard only, with an event.  Raises `DexError` for what affects the
        campaign: the journal, or the destination of the artifacts.
        """
        desk = self._desk
        await desk.ledger.load()
        started = AccountStarted(at=desk.clock.now(), account=desk.name, settle_seconds=desk.settling.configured)
        await desk.ledger.note(started)
        try:
            # First, as this learns the service's time, which the others need.
            await self._creator.load()
            await self._follower.load()
            await self._collector.load()
            beside = [self._creator.posts.serve, self._creator.heed, self._follower.run, self._collector.run]
            await run_beside(self._work, beside)
        except Refused as refused:
            logger.warning("%s: refused by the service: %s", desk.name, refused.error)
            await self._note_stop("refused", str(refused.error), desk.ledger.total.count("running"))

    async def _work(self) -> None:
        running = 0
        while True:
            kind, why = await self._create()
            running += await self._finish_begun()
            if kind != "finished":
                # Also drop targets that were in flight before and ended up without a command.
                await self._creator.drop_pending(kind)
            end = await self._audit()
            if self._desk.steering.stopping:
                await self._wind_down()
                return
            if end == "failed":
                # Not stopped, so that the next run gets here again.
                return
            if end == "complete":
                break
        await self._note_stop(kind, why, running)

    async def _create(self) -> tuple[StopKind, str | None]:
        try:
            await self._creator.run()
        except Stopped as stopped:
            self._desk.stopped = True
            await self._creator.drop_pending(stopped.kind)
            return stopped.kind, stopped.why
        return "finished", None

    async def _finish_begun(self) -> int:
        """Wait until everything started is decided, and return how many commands were left running.

        If the operator chose to drop them, running commands are not followed, and artifacts are not fetched.
        """
        desk, left = self._desk, 0
        while not desk.steering.stopping:
            version = desk.pulse.version
            self._creator.posts.look_at_refusal()
            if desk.steering.control == "cancel_drop":
                running = self._follower.drop_all()
                left += len(running)
                await self._drop([*running, *self._collector.drop_all()])
            if not (desk.ledger.total.in_flight or self._creator.posts.submitted):
                break
            await desk.pulse.wait(version)
        return left

    async def _drop(self, flights: list[Flight]) -> None:
        desk, now = self._desk, self._desk.clock.now()
        events = [
            TargetDropped(at=now, account=desk.name, target=flight.target.number, reason="cancelled")
            for flight in flights
        ]
        if events:
            await desk.ledger.note(*events)
        for flight in flights:
            desk.land(flight.target.number)

    async def _wind_down(self) -> None:
        """Wait for the answers to POSTs in progress, and for the downloads in progress."""
        await self._creator.posts.wait_until_idle()
        while self._collector.under_way:
            await self._desk.pulse.wait(self._desk.pulse.version)

    # --- the audit

    async def _audit(self) -> AuditEnd:
        """Audit the account, with retries, once lost POSTs have had their time."""
        desk, since = self._desk, self._creator.posts.first_since
        if since is None:
            return "complete"
        if (lost_at := self._creator.posts.last_lost_at) is not None:
            # Commands of lost POSTs may still show up.  The clock may have been set back since the last loss was
            # recorded.
            lost_at = min(lost_at, desk.clock.now())
            await self._wait_unless(lambda: desk.steering.ending, lost_at + desk.spec.audit_after)
        found = 0

        def follow(flight: Flight, command: Command) -> None:
            nonlocal found
            found += 1
            self._follower.add(flight, command.created_date, None, is_new=False)

        error: DexError | None = None
        for tries in range(AUDIT_TRIES):
            if tries:
                # Even if the campaign is cancelled: without a wait, all tries would meet the same passing failure.
                await self._wait_unless(lambda: desk.steering.stopping, desk.clock.now() + AUDIT_WAIT)
            if desk.steering.stopping:
                break
            error = await self._try_audit(since, follow)
            if error is None:
                break
        if found:
            # Once these are done, there is another audit.
            return "adopted"
        if error is None or desk.steering.stopping:
            return "complete"
        await desk.ledger.note(AuditFailed(at=desk.clock.now(), account=desk.name, error=one_line(str(error))))
        return "failed"

    async def _try_audit(self, since: datetime, on_adopted: OnAdopted) -> DexError | None:
        try:
            await audit(self._desk, since, on_adopted)
        except CampaignError:
            raise
        except DexError as error:
            logger.warning("%s: the audit failed: %s", self._desk.name, error)
            return error
        return None

    async def _wait_unless(self, ended: Callable[[], bool], until: datetime) -> None:
        """Wait until a time, or until waiting is no longer wanted."""
        desk = self._desk
        end = desk.steady(until)
        while not ended():
            version = desk.pulse.version
            left = end - desk.clock.monotonic()
            if left <= 0:
                break
            await desk.pulse.wait(version, left)

    async def _note_stop(self, kind: StopKind, why: str | None, running: int) -> None:
        desk = self._desk
        await desk.ledger.note(
            AccountStopped(at=desk.clock.now(), account=desk.name, kind=kind, reason=why, running=running)
        )
