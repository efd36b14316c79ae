"""The following side of a shard: polls commands to their end, and records what the list shows."""

import logging
from datetime import datetime, timedelta

from dexcmd.campaign.collector import Collector
from dexcmd.campaign.desk import Desk, Flight, refused
from dexcmd.campaign.events import CampaignEvent, CommandEnded, CommandOverdue
from dexcmd.campaign.records import CommandRecord
from dexcmd.errors import DexError
from dexcmd.polling.notes import FILENAME_GRACE
from dexcmd.polling.rhythm import PATIENT
from dexcmd.polling.watch import Watch
from dexcmd.resources.command import Command, command_id_of

__all__ = ["Follower"]

logger: logging.Logger = logging.getLogger(__name__)

POLL_INTERVAL = 5.0
"""Seconds between polls for a few commands; for many, `Watch` has its own schedule."""


class Follower:
    """Follows the commands of an account."""

    def __init__(self, desk: Desk, collector: Collector) -> None:
        self._desk = desk
        self._collector = collector
        self._watch = Watch(
            desk.session,
            poll_interval=POLL_INTERVAL,
            spacing=PATIENT,
            filename_grace=FILENAME_GRACE,
            on_first_seen=self._note_lag,
        )
        self._flights: dict[str, Flight] = {}
        """By command id."""

        self._lags: dict[str, float] = {}
        """By command id, how many seconds after its creation it was first seen in the list."""

    async def load(self) -> None:
        """Resume the commands that an earlier process left running."""
        store = self._desk.ledger.store
        commands = {command.target: command for command in await store.running(*self._desk.key)}
        for target in await store.targets(self._desk.ledger.campaign, commands):
            command = commands[target.number]
            flight = self._desk.flight(target)
            flight.command_id = command.command_id
            self._add(flight, command.created_date, command.not_before, self._age(command), is_new=False)

    def add(self, flight: Flight, created: datetime | None, not_before: datetime | None, *, is_new: bool) -> None:
        """Follow a command from now on; `is_new` is whether the answer to its POST has only just confirmed it."""
        self._add(flight, created, not_before, timedelta(0), is_new=is_new)

    def _age(self, command: CommandRecord) -> timedelta:
        """Return how long ago a command was created, by the service's clock if known, as ours may be wrong."""
        session, clock = self._desk.session, self._desk.clock
        created = command.created_date or command.not_before
        served_at = session.service_clock.at(clock.monotonic())
        if created is None or served_at is None:
            return max(timedelta(0), clock.now() - command.known_at)
        return max(timedelta(0), served_at - created)

    def _add(
        self,
        flight: Flight,
        created: datetime | None,
        not_before: datetime | None,
        age: timedelta,
        *,
        is_new: bool,
    ) -> None:
        desk, command_id = self._desk, flight.command_id or ""
        left = (desk.spec.pace.timeout - age).total_seconds()
        self._flights[command_id] = flight
        self._watch.add(
            command_id,
            created,
            not_before,
            command_type=flight.request.type,
            device_id=flight.request.device_id,
            deadline=desk.clock.monotonic() + left,
            is_new=is_new,
        )
        desk.pulse.touch()

    def drop_all(self) -> list[Flight]:
        """Stop following, and return what was followed."""
        flights = list(self._flights.values())
        for command_id in self._watch.ids:
            self._watch.drop(command_id)
        self._flights.clear()
        return flights

    async def run(self) -> None:
        """Poll until cancelled.  Raises `Refused`."""
        try:
            while True:
                await self._advance()
        finally:
            # The shard has ended, but may be queued for a poll.
            self._watch.leave()

    async def _advance(self) -> None:
        clock, pulse = self._desk.clock, self._desk.pulse
        version = pulse.version
        wait = self._watch.next_poll_at - clock.monotonic()
        if not len(self._watch):
            await pulse.wait(version)
        elif wait > 0:
            # Commands added meanwhile are not due sooner, unless an earlier process created them.
            await clock.sleep(min(wait, POLL_INTERVAL))
        else:
            await self._poll()
        await self._note_ended()
        await self._note_overdue()

    async def _poll(self) -> None:
        try:
            with refused():
                await self._watch.poll()
        except DexError as error:
            logger.warning("%s: a poll failed: %s", self._desk.name, error)

    def _note_lag(self, command_id: str, seconds: float) -> None:
        self._desk.settling.sight(seconds)
        self._lags[command_id] = seconds

    async def _note_ended(self) -> None:
        # Commands dropped during the poll are nobody's any more; the others are popped so that they can't be dropped
        # now.
        ended = [
            (self._flights.pop(command_id_of(command)), command)
            for command in self._watch.take_ended()
            if command.id in self._flights
        ]
        events: list[CampaignEvent] = []
        for flight, command in ended:
            events.append(self._ended(flight, command))
            if not command.succeeded:
                events += self._desk.retry(flight, "device")
        if events:
            await self._desk.ledger.note(*events)
        for flight, command in ended:
            if command.succeeded:
                self._collector.add(flight, command)
            else:
                self._desk.land(flight.target.number)
        if ended:
            self._desk.pulse.touch()

    def _ended(self, flight: Flight, command: Command) -> CommandEnded:
        command_id = command_id_of(command)
        return CommandEnded(
            at=self._desk.clock.now(),
            account=self._desk.name,
            target=flight.target.number,
            command_id=command_id,
            status=command.status or "",
            created_date=command.created_date,
            completed_date=command.completed_date,
            filename=command.filename,
            listed_after=self._lags.pop(command_id, None),
        )

    async def _note_overdue(self) -> None:
        """Abandon commands that had still not ended in a poll at the end of their time."""
        events: list[CampaignEvent] = []
        named: list[tuple[Flight, Command]] = []
        for command_id in self._watch.overdue():
            succeeded = self._watch.succeeded(command_id)
            command = self._watch.drop(command_id)
            flight = self._flights.pop(command_id)
            self._lags.pop(command_id, None)
            if succeeded and command is not None:
                # Only its file name is missing, and that can be guessed.
                events.append(self._ended(flight, command))
                named.append((flight, command))
                continue
            now, number = self._desk.clock.now(), flight.target.number
            events.append(CommandOverdue(at=now, account=self._desk.name, target=number, command_id=command_id))
            events += self._desk.retry(flight, "timeout")
            self._desk.land(number)
        if events:
            await self._desk.ledger.note(*events)
            self._desk.pulse.touch()
        for flight, command in named:
            self._collector.add(flight, command)
