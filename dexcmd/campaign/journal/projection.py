"""What events change in the journal's tables.  Pure: returns statements and their rows.

Rows that may exist already are counted by triggers of the schema.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dexcmd.campaign.events import AccountEvent, CampaignEvent, SurplusFound, TargetEvent
from dexcmd.campaign.journal import account_events, target_events
from dexcmd.campaign.journal.codec import encoder_of, kind_of
from dexcmd.campaign.journal.times import micros
from dexcmd.campaign.journal.writing import Place, Projector, Row, Seqs, Statement, Write

__all__ = ["WRITE_EVENT", "event_rows", "writes"]

WRITE_EVENT = Statement(
    "INSERT INTO event (seq, campaign, account, target, kind, at, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

_PROJECTORS: Mapping[type[CampaignEvent], Projector] = {**account_events.PROJECTORS, **target_events.PROJECTORS}


def writes(kind: type[CampaignEvent], events: Sequence[CampaignEvent], place: Place, seqs: Seqs) -> list[Write]:
    """Return what events of one kind change in the tables, in order; `seqs` are their places in the journal.

    Raises `CampaignError` for an account that the campaign does not have, and `TypeError` for an unknown kind.
    """
    kind_of(kind)
    return _PROJECTORS[kind](events, place, seqs)


def event_rows(kind: type[CampaignEvent], events: Sequence[Any], place: Place, seqs: Seqs) -> list[Row]:
    """Return the rows of `WRITE_EVENT` for events of one kind, whose accounts are known to be the campaign's."""
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
