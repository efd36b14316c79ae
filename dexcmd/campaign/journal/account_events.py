"""What events of a campaign and its accounts change in the journal's tables.  Pure."""

from collections.abc import Mapping, Sequence

from dexcmd.campaign.events import (
    AccountStarted,
    AccountStopped,
    Audited,
    AuditFailed,
    CampaignEvent,
    CampaignPlanned,
    ControlRequested,
    CreatingAborted,
    ForeignFound,
    QuotaSeen,
    QuotaWaited,
    RunEnded,
    RunStarted,
    SurplusFound,
    WaveOpened,
)
from dexcmd.campaign.journal.times import micros, micros_or_none
from dexcmd.campaign.journal.writing import Place, Projector, Seqs, Statement, Write

__all__ = ["PLAN_CAMPAIGN", "PROJECTORS"]

PLAN_CAMPAIGN = Statement(
    """
    INSERT INTO campaign (name, spec, fingerprint, type, control, planned_at, first_event)
    VALUES (?, ?, ?, ?, 'run', ?, ?)
    """,
    "the journal already has a campaign of that name",
)
PLAN_ACCOUNT = Statement(
    "INSERT INTO account (campaign, name, account_id) VALUES ((SELECT id FROM campaign WHERE name = ?), ?, ?)",
    "two accounts of the campaign have the same name",
)


def _campaign_planned(events: Sequence[CampaignPlanned], place: Place, seqs: Seqs) -> list[Write]:
    rows = [(place.name, e.spec, e.fingerprint, e.type, micros(e.at), seq) for seq, e in zip(seqs, events, strict=True)]
    return [
        (PLAN_CAMPAIGN, rows),
        (PLAN_ACCOUNT, [(place.name, name, account_id) for e in events for name, account_id in e.accounts]),
    ]


START_RUN = Statement("UPDATE campaign SET first_run_at = coalesce(first_run_at, ?), ended = NULL WHERE id = ?")
TRY_REFUSED_AGAIN = Statement(
    """
    UPDATE account SET stopped = NULL, reason = NULL, left_running = 0 WHERE campaign = ? AND stopped = 'refused'
    """,
    optional=True,
)


def _run_started(events: Sequence[RunStarted], place: Place, _: Seqs) -> list[Write]:
    return [
        (START_RUN, [(micros(e.at), place.campaign) for e in events]),
        (TRY_REFUSED_AGAIN, [(place.campaign,)]),
    ]


END_RUN = Statement("UPDATE campaign SET ended = ? WHERE id = ?")


def _run_ended(events: Sequence[RunEnded], place: Place, _: Seqs) -> list[Write]:
    return [(END_RUN, [(e.reason, place.campaign) for e in events])]


CONTROL = Statement(
    # Whoever asks for something else in the same moment has not seen the cancellation yet.
    """
    UPDATE campaign SET control = CASE WHEN control LIKE 'cancel%' AND ?1 NOT LIKE 'cancel%' THEN control ELSE ?1 END
    WHERE id = ?2
    """
)


def _control_requested(events: Sequence[ControlRequested], place: Place, _: Seqs) -> list[Write]:
    return [(CONTROL, [(e.control, place.campaign) for e in events])]


# Nothing reads `wave_opened_at`, but a table has to hold all that its events imply, in journals of every version.
OPEN_WAVE = Statement("UPDATE account SET wave = ?, wave_opened_at = ? WHERE id = ?")


def _wave_opened(events: Sequence[WaveOpened], place: Place, _: Seqs) -> list[Write]:
    return [(OPEN_WAVE, [(e.wave, micros(e.at), place.account(e.account)) for e in events])]


SEE_QUOTA = Statement("UPDATE account SET quota = ?, usage = ?, reset_time = ?, waits_until = NULL WHERE id = ?")


def _quota_seen(events: Sequence[QuotaSeen], place: Place, _: Seqs) -> list[Write]:
    rows = [(e.quota, e.usage, micros_or_none(e.reset_time), place.account(e.account)) for e in events]
    return [(SEE_QUOTA, rows)]


WAIT = Statement("UPDATE account SET waits_until = ? WHERE id = ?")


def _quota_waited(events: Sequence[QuotaWaited], place: Place, _: Seqs) -> list[Write]:
    return [(WAIT, [(micros(e.until), place.account(e.account)) for e in events])]


START = Statement("UPDATE account SET settle_seconds = ?, audit_error = NULL WHERE id = ?")


def _account_started(events: Sequence[AccountStarted], place: Place, _: Seqs) -> list[Write]:
    return [(START, [(e.settle_seconds, place.account(e.account)) for e in events])]


ABORT = Statement("UPDATE account SET aborted = ? WHERE id = ?")


def _creating_aborted(events: Sequence[CreatingAborted], place: Place, _: Seqs) -> list[Write]:
    return [(ABORT, [(e.reason, place.account(e.account)) for e in events])]


STOP = Statement("UPDATE account SET stopped = ?, reason = ?, left_running = ? WHERE id = ?")


def _account_stopped(events: Sequence[AccountStopped], place: Place, _: Seqs) -> list[Write]:
    return [(STOP, [(e.kind, e.reason, e.running, place.account(e.account)) for e in events])]


AUDIT = Statement("UPDATE account SET audited_at = ? WHERE id = ?")


def _audited(events: Sequence[Audited], place: Place, _: Seqs) -> list[Write]:
    return [(AUDIT, [(micros(e.at), place.account(e.account)) for e in events])]


FAIL_AUDIT = Statement("UPDATE account SET audit_error = ? WHERE id = ?")


def _audit_failed(events: Sequence[AuditFailed], place: Place, _: Seqs) -> list[Write]:
    return [(FAIL_AUDIT, [(e.error, place.account(e.account)) for e in events])]


FIND_SURPLUS = Statement(
    "INSERT INTO surplus_command VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (command_id) DO NOTHING",
    "the command already belongs to a target, or there is no such target",
    optional=True,
)


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


FIND_FOREIGN = Statement(
    "INSERT INTO foreign_command VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", optional=True
)


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


PROJECTORS: Mapping[type[CampaignEvent], Projector] = {
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
}
