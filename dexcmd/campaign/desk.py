"""What the parts of a shard share: one account of a campaign, and its targets that are begun."""

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
from dexcmd.polling.watch import UNREADABLE
from dexcmd.resources.requests import CommandRequest
from dexcmd.session import Session

__all__ = ["Desk", "Flight", "Refused", "refused"]


class Refused(Exception):  # noqa: N818 - how a shard ends, which its account tells
    """The service refuses the account."""

    def __init__(self, error: DexError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def refused() -> Generator[None]:
    """Raise as `Refused` what the service says to a whole account inside the block."""
    try:
        yield
    except UNREADABLE as error:
        raise Refused(error) from error


@attrs.define(eq=False)
class Flight:
    """A target that is begun and not decided."""

    target: TargetRecord
    request: CommandRequest
    tries: Counter[FailureClass]
    """How often it was tried again, by the failure."""

    post: str | None = None
    """The POST whose intent is open."""

    attempt: int = 0
    """That of the intent that is open, or was last; see `IntentOpened`."""

    since: datetime | None = None
    """Of the first POST whose effect is not known."""

    sent_after: datetime | None = None
    """A time of the service just before the POST whose intent is open, where this process has sent it."""

    command_id: str | None = None
    """The latest command, once it is known."""


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
    """By the target's number."""

    _begun: dict[str | None, list[str | None]] = attrs.field(factory=dict[str | None, list[str | None]], init=False)
    """The registrations of the targets that are begun, by their devices."""

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
        """Return by what the journal knows the account: the campaign's name and its own."""
        return self.ledger.campaign, self.name

    @property
    def creating_ended(self) -> bool:
        """Tell whether nothing more is to be created, whatever fails."""
        return self.stopped or (self.deadline is not None and self.clock.now() >= self.deadline)

    def flight(self, target: TargetRecord) -> Flight:
        """Begin to follow what becomes of a target."""
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
        """Forget a target that is decided, or due anew."""
        flight = self.flights.pop(number, None)
        if flight is not None:
            begun = self._begun[flight.target.device_id]
            begun.remove(flight.target.registration_id)
            if not begun:
                del self._begun[flight.target.device_id]

    def has_to_wait(self, target: TargetRecord) -> bool:
        """Tell whether a target can't be begun while another registration of its device is."""
        begun = self._begun.get(target.device_id, ())
        return has_to_wait(target.registration_id, target.platform, self.spec.command.type, begun)

    def retry(self, flight: Flight, failure: FailureClass) -> tuple[TargetRetried, ...]:
        """Return what is to be noted where a target that failed is tried again: nothing if it is not."""
        # An audit may find what has become of a target whose wave is over.
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
