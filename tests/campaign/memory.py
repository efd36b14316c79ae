"""A journal in memory: the protocol of `Store` in the plainest way, to test against and to compare others with.

Nothing of it is indexed, and a batch of events is worked into a copy of all there is.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import attrs

from dexcmd.campaign.events import (
    AccountEvent,
    AccountStarted,
    AccountStopped,
    ArtifactFailed,
    ArtifactSaved,
    Audited,
    AuditFailed,
    CampaignEvent,
    CampaignPlanned,
    CommandEnded,
    CommandKnown,
    CommandOverdue,
    ControlRequested,
    CreatingAborted,
    ForeignFound,
    IntentClosed,
    IntentOpened,
    QuotaSeen,
    QuotaWaited,
    RunEnded,
    RunStarted,
    SurplusFound,
    TargetDropped,
    TargetEvent,
    TargetPlanned,
    TargetRetried,
    WaveOpened,
)
from dexcmd.campaign.records import (
    AccountRecord,
    ArtifactRecord,
    CampaignRecord,
    CommandRecord,
    Count,
    IntentRecord,
    Lags,
    Recorded,
    TargetRecord,
)
from dexcmd.campaign.state import DECIDED, change_of
from dexcmd.errors import CampaignBusyError, CampaignError, CampaignExistsError, TargetBusyError

__all__ = ["MemoryStore"]

Row = tuple[TargetRecord, CommandRecord | None, ArtifactRecord | None, IntentRecord | None]


CANCELS = ("cancel_keep", "cancel_drop")


@attrs.frozen
class Of:
    """A record with the campaign that it belongs to."""

    campaign: str
    record: Any


@attrs.define
class Tables:
    """All that is known.  Records are never changed but replaced, so a copy of the containers is a copy of all."""

    events: list[Recorded] = attrs.field(factory=list[Recorded])
    campaigns: dict[str, CampaignRecord] = attrs.field(factory=dict[str, CampaignRecord])
    accounts: dict[tuple[str, str], AccountRecord] = attrs.field(factory=dict[tuple[str, str], AccountRecord])
    targets: dict[tuple[str, int], TargetRecord] = attrs.field(factory=dict[tuple[str, int], TargetRecord])
    intents: list[Of] = attrs.field(factory=list[Of])
    """Of `IntentRecord`, in the order in which they were opened."""

    commands: dict[str, Of] = attrs.field(factory=dict[str, Of])
    """Of `CommandRecord`."""

    listed_after: dict[str, float] = attrs.field(factory=dict[str, float])
    artifacts: dict[str, ArtifactRecord] = attrs.field(factory=dict[str, ArtifactRecord])
    surplus: dict[str, Of] = attrs.field(factory=dict[str, Of])
    """Of `SurplusFound`."""

    foreign: dict[tuple[str, str], ForeignFound] = attrs.field(factory=dict[tuple[str, str], ForeignFound])
    """By campaign and command: what is foreign to one is so to others."""

    def copy(self) -> "Tables":
        return Tables(*(getattr(self, field.name).copy() for field in attrs.fields(Tables)))

    # --- what events do

    def add(self, campaign: str, event: CampaignEvent) -> None:
        if isinstance(event, CampaignPlanned):
            self._plan(campaign, event)
        elif campaign not in self.campaigns:
            raise CampaignError(f"the journal has no campaign {campaign!r}")
        elif isinstance(event, AccountEvent):
            if (campaign, event.account) not in self.accounts:
                raise CampaignError(f"campaign {campaign!r} has no account {event.account!r}")
            self._account(campaign, event)
        else:
            self._campaign(campaign, event)
        self.events.append(Recorded(seq=len(self.events) + 1, campaign=campaign, event=event))

    def _plan(self, campaign: str, event: CampaignPlanned) -> None:
        if campaign in self.campaigns:
            raise CampaignExistsError(f"there is a campaign {campaign!r} already")
        self.campaigns[campaign] = CampaignRecord(
            name=campaign,
            spec=event.spec,
            fingerprint=event.fingerprint,
            type=event.type,
            control="run",
            planned_at=event.at,
            first_run_at=None,
            ended=None,
        )
        for name, account_id in event.accounts:
            nothing = dict.fromkeys(field.name for field in attrs.fields(AccountRecord))
            zeros = dict.fromkeys(("wave", "left_running", "surplus", "foreign", "posts", "commands", "size"), 0)
            self.accounts[campaign, name] = AccountRecord(
                **{**nothing, **zeros, "name": name, "account_id": account_id}
            )

    def _campaign(self, campaign: str, event: CampaignEvent) -> None:
        record = self.campaigns[campaign]
        match event:
            case RunStarted():
                first = record.first_run_at or event.at
                self.campaigns[campaign] = attrs.evolve(record, first_run_at=first, ended=None)
                for key, account in self.accounts.items():
                    if key[0] == campaign and account.stopped == "refused":
                        self.accounts[key] = attrs.evolve(account, stopped=None, reason=None, left_running=0)
            case RunEnded(reason=reason):
                self.campaigns[campaign] = attrs.evolve(record, ended=reason)
            case ControlRequested(control=control) if record.control not in CANCELS or control in CANCELS:
                self.campaigns[campaign] = attrs.evolve(record, control=control)

    def _account(self, campaign: str, event: AccountEvent) -> None:
        changes: dict[str, Any] = {}
        match event:
            case WaveOpened(wave=wave):
                changes = {"wave": wave}
            case QuotaSeen(quota=quota, usage=usage, reset_time=reset):
                changes = {"quota": quota, "usage": usage, "reset_time": reset, "waits_until": None}
            case QuotaWaited(until=until):
                changes = {"waits_until": until}
            case AccountStarted(settle_seconds=seconds):
                changes = {"settle_seconds": seconds, "audit_error": None}
            case CreatingAborted(reason=reason):
                changes = {"aborted": reason}
            case AccountStopped(kind=kind, reason=reason, running=running):
                changes = {"stopped": kind, "reason": reason, "left_running": running}
            case Audited():
                changes = {"audited_at": event.at}
            case AuditFailed(error=error):
                changes = {"audit_error": error}
            case SurplusFound(command_id=command_id):
                if command_id not in self.surplus:
                    self._unknown(command_id)
                    self.surplus[command_id] = Of(campaign, event)
                    self._claim(command_id)
            case ForeignFound(command_id=command_id):
                if command_id not in self.commands and command_id not in self.surplus:
                    self.foreign.setdefault((campaign, command_id), event)
            case IntentOpened(since=since):
                first = self.accounts[campaign, event.account].first_since
                changes = {"first_since": since if first is None else min(since, first)}
            case IntentClosed(outcome="absent" | "unknown"):
                changes = {"last_lost_at": event.at}
        self.accounts[campaign, event.account] = attrs.evolve(self.accounts[campaign, event.account], **changes)
        if isinstance(event, TargetEvent):
            self._target(campaign, event)

    def _target(self, campaign: str, event: TargetEvent) -> None:
        if isinstance(event, TargetPlanned):
            self._plan_target(campaign, event)
            return
        if (campaign, event.target) not in self.targets:
            raise CampaignError(f"campaign {campaign!r} has no target {event.target}")
        self._note(campaign, event)
        changes: dict[str, Any] = {}
        if (change := change_of(event)) is not None:
            changes |= {
                "state": change.state,
                "failure": change.failure,
                "reason": event.reason if isinstance(event, TargetDropped) else None,
                "not_before": event.not_before if isinstance(event, TargetRetried) else None,
                "changed_at": event.at,
            }
        if isinstance(event, IntentClosed | CommandEnded | CommandOverdue | ArtifactSaved | ArtifactFailed) and (
            getattr(event, "outcome", None) != "surplus"
        ):
            changes["error"] = getattr(event, "error", None)
        target = self.targets[campaign, event.target]
        if isinstance(event, CommandKnown):
            changes["command_id"] = event.command_id
        if isinstance(event, TargetRetried):
            changes["tries"] = {**target.tries, event.failure: target.tries.get(event.failure, 0) + 1}
        self.targets[campaign, event.target] = attrs.evolve(target, **changes)

    def _plan_target(self, campaign: str, event: TargetPlanned) -> None:
        if (campaign, event.target) in self.targets:
            raise CampaignError(f"campaign {campaign!r} has a target {event.target} already")
        known = attrs.asdict(event, filter=lambda field, _: field.name not in ("at", "target"))
        change = change_of(event)
        assert change is not None
        unknown = dict.fromkeys(("failure", "error", "reason", "not_before", "command_id"))
        self.targets[campaign, event.target] = TargetRecord(
            **known, **unknown, number=event.target, state=change.state, changed_at=event.at, tries={}
        )

    def _note(self, campaign: str, event: TargetEvent) -> None:
        """Note what an event tells of an intent, a command or an artifact."""
        match event:
            case IntentOpened():
                intent = IntentRecord(
                    target=event.target,
                    post=event.post,
                    attempt=event.attempt,
                    since=event.since,
                    settled_at=event.settled_at,
                    outcome=None,
                    opened_at=event.at,
                    closed_at=None,
                )
                self.intents.append(Of(campaign, intent))
            case IntentClosed(post=post, outcome=outcome):
                mine = [
                    of.record.post for of in self.intents if (of.campaign, of.record.target) == (campaign, event.target)
                ]
                if post not in mine:
                    raise CampaignError(f"target {event.target} has no intent {post}")
                for index, of in enumerate(self.intents):
                    if (of.campaign, of.record.target, of.record.post) == (campaign, event.target, post):
                        closed = attrs.evolve(of.record, outcome=outcome, closed_at=event.at)
                        self.intents[index] = Of(campaign, closed)
            case CommandKnown(command_id=command_id):
                self._unknown(command_id)
                command = CommandRecord(
                    command_id=command_id,
                    target=event.target,
                    account=event.account,
                    provenance=event.provenance,
                    known_at=event.at,
                    created_date=event.created_date,
                    not_before=event.not_before,
                    status=None,
                    completed_date=None,
                    filename=None,
                )
                self.commands[command_id] = Of(campaign, command)
                self._claim(command_id)
            case CommandEnded(command_id=command_id):
                command = self._command(command_id)
                ended = attrs.evolve(
                    command,
                    status=event.status,
                    created_date=event.created_date or command.created_date,
                    completed_date=event.completed_date,
                    filename=event.filename,
                )
                self.commands[command_id] = Of(campaign, ended)
                if event.listed_after is not None:
                    self.listed_after[command_id] = event.listed_after
            case ArtifactSaved(command_id=command_id):
                self._command(command_id)
                self.artifacts[command_id] = ArtifactRecord(
                    command_id=command_id,
                    location=event.location,
                    size=event.size,
                    sha256=event.sha256,
                    saved_at=event.at,
                )

    def _command(self, command_id: str) -> CommandRecord:
        if command_id not in self.commands:
            raise CampaignError(f"command {command_id} is not known")
        return self.commands[command_id].record

    def _claim(self, command_id: str) -> None:
        self.foreign = {key: event for key, event in self.foreign.items() if key[1] != command_id}

    def _unknown(self, command_id: str) -> None:
        if command_id in self.commands or command_id in self.surplus:
            raise CampaignError(f"command {command_id} is known already")

    def busy(self, campaign: str, event: CampaignEvent) -> bool:
        """Tell whether an event opens an intent that has to wait for another one's end."""
        if not isinstance(event, IntentOpened) or (campaign, event.target) not in self.targets:
            return False
        *wanted, registration = self._device(campaign, event.target)
        others = [self._device(of.campaign, of.record.target) for of in self.intents if of.record.outcome is None]
        return any(
            other == wanted and (theirs == registration or None in (theirs, registration)) for *other, theirs in others
        )

    def _device(self, campaign: str, number: int) -> tuple[str | None, ...]:
        target = self.targets[campaign, number]
        account = self.accounts[campaign, target.account]
        return account.account_id, target.device_id, self.campaigns[campaign].type, target.registration_id


class MemoryStore:
    """A journal that ends with the process."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._held: set[str] = set()

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        tables = self._tables.copy()
        busy: list[int] = []
        for event in events:
            if tables.busy(campaign, event):
                busy.append(event.target)  # type: ignore[attr-defined]
            else:
                tables.add(campaign, event)
        if busy:
            raise TargetBusyError(tuple(busy))
        self._tables = tables

    @asynccontextmanager
    async def hold(self, campaign: str) -> AsyncGenerator[None]:
        if campaign in self._held:
            raise CampaignBusyError(f"another process is running campaign {campaign!r}")
        self._held.add(campaign)
        try:
            yield
        finally:
            self._held.remove(campaign)

    async def held(self, campaign: str) -> bool:
        return campaign in self._held

    async def campaigns(self) -> list[CampaignRecord]:
        return list(self._tables.campaigns.values())

    async def campaign(self, name: str) -> CampaignRecord | None:
        return self._tables.campaigns.get(name)

    async def accounts(self, campaign: str) -> list[AccountRecord]:
        return [self._complete(name, record) for (name, _), record in self._tables.accounts.items() if name == campaign]

    def _complete(self, campaign: str, account: AccountRecord) -> AccountRecord:
        """Return an account with what is counted."""
        tables = self._tables
        commands = [one.command_id for one in self._commands(campaign, account.name)]
        surplus = [of for of in tables.surplus.values() if of.campaign == campaign]
        foreign = [event for (name, _), event in tables.foreign.items() if name == campaign]
        return attrs.evolve(
            account,
            posts=len({intent.post for intent in self._intents(campaign, account.name)}),
            commands=len(commands),
            size=sum(tables.artifacts[one].size for one in commands if one in tables.artifacts),
            surplus=sum(of.record.account == account.name for of in surplus),
            foreign=sum(event.account == account.name for event in foreign),
        )

    async def counts(self, campaign: str, account: str | None = None) -> list[Count]:
        kinds = Counter(
            (target.account, target.wave, target.state, target.failure)
            for target in self._targets(campaign)
            if account in (None, target.account)
        )
        return [Count(account=a, wave=w, state=s, failure=f, n=n) for (a, w, s, f), n in kinds.items()]

    async def due_targets(
        self, campaign: str, account: str, wave: int, now: datetime, limit: int
    ) -> list[TargetRecord]:
        pending = self._pending(campaign, account, wave)
        return [
            target
            for target in pending
            if target.not_before is None or target.not_before <= now or target.changed_at > now
        ][:limit]

    async def next_due(self, campaign: str, account: str, wave: int) -> datetime | None:
        times = [target.not_before for target in self._pending(campaign, account, wave)]
        return min((time for time in times if time is not None), default=None)

    async def decided_at(self, campaign: str, account: str, wave: int) -> datetime | None:
        targets = self._tables.targets.items()
        mine = [
            target for (name, _), target in targets if (name, target.account, target.wave) == (campaign, account, wave)
        ]
        return max((target.changed_at for target in mine if target.state in DECIDED), default=None)

    async def targets(self, campaign: str, numbers: Collection[int]) -> list[TargetRecord]:
        return [target for target in self._targets(campaign) if target.number in numbers]

    async def undecided(self, campaign: str, account: str, after: int, limit: int) -> list[TargetRecord]:
        return [target for target in self._pending(campaign, account) if target.number > after][:limit]

    async def open_intents(self, campaign: str, account: str) -> list[IntentRecord]:
        return [intent for intent in self._intents(campaign, account) if intent.outcome is None]

    async def intents(self, campaign: str, account: str, device_ids: Collection[str]) -> list[IntentRecord]:
        targets = self._tables.targets
        intents = self._intents(campaign, account)
        return [intent for intent in intents if targets[campaign, intent.target].device_id in device_ids]

    async def reserved(self, account_id: str, now: datetime) -> int:
        return sum(
            intent.outcome is None and intent.settled_at > now
            for (campaign, name), account in self._tables.accounts.items()
            for intent in self._intents(campaign, name)
            if account.account_id == account_id
        )

    async def running(self, campaign: str, account: str) -> list[CommandRecord]:
        return [command for command, target in self._latest(campaign, account) if target.state == "running"]

    async def collecting(self, campaign: str, account: str) -> list[CommandRecord]:
        found = [command for command, target in self._latest(campaign, account) if target.state == "collecting"]
        return sorted(found, key=lambda command: command.completed_date or command.known_at)

    async def known(self, account_id: str, command_ids: Collection[str]) -> set[str]:
        return {
            command_id
            for command_id, of in [*self._tables.commands.items(), *self._tables.surplus.items()]
            if command_id in command_ids
            and self._tables.accounts[of.campaign, of.record.account].account_id == account_id
        }

    async def lags(self, campaign: str, account: str) -> Lags:
        listed_after = self._tables.listed_after
        lags = [
            listed_after[command.command_id]
            for command in self._commands(campaign, account)
            if command.provenance == "response" and command.command_id in listed_after
        ]
        return Lags(n=len(lags), longest=max(lags, default=0.0))

    async def mean_artifact_size(self, command_type: str) -> tuple[int, float]:
        campaigns, commands = self._tables.campaigns, self._tables.commands
        sizes = [
            artifact.size
            for command_id, artifact in self._tables.artifacts.items()
            if campaigns[commands[command_id].campaign].type == command_type
        ]
        return len(sizes), sum(sizes) / len(sizes) if sizes else 0.0

    async def events(
        self,
        campaign: str,
        after: int = 0,
        limit: int = 1000,
        kinds: Collection[type[CampaignEvent]] | None = None,
    ) -> list[Recorded]:
        return [
            recorded
            for recorded in self._tables.events[after:]
            if recorded.campaign == campaign and (kinds is None or type(recorded.event) in kinds)
        ][:limit]

    async def export(self, campaign: str, after: int, limit: int) -> list[Row]:
        return [self._row(campaign, target) for target in self._targets(campaign) if target.number > after][:limit]

    def _row(self, campaign: str, target: TargetRecord) -> Row:
        command = artifact = None
        if target.command_id is not None:
            command = self._tables.commands[target.command_id].record
            artifact = self._tables.artifacts.get(target.command_id)
        intents = [intent for intent in self._intents(campaign, target.account) if intent.target == target.number]
        return target, command, artifact, intents[-1] if intents else None

    # --- what the answers are made of

    def _targets(self, campaign: str) -> list[TargetRecord]:
        return [target for (name, _), target in sorted(self._tables.targets.items()) if name == campaign]

    def _pending(self, campaign: str, account: str, wave: int | None = None) -> list[TargetRecord]:
        return [
            target
            for target in self._targets(campaign)
            if target.state == "pending" and target.account == account and wave in (None, target.wave)
        ]

    def _intents(self, campaign: str, account: str) -> list[IntentRecord]:
        targets = self._tables.targets
        return [
            of.record
            for of in self._tables.intents
            if of.campaign == campaign and targets[campaign, of.record.target].account == account
        ]

    def _commands(self, campaign: str, account: str) -> list[CommandRecord]:
        return [
            of.record
            for of in self._tables.commands.values()
            if of.campaign == campaign and of.record.account == account
        ]

    def _latest(self, campaign: str, account: str) -> list[tuple[CommandRecord, TargetRecord]]:
        """Return the commands that are the latest ones of their targets, with these."""
        targets = self._tables.targets
        pairs = [(one, targets[campaign, one.target]) for one in self._commands(campaign, account)]
        return [(command, target) for command, target in pairs if target.command_id == command.command_id]
