"""What events mean for the rows of the journal's tables.  Pure: it returns statements and their rows.

`state.change_of` says what an event makes of its target; here is the rest.  What is counted of rows that may be there
already is counted by triggers of the schema.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, repeat
from typing import Any, cast

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
from dexcmd.campaign.journal.codec import encoder_of, kind_of
from dexcmd.campaign.journal.times import micros, micros_or_none
from dexcmd.campaign.state import Change, change_of
from dexcmd.errors import CampaignError

__all__ = [
    "OPEN_INTENT",
    "PLAN_CAMPAIGN",
    "WRITE_EVENT",
    "Place",
    "Row",
    "Statement",
    "Write",
    "event_rows",
    "target_id",
    "writes",
]

Row = tuple[object, ...]

TARGETS = 2**32
"""A campaign has fewer, so that a target's id can be made of its campaign's and its number."""


def target_id(campaign: int, number: int) -> int:
    """Return the id of a campaign's target."""
    return campaign * TARGETS + number


@attrs.frozen
class Statement:
    """One that is executed for many rows."""

    sql: str
    refusal: str | None = None
    """What is wrong where a row of it is refused, for people; None where none can be."""

    optional: bool = False
    """Whether a row may well change nothing; otherwise that is a refusal."""


@attrs.frozen
class Place:
    """The campaign that events are of."""

    name: str
    campaign: int
    accounts: Mapping[str, int]
    """The ids of its accounts by name."""

    def account(self, name: str) -> int:
        """Return the id of an account.  Raises `CampaignError` where the campaign has none of that name."""
        try:
            return self.accounts[name]
        except KeyError:
            raise CampaignError(f"campaign {self.name!r} has no account {name!r}") from None

    def target(self, number: int) -> int:
        """Return the id that a target has, if it is there.  Raises `CampaignError` for a number that none can have."""
        if not 0 <= number < TARGETS:
            raise CampaignError(f"campaign {self.name!r} has no target {number}")
        return target_id(self.campaign, number)


Write = tuple[Statement, Sequence[Row]]
Seqs = Sequence[int]
"""The places of events in the journal."""

NO_TARGET = "there is no such target in this account"
KNOWN_ALREADY = "the command is known already"
NOT_KNOWN = "the command is not known of this target"

# --- statements

WRITE_EVENT = Statement(
    "INSERT INTO event (seq, campaign, account, target, kind, at, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

PLAN_CAMPAIGN = Statement(
    """
    INSERT INTO campaign (name, spec, fingerprint, type, control, planned_at, first_event)
    VALUES (?, ?, ?, ?, 'run', ?, ?)
    """,
    "there is a campaign of that name already",
)
PLAN_ACCOUNT = Statement(
    "INSERT INTO account (campaign, name, account_id) VALUES ((SELECT id FROM campaign WHERE name = ?), ?, ?)",
    "two accounts of the campaign have one name",
)
START_RUN = Statement(
    "UPDATE campaign SET first_run_at = coalesce(first_run_at, ?), ended = NULL WHERE id = ?",
)
TRY_REFUSED_AGAIN = Statement(
    """
    UPDATE account SET stopped = NULL, reason = NULL, left_running = 0 WHERE campaign = ? AND stopped = 'refused'
    """,
    optional=True,
)
END_RUN = Statement("UPDATE campaign SET ended = ? WHERE id = ?")
CONTROL = Statement("UPDATE campaign SET control = ? WHERE id = ?")

OPEN_WAVE = Statement("UPDATE account SET wave = ?, wave_opened_at = ? WHERE id = ?")
SEE_QUOTA = Statement("UPDATE account SET quota = ?, usage = ?, reset_time = ?, waits_until = NULL WHERE id = ?")
WAIT = Statement("UPDATE account SET waits_until = ? WHERE id = ?")
START = Statement("UPDATE account SET settle_seconds = ?, audit_error = NULL WHERE id = ?")
ABORT = Statement("UPDATE account SET aborted = ? WHERE id = ?")
STOP = Statement("UPDATE account SET stopped = ?, reason = ?, left_running = ? WHERE id = ?")
AUDIT = Statement("UPDATE account SET audited_at = ? WHERE id = ?")
FAIL_AUDIT = Statement("UPDATE account SET audit_error = ? WHERE id = ?")
POST = Statement(
    "UPDATE account SET first_since = ifnull(min(first_since, ?), ?) WHERE id = ?",
)
LOSE = Statement("UPDATE account SET last_lost_at = ? WHERE id = ?")
FIND_SURPLUS = Statement(
    "INSERT INTO surplus_command VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (command_id) DO NOTHING",
    "the command is known as a target's, or there is no such target",
    optional=True,
)
FIND_FOREIGN = Statement(
    "INSERT INTO foreign_command VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", optional=True
)

PLAN_TARGET = Statement(
    "INSERT INTO target (id, number, account, wave, state, changed_at) VALUES (?, ?, ?, ?, ?, ?)",
    "there is a target of that number already",
)
SEE_DEVICE = Statement("INSERT INTO device VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
# (Without numbers: some versions of Python 3.12 take numbered parameters for named ones.)
_CHANGE = "state = ?, failure = ?, reason = ?, not_before = ?, changed_at = ? WHERE id = ? AND account = ?"
CHANGE = Statement(f"UPDATE target SET {_CHANGE}", NO_TARGET)  # noqa: S608 - it is all ours
CHANGE_WITH_ERROR = Statement(f"UPDATE target SET error = ?, {_CHANGE}", NO_TARGET)  # noqa: S608 - likewise
CHANGE_WITH_COMMAND = Statement(f"UPDATE target SET command_id = ?, {_CHANGE}", NO_TARGET)  # noqa: S608 - likewise
NOTE_ERROR = Statement("UPDATE target SET error = ? WHERE id = ? AND account = ?", NO_TARGET)
COUNT_RETRY = Statement("INSERT INTO retry VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", NO_TARGET)

NAME_POST = Statement("INSERT INTO post VALUES (?, ?) ON CONFLICT DO NOTHING", optional=True)
OPEN_INTENT = Statement(
    """
    INSERT INTO intent (seq, post, attempt, since, settled_at, opened_at, target,
        account_id, device_id, registration_id, type)
    SELECT ?, ?, ?, ?, ?, ?, target.id, account.account_id, device.device_id, device.registration_id, campaign.type
    FROM target JOIN device ON device.target = target.id
        JOIN account ON account.id = target.account JOIN campaign ON campaign.id = account.campaign
    WHERE target.id = ? AND target.account = ?
    """,
    NO_TARGET,
)
CLOSE_INTENT = Statement(
    "UPDATE intent SET outcome = ?, closed_at = ? WHERE target = ? AND post = ?", "there is no intent to be closed"
)
COUNT_COMMANDS = Statement("UPDATE account SET commands = commands + ? WHERE id = ?")
KNOW_COMMAND = Statement(
    """
    INSERT INTO command (target, command_id, seq, account, provenance, known_at, created_date, not_before)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    """,
    KNOWN_ALREADY,
)
END_COMMAND = Statement(
    """
    UPDATE command SET status = ?, created_date = coalesce(?, created_date), completed_date = ?, filename = ?,
        listed_after = coalesce(?, listed_after)
    WHERE target = ? AND command_id = ?
    """,
    NOT_KNOWN,
)
# One that is saved again takes the place of the first.
FORGET_ARTIFACT = Statement("DELETE FROM artifact WHERE target = ? AND command_id = ?", optional=True)
SAVE_ARTIFACT = Statement(
    "INSERT INTO artifact (target, command_id, location, size, sha256, saved_at) VALUES (?, ?, ?, ?, ?, ?)", NOT_KNOWN
)
COUNT_ARTIFACTS = Statement("UPDATE account SET artifacts = artifacts + ?, size = size + ? WHERE id = ?")

# --- events of the campaign and its accounts


def _campaign_planned(events: Sequence[CampaignPlanned], place: Place, seqs: Seqs) -> list[Write]:
    rows = [(place.name, e.spec, e.fingerprint, e.type, micros(e.at), seq) for seq, e in zip(seqs, events, strict=True)]
    return [
        (PLAN_CAMPAIGN, rows),
        (PLAN_ACCOUNT, [(place.name, name, account_id) for e in events for name, account_id in e.accounts]),
    ]


def _run_started(events: Sequence[RunStarted], place: Place, _: Seqs) -> list[Write]:
    return [
        (START_RUN, [(micros(e.at), place.campaign) for e in events]),
        (TRY_REFUSED_AGAIN, [(place.campaign,)]),
    ]


def _run_ended(events: Sequence[RunEnded], place: Place, _: Seqs) -> list[Write]:
    return [(END_RUN, [(e.reason, place.campaign) for e in events])]


def _control_requested(events: Sequence[ControlRequested], place: Place, _: Seqs) -> list[Write]:
    return [(CONTROL, [(e.control, place.campaign) for e in events])]


def _wave_opened(events: Sequence[WaveOpened], place: Place, _: Seqs) -> list[Write]:
    return [(OPEN_WAVE, [(e.wave, micros(e.at), place.account(e.account)) for e in events])]


def _quota_seen(events: Sequence[QuotaSeen], place: Place, _: Seqs) -> list[Write]:
    rows = [(e.quota, e.usage, micros_or_none(e.reset_time), place.account(e.account)) for e in events]
    return [(SEE_QUOTA, rows)]


def _quota_waited(events: Sequence[QuotaWaited], place: Place, _: Seqs) -> list[Write]:
    return [(WAIT, [(micros(e.until), place.account(e.account)) for e in events])]


def _account_started(events: Sequence[AccountStarted], place: Place, _: Seqs) -> list[Write]:
    return [(START, [(e.settle_seconds, place.account(e.account)) for e in events])]


def _creating_aborted(events: Sequence[CreatingAborted], place: Place, _: Seqs) -> list[Write]:
    return [(ABORT, [(e.reason, place.account(e.account)) for e in events])]


def _account_stopped(events: Sequence[AccountStopped], place: Place, _: Seqs) -> list[Write]:
    return [(STOP, [(e.kind, e.reason, e.running, place.account(e.account)) for e in events])]


def _audited(events: Sequence[Audited], place: Place, _: Seqs) -> list[Write]:
    return [(AUDIT, [(micros(e.at), place.account(e.account)) for e in events])]


def _audit_failed(events: Sequence[AuditFailed], place: Place, _: Seqs) -> list[Write]:
    return [(FAIL_AUDIT, [(e.error, place.account(e.account)) for e in events])]


def _surplus_found(events: Sequence[SurplusFound], place: Place, _: Seqs) -> list[Write]:
    rows = [
        (
            e.command_id,
            place.account(e.account),
            place.target(e.target),
            e.device_id,
            micros_or_none(e.created_date),
            micros(e.at),
        )
        for e in events
    ]
    return [(FIND_SURPLUS, rows)]


def _foreign_found(events: Sequence[ForeignFound], place: Place, _: Seqs) -> list[Write]:
    rows = [
        (
            place.campaign,
            e.command_id,
            place.account(e.account),
            e.device_id,
            e.type,
            micros_or_none(e.created_date),
            micros(e.at),
        )
        for e in events
    ]
    return [(FIND_FOREIGN, rows)]


# --- events of targets


def _change_of(event: TargetEvent) -> Change:
    """Return what an event makes of its target, where it surely makes something of it."""
    return cast("Change", change_of(event))


def _changes(events: Iterable[TargetEvent], place: Place) -> Iterator[Row]:
    """Return what `CHANGE` takes for events that make something of their targets."""
    for e in events:
        change = _change_of(e)
        yield (
            change.state,
            change.failure,
            e.reason if isinstance(e, TargetDropped) else None,
            micros(e.not_before) if isinstance(e, TargetRetried) else None,
            micros(e.at),
            place.target(e.target),
            place.account(e.account),
        )


def _changes_with(more: Iterable[object], events: Iterable[TargetEvent], place: Place) -> list[Row]:
    """Return what the statements take that change one more column, which they name first."""
    return [(value, *row) for value, row in zip(more, _changes(events, place), strict=True)]


def _target_planned(events: Sequence[TargetPlanned], place: Place, _: Seqs) -> list[Write]:
    targets: list[Row] = []
    devices: list[Row] = []
    for e in events:
        target = place.target(e.target)
        targets.append((target, e.target, place.account(e.account), e.wave, _change_of(e).state, micros(e.at)))
        devices.append(
            (
                target,
                e.device_id,
                e.registration_id,
                e.user_email,
                e.device_name,
                e.platform,
                e.version,
                e.skip,
                e.detail,
            )
        )
    return [(PLAN_TARGET, targets), (SEE_DEVICE, devices)]


def _intent_opened(events: Sequence[IntentOpened], place: Place, seqs: Seqs) -> list[Write]:
    # Those of one POST say the same of it.
    posts = dict.fromkeys((place.account(e.account), e.post) for e in events)
    sinces: dict[int, int] = {}
    for e in events:
        account, since = place.account(e.account), micros(e.since)
        sinces[account] = min(since, sinces.get(account, since))
    rows = [
        (
            seq,
            e.post,
            e.attempt,
            micros(e.since),
            micros(e.settled_at),
            micros(e.at),
            place.target(e.target),
            place.account(e.account),
        )
        for seq, e in zip(seqs, events, strict=True)
    ]
    return [
        (NAME_POST, [*posts]),
        (POST, [(since, since, account) for account, since in sinces.items()]),
        (OPEN_INTENT, rows),
        (CHANGE, [*_changes(events, place)]),
    ]


def _intent_closed(events: Sequence[IntentClosed], place: Place, _: Seqs) -> list[Write]:
    lost = dict.fromkeys((micros(e.at), place.account(e.account)) for e in events if e.outcome in ("absent", "unknown"))
    result: list[Write] = [
        (CLOSE_INTENT, [(e.outcome, micros(e.at), place.target(e.target), e.post) for e in events]),
        (LOSE, [*lost]),
    ]
    # In their order, should two be of one target.  What is surplus says nothing of how its target stands.
    telling = (e for e in events if e.outcome != "surplus")
    for changing, group in groupby(telling, lambda e: change_of(e) is not None):
        some = [*group]
        if changing:
            result.append((CHANGE_WITH_ERROR, _changes_with([e.error for e in some], some, place)))
        else:
            result.append((NOTE_ERROR, [(e.error, place.target(e.target), place.account(e.account)) for e in some]))
    return result


def _command_known(events: Sequence[CommandKnown], place: Place, seqs: Seqs) -> list[Write]:
    rows = [
        (
            place.target(e.target),
            e.command_id,
            seq,
            place.account(e.account),
            e.provenance,
            micros(e.at),
            micros_or_none(e.created_date),
            micros_or_none(e.not_before),
        )
        for seq, e in zip(seqs, events, strict=True)
    ]
    counts = Counter(place.account(e.account) for e in events)
    return [
        # First the target: where there is none, that is what is to be told.
        (CHANGE_WITH_COMMAND, _changes_with([e.command_id for e in events], events, place)),
        (KNOW_COMMAND, rows),
        (COUNT_COMMANDS, [(n, account) for account, n in counts.items()]),
    ]


def _command_ended(events: Sequence[CommandEnded], place: Place, _: Seqs) -> list[Write]:
    rows = [
        (
            e.status,
            micros_or_none(e.created_date),
            micros_or_none(e.completed_date),
            e.filename,
            e.listed_after,
            place.target(e.target),
            e.command_id,
        )
        for e in events
    ]
    return [(END_COMMAND, rows), (CHANGE_WITH_ERROR, _changes_with(repeat(None, len(events)), events, place))]


def _command_overdue(events: Sequence[CommandOverdue], place: Place, _: Seqs) -> list[Write]:
    return [(CHANGE_WITH_ERROR, _changes_with(repeat(None, len(events)), events, place))]


def _artifact_saved(events: Sequence[ArtifactSaved], place: Place, _: Seqs) -> list[Write]:
    rows = [(place.target(e.target), e.command_id, e.location, e.size, e.sha256, micros(e.at)) for e in events]
    counts: defaultdict[int, list[int]] = defaultdict(list)
    for e in events:
        counts[place.account(e.account)].append(e.size)
    return [
        (CHANGE_WITH_ERROR, _changes_with(repeat(None, len(events)), events, place)),
        (FORGET_ARTIFACT, [row[:2] for row in rows]),
        (SAVE_ARTIFACT, rows),
        (COUNT_ARTIFACTS, [(len(sizes), sum(sizes), account) for account, sizes in counts.items()]),
    ]


def _artifact_failed(events: Sequence[ArtifactFailed], place: Place, _: Seqs) -> list[Write]:
    return [(CHANGE_WITH_ERROR, _changes_with([e.error for e in events], events, place))]


def _target_retried(events: Sequence[TargetRetried], place: Place, _: Seqs) -> list[Write]:
    return [
        (CHANGE, [*_changes(events, place)]),
        (COUNT_RETRY, [(place.target(e.target), e.failure) for e in events]),
    ]


def _target_dropped(events: Sequence[TargetDropped], place: Place, _: Seqs) -> list[Write]:
    return [(CHANGE, [*_changes(events, place)])]


_PROJECTORS: Mapping[type[CampaignEvent], Callable[[Any, Place, Seqs], list[Write]]] = {
    CampaignPlanned: _campaign_planned,
    RunStarted: _run_started,
    RunEnded: _run_ended,
    ControlRequested: _control_requested,
    WaveOpened: _wave_opened,
    QuotaSeen: _quota_seen,
    QuotaWaited: _quota_waited,
    AccountStarted: _account_started,
    CreatingAborted: _creating_aborted,
    AccountStopped: _account_stopped,
    SurplusFound: _surplus_found,
    ForeignFound: _foreign_found,
    Audited: _audited,
    AuditFailed: _audit_failed,
    TargetPlanned: _target_planned,
    IntentOpened: _intent_opened,
    IntentClosed: _intent_closed,
    CommandKnown: _command_known,
    CommandEnded: _command_ended,
    CommandOverdue: _command_overdue,
    ArtifactSaved: _artifact_saved,
    ArtifactFailed: _artifact_failed,
    TargetRetried: _target_retried,
    TargetDropped: _target_dropped,
}


def writes(kind: type[CampaignEvent], events: Sequence[CampaignEvent], place: Place, seqs: Seqs) -> list[Write]:
    """Return what events of one kind mean for the tables, in this order; `seqs` are their places in the journal.

    Raises `CampaignError` for an account that the campaign has not, and `TypeError` for a kind that there is not.
    """
    kind_of(kind)
    return _PROJECTORS[kind](events, place, seqs)


def event_rows(kind: type[CampaignEvent], events: Sequence[Any], place: Place, seqs: Seqs) -> list[Row]:
    """Return the rows of `WRITE_EVENT` for events of one kind; their accounts are known to be the campaign's."""
    name, encode, campaign, accounts = kind_of(kind), encoder_of(kind), place.campaign, place.accounts
    if not issubclass(kind, AccountEvent):
        return [(seq, campaign, None, None, name, micros(e.at), encode(e)) for seq, e in zip(seqs, events, strict=True)]
    if not issubclass(kind, TargetEvent | SurplusFound):
        return [
            (seq, campaign, accounts[e.account], None, name, micros(e.at), encode(e))
            for seq, e in zip(seqs, events, strict=True)
        ]
    return [
        (seq, campaign, accounts[e.account], e.target, name, micros(e.at), encode(e))
        for seq, e in zip(seqs, events, strict=True)
    ]
