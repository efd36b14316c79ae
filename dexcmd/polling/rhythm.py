"""How long to wait before a command is looked for again."""

import attrs

from dexcmd.polling.durations import Durations
from dexcmd.validators import above_zero

__all__ = ["PATIENT", "PROMPT", "Rhythm", "Spacing"]

SLOWEST_FACTOR = 5.0
"""By which factor the interval grows, at most, while polls bring nothing new."""

GROWTH = 1.5

FEW = 10
"""Up to this many commands are polled at the requested interval: each poll is one request."""

MANY = 50
"""From this many on, a full page, saving requests has priority."""

MANY_FACTOR = 6.0
"""By which factor, at least, the interval between looks for one of many commands is longer than requested."""

SLACK = 0.4
"""With many commands, those with no more than this share of their wait left join those that are due."""

TIMEOUT_SECONDS = 600.0
"""After this time the service fails a command whose device is not connected.

https://developers.cloudflare.com/cloudflare-one/insights/dex/remote-captures/ documents it.
"""


@attrs.frozen
class Spacing:
    """The interval between looks for one of many commands."""

    patience: float
    """How late the end of a command may be noticed, as a share of the command's own duration."""

    rarity: float
    """The minimum wait between looks, as a share of the command's age, so that many old ones share a look."""


PROMPT = Spacing(patience=0.5, rarity=0.1)
"""For callers that wait for the commands to end."""

PATIENT = Spacing(patience=1.25, rarity=0.5)
"""For fetching artifacts in the background: they are kept for days, so requests matter more than minutes."""


@attrs.define
class Rhythm:
    """How long to wait before a command is looked for again.

    With few commands: `interval` seconds, and longer while nothing changes.  With many: until most of them have
    probably ended, but no longer than `MANY_FACTOR` intervals after an end, or the share of the command's own duration
    that `spacing` allows, if that is longer.  In between, the transition is gradual.
    """

    interval: float = attrs.field(validator=above_zero)
    spacing: Spacing = PROMPT
    durations: Durations = attrs.field(factory=Durations)
    followed: int = 0
    """How many commands have been added in all, ended ones included."""

    beside: int = 0
    """How many commands of other followers are polled together with them."""

    _factor: float = 1.0

    def note(self, *, changed: bool) -> None:
        """Record a poll, and whether it showed any change."""
        self._factor = 1.0 if changed else min(SLOWEST_FACTOR, self._factor * GROWTH)

    @property
    def crowding(self) -> float:
        """How much saving requests matters: from 0 for few commands to 1 for many."""
        return min(1.0, max(0.0, (self.followed + self.beside - FEW) / (MANY - FEW)))

    @property
    def least(self) -> float:
        """The minimum seconds between two looks for a command."""
        return self.interval * max(self._factor, 1.0 + (MANY_FACTOR - 1.0) * self.crowding)

    @property
    def slack(self) -> float:
        """The share of its wait that a command may have left and still join those that are due."""
        return 1.0 - (1.0 - SLACK) * self.crowding

    def wait(self, command_type: str | None, age: float) -> float:
        """Return the seconds until the next look for a command that was pending at `age`."""
        crowding = self.crowding
        if crowding == 0.0:
            return self.least
        least = max(self.least, self.spacing.rarity * crowding * age)
        # Look when the first commands of this age may have ended, plus the delay allowed for noticing it; sooner if
        # most have probably ended before.
        first = max(age, self.durations.early(command_type))
        due = first + max(least, self.spacing.patience * crowding * first)
        most = self.durations.most(command_type, age)
        if most is not None:
            due = min(due, max(age + least, most))
        if age < TIMEOUT_SECONDS:
            due = min(due, TIMEOUT_SECONDS + least)
        return due - age

    def first_age(self, command_type: str | None) -> float:
        """Return the age at which a command should get its first look."""
        return 0.0 if self.crowding == 0.0 else self.wait(command_type, 0.0)
