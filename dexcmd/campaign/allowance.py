"""How many commands an account may create now: its quota, asked for no more often than it can have changed."""

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
MAX_WAIT = 300.0
"""Bounds of the wait, in seconds, between requests for a quota whose reset is overdue, or that can't be read."""

MAX_RESET_WAIT = 90_000.0
"""The quota is a daily one, so no more than this is waited for a reset without asking again.  Seconds."""


class Allowance:
    """Keeps track of what is left of an account's quota."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.left: float | None = None
        """Commands that may be created before the quota is asked for again: infinite if there is no quota, None if
        unknown.
        """

        self.counted_twice: bool = False
        """Whether commands that were being created when the quota was asked for may have been counted twice."""

        self._again: float | None = None
        """When to ask again, by the monotonic clock: the wall clock may be set meanwhile."""

        self._by_quota = False
        """Whether it is because of the quota that nothing is left."""

        self._next_wait = LEAST_WAIT
        """Seconds; doubled each time until the service creates commands again."""

        self._waited_for: float | None = None
        """The value of `_again` when a wait was last recorded."""

    @property
    def again_at(self) -> datetime | None:
        """Return when there may be more; None if the quota was never asked for."""
        if self._again is None:
            return None
        clock = self._desk.clock
        return clock.now() + timedelta(seconds=self._again - clock.monotonic())

    def take(self, commands: int) -> None:
        """Count commands that are about to be created."""
        if self.left is not None:
            self.left -= commands

    def give_back(self) -> None:
        """Count one command that was not created after all."""
        if self.left is not None:
            self.left += 1

    def note_created(self) -> None:
        """Note that the service is creating commands, so that the next wait is short again."""
        self._next_wait = LEAST_WAIT

    def hold(self, least: float = 0.0, *, by_quota: bool = False) -> None:
        """Create nothing for at least `least` seconds, longer each time in a row, and then ask for the quota.

        `by_quota` is whether this is because the quota is used up.
        """
        # Minus infinity, so that giving back what was taken before makes no difference.
        self.left, self.counted_twice = -math.inf, False
        self._by_quota = by_quota
        self._ask_again_in(max(self._backoff(), least))

    async def ask(self) -> None:
        """Find out how many commands may be created now.  Raises `Refused`."""
        desk = self._desk
        try:
            with refused():
                quota = await QuotaResource(desk.session).get()
        except DexError as error:
            logger.warning("%s: the quota can't be read: %s", desk.name, error)
            # If it was used up before, it may still be.
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
        # Nothing reports when the POSTs of other campaigns end, but they do within minutes.
        others = reserved > ours and quota_room(quota.remaining, desk.spec.leave_quota, 0) > 0
        wait = self._backoff() if others or self.left <= 0 else 0.0
        if quota.reset_time is not None and not others:
            wait = max(wait, min((quota.reset_time - now).total_seconds() + 1.0, MAX_RESET_WAIT))
        self._ask_again_in(wait)

    async def note_wait(self, until: datetime) -> None:
        """Record, once per wait, that the quota is used up and the account waits."""
        if not self._by_quota or self._again == self._waited_for:
            return
        self._waited_for = self._again
        logger.info("%s: the quota is used up: waiting until %s", self._desk.name, until)
        await self._desk.ledger.note(QuotaWaited(at=self._desk.clock.now(), account=self._desk.name, until=until))

    def _backoff(self) -> float:
        wait = self._next_wait
        self._next_wait = min(wait * 2, MAX_WAIT)
        return wait

    def _ask_again_in(self, seconds: float) -> None:
        self._again = self._desk.clock.monotonic() + seconds
