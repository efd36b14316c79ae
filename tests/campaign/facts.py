"""Events of a campaign, written in few words, each a second after the one before."""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from dexcmd.campaign.events import (
    ArtifactFailed,
    ArtifactSaved,
    CampaignEvent,
    CampaignPlanned,
    CommandEnded,
    CommandKnown,
    CommandOverdue,
    IntentClosed,
    IntentOpened,
    IntentOutcome,
    Provenance,
    SkipReason,
    TargetPlanned,
    TargetRetried,
)
from dexcmd.campaign.spec import FailureClass

__all__ = ["START", "Facts", "account_id", "minutes"]

START = datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)


def minutes(n: float) -> datetime:
    """Return a time `n` minutes after the start."""
    return START + timedelta(minutes=n)


def account_id(number: int = 1) -> str:
    return f"{number:032x}"


@attrs.define
class Facts:
    """Makes events for one account of a campaign."""

    account: str = "main"
    ticks: int = 0

    @property
    def now(self) -> datetime:
        """The time of the latest event."""
        return START + timedelta(seconds=self.ticks)

    def make(self, kind: type[CampaignEvent], /, **fields: Any) -> Any:
        """Return an event of any kind."""
        self.ticks += 1
        if "account" in attrs.fields_dict(kind):
            fields = {"account": self.account, **fields}
        return kind(at=self.now, **fields)

    def campaign(self, *accounts: tuple[str, str], type: str = "pcap") -> CampaignPlanned:  # noqa: A002
        accounts = accounts or ((self.account, account_id()),)
        return self.make(CampaignPlanned, spec='{"name": "x"}', fingerprint="f00d", type=type, accounts=accounts)

    def target(
        self, number: int, *, wave: int = 1, device: str | None = ..., skip: SkipReason | None = None, **known: Any
    ) -> TargetPlanned:  # type: ignore[assignment]
        device_id = f"device-{number}" if device is ... else device
        known = {"user_email": f"user{number}@example.com", **known}
        wave = wave if skip is None else 0
        return self.make(TargetPlanned, target=number, wave=wave, device_id=device_id, skip=skip, **known)

    def targets(self, count: int, **fields: Any) -> list[TargetPlanned]:
        """Return the targets 1 to `count`."""
        return [self.target(number, **fields) for number in range(1, count + 1)]

    def opened(self, number: int, post: str = "post-1", *, attempt: int = 1, since: datetime = START) -> IntentOpened:
        settled_at = since + timedelta(seconds=120)
        return self.make(IntentOpened, target=number, post=post, attempt=attempt, since=since, settled_at=settled_at)

    def closed(
        self, number: int, outcome: IntentOutcome, post: str = "post-1", *, error: str | None = None
    ) -> IntentClosed:
        return self.make(IntentClosed, target=number, post=post, outcome=outcome, error=error)

    def known(self, number: int, command: str, provenance: Provenance = "response", **fields: Any) -> CommandKnown:
        return self.make(CommandKnown, target=number, command_id=command, provenance=provenance, **fields)

    def created(self, number: int, command: str, post: str = "post-1") -> list[CampaignEvent]:
        """Return what a POST is that goes well, from its intent to its command."""
        return [self.opened(number, post), self.closed(number, "created", post), self.known(number, command)]

    def ended(self, number: int, command: str, status: str = "SUCCESS", **fields: Any) -> CommandEnded:
        return self.make(CommandEnded, target=number, command_id=command, status=status, **fields)

    def overdue(self, number: int, command: str) -> CommandOverdue:
        return self.make(CommandOverdue, target=number, command_id=command)

    def saved(self, number: int, command: str, *, size: int = 1000, **fields: Any) -> ArtifactSaved:
        fields = {"location": f"captures/{command}.zip", "sha256": f"{number:064x}", **fields}
        return self.make(ArtifactSaved, target=number, command_id=command, size=size, **fields)

    def not_saved(self, number: int, command: str, error: str = "it broke") -> ArtifactFailed:
        return self.make(ArtifactFailed, target=number, command_id=command, error=error)

    def retried(self, number: int, failure: FailureClass, not_before: datetime = START) -> TargetRetried:
        return self.make(TargetRetried, target=number, failure=failure, not_before=not_before)
