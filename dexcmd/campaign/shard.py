"""One account of a campaign, from where the journal has it to its end."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from dexcmd.campaign.audit import Follow, audit
from dexcmd.campaign.collector import Collector
from dexcmd.campaign.creator import Creator, Stopped
from dexcmd.campaign.desk import Desk, Flight, Refused
from dexcmd.campaign.events import AccountStarted, AccountStopped, AuditFailed, StopKind, TargetDropped
from dexcmd.campaign.follower import Follower
from dexcmd.campaign.records import AccountRecord
from dexcmd.created import CreatedLog
from dexcmd.errors import CampaignError, DexError, one_line
from dexcmd.resources.command import Command
from dexcmd.tasks import run_beside

__all__ = ["Shard"]

logger: logging.Logger = logging.getLogger(__name__)

AUDIT_TRIES = 3
AUDIT_WAIT = timedelta(minutes=1)
"""Between them."""

AuditEnd = Literal["complete", "adopted", "failed"]
"""What an audit comes to.

- `complete`: the list was looked through, or there is no need to, or no time, as this process is to end;
- `adopted`: targets have got their commands by it, which are to be followed;
- `failed`: it could not be looked through.
"""


class Shard:
    """Runs one account; what becomes of the others is of no concern to it."""

    def __init__(self, desk: Desk, record: AccountRecord, collector: Collector, created: CreatedLog) -> None:
        self._desk = desk
        self._collector = collector
        self._follower = Follower(desk, collector)
        self._creator = Creator(desk, self._follower, created, record)

    async def run(self) -> None:
        """Do all that is to be done for the account, unless this process is told to stop before.

        What the service refuses to the whole account ends the shard and no other, with an event.  Raises `DexError`
        for what concerns the campaign: the journal, or the destination of the artifacts.
        """
        desk = self._desk
        await desk.ledger.load()
        started = AccountStarted(at=desk.clock.now(), account=desk.name, settle_seconds=desk.settling.configured)
        await desk.ledger.note(started)
        try:
            # First, for it learns the service's time, which the rest needs.
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
                # What was begun then and came to nothing.
                await self._creator.drop_pending(kind)
            end = await self._audit()
            if self._desk.steering.stopping:
                await self._wind_down()
                return
            if end == "failed":
                # Not stopped, so that the next run comes here again.
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
        """Wait until all that is begun is decided, and return how many commands were left to run on.

        Where the operator has said to drop them, what runs is not followed and what is done is not fetched.
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
        """Wait for the answers of POSTs that are under way, and for the artifacts that are being fetched."""
        await self._creator.posts.wait_until_idle()
        while self._collector.under_way:
            await self._desk.pulse.wait(self._desk.pulse.version)

    # --- the audit

    async def _audit(self) -> AuditEnd:
        """Look the list through, and tell whether targets have got their commands by that."""
        desk, since = self._desk, self._creator.posts.first_since
        if since is None:
            return "complete"
        if (lost_at := self._creator.posts.last_lost_at) is not None:
            # What came of lost POSTs may still show up.
            # By a clock that may have been set back since.
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
                # For a cancelled campaign, too: at once all tries would meet what may be over by then.
                await self._wait_unless(lambda: desk.steering.stopping, desk.clock.now() + AUDIT_WAIT)
            if desk.steering.stopping:
                break
            error = await self._try_audit(since, follow)
            if error is None:
                break
        if found:
            # With what these need done there is another audit.
            return "adopted"
        if error is None or desk.steering.stopping:
            return "complete"
        await desk.ledger.note(AuditFailed(at=desk.clock.now(), account=desk.name, error=one_line(str(error))))
        return "failed"

    async def _try_audit(self, since: datetime, follow: Follow) -> DexError | None:
        try:
            await audit(self._desk, since, follow)
        except CampaignError:
            raise
        except DexError as error:
            logger.warning("%s: the audit failed: %s", self._desk.name, error)
            return error
        return None

    async def _wait_unless(self, ended: Callable[[], bool], until: datetime) -> None:
        """Wait until a time, or until nothing is to be waited for any more."""
        desk = self._desk
        while not ended():
            version = desk.pulse.version
            left = (until - desk.clock.now()).total_seconds()
            if left <= 0:
                break
            await desk.pulse.wait(version, left)

    async def _note_stop(self, kind: StopKind, why: str | None, running: int) -> None:
        desk = self._desk
        await desk.ledger.note(
            AccountStopped(at=desk.clock.now(), account=desk.name, kind=kind, reason=why, running=running)
        )
