"""The following side of a shard: commands polled to their end, what the list shows written down."""

import logging
from datetime import datetime

from dexcmd.campaign.collector import Collector
from dexcmd.campaign.desk import Desk, Flight, refused
from dexcmd.campaign.events import CampaignEvent, CommandEnded, CommandOverdue
from dexcmd.errors import DexError
from dexcmd.follow import PollPace, Watch
from dexcmd.resources.command import Command, command_id_of

__all__ = ["FILENAME_GRACE", "POLL_INTERVAL", "Follower"]

logger = logging.getLogger(__name__)

POLL_INTERVAL = 5.0

FILENAME_GRACE = 60.0
"""SUCCESS may come before the file name; after so many seconds the usual name is tried."""


class Follower:
    """Follows the commands of an account."""

    def __init__(self, desk: Desk, collector: Collector) -> None:
        self._desk = desk
        self._collector = collector
        self._watch = Watch(desk.session, filename_grace=FILENAME_GRACE)
        self._pace = PollPace(POLL_INTERVAL, desk.session.settings.rate_limit)
        self._flights: dict[str, Flight] = {}
        self._deadlines: dict[str, datetime] = {}

    async def load(self) -> None:
        """Go on with the commands that an earlier process left running."""
        store, key = self._desk.ledger.store, (self._desk.ledger.campaign, self._desk.name)
        commands = {command.target: command for command in await store.running(*key)}
        for target in await store.targets(self._desk.ledger.campaign, commands):
            command = commands[target.number]
            flight = self._desk.flight(target)
            flight.command_id = command.command_id
            self.add(flight, command.created_date, command.not_before, command.known_at)

    def add(
        self,
        flight: Flight,
        created: datetime | None = None,
        not_before: datetime | None = None,
        known_at: datetime | None = None,
    ) -> None:
        """Follow a command from now on."""
        command_id = flight.command_id or ""
        self._flights[command_id] = flight
        self._deadlines[command_id] = (known_at or self._desk.clock.now()) + self._desk.spec.pace.timeout
        self._watch.add(command_id, created, not_before)
        self._desk.pulse.touch()

    def drop_all(self) -> list[Flight]:
        """Stop following, and return what was followed."""
        flights = list(self._flights.values())
        for command_id in list(self._flights):
            self._watch.drop(command_id)
        self._flights.clear()
        self._deadlines.clear()
        return flights

    async def run(self) -> None:
        """Poll until cancelled.  Raises `Refused`."""
        wait = POLL_INTERVAL
        while True:
            version = self._desk.pulse.version
            if not len(self._watch):
                await self._desk.pulse.wait(version)
                continue
            await self._desk.clock.sleep(wait)
            began = self._desk.clock.now()
            wait = await self._poll()
            await self._note_ended()
            await self._note_overdue(began)

    async def _poll(self) -> float:
        try:
            with refused():
                poll = await self._watch.poll()
        except DexError as error:
            logger.warning("%s: a poll failed: %s", self._desk.name, error)
            return self._pace.after(pages=1, changed=False)
        return self._pace.after(pages=poll.pages, changed=poll.changed)

    async def _note_ended(self) -> None:
        # What was dropped while a poll was under way is nobody's any more.
        ended = [command for command in self._watch.take_ended() if command.id in self._flights]
        events: list[CampaignEvent] = []
        for command in ended:
            flight = self._flights[command_id_of(command)]
            events.append(self._ended(flight, command))
            if not command.succeeded:
                events += self._desk.retry(flight, "device")
        if events:
            await self._desk.ledger.note(*events)
        for command in ended:
            flight = self._forget(command_id_of(command))
            if command.succeeded:
                self._collector.add(flight, command)
            else:
                self._desk.flights.pop(flight.target.number, None)
        if ended:
            self._desk.pulse.touch()

    def _ended(self, flight: Flight, command: Command) -> CommandEnded:
        return CommandEnded(
            at=self._desk.clock.now(),
            account=self._desk.name,
            target=flight.target.number,
            command_id=command_id_of(command),
            status=command.status or "",
            created_date=command.created_date,
            completed_date=command.completed_date,
            filename=command.filename,
        )

    async def _note_overdue(self, began: datetime) -> None:
        """Give up what a poll that began after its time did not show ended."""
        events: list[CampaignEvent] = []
        for command_id in [id_ for id_, deadline in self._deadlines.items() if deadline <= began]:
            succeeded = self._watch.succeeded(command_id)
            command = self._watch.drop(command_id)
            flight = self._forget(command_id)
            if succeeded and command is not None:
                # Only its file name is missing, and that can be guessed.
                await self._desk.ledger.note(self._ended(flight, command))
                self._collector.add(flight, command)
                continue
            now, number = self._desk.clock.now(), flight.target.number
            events.append(CommandOverdue(at=now, account=self._desk.name, target=number, command_id=command_id))
            events += self._desk.retry(flight, "timeout")
            self._desk.flights.pop(number, None)
        if events:
            await self._desk.ledger.note(*events)
            self._desk.pulse.touch()

    def _forget(self, command_id: str) -> Flight:
        del self._deadlines[command_id]
        return self._flights.pop(command_id)
