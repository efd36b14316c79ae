"""A journal in memory: the protocol of stores, by nothing but the events and what they make of their targets."""

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import attrs

from dexcmd import CampaignBusyError, CampaignError, CampaignExistsError, TargetBusyError
from dexcmd.campaign.events import (
    AccountEvent,
    AccountStopped,
    ArtifactFailed,
    ArtifactSaved,
    Audited,
    CampaignEvent,
    CampaignPlanned,
    CommandEnded,
    CommandKnown,
    ControlRequested,
    IntentClosed,
    IntentOpened,
    QuotaSeen,
    QuotaWaited,
    RunEnded,
    RunStarted,
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
from dexcmd.campaign.state import change_of


@attrs.define
class Kept:
    record: CampaignRecord
    accounts: dict[str, AccountRecord]
    targets: dict[int, TargetRecord] = attrs.field(factory=dict)
    intents: list[IntentRecord] = attrs.field(factory=list)
    commands: dict[str, CommandRecord] = attrs.field(factory=dict)
    artifacts: dict[str, ArtifactRecord] = attrs.field(factory=dict)
    lags: dict[str, list[float]] = attrs.field(factory=dict)


class MemoryStore:
    """Keeps campaigns for as long as it lives."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._events: list[Recorded] = []
        self._held: set[str] = set()

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        import copy

        before = copy.deepcopy(self._kept)
        try:
            for event in events:
                self._apply(campaign, event)
        except BaseException:
            self._kept = before
            raise
        for event in events:
            self._events.append(Recorded(seq=len(self._events) + 1, campaign=campaign, event=event))

    def _apply(self, campaign: str, event: CampaignEvent) -> None:
        if isinstance(event, CampaignPlanned):
            if campaign in self._kept:
                raise CampaignExistsError(campaign)
            record = CampaignRecord(
                name=campaign, spec=event.spec, fingerprint=event.fingerprint, type=event.type, control="run",
                planned_at=event.at, first_run_at=None, ended=None,
            )
            accounts = {
                name: AccountRecord(
                    name=name, account_id=account_id, wave=0, wave_opened_at=None, stopped=None, reason=None, quota=None,
                    usage=None, reset_time=None, waits_until=None, surplus=0, foreign=0, audited_at=None, posts=0,
                    last_lost_at=None, first_since=None,
                )
                for name, account_id in event.accounts
            }
            self._kept[campaign] = Kept(record, accounts)
            return
        kept = self._kept[campaign]
        if isinstance(event, AccountEvent):
            self._account(kept, event)
        if isinstance(event, TargetEvent):
            self._target(kept, event)
        match event:
            case RunStarted():
                kept.record = attrs.evolve(
                    kept.record, first_run_at=kept.record.first_run_at or event.at, ended=None
                )
                for name, account in kept.accounts.items():
                    if account.stopped == "refused":
                        kept.accounts[name] = attrs.evolve(account, stopped=None, reason=None)
            case RunEnded(reason=reason):
                kept.record = attrs.evolve(kept.record, ended=reason)
            case ControlRequested(control=control):
                kept.record = attrs.evolve(kept.record, control=control)
            case _:
                pass

    def _account(self, kept: Kept, event: AccountEvent) -> None:
        changes: dict[str, Any] = {}
        account = kept.accounts[event.account]
        match event:
            case WaveOpened(wave=wave):
                changes = {"wave": wave, "wave_opened_at": event.at}
            case QuotaSeen(quota=quota, usage=usage, reset_time=reset):
                changes = {"quota": quota, "usage": usage, "reset_time": reset, "waits_until": None}
            case QuotaWaited(until=until):
                changes = {"waits_until": until}
            case AccountStopped(kind=kind, reason=reason):
                changes = {"stopped": kind, "reason": reason}
            case Audited(surplus=surplus, foreign=foreign):
                changes = {"audited_at": event.at}
            case IntentOpened(post=post, since=since):
                new = all(intent.post != post for intent in kept.intents)
                changes = {"posts": account.posts + new, "waits_until": None}
                changes["first_since"] = min(filter(None, (account.first_since, since)))
            case IntentClosed(outcome="absent" | "unknown"):
                changes = {"last_lost_at": event.at}
            case _:
                name = type(event).__name__
                if name == "SurplusFound":
                    changes = {"surplus": account.surplus + 1}
                elif name == "ForeignFound":
                    changes = {"foreign": account.foreign + 1}
        kept.accounts[event.account] = attrs.evolve(account, **changes)

    def _target(self, kept: Kept, event: TargetEvent) -> None:
        change = change_of(event)
        if isinstance(event, TargetPlanned):
            assert change is not None
            kept.targets[event.target] = TargetRecord(
                number=event.target, account=event.account, wave=event.wave, device_id=event.device_id,
                registration_id=event.registration_id, user_email=event.user_email, device_name=event.device_name,
                platform=event.platform, version=event.version, skip=event.skip, state=change.state, failure=None,
                error=None, reason=None, tries={}, not_before=None, command_id=None,
            )
            return
        target = kept.targets[event.target]
        changes: dict[str, Any] = {}
        if change is not None:
            changes = {"state": change.state, "failure": change.failure}
        match event:
            case IntentOpened():
                self._open(kept, target, event)
            case IntentClosed(post=post, outcome=outcome, error=error):
                index = next(
                    i for i, intent in enumerate(kept.intents)
                    if intent.target == event.target and intent.post == post and intent.outcome is None
                )
                kept.intents[index] = attrs.evolve(kept.intents[index], outcome=outcome, closed_at=event.at)
                if error is not None:
                    changes["error"] = error
            case CommandKnown(command_id=command_id):
                if any(command_id in other.commands for other in self._kept.values()):
                    raise CampaignError(f"known already: {command_id}")
                kept.commands[command_id] = CommandRecord(
                    command_id=command_id, target=event.target, account=event.account, provenance=event.provenance,
                    known_at=event.at, created_date=event.created_date, not_before=event.not_before, status=None,
                    completed_date=None, filename=None,
                )
                changes["command_id"] = command_id
            case CommandEnded():
                kept.commands[event.command_id] = attrs.evolve(
                    kept.commands[event.command_id], status=event.status, completed_date=event.completed_date,
                    filename=event.filename,
                    created_date=event.created_date or kept.commands[event.command_id].created_date,
                )
                if event.listed_after is not None:
                    kept.lags.setdefault(event.account, []).append(event.listed_after)
            case ArtifactSaved():
                kept.artifacts[event.command_id] = ArtifactRecord(
                    command_id=event.command_id, location=event.location, size=event.size, sha256=event.sha256,
                    saved_at=event.at,
                )
            case ArtifactFailed(error=error):
                changes["error"] = error
            case TargetRetried(failure=failure, not_before=not_before):
                changes["tries"] = {**target.tries, failure: target.tries.get(failure, 0) + 1}
                changes["not_before"] = not_before
            case TargetDropped(reason=reason):
                changes["reason"] = reason
            case _:
                pass
        kept.targets[event.target] = attrs.evolve(target, **changes)

    def _open(self, kept: Kept, target: TargetRecord, event: IntentOpened) -> None:
        account_id = kept.accounts[event.account].account_id
        for other in self._kept.values():
            if other.record.type != kept.record.type:
                continue
            for intent in other.intents:
                theirs = other.targets[intent.target]
                if intent.outcome is None and (
                    other.accounts[theirs.account].account_id, theirs.device_id, theirs.registration_id
                ) == (account_id, target.device_id, target.registration_id):
                    raise TargetBusyError((event.target,))
        kept.intents.append(
            IntentRecord(
                target=event.target, post=event.post, attempt=event.attempt, since=event.since,
                settled_at=event.settled_at, outcome=None, opened_at=event.at, closed_at=None,
            )
        )

    @asynccontextmanager
    async def hold(self, campaign: str) -> AsyncGenerator[None]:
        if campaign in self._held:
            raise CampaignBusyError(campaign)
        self._held.add(campaign)
        try:
            yield
        finally:
            self._held.discard(campaign)

    async def held(self, campaign: str) -> bool:
        return campaign in self._held

    async def campaigns(self) -> list[CampaignRecord]:
        return [kept.record for kept in self._kept.values()]

    async def campaign(self, name: str) -> CampaignRecord | None:
        return self._kept[name].record if name in self._kept else None

    async def accounts(self, campaign: str) -> list[AccountRecord]:
        return list(self._kept[campaign].accounts.values())

    async def counts(self, campaign: str, account: str | None = None) -> list[Count]:
        counted = Counter(
            (t.account, t.wave, t.state, t.failure)
            for t in self._kept[campaign].targets.values()
            if account in (None, t.account)
        )
        return [Count(account=a, wave=w, state=s, failure=f, n=n) for (a, w, s, f), n in counted.items()]

    def _of(self, campaign: str, account: str, *states: str) -> list[TargetRecord]:
        return [t for t in self._kept[campaign].targets.values() if t.account == account and t.state in states]

    async def due_targets(self, campaign: str, account: str, wave: int, now: datetime, limit: int) -> list[TargetRecord]:
        due = [
            t for t in self._of(campaign, account, "pending")
            if t.wave == wave and (t.not_before is None or t.not_before <= now)
        ]
        return due[:limit]

    async def next_due(self, campaign: str, account: str, wave: int) -> datetime | None:
        times = [t.not_before for t in self._of(campaign, account, "pending") if t.wave == wave and t.not_before]
        return min(times, default=None)

    async def targets(self, campaign: str, numbers: Collection[int]) -> list[TargetRecord]:
        return [self._kept[campaign].targets[number] for number in sorted(numbers)]

    async def undecided(self, campaign: str, account: str, after: int, limit: int) -> list[TargetRecord]:
        return [t for t in self._of(campaign, account, "pending") if t.number > after][:limit]

    async def open_intents(self, campaign: str, account: str) -> list[IntentRecord]:
        kept = self._kept[campaign]
        return [i for i in kept.intents if i.outcome is None and kept.targets[i.target].account == account]

    async def intents(self, campaign: str, account: str, device_ids: Collection[str]) -> list[IntentRecord]:
        kept = self._kept[campaign]
        return [
            i for i in kept.intents
            if kept.targets[i.target].account == account and kept.targets[i.target].device_id in set(device_ids)
        ]

    async def reserved(self, account_id: str) -> int:
        return sum(
            kept.accounts[kept.targets[i.target].account].account_id == account_id
            for kept in self._kept.values() for i in kept.intents if i.outcome is None
        )

    def _latest(self, campaign: str, account: str, state: str) -> list[CommandRecord]:
        kept = self._kept[campaign]
        return [kept.commands[t.command_id] for t in self._of(campaign, account, state) if t.command_id]

    async def running(self, campaign: str, account: str) -> list[CommandRecord]:
        return self._latest(campaign, account, "running")

    async def collecting(self, campaign: str, account: str) -> list[CommandRecord]:
        return self._latest(campaign, account, "collecting")

    async def commands_on(self, account_id: str, device_ids: Collection[str]) -> set[str]:
        return {
            c.command_id for kept in self._kept.values() for c in kept.commands.values()
            if kept.accounts[c.account].account_id == account_id and kept.targets[c.target].device_id in set(device_ids)
        }

    async def known(self, account_id: str, command_ids: Collection[str]) -> set[str]:
        return {
            c.command_id for kept in self._kept.values() for c in kept.commands.values()
            if kept.accounts[c.account].account_id == account_id and c.command_id in set(command_ids)
        }

    async def lags(self, campaign: str, account: str) -> Lags:
        lags = self._kept[campaign].lags.get(account, [])
        return Lags(n=len(lags), longest=max(lags, default=0.0))

    async def mean_artifact_size(self, command_type: str) -> tuple[int, float]:
        sizes = [
            a.size for kept in self._kept.values() if kept.record.type == command_type for a in kept.artifacts.values()
        ]
        return len(sizes), sum(sizes) / len(sizes) if sizes else 0.0

    async def events(self, campaign: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        return [e for e in self._events if e.campaign == campaign and e.seq > after][:limit]

    async def export(self, campaign: str, after: int, limit: int) -> Any:
        kept = self._kept[campaign]
        return [
            (
                t,
                kept.commands.get(t.command_id or ""),
                kept.artifacts.get(t.command_id or ""),
                next((i for i in reversed(kept.intents) if i.target == t.number), None),
            )
            for t in sorted(kept.targets.values(), key=lambda t: t.number) if t.number > after
        ][:limit]
