"""How a campaign stands, for people and programs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

from dexcmd.campaign.events import StopKind
from dexcmd.campaign.spec import FailureClass
from dexcmd.campaign.state import TargetState

__all__ = ["AccountStatus", "CampaignState", "CampaignStatus", "Settling"]

CampaignState = Literal[
    "planned", "running", "waiting", "paused", "interrupted", "finished", "aborted", "refused", "cancelled"
]
"""How a campaign stands.

- `planned`: it was never run;
- `running`: a process runs it; `waiting`: all that this process has to do is wait for the quota;
- `paused`: the operator holds it, whether a process runs it or not;
- `interrupted`: no process runs it, and there is something left to do;
- `finished`: all is decided; `aborted`, `refused`, `cancelled`: also, and that is how some account ended.
"""


@attrs.frozen(kw_only=True)
class Settling:
    """How long a lost command is looked for before the list is believed, and what that rests on."""

    seconds: float
    n: int
    """Commands whose POST was answered and whose way into the list was seen."""

    longest: float
    """The longest time in seconds that one of those can have taken."""


@attrs.frozen(kw_only=True)
class AccountStatus:
    """How one account of a campaign stands."""

    name: str
    account_id: str
    wave: int
    """The open one, from 1; 0 before the first."""

    waves: int
    """How many there are."""

    states: Mapping[TargetState, int]
    """How many targets are in which state; all states are there."""

    failures: Mapping[FailureClass, int]
    """How many of the failed ones are of which class; all classes are there."""

    commands: int
    """Commands that are known to have been created for the targets."""

    posts: int
    surplus: int
    foreign: int
    audited_at: datetime | None
    quota: int | None
    usage: int | None
    reset_time: datetime | None
    waits_until: datetime | None
    settling: Settling
    stopped: StopKind | None
    reason: str | None
    left_running: int
    """Commands that went on when it was stopped, for the service can't cancel them."""


@attrs.frozen(kw_only=True)
class CampaignStatus:
    """How a campaign stands."""

    name: str
    state: CampaignState
    running_elsewhere: bool
    """Whether another process runs it at this moment."""

    planned_at: datetime
    deadline: datetime | None
    accounts: tuple[AccountStatus, ...]
    size: int
    """Bytes of the artifacts that are saved."""

    def count(self, *states: TargetState) -> int:
        """Return how many targets are in one of the states; how many are not skipped where none is named."""
        return sum(
            n
            for account in self.accounts
            for state, n in account.states.items()
            if (state in states if states else state != "skipped")
        )
