"""How long to wait before a command is looked for again."""

import attrs

from dexcmd.polling.durations import Durations
from dexcmd.validators import above_zero

__all__ = ["PATIENT", "PROMPT", "Rhythm", "Spacing"]

SLOWEST_FACTOR = 5.0
"""Polls that bring nothing come up to so many times as far apart as asked for."""

GROWTH = 1.5

FEW = 10
"""Up to so many commands are polled for as often as asked for: each poll is one request."""

MANY = 50
"""From so many on, which is a page, requests are what counts."""

MANY_FACTOR = 6.0
"""One of many is looked for so many times as far apart as asked for, at the least."""

SLACK = 0.4
"""Of many commands those that have waited for all but so much of their time are looked for with those that are due."""

TIMEOUT_SECONDS = 600.0
"""After so long the service lets a command fail whose device is not connected.

https://developers.cloudflare.com/cloudflare-one/insights/dex/remote-captures/ says so.
"""


@attrs.frozen
class Spacing:
    """How far apart the looks for one of many commands are."""

    patience: float
    """Its end may be noticed so much of its own duration late."""

    rarity: float
    """It is looked for again after so much of its own age at the least: of the old ones, many at once."""


PROMPT = Spacing(patience=0.5, rarity=0.1)
"""For whoever waits for the ends."""

PATIENT = Spacing(patience=1.25, rarity=0.5)
"""Where the artifacts, which are kept for days, are fetched by the way, and requests count more than minutes."""


@attrs.define
class Rhythm:
    """How long to wait before a command is looked for again.

    Few commands: `interval` seconds, and longer while nothing changes.  Many: until most of them are likely to have
    ended, but so that each end is noticed within `MANY_FACTOR` intervals, or the part of the command's own duration
    that `spacing` says, if that is longer.  What lies between shifts from the one to the other.
    """

    interval: float = attrs.field(validator=above_zero)
    spacing: Spacing = PROMPT
    durations: Durations = attrs.field(factory=Durations)
    followed: int = 0
    """How many commands there were in all."""

    beside: int = 0
    """How many others are polled for with them."""

    _factor: float = 1.0

    def note(self, *, changed: bool) -> None:
        """Take note of a poll, and whether it brought anything."""
        self._factor = 1.0 if changed else min(SLOWEST_FACTOR, self._factor * GROWTH)

    @property
    def crowding(self) -> float:
        """Return how much requests count: from 0 for few commands to 1 for many."""
        return min(1.0, max(0.0, (self.followed + self.beside - FEW) / (MANY - FEW)))

    @property
    def least(self) -> float:
        """Return the seconds that lie between two looks for a command at least."""
        return self.interval * max(self._factor, 1.0 + (MANY_FACTOR - 1.0) * self.crowding)

    @property
    def slack(self) -> float:
        """Return for how much of its time a command need not have waited to be looked for with those that are due."""
        return 1.0 - (1.0 - SLACK) * self.crowding

    def wait(self, command_type: str | None, age: float) -> float:
        """Return the seconds until the next look for a command that was pending at `age`."""
        crowding = self.crowding
        if crowding == 0.0:
            return self.least
        least = max(self.least, self.spacing.rarity * crowding * age)
        # The first that may have ended since sets the time by which to look; if most end before that, so much the
        # better.
        first = max(age, self.durations.early(command_type))
        due = first + max(least, self.spacing.patience * crowding * first)
        most = self.durations.most(command_type, age)
        if most is not None:
            due = min(due, max(age + least, most))
        if age < TIMEOUT_SECONDS:
            due = min(due, TIMEOUT_SECONDS + least)
        return due - age

    def first_age(self, command_type: str | None) -> float:
        """Return the age at which a command is worth its first look."""
        return 0.0 if self.crowding == 0.0 else self.wait(command_type, 0.0)
