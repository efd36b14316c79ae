"""What events of targets change in the journal's tables.  Pure.

`state.change_of` says which state an event puts its target in; the rest is here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, repeat
from typing import cast

from dexcmd.campaign.events import (
    ArtifactFailed,
    ArtifactSaved,
    CampaignEvent,
    CommandEnded,
    CommandKnown,
    CommandOverdue,
    IntentClosed,
    IntentOpened,
    TargetDropped,
    TargetEvent,
    TargetPlanned,
    TargetRetried,
)
from dexcmd.campaign.journal.times import micros, micros_or_none
from dexcmd.campaign.journal.writing import Place, Projector, Row, Seqs, Statement, Write
from dexcmd.campaign.state import Change, change_of

__all__ = ["OPEN_INTENT", "PROJECTORS"]

NO_TARGET = "this account has no such target"
KNOWN_ALREADY = "the command is recorded already"
NOT_KNOWN = "the command does not belong to this target"

# (Not numbered: some versions of Python 3.12 take numbered parameters for named ones.)
_CHANGE = "state = ?, failure = ?, reason = ?, not_before = ?, changed_at = ? WHERE id = ? AND account = ?"
CHANGE = Statement(f"UPDATE target SET {_CHANGE}", NO_TARGET)  # noqa: S608 - it is all ours
CHANGE_WITH_ERROR = Statement(f"UPDATE target SET error = ?, {_CHANGE}", NO_TARGET)  # noqa: S608 - likewise
CHANGE_WITH_COMMAND = Statement(f"UPDATE target SET command_id = ?, {_CHANGE}", NO_TARGET)  # noqa: S608 - likewise


def _change_of(event: TargetEvent) -> Change:
    """Return the state that an event puts its target in, for events that always change it."""
    return cast("Change", change_of(event))


def _changes(events: Iterable[TargetEvent], place: Place) -> Iterator[Row]:
    """Yield rows for `CHANGE` from events that change the states of their targets."""
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
    """Return rows for the statements that change one more column, which comes first."""
    return [(value, *row) for value, row in zip(more, _changes(events, place), strict=True)]


PLAN_TARGET = Statement(
    "INSERT INTO target (id, number, account, wave, state, changed_at) VALUES (?, ?, ?, ?, ?, ?)",
    "there is already a target with that number",
)
SEE_DEVICE = Statement("INSERT INTO device VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")


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


NAME_POST = Statement("INSERT INTO post VALUES (?, ?) ON CONFLICT DO NOTHING", optional=True)
NOTE_SINCE = Statement("UPDATE account SET first_since = ifnull(min(first_since, ?), ?) WHERE id = ?")
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


def _intent_opened(events: Sequence[IntentOpened], place: Place, seqs: Seqs) -> list[Write]:
    # The intents of one POST say the same about it.
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
        (NOTE_SINCE, [(since, since, account) for account, since in sinces.items()]),
        (OPEN_INTENT, rows),
        (CHANGE, [*_changes(events, place)]),
    ]


CLOSE_INTENT = Statement(
    "UPDATE intent SET outcome = ?, closed_at = ? WHERE target = ? AND post = ?", "there is no intent to close"
)
LOSE = Statement("UPDATE account SET last_lost_at = ? WHERE id = ?")
NOTE_ERROR = Statement("UPDATE target SET error = ? WHERE id = ? AND account = ?", NO_TARGET)


def _intent_closed(events: Sequence[IntentClosed], place: Place, _: Seqs) -> list[Write]:
    # The last one for an account counts, even if its clock was set back.
    lost = {place.account(e.account): micros(e.at) for e in events if e.outcome in ("absent", "unknown")}
    result: list[Write] = [
        (CLOSE_INTENT, [(e.outcome, micros(e.at), place.target(e.target), e.post) for e in events]),
        (LOSE, [(at, account) for account, at in lost.items()]),
    ]
    # In order, in case two concern one target.  Surplus commands say nothing about the state of their target.
    telling = (e for e in events if e.outcome != "surplus")
    for changing, group in groupby(telling, lambda e: change_of(e) is not None):
        some = [*group]
        if changing:
            result.append((CHANGE_WITH_ERROR, _changes_with([e.error for e in some], some, place)))
        else:
            result.append((NOTE_ERROR, [(e.error, place.target(e.target), place.account(e.account)) for e in some]))
    return result


KNOW_COMMAND = Statement(
    """
    INSERT INTO command (target, command_id, seq, account, provenance, known_at, created_date, not_before)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    """,
    KNOWN_ALREADY,
)
COUNT_COMMANDS = Statement("UPDATE account SET commands = commands + ? WHERE id = ?")


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
        # The target comes first: if there is none, that is the error to report.
        (CHANGE_WITH_COMMAND, _changes_with([e.command_id for e in events], events, place)),
        (KNOW_COMMAND, rows),
        (COUNT_COMMANDS, [(n, account) for account, n in counts.items()]),
    ]


END_COMMAND = Statement(
    """
    UPDATE command SET status = ?, created_date = coalesce(?, created_date), completed_date = ?, filename = ?,
        listed_after = coalesce(?, listed_after)
    WHERE target = ? AND command_id = ?
    """,
    NOT_KNOWN,
)


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


# An artifact that is saved again replaces the first.
FORGET_ARTIFACT = Statement("DELETE FROM artifact WHERE target = ? AND command_id = ?", optional=True)
SAVE_ARTIFACT = Statement(
    "INSERT INTO artifact (target, command_id, location, size, sha256, saved_at) VALUES (?, ?, ?, ?, ?, ?)", NOT_KNOWN
)
COUNT_ARTIFACTS = Statement("UPDATE account SET artifacts = artifacts + ?, size = size + ? WHERE id = ?")


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


COUNT_RETRY = Statement("INSERT INTO retry VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", NO_TARGET)


def _target_retried(events: Sequence[TargetRetried], place: Place, _: Seqs) -> list[Write]:
    return [
        (CHANGE, [*_changes(events, place)]),
        (COUNT_RETRY, [(place.target(e.target), e.failure) for e in events]),
    ]


def _target_dropped(events: Sequence[TargetDropped], place: Place, _: Seqs) -> list[Write]:
    return [(CHANGE, [*_changes(events, place)])]


PROJECTORS: Mapping[type[CampaignEvent], Projector] = {
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
