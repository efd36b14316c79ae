"""What events make of the tables, statement by statement.

`state.change_of` says what becomes of a target's state; all else that an event tells goes where its name says.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

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
    CommandOverdue,
    ControlRequested,
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
from dexcmd.campaign.journal.codec import encode, micros
from dexcmd.campaign.state import change_of
from dexcmd.errors import CampaignError, CampaignExistsError, TargetBusyError

__all__ = ["Projection"]

_ADD_EVENT = "INSERT INTO event (campaign, at, kind, data) VALUES (?, ?, ?, ?)"
_ADD_TARGET = """
    INSERT INTO target (campaign, number, account, wave, device_id, registration_id, user_email, device_name, platform,
        version, skip, detail, state, changed_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_CHANGE_TARGET = """
    UPDATE target SET state = ?, failure = ?, reason = ?, not_before = ?, changed_at = ?
    WHERE campaign = ? AND number = ?"""
_CHANGE_TARGET_AND_ERROR = """
    UPDATE target SET state = ?, failure = ?, reason = ?, not_before = ?, changed_at = ?, error = ?
    WHERE campaign = ? AND number = ?"""
_OPEN_INTENT = """
    INSERT INTO intent (target, account, account_id, type, device_id, registration_id, post, attempt, since, settled_at,
        opened_at)
    SELECT target.id, target.account, ?, ?, device_id, registration_id, ?, ?, ?, ?, ?
    FROM target WHERE campaign = ? AND number = ?"""
_CLOSE_INTENT = """
    UPDATE intent SET outcome = ?, closed_at = ?
    WHERE target = (SELECT id FROM target WHERE campaign = ? AND number = ?) AND post = ?"""
_ADD_COMMAND = """
    INSERT INTO command (command_id, target, account, provenance, known_at, created_date, not_before)
    SELECT ?, target.id, target.account, ?, ?, ?, ? FROM target WHERE campaign = ? AND number = ?"""
_END_COMMAND = """
    UPDATE command SET status = ?, created_date = ifnull(?, created_date), completed_date = ?, filename = ?,
        listed_after = ifnull(?, listed_after)
    WHERE command_id = ?"""
_ADD_ARTIFACT = """
    INSERT INTO artifact (command_id, location, size, sha256, saved_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (command_id) DO UPDATE SET location = excluded.location, size = excluded.size,
        sha256 = excluded.sha256, saved_at = excluded.saved_at"""
_ADD_SURPLUS = """
    INSERT INTO command (command_id, target, account, provenance, known_at, created_date, surplus)
    SELECT ?, target.id, target.account, 'adopted', ?, ?, 1 FROM target WHERE campaign = ? AND number = ?"""


def _time(time: Any) -> int | None:
    return None if time is None else micros(time)


class Projection:
    """Writes events and what follows from them, on the connection that writes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._campaigns: dict[str, tuple[int, str, dict[str, tuple[int, str]]]] = {}
        """By name: row, type of commands, and by their names the accounts' rows and ids."""

    def forget(self) -> None:
        """Forget what was learnt in a transaction that is rolled back."""
        self._campaigns.clear()

    def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        """Write events.  Raises what `Store.append` does; what was written by then is to be rolled back."""
        busy: list[int] = []
        for event in events:
            if isinstance(event, CampaignPlanned):
                self._plan(campaign, event)
            row, kind, accounts = self._campaign(campaign)
            self._db.execute(_ADD_EVENT, (row, micros(event.at), *encode(event)))
            if not isinstance(event, AccountEvent):
                self._of_campaign(row, event)
                continue
            if event.account not in accounts:
                raise CampaignError(f"campaign {campaign!r} has no account {event.account!r}")
            account, account_id = accounts[event.account]
            self._of_account(row, account, event)
            if isinstance(event, TargetEvent):
                if isinstance(event, IntentOpened) and not self._open(row, account_id, kind, event):
                    busy.append(event.target)
                    continue
                self._of_target(campaign, row, account, event)
        if busy:
            raise TargetBusyError(tuple(busy))

    def _campaign(self, name: str) -> tuple[int, str, dict[str, tuple[int, str]]]:
        found = self._campaigns.get(name)
        if found is None:
            row = self._db.execute("SELECT id, type FROM campaign WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise CampaignError(f"there is no campaign {name!r} in the journal")
            accounts = self._db.execute("SELECT name, id, account_id FROM account WHERE campaign = ?", (row[0],))
            found = self._campaigns[name] = (*row, {name: (id_, account_id) for name, id_, account_id in accounts})
        return found

    def _plan(self, campaign: str, event: CampaignPlanned) -> None:
        try:
            cursor = self._db.execute(
                "INSERT INTO campaign (name, spec, fingerprint, type, planned_at) VALUES (?, ?, ?, ?, ?)",
                (campaign, event.spec, event.fingerprint, event.type, micros(event.at)),
            )
        except sqlite3.IntegrityError:
            raise CampaignExistsError(f"there is a campaign {campaign!r} already") from None
        self._db.executemany(
            "INSERT INTO account (campaign, name, account_id) VALUES (?, ?, ?)",
            [(cursor.lastrowid, name, account_id) for name, account_id in event.accounts],
        )

    # --- campaigns and accounts

    def _of_campaign(self, row: int, event: CampaignEvent) -> None:
        match event:
            case RunStarted():
                self._db.execute(
                    "UPDATE campaign SET first_run_at = ifnull(first_run_at, ?), ended = NULL WHERE id = ?",
                    (micros(event.at), row),
                )
                self._db.execute(
                    "UPDATE account SET stopped = NULL, reason = NULL, left_running = 0 "
                    "WHERE campaign = ? AND stopped = 'refused'",
                    (row,),
                )
            case RunEnded(reason=reason):
                self._db.execute("UPDATE campaign SET ended = ? WHERE id = ?", (reason, row))
            case ControlRequested(control=control):
                self._db.execute("UPDATE campaign SET control = ? WHERE id = ?", (control, row))
            case _:
                pass

    def _of_account(self, row: int, account: int, event: AccountEvent) -> None:
        changes: dict[str, Any] = {}
        match event:
            case WaveOpened(wave=wave):
                changes = {"wave": wave, "wave_opened_at": micros(event.at)}
            case QuotaSeen(quota=quota, usage=usage, reset_time=reset):
                changes = {"quota": quota, "usage": usage, "reset_time": _time(reset), "waits_until": None}
            case QuotaWaited(until=until):
                changes = {"waits_until": micros(until)}
            case AccountStopped(kind=kind, reason=reason, running=running):
                changes = {"stopped": kind, "reason": reason, "left_running": running}
            case Audited():
                changes = {"audited_at": micros(event.at)}
            case IntentClosed(outcome="absent" | "unknown"):
                changes = {"last_lost_at": micros(event.at)}
            case SurplusFound():
                self._surplus(row, event)
            case ForeignFound():
                self._db.execute(
                    "INSERT OR IGNORE INTO foreign_command (campaign, command_id, account) VALUES (?, ?, ?)",
                    (row, event.command_id, account),
                )
            case _:
                pass
        if changes:
            names = ", ".join(f"{name} = ?" for name in changes)
            self._db.execute(f"UPDATE account SET {names} WHERE id = ?", (*changes.values(), account))  # noqa: S608 - the names are ours

    def _surplus(self, row: int, event: SurplusFound) -> None:
        """Note a surplus command; several audits may find the same."""
        known = self._db.execute("SELECT surplus FROM command WHERE command_id = ?", (event.command_id,)).fetchone()
        if known == (1,):
            return
        if known is not None:
            raise CampaignError(f"command {event.command_id} is known already")
        values = (event.command_id, micros(event.at), _time(event.created_date), row, event.target)
        self._expect(self._db.execute(_ADD_SURPLUS, values), event.target)

    # --- targets

    def _open(self, row: int, account_id: str, kind: str, event: IntentOpened) -> bool:
        """Open an intent, and tell whether it could be."""
        times = (micros(event.since), micros(event.settled_at), micros(event.at))
        values = (account_id, kind, event.post, event.attempt, *times, row, event.target)
        try:
            self._expect(self._db.execute(_OPEN_INTENT, values), event.target)
        except sqlite3.IntegrityError:
            return False
        self._db.execute(
            "UPDATE account SET waits_until = NULL, first_since = min(ifnull(first_since, ?1), ?1) "
            "WHERE id = (SELECT account FROM target WHERE campaign = ?2 AND number = ?3) "
            "AND (waits_until IS NOT NULL OR first_since IS NULL OR first_since > ?1)",
            (times[0], row, event.target),
        )
        return True

    def _of_target(self, campaign: str, row: int, account: int, event: TargetEvent) -> None:
        match event:
            case TargetPlanned():
                self._plan_target(campaign, row, account, event)
                return
            case IntentClosed():
                self._db.execute(_CLOSE_INTENT, (event.outcome, micros(event.at), row, event.target, event.post))
            case CommandKnown():
                self._know(row, event)
            case CommandEnded():
                dates = (_time(event.created_date), _time(event.completed_date))
                values = (event.status, *dates, event.filename, event.listed_after, event.command_id)
                if not self._db.execute(_END_COMMAND, values).rowcount:
                    raise CampaignError(f"command {event.command_id} is not known")
            case ArtifactSaved():
                values = (event.command_id, event.location, event.size, event.sha256, micros(event.at))
                try:
                    self._db.execute(_ADD_ARTIFACT, values)
                except sqlite3.IntegrityError:
                    raise CampaignError(f"command {event.command_id} is not known") from None
            case _:
                pass
        self._change(campaign, row, event)

    def _plan_target(self, campaign: str, row: int, account: int, event: TargetPlanned) -> None:
        change = change_of(event)
        state = None if change is None else change.state
        values = (
            row,
            event.target,
            account,
            event.wave,
            event.device_id,
            event.registration_id,
            event.user_email,
            event.device_name,
            event.platform,
            event.version,
            event.skip,
            event.detail,
            state,
            micros(event.at),
        )
        try:
            self._db.execute(_ADD_TARGET, values)
        except sqlite3.IntegrityError:
            raise CampaignError(f"campaign {campaign!r} has a target {event.target} already") from None

    def _know(self, row: int, event: CommandKnown) -> None:
        values = (
            event.command_id,
            event.provenance,
            micros(event.at),
            _time(event.created_date),
            _time(event.not_before),
            row,
            event.target,
        )
        try:
            self._expect(self._db.execute(_ADD_COMMAND, values), event.target)
        except sqlite3.IntegrityError:
            raise CampaignError(f"command {event.command_id} is known already") from None

    def _change(self, campaign: str, row: int, event: TargetEvent) -> None:
        """Bring a target to the state in which an event leaves it."""
        change = change_of(event)
        if change is None:
            # Its POST went well; the command itself is told of next.
            clear = "UPDATE target SET error = NULL WHERE campaign = ? AND number = ? AND error IS NOT NULL"
            self._db.execute(clear, (row, event.target))
            return
        reason = event.reason if isinstance(event, TargetDropped) else None
        not_before = micros(event.not_before) if isinstance(event, TargetRetried) else None
        values = (change.state, change.failure, reason, not_before, micros(event.at))
        where = (row, event.target)
        if isinstance(event, IntentClosed | CommandEnded | CommandOverdue | ArtifactSaved | ArtifactFailed):
            error: str | None = getattr(event, "error", None)
            cursor = self._db.execute(_CHANGE_TARGET_AND_ERROR, (*values, error, *where))
        else:
            cursor = self._db.execute(_CHANGE_TARGET, (*values, *where))
        self._expect(cursor, event.target, campaign)
        if isinstance(event, CommandKnown):
            command = "UPDATE target SET command_id = ? WHERE campaign = ? AND number = ?"
            self._db.execute(command, (event.command_id, *where))
        if isinstance(event, TargetRetried):
            self._count_try(where, event)

    def _count_try(self, where: tuple[int, int], event: TargetRetried) -> None:
        [[text]] = self._db.execute("SELECT tries FROM target WHERE campaign = ? AND number = ?", where)
        tries: dict[str, int] = json.loads(text) if text else {}
        tries[event.failure] = tries.get(event.failure, 0) + 1
        self._db.execute("UPDATE target SET tries = ? WHERE campaign = ? AND number = ?", (json.dumps(tries), *where))

    def _expect(self, cursor: sqlite3.Cursor, target: int, campaign: str = "") -> None:
        if not cursor.rowcount:
            where = f"campaign {campaign!r}" if campaign else "the campaign"
            raise CampaignError(f"{where} has no target {target}")
