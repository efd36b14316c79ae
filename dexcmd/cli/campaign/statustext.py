"""The status of a campaign as JSON documents and rows.  Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import get_args

import attrs

from dexcmd.amounts import counted, size_text
from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.spec import FailureClass
from dexcmd.campaign.state import TargetState
from dexcmd.campaign.status import AccountStatus, CampaignStatus
from dexcmd.cli.documents import Document, plain, time_document
from dexcmd.cli.exits import ABORTED, INTERRUPTED, OK, PARTLY, REFUSED
from dexcmd.cli.moments import age_text
from dexcmd.cli.rows import Column

__all__ = ["COLUMNS", "event_document", "exit_code", "failures_of", "refused_accounts", "status_document"]


def failures_of(status: CampaignStatus) -> Mapping[FailureClass, int]:
    """Return the number of failed targets by class, including classes without any."""
    return {kind: sum(account.failures[kind] for account in status.accounts) for kind in get_args(FailureClass)}


def refused_accounts(status: CampaignStatus) -> int:
    """Return how many accounts the service has refused; without a plan, their targets are in no other count."""
    return sum(account.stopped == "refused" for account in status.accounts)


def exit_code(status: CampaignStatus) -> int:
    """Return the exit code for a campaign that this process no longer runs."""
    match status.state:
        case "finished":
            return OK if status.count("saved") == status.count() else PARTLY
        case "aborted" | "cancelled":
            return ABORTED
        case "refused":
            return REFUSED
        case _:
            # There is something left to do, which another run resumes.
            return INTERRUPTED


def status_document(status: CampaignStatus) -> Document:
    """Return the status of a campaign as a document."""
    states = {state: status.count(state) for state in get_args(TargetState)}
    return {
        "schema": "campaign-status/1",
        "campaign": status.name,
        "state": status.state,
        "control": status.control,
        "running_elsewhere": status.running_elsewhere,
        "planned_at": time_document(status.planned_at),
        "deadline": time_document(status.deadline),
        "targets": status.count(),
        "states": states,
        "failures": failures_of(status),
        "bytes": status.size,
        "into": status.into,
        "commands": sum(account.commands for account in status.accounts),
        "posts": sum(account.posts for account in status.accounts),
        "surplus": sum(account.surplus for account in status.accounts),
        "foreign": sum(account.foreign for account in status.accounts),
        "accounts": [_account(account) for account in status.accounts],
    }


def _account(account: AccountStatus) -> Document:
    return {name: plain(value) for name, value in attrs.asdict(account).items()}


def event_document(campaign: str, event: CampaignEvent) -> Document:
    """Return an event of a campaign: first the fields common to all events, then its own."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    fields = {name: plain(value) for name, value in attrs.asdict(event).items()}
    return {"schema": "campaign-event/1", "campaign": campaign, "event": kind, "at": fields.pop("at"), **fields}


def _age(status: CampaignStatus) -> str:
    return age_text(status.planned_at, datetime.now(status.planned_at.tzinfo))


_STYLES = {"finished": "green", "aborted": "red", "refused": "red", "paused": "yellow", "interrupted": "yellow"}

COLUMNS = (
    Column[CampaignStatus](title="campaign", text=lambda row: row.name, folds_at=12),
    Column[CampaignStatus](title="state", text=lambda row: row.state, styles=_STYLES),
    Column[CampaignStatus](title="targets", text=lambda row: str(row.count())),
    Column[CampaignStatus](title="saved", text=lambda row: str(row.count("saved"))),
    Column[CampaignStatus](title="failed", text=lambda row: str(row.count("failed"))),
    Column[CampaignStatus](
        title="left",
        text=lambda row: str(row.count("pending", "creating", "running", "collecting")),
    ),
    Column[CampaignStatus](
        title="size", text=lambda row: str(row.size), shown=lambda row: size_text(row.size), optional=2
    ),
    Column[CampaignStatus](title="planned", text=lambda row: time_document(row.planned_at), shown=_age, optional=1),
    Column[CampaignStatus](
        title="refused",
        text=lambda row: str(refused_accounts(row)),
        shown=lambda row: counted(number, "account") if (number := refused_accounts(row)) else None,
        only_if_any=True,
    ),
)
