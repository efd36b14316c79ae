"""How the journal is written: statements with their rows, and the ids that these are told by.  Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from dexcmd.errors import CampaignError

__all__ = ["Place", "Projector", "Row", "Seqs", "Statement", "Write", "target_id"]

Row = tuple[object, ...]

TARGETS = 2**32
"""A campaign has fewer, so that a target's id can be made of its campaign's and its number."""


def target_id(campaign: int, number: int) -> int:
    """Return the id of a campaign's target."""
    return campaign * TARGETS + number


@attrs.frozen
class Statement:
    """One that is executed for many rows."""

    sql: str
    refusal: str | None = None
    """What is wrong where a row of it is refused, for people; None where none can be."""

    optional: bool = False
    """Whether a row may well change nothing; otherwise that is a refusal."""


@attrs.frozen
class Place:
    """The campaign that events are of."""

    name: str
    campaign: int
    accounts: Mapping[str, int]
    """The ids of its accounts by name."""

    def account(self, name: str) -> int:
        """Return the id of an account.  Raises `CampaignError` where the campaign has none of that name."""
        try:
            return self.accounts[name]
        except KeyError:
            raise CampaignError(f"campaign {self.name!r} has no account {name!r}") from None

    def target(self, number: int) -> int:
        """Return the id that a target has, if it is there.  Raises `CampaignError` for a number that none can have."""
        if not 0 <= number < TARGETS:
            raise CampaignError(f"campaign {self.name!r} has no target {number}")
        return target_id(self.campaign, number)


Write = tuple[Statement, Sequence[Row]]
Seqs = Sequence[int]
"""The places of events in the journal."""

Projector = Callable[[Any, Place, Seqs], list[Write]]
"""Returns what events of one kind mean for the tables, in this order; `Seqs` are their places."""
