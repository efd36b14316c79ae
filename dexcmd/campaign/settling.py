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

    A sighting is the age of a command when the list first showed it, as `Watch` tells it: only where it was looked for
    early, or was missed when it should have been there.
    """

    configured: float
    """Seconds."""

    n: int = 0
    longest: float = 0.0

    def sight(self, seconds: float) -> None:
        """Take a sighting into account."""
        self.n += 1
        self.longest = max(self.longest, seconds)

    @property
    def seconds(self) -> float:
        """Return for how many seconds a lost command is looked for."""
        needed = MARGIN * self.longest
        if self.n >= ENOUGH:
            return max(needed, SHORTEST_SHARE * self.configured)
        return max(needed, self.configured)

    def told(self) -> Settling:
        """Return what a report says of it."""
        return Settling(seconds=self.seconds, n=self.n, longest=self.longest)
