"""The queries of a journal, as functions of a connection.  Blocking."""

# ruff: noqa: S608 - what queries are put together of are names of ours; values are parameters

import json
import sqlite3
from collections.abc import Collection
from datetime import datetime
from typing import Any

from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.journal.codec import kind_of
from dexcmd.campaign.journal.rows import (
    ACCOUNT,
    ARTIFACT,
    CAMPAIGN,
    COMMAND,
    EVENT,
    INTENT,
    TARGET,
    account_record,
    artifact_record,
    campaign_record,
    command_record,
    intent_record,
    recorded,
    target_record,
)
from dexcmd.campaign.journal.times import micros, moment_or_none
from dexcmd.campaign.journal.writing import target_id
from dexcmd.campaign.records import (
    AccountRecord,
    CampaignRecord,
    CommandRecord,
    Count,
    IntentRecord,
    Lags,
    Recorded,
    TargetRecord,
)
from dexcmd.campaign.state import DECIDED
from dexcmd.campaign.store import ExportRecord

__all__ = [
    "accounts",
    "campaign",
    "campaigns",
    "collecting",
    "counts",
    "decided_at",
    "due_targets",
    "events",
    "export",
    "intents",
    "known",
    "lags",
    "mean_artifact_size",
    "next_due",
    "open_intents",
    "reserved",
    "running",
    "targets",
    "undecided",
]

Db = sqlite3.Connection

CAMPAIGN_ID = "(SELECT id FROM campaign WHERE name = ?)"
ACCOUNT_ID = f"(SELECT id FROM account WHERE campaign = {CAMPAIGN_ID} AND name = ?)"
TARGETS = "target JOIN device ON device.target = target.id JOIN account ON account.id = target.account"
OF_SERVICE = "(SELECT id FROM account WHERE account_id = ?)"
AMONG = "(SELECT value FROM json_each(?))"
"""Any number of values in one parameter: SQLite limits the number of parameters."""


def _values(values: Collection[Any]) -> str:
    return json.dumps([*values])


def _rows(db: Db, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    return db.execute(sql, parameters).fetchall()


# --- campaigns and accounts


def campaigns(db: Db) -> list[CampaignRecord]:
    """Return all campaigns, oldest first."""
    return [campaign_record(row) for row in _rows(db, f"SELECT {CAMPAIGN} FROM campaign ORDER BY id")]


def campaign(db: Db, name: str) -> CampaignRecord | None:
    """Return the campaign named `name`, or None if there is none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        # An unpaired surrogate, which Python makes of terminal input that is not UTF-8: SQLite takes no such text.
        return None
    found = _rows(db, f"SELECT {CAMPAIGN} FROM campaign WHERE name = ?", name)
    return campaign_record(found[0]) if found else None


def accounts(db: Db, campaign: str) -> list[AccountRecord]:
    """Return the accounts of a campaign, in the order of its spec."""
    sql = f"SELECT {ACCOUNT} FROM account WHERE campaign = {CAMPAIGN_ID} ORDER BY id"
    return [account_record(row) for row in _rows(db, sql, campaign)]


def counts(db: Db, campaign: str, account: str | None) -> list[Count]:
    """Return the number of targets of each kind."""
    sql = f"""
        SELECT account.name, target.wave, target.state, target.failure, count(*)
        FROM account JOIN target ON target.account = account.id
        WHERE account.campaign = {CAMPAIGN_ID} AND (? IS NULL OR account.name = ?)
        GROUP BY account.id, target.state, target.wave, target.failure
    """
    return [
        Count(account=name, wave=wave, state=state, failure=failure, n=n)
        for name, wave, state, failure, n in _rows(db, sql, campaign, account, account)
    ]


def lags(db: Db, campaign: str, account: str) -> Lags:
    """Return how late commands showed up in the list."""
    found = _rows(db, f"SELECT lags, longest_lag FROM account WHERE id = {ACCOUNT_ID}", campaign, account)
    n, longest = found[0] if found else (0, 0.0)
    return Lags(n=n, longest=longest)


def mean_artifact_size(db: Db, command_type: str) -> tuple[int, float]:
    """Return how many artifacts of a type there are, and their mean size in bytes."""
    sql = """
        SELECT ifnull(sum(account.artifacts), 0), total(account.size)
        FROM account JOIN campaign ON campaign.id = account.campaign WHERE campaign.type = ?
    """
    [(n, size)] = _rows(db, sql, command_type)
    return n, size / n if n else 0.0


# --- targets


def due_targets(db: Db, campaign: str, account: str, wave: int, now: datetime, limit: int) -> list[TargetRecord]:
    """Return pending targets of a wave that are due, in the order of their numbers."""
    sql = f"""
        SELECT {TARGET} FROM {TARGETS}
        WHERE target.account = {ACCOUNT_ID} AND target.state = 'pending' AND target.wave = ? AND target.failure IS NULL
            AND (target.not_before IS NULL OR target.not_before <= ? OR target.changed_at > ?)
        ORDER BY target.id LIMIT ?
    """
    at = micros(now)
    return [target_record(row) for row in _rows(db, sql, campaign, account, wave, at, at, limit)]


def next_due(db: Db, campaign: str, account: str, wave: int) -> datetime | None:
    """Return the earliest `not_before` of the wave's pending targets."""
    sql = f"""
        SELECT not_before FROM target
        WHERE account = {ACCOUNT_ID} AND wave = ? AND not_before IS NOT NULL AND +state = 'pending'
        ORDER BY not_before LIMIT 1
    """
    found = _rows(db, sql, campaign, account, wave)
    return moment_or_none(found[0][0]) if found else None


def decided_at(db: Db, campaign: str, account: str, wave: int) -> datetime | None:
    """Return when the wave's most recently decided target was decided."""
    sql = f"""
        SELECT max(changed_at) FROM target WHERE account = {ACCOUNT_ID} AND state IN {AMONG} AND wave = ?
    """
    [(at,)] = _rows(db, sql, campaign, account, _values(DECIDED), wave)
    return moment_or_none(at)


def targets(db: Db, campaign: str, numbers: Collection[int]) -> list[TargetRecord]:
    """Return targets by number, in order."""
    sql = f"""
        SELECT {TARGET} FROM {TARGETS}
        WHERE target.id IN (SELECT {CAMPAIGN_ID} * {target_id(1, 0)} + value FROM json_each(?))
        ORDER BY target.id
    """
    return [target_record(row) for row in _rows(db, sql, campaign, _values(numbers))]


def undecided(db: Db, campaign: str, account: str, after: int, limit: int) -> list[TargetRecord]:
    """Return pending targets numbered above `after`, in order."""
    # Paged by id, so that all pages together scan each target once.
    sql = f"""
        SELECT {TARGET} FROM {TARGETS}
        WHERE target.id > {CAMPAIGN_ID} * {target_id(1, 0)} + ? AND +target.account = {ACCOUNT_ID}
            AND +target.state = 'pending'
        ORDER BY target.id LIMIT ?
    """
    return [target_record(row) for row in _rows(db, sql, campaign, after, campaign, account, limit)]


# --- intents


def open_intents(db: Db, campaign: str, account: str) -> list[IntentRecord]:
    """Return the open intents, in the order in which they were opened."""
    sql = f"""
        SELECT {INTENT} FROM account JOIN intent ON intent.account_id = account.account_id AND intent.outcome IS NULL
        JOIN target ON target.id = intent.target AND target.account = account.id
        WHERE account.id = {ACCOUNT_ID} ORDER BY intent.seq
    """
    return [intent_record(row) for row in _rows(db, sql, campaign, account)]


def intents(db: Db, campaign: str, account: str, device_ids: Collection[str]) -> list[IntentRecord]:
    """Return all intents for the given devices, in the order in which they were opened."""
    sql = f"""
        SELECT {INTENT} FROM device JOIN target ON target.id = device.target JOIN intent ON intent.target = target.id
        WHERE device.device_id IN {AMONG} AND +target.account = {ACCOUNT_ID} ORDER BY intent.seq
    """
    return [intent_record(row) for row in _rows(db, sql, _values(device_ids), campaign, account)]


def reserved(db: Db, account_id: str, now: datetime) -> int:
    """Return how many commands the open intents for an account reserve."""
    sql = "SELECT count(*) FROM intent WHERE account_id = ? AND outcome IS NULL AND settled_at > ?"
    [(n,)] = _rows(db, sql, account_id, micros(now))
    return int(n)


# --- commands


def running(db: Db, campaign: str, account: str) -> list[CommandRecord]:
    """Return the latest commands of targets in state `running`, in the order in which they became known."""
    return _latest(db, campaign, account, "running", "command.seq")


def collecting(db: Db, campaign: str, account: str) -> list[CommandRecord]:
    """Return the latest commands of targets in state `collecting`, in the order in which they ended."""
    return _latest(db, campaign, account, "collecting", "ifnull(command.completed_date, command.known_at), command.seq")


def _latest(db: Db, campaign: str, account: str, state: str, order: str) -> list[CommandRecord]:
    sql = f"""
        SELECT {COMMAND} FROM target JOIN account ON account.id = target.account
        JOIN command ON command.target = target.id AND command.command_id = target.command_id
        WHERE target.account = {ACCOUNT_ID} AND target.state = ? ORDER BY {order}
    """
    return [command_record(row) for row in _rows(db, sql, campaign, account, state)]


def known(db: Db, account_id: str, command_ids: Collection[str]) -> set[str]:
    """Return which of the command ids belong to targets, surplus commands included."""
    of = f"WHERE command_id IN {AMONG} AND +account IN {OF_SERVICE}"
    sql = f"SELECT command_id FROM command {of} UNION ALL SELECT command_id FROM surplus_command {of}"
    ids = _values(command_ids)
    return {command for (command,) in _rows(db, sql, ids, account_id, ids, account_id)}


# --- all there is


def events(
    db: Db, campaign: str, after: int, limit: int, kinds: Collection[type[CampaignEvent]] | None
) -> list[Recorded]:
    """Return events with a `seq` above `after`, in order.  Raises `CampaignError` for one that can't be read."""
    some = "" if kinds is None else f"AND event.kind IN {AMONG}"
    names = [] if kinds is None else [_values([kind_of(kind) for kind in kinds])]
    sql = f"""
        SELECT {EVENT} FROM event LEFT JOIN account ON account.id = event.account
        WHERE event.seq > max(?, (SELECT first_event - 1 FROM campaign WHERE name = ?))
            AND event.campaign = {CAMPAIGN_ID} {some}
        ORDER BY event.seq LIMIT ?
    """
    return [recorded(campaign, row) for row in _rows(db, sql, after, campaign, campaign, *names, limit)]


def export(db: Db, campaign: str, after: int, limit: int) -> list[ExportRecord]:
    """Return targets numbered above `after`, in order, each with the records that belong to it."""
    first = f"{CAMPAIGN_ID} * {target_id(1, 0)}"
    sql = f"""
        SELECT {TARGET}, {COMMAND}, {ARTIFACT}, {INTENT} FROM {TARGETS}
        LEFT JOIN command ON command.target = target.id AND command.command_id = target.command_id
        LEFT JOIN artifact ON artifact.target = target.id AND artifact.command_id = target.command_id
        LEFT JOIN intent ON intent.target = target.id
            AND intent.seq = (SELECT max(seq) FROM intent WHERE intent.target = target.id)
        WHERE target.id > {first} + ? AND target.id < {first} + {target_id(1, 0)} ORDER BY target.id LIMIT ?
    """
    result: list[ExportRecord] = []
    for row in _rows(db, sql, campaign, after, campaign, limit):
        target, command, artifact, intent = row[:19], row[19:29], row[29:34], row[34:]
        result.append(
            (
                target_record(target),
                None if command[0] is None else command_record(command),
                None if artifact[0] is None else artifact_record(artifact),
                None if intent[1] is None else intent_record(intent),
            )
        )
    return result
