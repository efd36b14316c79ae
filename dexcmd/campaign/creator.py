"""The creating side of a shard: carries out the next step, as determined by `decide`."""

from datetime import datetime, timedelta
from typing import Literal

from dexcmd.campaign.allowance import Allowance
from dexcmd.campaign.decide import (
    AskQuota,
    Create,
    DropPending,
    Finish,
    OpenWave,
    Step,
    Stop,
    View,
    Wait,
    next_step,
)
from dexcmd.campaign.desk import Desk
from dexcmd.campaign.due import DueTargets
from dexcmd.campaign.events import CreatingAborted, DropReason, TargetDropped, WaveOpened
from dexcmd.campaign.follower import Follower
from dexcmd.campaign.posts import Posts
from dexcmd.campaign.records import AccountRecord
from dexcmd.created import CreatedLog
from dexcmd.resources.requests import MAX_PER_POST

__all__ = ["Creator", "Stopped"]

DROPPED_AT_ONCE = 500
"""Targets that are read and dropped at a time."""


class Stopped(Exception):  # noqa: N818 - how a shard ends its work early
    """Nothing more is to be created."""

    def __init__(self, kind: Literal["aborted", "cancelled"], why: str) -> None:
        super().__init__(why)
        self.kind: Literal["aborted", "cancelled"] = kind
        self.why = why


class Creator:
    """Creates what is due, in waves, within the quota."""

    def __init__(self, desk: Desk, follower: Follower, created: CreatedLog, record: AccountRecord) -> None:
        self._desk = desk
        self._allowance = Allowance(desk)
        self._due = DueTargets(desk)
        desk.wave = record.wave
        self._wave_ended: tuple[datetime, float] | None = None
        """When the open wave was decided, as recorded and by the monotonic clock."""

        self._aborted = record.aborted
        """The rule that ended creating, in words; None if none did."""

        self.posts: Posts = Posts(desk, follower, created, record, self._allowance, self._due, self._holds)
        """The POSTs it sends."""

    async def heed(self) -> None:
        """Withdraw what is waiting to be sent whenever creating is on hold or over; runs until cancelled."""
        pulse, deadline = self._desk.pulse, self._desk.deadline
        while True:
            version = pulse.version
            if self._holds():
                self.posts.take_back()
            left = None if deadline is None else (deadline - self._now).total_seconds()
            await pulse.wait(version, left if left is not None and left > 0 else None)

    def _holds(self) -> bool:
        """Return whether nothing is to be sent at the moment, or any more."""
        desk = self._desk
        return desk.creating_ended or desk.steering.stopping or desk.steering.control != "run"

    async def load(self) -> None:
        """Resume the POSTs of an earlier process whose answers are unknown, and what it was waiting for.

        Asks for the quota first, which also reveals the service's time.  Raises `Refused`.
        """
        desk = self._desk
        await self._allowance.ask()
        if desk.spec.waves.soak and self._desk.wave:
            desk.ledger.decided_at = await desk.ledger.store.decided_at(*self._desk.key, self._desk.wave)
        await self.posts.load()

    async def run(self) -> None:
        """Create until there is nothing left to create or wait for, or this process is to stop.

        Raises `Stopped` if the campaign is to create nothing more, and `Refused`.
        """
        if self._aborted is not None:
            raise Stopped("aborted", self._aborted)
        while not self._desk.steering.stopping:
            version = self._desk.pulse.version
            self.posts.look_at_refusal()
            step = next_step(self._view(), self._desk.spec)
            if isinstance(step, Finish):
                return
            await self._do(step, version)

    async def _do(self, step: Step, version: int) -> None:
        match step:
            case Create(most):
                await self._create(min(most, MAX_PER_POST), version)
            case AskQuota():
                await self._allowance.ask()
            case Wait(until, quota_again_at):
                if quota_again_at is not None:
                    await self._allowance.note_wait(quota_again_at)
                await self._wait(until, version)
            case OpenWave(wave):
                await self._desk.ledger.note(WaveOpened(at=self._now, account=self._desk.name, wave=wave))
                self._desk.wave = wave
            case DropPending(reason):
                await self.drop_pending(reason)
            case Stop(kind, why):
                if kind == "aborted":
                    # Durable, as results yet to come may well bring the percentage below the rule's limit again.
                    await self._desk.ledger.note(CreatingAborted(at=self._now, account=self._desk.name, reason=why))
                    self._aborted = why
                raise Stopped(kind, why)
            case _:
                raise AssertionError(step)

    def _view(self) -> View:
        desk, ledger = self._desk, self._desk.ledger
        total, in_wave = ledger.total, ledger.wave(self._desk.wave)
        return View(
            now=self._now,
            control=desk.steering.control,
            wave=self._desk.wave,
            waves=ledger.waves,
            in_wave=in_wave,
            total=total,
            begun=total.in_flight + self.posts.submitted,
            undecided_later=total.count("pending") - in_wave.count("pending"),
            wave_ended_at=self._wave_ended_at,
            deadline=desk.deadline,
            quota_left=self._allowance.left,
            quota_counted_twice=self._allowance.counted_twice,
            quota_again_at=self._allowance.again_at,
        )

    @property
    def _wave_ended_at(self) -> datetime | None:
        """Return when the open wave was decided, by this machine's clock as it is now set; None if not known."""
        at, clock = self._desk.ledger.decided_at, self._desk.clock
        if at is None:
            return None
        if self._wave_ended is None or self._wave_ended[0] != at:
            # The clock may have been set back since that was recorded.
            self._wave_ended = at, self._desk.steady(min(at, clock.now()))
        return clock.now() - timedelta(seconds=clock.monotonic() - self._wave_ended[1])

    @property
    def _now(self) -> datetime:
        return self._desk.clock.now()

    async def _wait(self, until: datetime | None, version: int) -> None:
        seconds = None if until is None else max(0.0, (until - self._now).total_seconds())
        await self._desk.pulse.wait(version, seconds)

    async def _create(self, most: int, version: int) -> None:
        if await self.posts.wait_for_room():
            # Meanwhile the quota may have shrunk, or the operator or a rule may want something else.
            return
        batch = await self._due.begin(most, self.posts.submitted)
        if batch:
            await self.posts.send(batch)
            return
        times = (await self._due.next_time(), self._desk.deadline)
        await self._wait(min((time for time in times if time is not None), default=None), version)

    async def drop_pending(self, reason: DropReason) -> None:
        """Drop the targets that have not been started."""
        desk = self._desk
        self._due.clear()
        after = 0
        while targets := await desk.ledger.store.undecided(*self._desk.key, after, DROPPED_AT_ONCE):
            after = targets[-1].number
            dropped = [target for target in targets if target.number not in desk.flights]
            for target in dropped:
                desk.ledger.track(target)
            if dropped:
                await desk.ledger.note(
                    *(
                        TargetDropped(at=self._now, account=desk.name, target=target.number, reason=reason)
                        for target in dropped
                    )
                )
