"""What state a target is in: a pure function of the events, for the journal and for everybody who reads one."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs

from dexcmd.campaign.events import (
    ArtifactFailed,
    ArtifactSaved,
    CampaignEvent,
    CommandEnded,
    CommandKnown,
    CommandOverdue,
    IntentClosed,
    IntentOpened,
    IntentOutcome,
    TargetDropped,
    TargetPlanned,
    TargetRetried,
)
from dexcmd.campaign.spec import FailureClass
from dexcmd.resources.command import SUCCESS

__all__ = ["DECIDED", "Change", "TargetState", "change_of"]

TargetState = Literal["pending", "creating", "running", "collecting", "saved", "failed", "skipped", "not_attempted"]
"""Where a target stands.

- `pending`: due, now or later;
- `creating`: a POST is under way, or its answer is lost and being looked for;
- `running`: its command exists and has not ended;
- `collecting`: its command is in SUCCESS, and its artifact is to be fetched;
- `saved`: the artifact is whole at its destination;
- `failed`: it has none, and its failure class says why;
- `skipped`: the plan left it out;
- `not_attempted`: no command was created for it, or none that counts, and none will be.
"""

DECIDED: frozenset[TargetState] = frozenset({"saved", "failed", "skipped", "not_attempted"})
"""States that only a retry ends."""


@attrs.frozen
class Change:
    """What an event makes of its target."""

    state: TargetState
    failure: FailureClass | None = None
    """Set in state `failed`."""


PENDING, CREATING, RUNNING, COLLECTING = Change("pending"), Change("creating"), Change("running"), Change("collecting")
SAVED, SKIPPED, NOT_ATTEMPTED = Change("saved"), Change("skipped"), Change("not_attempted")
FAILED, OVERDUE, NOT_FETCHED = (
    Change("failed", "device"),
    Change("failed", "timeout"),
    Change("failed", "download"),
)

AFTER_INTENT: Mapping[IntentOutcome, Change] = {
    "rejected": Change("failed", "rejected"),
    "unknown": Change("failed", "unknown"),
    "not_processed": PENDING,
    "absent": PENDING,
}
"""Where an intent that is closed leaves its target; the other outcomes say nothing of it."""

# By their classes, for it is asked of every event: this takes a fifth of what one `match` over them all did.
CHANGES: Mapping[type[CampaignEvent], Callable[[Any], Change | None]] = {
    TargetPlanned: lambda event: PENDING if event.skip is None else SKIPPED,
    IntentOpened: lambda _: CREATING,
    IntentClosed: lambda event: AFTER_INTENT.get(event.outcome),
    CommandKnown: lambda _: RUNNING,
    CommandEnded: lambda event: COLLECTING if event.status == SUCCESS else FAILED,
    CommandOverdue: lambda _: OVERDUE,
    ArtifactSaved: lambda _: SAVED,
    ArtifactFailed: lambda _: NOT_FETCHED,
    TargetRetried: lambda event: COLLECTING if event.failure == "download" else PENDING,
    TargetDropped: lambda _: NOT_ATTEMPTED,
}


def change_of(event: CampaignEvent) -> Change | None:
    """Return what an event makes of its target; None where it changes nothing of it."""
    change = CHANGES.get(type(event))
    return None if change is None else change(event)
