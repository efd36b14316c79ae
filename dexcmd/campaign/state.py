"""What state a target is in: a pure function of the events, for the journal and for everybody who reads one."""

from typing import Literal

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


def change_of(event: CampaignEvent) -> Change | None:
    """Return what an event makes of its target; None where it changes nothing of it."""
    match event:
        case TargetPlanned(skip=skip):
            return Change("pending" if skip is None else "skipped")
        case IntentOpened():
            return Change("creating")
        case IntentClosed(outcome="rejected"):
            return Change("failed", "rejected")
        case IntentClosed(outcome="unknown"):
            return Change("failed", "unknown")
        case IntentClosed(outcome="not_processed" | "absent"):
            return Change("pending")
        case CommandKnown():
            return Change("running")
        case CommandEnded(status=status):
            return Change("collecting") if status == SUCCESS else Change("failed", "device")
        case CommandOverdue():
            return Change("failed", "timeout")
        case ArtifactSaved():
            return Change("saved")
        case ArtifactFailed():
            return Change("failed", "download")
        case TargetRetried(failure="download"):
            return Change("collecting")
        case TargetRetried():
            return Change("pending")
        case TargetDropped():
            return Change("not_attempted")
        case _:
            return None
