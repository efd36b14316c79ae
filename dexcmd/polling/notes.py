"""What the rows of the list say about pending commands."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from dexcmd.events import CommandFinished
from dexcmd.polling.looks import Look
from dexcmd.polling.pending import Pending, shifted
from dexcmd.polling.schedule import Schedule
from dexcmd.resources.command import Command
from dexcmd.session import Session

__all__ = ["FILENAME_GRACE", "Notes", "OnFirstSeen"]

FILENAME_GRACE = 60.0
"""For downloads: SUCCESS may be listed before the file name.  After so many seconds, the usual name is tried."""

PROBE_GRACE = 5.0
"""By how many seconds a status may lag behind the date that comes with it."""

WIDENING_SECONDS = 5.0
"""By how many seconds to look further back each time that a complete walk did not show a new command."""

TELLING_SECONDS = 20.0
"""A command first shown later than this after its creation says nothing about the list's lag: nobody looked sooner."""

OnFirstSeen = Callable[[str, float], object]


class Notes:
    """Records what rows, from any poll, say about the commands of a schedule.  `Watch` explains the settings."""

    def __init__(
        self, session: Session, schedule: Schedule, *, filename_grace: float, on_first_seen: OnFirstSeen | None
    ) -> None:
        self._session = session
        self._schedule = schedule
        self._filename_grace = filename_grace
        self._on_first_seen = on_first_seen
        self._changed = False
        """Whether the poll in progress has shown anything new."""

        self.ended: list[Command] = []
        """The commands that have ended but were not taken yet."""

    def take_ended(self) -> list[Command]:
        """Return the commands that have ended since the last call, in the order in which they ended."""
        ended, self.ended = self.ended, []
        return sorted(ended, key=lambda command: command.completed_date or datetime.max.replace(tzinfo=UTC))

    def take_over(self, shown: Mapping[str, Command]) -> bool:
        """Process rows, given by command id, and tell whether any of them belong to pending commands."""
        pending = self._schedule.pending
        known = pending.keys() & shown.keys()
        for command_id, command in shown.items() if known else ():
            if command_id in known:
                self._note(pending[command_id], command)
        return bool(known)

    def settle(self) -> None:
        """Reschedule all commands that a poll has shown."""
        self._schedule.settle(self._session.settings.clock.monotonic(), changed=self._changed)
        self._changed = False

    def expect_late(self, look: Look, walked_at: datetime | None) -> None:
        """Set or move back the start of the next look for the commands that a complete walk did not show.

        They were probably created recently, as the list shows new commands late.  Or `created_date` and `Date` come
        from clocks that differ slightly, so a known start moves back a little.
        """
        if walked_at is None or not look.is_walk:
            return
        for one in look.missing.values():
            if one.created is not None:
                continue
            if one.not_before is None:
                one.not_before = shifted(walked_at, -self._session.settings.settle_seconds)
            else:
                one.not_before = shifted(one.not_before, -WIDENING_SECONDS)

    def moment(self, time: datetime | None) -> float | None:
        """Convert a time of the service to the monotonic clock; None if unknown."""
        now = self._session.settings.clock.monotonic()
        served_at = self._session.service_clock.at(now)
        if time is None or served_at is None:
            return None
        return min(now, now - (served_at - time).total_seconds())

    def _note(self, one: Pending, command: Command) -> None:
        now, schedule = self._session.settings.clock.monotonic(), self._schedule
        self._changed = self._changed or one.seen is None or one.seen.status != command.status
        if (one.created is None or one.born is None) and command.created_date is not None:
            one.created = command.created_date
            if (born := self.moment(one.created)) is not None:
                schedule.place(one, born)
        if one.seen is None and one.is_new:
            self._tell_first_seen(one, now)
        one.is_stray = False
        one.seen = command
        one.command_type = command.type or one.command_type
        one.device_id = command.device_id or one.device_id
        schedule.touch(one, now)
        self._check_probe(one, command)
        if command.ended and not self._waits_for_filename(one, command, now):
            schedule.drop(one.command_id)
            schedule.known.rows.end(one.place)
            self.ended.append(command)
            if command.created_date is not None and command.completed_date is not None:
                seconds = (command.completed_date - command.created_date).total_seconds()
                schedule.rhythm.durations.add(command.type, seconds)
            self._session.emit(CommandFinished(one.command_id, command.status or ""))

    def _check_probe(self, one: Pending, command: Command) -> None:
        """Stop using filters if the service did not show an ended command among the ended ones."""
        ended = self.moment(command.completed_date)
        if ended is not None and ended < one.probed - PROBE_GRACE:
            self._schedule.filters = False

    def _tell_first_seen(self, one: Pending, now: float) -> None:
        served_at = self._session.service_clock.at(now)
        if self._on_first_seen is None or one.created is None or served_at is None:
            return
        # `Date` is truncated to the second.
        seconds = max(0.0, (served_at - one.created).total_seconds() + 1.0)
        if seconds <= TELLING_SECONDS or one.is_stray:
            self._on_first_seen(one.command_id, seconds)

    def _waits_for_filename(self, one: Pending, command: Command, now: float) -> bool:
        if not command.succeeded or command.filename is not None:
            return False
        if one.named_by is None:
            one.named_by = now + self._filename_grace
        return now < one.named_by
