"""The late audit: reads the list again from the first POST on, for commands that no answer reported."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import attrs

from dexcmd.campaign.desk import Desk, Flight, refused
from dexcmd.campaign.events import (
    Audited,
    CampaignEvent,
    CommandKnown,
    ForeignFound,
    IntentClosed,
    IntentOutcome,
    SurplusFound,
)
from dexcmd.campaign.records import IntentRecord, TargetRecord
from dexcmd.paging import MAX_AT_ONCE, Listing, ListQuery
from dexcmd.resources.command import Command, decode_commands, identity
from dexcmd.wire.pages import MAX_PER_PAGE
from dexcmd.wire.times import format_time

__all__ = ["OnAdopted", "Verdict", "audit", "verdict"]

OnAdopted = Callable[[Flight, Command], None]
"""Called with a target that an audit found a command for, and that command, which is to be followed."""

PAGES_AT_ONCE = 10
"""Pages whose rows are judged together, so as to query the journal less often."""


@attrs.frozen
class Verdict:
    """What a listed command is that the journal does not know."""

    kind: Literal["adopted", "surplus", "foreign"]
    """`adopted`: of a target that has none; `surplus`: a target's second one; `foreign`: somebody else's."""

    target: TargetRecord | None = None
    intent: IntentRecord | None = None
    """The intent whose POST made it, if one of the campaign did."""


def verdict(
    command: Command, command_type: str, lost: Iterable[tuple[TargetRecord, IntentRecord]], late: timedelta
) -> Verdict:
    """Return what a command is that the journal does not know.

    `command_type` is the campaign's; `lost` has the intents for the command's device whose answers were lost, with
    their targets.  One of them made the command if type and registration match, and it was created between just before
    the POST and `late` after the list was to be believed about it.  One confusion remains possible: somebody else's
    identical command from the same time is taken for ours.
    """
    for target, intent in lost:
        same = command.type == command_type and (
            target.registration_id is None
            or command.registration_id is None
            or command.registration_id == target.registration_id
        )
        created = command.created_date
        if same and created is not None and intent.since <= created <= intent.settled_at + late:
            dropped = target.state == "not_attempted" and target.command_id is None
            needs_one = target.failure == "unknown" or dropped
            return Verdict("adopted" if needs_one else "surplus", target, intent)
    return Verdict("foreign")


class _Audit:
    def __init__(self, desk: Desk, on_adopted: OnAdopted) -> None:
        self._desk = desk
        self._on_adopted = on_adopted
        self.commands = self.surplus = self.foreign = 0

    async def judge(self, rows: Sequence[Command]) -> None:
        """Record what is unknown among some rows, and have the commands followed that targets got that way."""
        self.commands += len(rows)
        desk, ledger = self._desk, self._desk.ledger
        ids = [row.id for row in rows if row.id is not None]
        known = await ledger.store.known(desk.account.account_id, ids)
        strangers = [row for row in rows if row.id is not None and row.id not in known]
        if not strangers:
            return
        lost = await self._lost({row.device_id for row in strangers if row.device_id is not None})
        events: list[CampaignEvent] = []
        adopted: dict[int, tuple[Flight, Command]] = {}
        for row in strangers:
            found = verdict(row, desk.spec.command.type, lost[row.device_id], desk.spec.audit_after)
            if found.target is None or found.intent is None:
                events.append(self._foreign(row))
                continue
            # A POST made at most one command for each target; the next audit learns this from the journal.
            lost[row.device_id].remove((found.target, found.intent))
            if found.kind == "adopted" and found.target.number not in adopted:
                adopted[found.target.number] = desk.flight(found.target), row
                events += self._adopted(found.target, found.intent, row)
            else:
                events += self._surplus(found.target, found.intent, row)
        await ledger.note(*events)
        # Right away, as reading the next page may fail.
        for flight, row in adopted.values():
            flight.command_id = row.id
            self._on_adopted(flight, row)

    def _foreign(self, row: Command) -> ForeignFound:
        self.foreign += 1
        return ForeignFound(
            at=self._desk.clock.now(),
            account=self._desk.name,
            command_id=row.id or "",
            device_id=row.device_id,
            type=row.type,
            created_date=row.created_date,
        )

    def _adopted(self, target: TargetRecord, intent: IntentRecord, row: Command) -> list[CampaignEvent]:
        known = CommandKnown(
            at=self._desk.clock.now(),
            account=self._desk.name,
            target=target.number,
            command_id=row.id or "",
            provenance="adopted",
            created_date=row.created_date,
        )
        return [self._close(target, intent, "adopted"), known]

    def _surplus(self, target: TargetRecord, intent: IntentRecord, row: Command) -> list[CampaignEvent]:
        self.surplus += 1
        found = SurplusFound(
            at=self._desk.clock.now(),
            account=self._desk.name,
            target=target.number,
            command_id=row.id or "",
            device_id=row.device_id,
            created_date=row.created_date,
        )
        return [self._close(target, intent, "surplus"), found]

    def _close(self, target: TargetRecord, intent: IntentRecord, outcome: IntentOutcome) -> IntentClosed:
        return IntentClosed(
            at=self._desk.clock.now(),
            account=self._desk.name,
            target=target.number,
            post=intent.post,
            outcome=outcome,
        )

    async def _lost(self, devices: set[str]) -> dict[str | None, list[tuple[TargetRecord, IntentRecord]]]:
        """Return the account's intents whose answers were lost, by device."""
        desk = self._desk
        intents = [
            intent
            for intent in await desk.ledger.store.intents(*desk.key, devices)
            if intent.outcome in ("absent", "unknown")
        ]
        numbers = {intent.target for intent in intents}
        targets = {target.number: target for target in await desk.ledger.store.targets(desk.ledger.campaign, numbers)}
        lost: dict[str | None, list[tuple[TargetRecord, IntentRecord]]] = defaultdict(list)
        for intent in intents:
            target = targets[intent.target]
            lost[target.device_id].append((target, intent))
        return lost


async def audit(desk: Desk, since: datetime, on_adopted: OnAdopted) -> None:
    """Read the list from `since`, by the service's clock, and record what it shows that the journal does not know.

    `on_adopted` is called for each target that got its command this way.  Raises `Refused`, `DexError`.
    """
    filters = {"from": format_time("since", since)}
    query = ListQuery("/dex/commands", MAX_PER_PAGE, filters, bound="to", at_once=MAX_AT_ONCE)
    work = _Audit(desk, on_adopted)
    rows: list[Command] = []
    pages = Listing(desk.session, query, decode_commands, identity).pages()
    while True:
        with refused():
            page = await anext(pages, None)
        if page is None:
            break
        rows += page
        if len(rows) >= PAGES_AT_ONCE * MAX_PER_PAGE:
            await work.judge(rows)
            rows = []
    await work.judge(rows)
    await desk.ledger.note(
        Audited(
            at=desk.clock.now(),
            account=desk.name,
            since=since,
            commands=work.commands,
            surplus=work.surplus,
            foreign=work.foreign,
        )
    )
