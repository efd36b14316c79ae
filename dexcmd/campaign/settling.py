"""How long to look for a lost command: the configured time, corrected by how soon others showed up in the list."""

import attrs

from dexcmd.campaign.status import Settling

__all__ = ["SettlingTime"]

ENOUGH = 50
"""Sightings needed to look for less time than is configured."""

MARGIN = 3.0
"""How many times the longest observed delay to allow for a command to show up."""

SHORTEST_SHARE = 0.5
"""The least share of the configured time: whatever makes an answer ambiguous may also delay the list."""


@attrs.define
class SettlingTime:
    """Learns how late the list shows commands, from those whose POST was answered.

    A sighting is the age of a command when the list first showed it, as reported by `Watch`: only for commands that
    were looked for early, or were missing when they should have been listed.
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
        """Return how many seconds to look for a lost command."""
        needed = MARGIN * self.longest
        if self.n >= ENOUGH:
            return max(needed, SHORTEST_SHARE * self.configured)
        return max(needed, self.configured)

    def told(self) -> Settling:
        """Return what to report about it."""
        return Settling(seconds=self.seconds, n=self.n, longest=self.longest)
