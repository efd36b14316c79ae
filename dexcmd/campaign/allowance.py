"""How many commands an account may create now: its quota, asked no more often than that can have changed."""

import logging
import math
from datetime import datetime, timedelta

from dexcmd.campaign.decide import quota_room
from dexcmd.campaign.desk import Desk, refused
from dexcmd.campaign.events import QuotaSeen, QuotaWaited
from dexcmd.errors import DexError
from dexcmd.resources.quota import QuotaResource

__all__ = ["Allowance"]

logger: logging.Logger = logging.getLogger(__name__)

LEAST_WAIT = 1.0
MOST_WAIT = 300.0
"""Seconds between questions after a reset of the quota that is due and does not show, or while it is not told."""

MOST_RESET_WAIT = 90_000.0
"""The quota is that of a day, so that a reset which is further off than that is not waited for without a question."""


class Allowance:
    """Keeps count of what is left of an account's quota."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.left: float | None = None
        """Commands that may be created before the quota is asked again: infinite where there is none, None where it is
        not known.
        """

        self.counted_twice: bool = False
        """Whether commands that were under way when it was asked may have been counted twice."""

        self._again: float | None = None
        """When to ask again, by the monotonic clock: this machine's other one may be set meanwhile."""

        self._by_quota = False
        """Whether it is the quota that leaves nothing."""

        self._next_wait = LEAST_WAIT
        """Seconds; doubled each time until the service creates commands again."""

        self._waited_for: float | None = None
        """What `_again` was when a wait was last written down."""

    @property
    def again_at(self) -> datetime | None:
        """Return when there may be more; None if it was not asked."""
        if self._again is None:
            return None
        clock = self._desk.clock
        return clock.now() + timedelta(seconds=self._again - clock.monotonic())

    def take(self, commands: int) -> None:
        """Count commands that are about to be created."""
        if self.left is not None:
            self.left -= commands

    def give_back(self) -> None:
        """Count one that was not created after all."""
        if self.left is not None:
            self.left += 1

    def note_created(self) -> None:
        """Take note that the service creates commands, so that the next wait is a short one again."""
        self._next_wait = LEAST_WAIT

    def hold(self, least: float = 0.0, *, by_quota: bool = False) -> None:
        """Create nothing for a while, `least` seconds or longer each time in a row, and then ask for the quota.

        `by_quota` is whether that is because the quota is used up.
        """
        # However much is given back of what was taken before.
        self.left, self.counted_twice = -math.inf, False
        self._by_quota = by_quota
        self._ask_again_in(max(self._backoff(), least))

    async def ask(self) -> None:
        """Learn how many commands may be created now.  Raises `Refused`."""
        desk = self._desk
        try:
            with refused():
                quota = await QuotaResource(desk.session).get()
        except DexError as error:
            logger.warning("%s: the quota can't be told: %s", desk.name, error)
            # What was used up before may still be.
            self.hold(by_quota=self._by_quota)
            return
        now = desk.session.service_now()
        reserved = await desk.ledger.store.reserved(desk.account.account_id, now)
        self._by_quota = True
        self.left = quota_room(quota.remaining, desk.spec.leave_quota, reserved)
        ours = desk.ledger.total.count("creating")
        self.counted_twice = reserved > 0 and ours > 0
        await desk.ledger.note(
            QuotaSeen(
                at=desk.clock.now(),
                account=desk.name,
                quota=quota.quota,
                usage=quota.quota_usage,
                reset_time=quota.reset_time,
            )
        )
        # When the POSTs of other campaigns are over nobody tells, but they are so within minutes.
        others = reserved > ours and quota_room(quota.remaining, desk.spec.leave_quota, 0) > 0
        wait = self._backoff() if others or self.left <= 0 else 0.0
        if quota.reset_time is not None and not others:
            wait = max(wait, min((quota.reset_time - now).total_seconds() + 1.0, MOST_RESET_WAIT))
        self._ask_again_in(wait)

    async def note_wait(self, until: datetime) -> None:
        """Write down that there is nothing left of the quota and the account waits; once for each wait."""
        if not self._by_quota or self._again == self._waited_for:
            return
        self._waited_for = self._again
        logger.info("%s: the quota is used up: waiting until %s", self._desk.name, until)
        await self._desk.ledger.note(QuotaWaited(at=self._desk.clock.now(), account=self._desk.name, until=until))

    def _backoff(self) -> float:
        wait = self._next_wait
        self._next_wait = min(wait * 2, MOST_WAIT)
        return wait

    def _ask_again_in(self, seconds: float) -> None:
        self._again = self._desk.clock.monotonic() + seconds
