"""How long a lost command is looked for: what is configured, corrected by how soon others showed up in the list."""

import attrs

from dexcmd.campaign.status import Settling

__all__ = ["SettlingTime"]

ENOUGH = 50
"""Sightings that it takes to look for less time than is configured."""

MARGIN = 3.0
"""How many times the longest time that was seen a command is given to show up."""

SHORTEST_SHARE = 0.5
"""Of the configured time, at least: what an ambiguous answer comes from may also make the list late."""


@attrs.define
class SettlingTime:
    """Learns how late the list shows commands, from those whose POST was answered.

    Each sighting says between which ages a command showed up: `missed` is its age at the last poll that should have
    shown it and did not (0.0 where there was none), `seen` its age at the poll that did.  A poll that was long in
    coming says little of the list, so only what was proved to be late makes the time longer, and only what was seen
    early makes it shorter.
    """

    configured: float
    """Seconds."""

    n: int = 0
    longest_seen: float = 0.0
    longest_missed: float = 0.0

    def sight(self, *, missed: float, seen: float) -> None:
        """Take a sighting into account; both are seconds."""
        self.n += 1
        self.longest_seen = max(self.longest_seen, seen)
        self.longest_missed = max(self.longest_missed, missed)

    @property
    def seconds(self) -> float:
        """Return for how many seconds a lost command is looked for."""
        late = MARGIN * self.longest_missed
        early = MARGIN * self.longest_seen
        if late > self.configured:
            return late
        if self.n >= ENOUGH and early < self.configured:
            return max(early, SHORTEST_SHARE * self.configured)
        return self.configured

    def told(self) -> Settling:
        """Return what a report says of it."""
        return Settling(seconds=self.seconds, n=self.n, longest=self.longest_seen)
