"""What the parts of a shard share: one account of a campaign, and its targets in flight."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

import attrs

from dexcmd.campaign.decide import retry_wait
from dexcmd.campaign.events import TargetRetried
from dexcmd.campaign.ledger import Ledger
from dexcmd.campaign.pulse import Pulse
from dexcmd.campaign.records import TargetRecord
from dexcmd.campaign.settling import SettlingTime
from dexcmd.campaign.spec import AccountSpec, CampaignSpec, FailureClass
from dexcmd.campaign.steering import Steering
from dexcmd.campaign.turns import has_to_wait
from dexcmd.clock import Clock
from dexcmd.errors import DexError
from dexcmd.resources.requests import CommandRequest
from dexcmd.session import Session
from dexcmd.wire.retrying import ACCOUNT_ERRORS

__all__ = ["Desk", "Flight", "Refused", "refused"]


class Refused(Exception):  # noqa: N818 - how a shard ends, which its account tells
    """The service refuses the account."""

    def __init__(self, error: DexError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def refused() -> Generator[None]:
    """Convert errors that concern a whole account into `Refused`."""
    try:
        yield
    except ACCOUNT_ERRORS as error:
        raise Refused(error) from error


@attrs.define(eq=False)
class Flight:
    """A target that is started and not decided."""

    target: TargetRecord
    request: CommandRequest
    tries: Counter[FailureClass]
    """How often it was retried, by failure class."""

    post: str | None = None
    """The POST of the open intent."""

    attempt: int = 0
    """The attempt of the open intent, or of the last one; see `IntentOpened`."""

    since: datetime | None = None
    """The `since` of the first POST whose effect is unknown."""

    sent_after: datetime | None = None
    """A service time just before the open intent's POST, if this process sent it."""

    command_id: str | None = None
    """The latest command, once known."""


@attrs.define(eq=False)
class Desk:
    """One account of a campaign."""

    spec: CampaignSpec
    account: AccountSpec
    session: Session
    ledger: Ledger
    steering: Steering
    pulse: Pulse
    settling: SettlingTime
    deadline: datetime | None
    """When creating ends; None for never."""

    flights: dict[int, Flight] = attrs.field(factory=dict[int, Flight])
    """By target number."""

    _begun: dict[str | None, list[str | None]] = attrs.field(factory=dict[str | None, list[str | None]], init=False)
    """The registrations of the started targets, by device."""

    wave: int = 0
    """The open wave, from 1; 0 before the first."""

    stopped: bool = False
    """Whether a rule or the operator has ended creating."""

    @property
    def clock(self) -> Clock:
        """Return the campaign's clock."""
        return self.session.settings.clock

    @property
    def name(self) -> str:
        """Return the account's name."""
        return self.account.name

    @property
    def key(self) -> tuple[str, str]:
        """Return the journal's key of the account: the campaign's name and its own."""
        return self.ledger.campaign, self.name

    @property
    def creating_ended(self) -> bool:
        """Tell whether nothing more is to be created, whatever fails."""
        return self.stopped or (self.deadline is not None and self.clock.now() >= self.deadline)

    def steady(self, time: datetime) -> float:
        """Convert a time of this machine's clock, which may be set while it is waited for, to the monotonic clock."""
        return self.clock.monotonic() + (time - self.clock.now()).total_seconds()

    def flight(self, target: TargetRecord) -> Flight:
        """Start tracking a target."""
        request = CommandRequest(
            device_id=target.device_id or "",
            user_email=target.user_email or "",
            registration_id=target.registration_id,
            args=self.spec.command,
        )
        flight = Flight(target, request, Counter(target.tries), command_id=target.command_id)
        self.ledger.track(target)
        self.flights[target.number] = flight
        self._begun.setdefault(target.device_id, []).append(target.registration_id)
        return flight

    def land(self, number: int) -> None:
        """Forget a target that is decided or due again."""
        flight = self.flights.pop(number, None)
        if flight is not None:
            begun = self._begun[flight.target.device_id]
            begun.remove(flight.target.registration_id)
            if not begun:
                del self._begun[flight.target.device_id]

    def has_to_wait(self, target: TargetRecord) -> bool:
        """Return whether a target can't be started while another registration of its device is in flight."""
        begun = self._begun.get(target.device_id, ())
        return has_to_wait(target.registration_id, target.platform, self.spec.command.type, begun)

    def retry(self, flight: Flight, failure: FailureClass) -> tuple[TargetRetried, ...]:
        """Return the event to record if a failed target is to be retried, or nothing if it is not."""
        # An audit may settle a target after its wave is over.
        if failure != "download" and (self.creating_ended or flight.target.wave < self.wave):
            return ()
        wait = retry_wait(failure, flight.tries[failure], self.spec.retries)
        if wait is None:
            return ()
        flight.tries[failure] += 1
        now = self.clock.now()
        return (
            TargetRetried(
                at=now,
                account=self.name,
                target=flight.target.number,
                failure=failure,
                not_before=now + wait,
            ),
        )
