"""The POSTs of a shard: records an intent before each, and its outcome after."""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from dexcmd.amounts import counted
from dexcmd.batches import Batch
from dexcmd.campaign.allowance import Allowance
from dexcmd.campaign.desk import Desk, Flight, Refused, refused
from dexcmd.campaign.due import DueTargets
from dexcmd.campaign.events import CampaignEvent, CommandKnown, IntentClosed, IntentOpened, IntentOutcome
from dexcmd.campaign.follower import Follower
from dexcmd.campaign.records import AccountRecord, IntentRecord
from dexcmd.created import CreatedLog
from dexcmd.creation import Creation
from dexcmd.errors import (
    AmbiguousCreateError,
    DexError,
    QuotaExceededError,
    RateLimitError,
    TargetBusyError,
    TransportError,
)
from dexcmd.outcome import Outcome
from dexcmd.resources.requests import Target

__all__ = ["Posts"]

logger: logging.Logger = logging.getLogger(__name__)

PASSING = (QuotaExceededError, RateLimitError)
"""Refusals that are temporary."""

BUSY_WAIT = timedelta(minutes=1)
"""How long to wait before retrying a target for which another campaign is creating a command."""


class Posts:
    """Sends an account's POSTs, and looks for the commands of those whose answers were lost."""

    def __init__(
        self,
        desk: Desk,
        follower: Follower,
        created: CreatedLog,
        record: AccountRecord,
        allowance: Allowance,
        due: DueTargets,
        holds: Callable[[], bool],
    ) -> None:
        """Send POSTs, except while `holds` returns that nothing is to be sent."""
        self._desk = desk
        self._follower = follower
        self._created = created
        self._allowance = allowance
        self._due = due
        self._holds = holds
        self._creation = Creation(
            desk.session,
            created,
            lambda _: None,
            on_outcomes=self._take,
            before_post=self._open_intents,
            known=partial(desk.ledger.store.known, desk.account.account_id),
            settle_seconds=lambda: desk.settling.seconds,
            concurrency=desk.spec.pace.creates,
            again=desk.spec.lost_answers == "reconcile",
        )
        self._by_target: dict[Target, Flight] = {}
        """Flights without an outcome yet."""

        self._submitted: set[int] = set()
        """Targets that are started and have no open intent yet."""

        self._unreadable: DexError | None = None
        """Why the list could not be read after answers were lost: there is no telling what became of their commands."""

        self.last_lost_at = record.last_lost_at
        """When a search of the list last came up empty; None if that never happened."""

        self.first_since = record.first_since
        """A service time just before the account's first POST; None before it."""

    async def serve(self) -> None:
        """Send POSTs and look for lost answers until cancelled."""
        await self._creation.serve()

    async def wait_until_idle(self) -> None:
        """Wait until no POST is in progress."""
        await self._creation.wait_until_idle()

    async def wait_for_room(self) -> bool:
        """Wait until there is room for another POST, and return whether a wait was necessary."""
        return await self._creation.wait_for_room()

    def take_back(self) -> None:
        """Withdraw what is waiting to be sent."""
        self._creation.take_back()

    @property
    def submitted(self) -> int:
        """Return how many targets are started and have no open intent yet."""
        return len(self._submitted)

    async def load(self) -> None:
        """Resume the POSTs of an earlier process whose answers are unknown."""
        desk = self._desk
        intents = {intent.target: intent for intent in await desk.ledger.store.open_intents(*desk.key)}
        for target in await desk.ledger.store.targets(desk.ledger.campaign, intents):
            self._resume(desk.flight(target), intents[target.number])

    def _resume(self, flight: Flight, intent: IntentRecord) -> None:
        flight.post, flight.attempt, flight.since = intent.post, intent.attempt, intent.since
        self._by_target[flight.request.target] = flight
        desk = self._desk
        wait, now = desk.settling.seconds, desk.session.service_clock.at(desk.clock.monotonic())
        if now is not None:
            # Not by this machine's clock: if it is ahead, the list would be believed too soon.
            wait = min(max(0.0, (intent.settled_at - now).total_seconds()), wait)
        cause = AmbiguousCreateError("the process ended while the POST was in progress")
        self._creation.look_for(flight.request, cause, intent.since, wait, again=intent.attempt < 2)

    def look_at_refusal(self) -> None:
        """Decide what a refusal of the last POST, or of the list, means for the next POST.  Raises `Refused`.

        A service that can't be reached may come back later, just as a rate limit passes.
        """
        error = self._creation.stopped_by
        if self._unreadable is not None:
            raise Refused(self._unreadable)
        if error is None:
            return
        with refused():
            passes = not error.permanent if isinstance(error, TransportError) else isinstance(error, PASSING)
            if not passes:
                raise error
        self._creation.go_on()
        retry_after = error.retry_after if isinstance(error, RateLimitError) else None
        self._allowance.hold(retry_after or 0.0, by_quota=isinstance(error, QuotaExceededError))

    @property
    def _now(self) -> datetime:
        return self._desk.clock.now()

    # --- sending

    async def send(self, batch: Sequence[Flight]) -> None:
        """Send the commands of a batch, after looking in the list for any whose earlier POST was lost."""
        absent = await self._absent(batch)
        for flight in batch:
            self._by_target[flight.request.target] = flight
            self._submitted.add(flight.target.number)
        self._allowance.take(len(batch))
        for flight in batch:
            if (since := absent.get(flight.target.number)) is not None:
                # By now the list may show it.  If not, it is sent once more, and no more than once.
                flight.since = since
                cause = AmbiguousCreateError("the response to an earlier POST was lost")
                self._creation.look_for(flight.request, cause, since, 0.0, again=True)
        if fresh := tuple(flight.request for flight in batch if flight.target.number not in absent):
            self._creation.submit(fresh)

    async def _absent(self, batch: Sequence[Flight]) -> Mapping[int, datetime]:
        """Return the targets with a lost POST whose command the list did not show, and each one's first `since`."""
        # Without a lost POST there are none.
        if self.last_lost_at is None:
            return {}
        devices = {flight.request.device_id for flight in batch}
        since: dict[int, datetime] = {}
        for intent in await self._desk.ledger.store.intents(*self._desk.key, devices):
            if intent.outcome == "absent":
                since.setdefault(intent.target, intent.since)
            elif intent.outcome in ("created", "adopted"):
                since.pop(intent.target, None)
        return since

    async def _open_intents(self, batch: Batch, since: datetime | None) -> str | None:
        """Record that a POST is about to be sent; return the reason if it must not be."""
        desk = self._desk
        if self._holds():
            return "held"
        if since is None:
            self._allowance.hold()
            return "the service's time is unknown"
        retry = desk.session.settings.retry
        # A POST ends within its budget, though its last attempt may overrun it.
        longest = retry.total_seconds + retry.attempt_seconds + desk.settling.seconds
        post = uuid.uuid4().hex[:12]
        events: list[CampaignEvent] = []
        flights = [self._by_target[request.target] for request in batch]
        for flight in flights:
            events += self._close(flight, self._unsent(flight))
            absent = self._creation.lost.was_absent(flight.request)
            first = flight.since if absent and flight.since is not None else since
            events.append(
                IntentOpened(
                    at=self._now,
                    account=desk.name,
                    target=flight.target.number,
                    post=post,
                    attempt=2 if absent else 1,
                    since=first,
                    settled_at=since + timedelta(seconds=longest),
                )
            )
        self.first_since = self.first_since or since
        try:
            await desk.ledger.note(*events)
        except TargetBusyError as error:
            self._due.leave_alone(error.targets, self._now + BUSY_WAIT)
            devices = counted(len(error.targets), "device")
            logger.warning("%s: waiting for another campaign, which has POSTs open for %s", desk.name, devices)
            return "another campaign is creating a command for one of its targets"
        for flight, event in zip(flights, (e for e in events if isinstance(e, IntentOpened)), strict=True):
            flight.post, flight.attempt, flight.since, flight.sent_after = post, event.attempt, event.since, since
            self._submitted.discard(flight.target.number)
        return None

    # --- what became of it

    async def _take(self, outcomes: Sequence[Outcome]) -> None:
        events: list[CampaignEvent] = []
        made: list[tuple[Flight, Outcome]] = []
        for outcome in outcomes:
            flight = self._by_target[outcome.request.target]
            if outcome.reason == "unreadable":
                # The intent stays open, for the next process to look.
                self._unreadable = outcome.error
                continue
            events += self._events(flight, outcome)
            if outcome.command is None:
                self._let_go(flight, outcome)
            else:
                self._allowance.note_created()
                made.append((flight, outcome))
        if events:
            await self._desk.ledger.note(*events)
        for flight, outcome in made:
            self._by_target.pop(flight.request.target, None)
            self._submitted.discard(flight.target.number)
            if flight.post is None:
                # The command was found, and nothing had to be sent.
                self._allowance.give_back()
            flight.post, flight.command_id = None, outcome.command_id
            self._follower.add(
                flight,
                None if outcome.command is None else outcome.command.created_date,
                self._created.not_before(outcome.command_id or ""),
                is_new=outcome.state == "created",
            )
        self._desk.pulse.touch()

    def _events(self, flight: Flight, outcome: Outcome) -> list[CampaignEvent]:
        match outcome.state:
            case "created" | "adopted":
                command = outcome.command
                known = CommandKnown(
                    at=self._now,
                    account=self._desk.name,
                    target=flight.target.number,
                    command_id=outcome.command_id or "",
                    provenance="response" if outcome.state == "created" else "adopted",
                    created_date=None if command is None else command.created_date,
                    not_before=self._created.not_before(outcome.command_id or ""),
                )
                return [*self._close(flight, self._made_by(flight, outcome)), known]
            case "rejected":
                return [*self._close(flight, "rejected", outcome.error), *self._desk.retry(flight, "rejected")]
            case "unknown":
                return [*self._close(flight, "unknown", outcome.error), *self._desk.retry(flight, "unknown")]
            case "not_attempted":
                return self._close(flight, self._unsent(flight), outcome.error)

    def _made_by(self, flight: Flight, outcome: Outcome) -> IntentOutcome:
        """Return the outcome of an intent whose target got a command."""
        created = None if outcome.command is None else outcome.command.created_date
        if outcome.state == "adopted" and created and flight.sent_after and created < flight.sent_after:
            # An earlier POST made it, unnoticed in the list: the command of this one may be yet to come.
            return "absent"
        return "created" if outcome.state == "created" else "adopted"

    def _unsent(self, flight: Flight) -> IntentOutcome:
        """Return the outcome of an intent whose POST is not, or no longer, in progress and made nothing known."""
        return "absent" if self._creation.lost.was_absent(flight.request) else "not_processed"

    def _close(self, flight: Flight, outcome: IntentOutcome, error: DexError | None = None) -> list[CampaignEvent]:
        if flight.post is None:
            return []
        if outcome in ("absent", "unknown"):
            self.last_lost_at = self._now
        return [
            IntentClosed(
                at=self._now,
                account=self._desk.name,
                target=flight.target.number,
                post=flight.post,
                outcome=outcome,
                error=None if error is None else str(error),
            )
        ]

    def _let_go(self, flight: Flight, outcome: Outcome) -> None:
        """Forget a target without a command: the journal says if it is due again."""
        if outcome.state != "unknown":
            self._allowance.give_back()
        number = flight.target.number
        self._due.give_back()
        self._submitted.discard(number)
        self._by_target.pop(flight.request.target, None)
        self._desk.land(number)
