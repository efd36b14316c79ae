"""How the journal is written: statements with their rows, and the ids used in them.  Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from dexcmd.errors import CampaignError

__all__ = ["Place", "Projector", "Row", "Seqs", "Statement", "Write", "target_id"]

Row = tuple[object, ...]

TARGETS = 2**32
"""The limit on a campaign's targets, so that a target's id can combine its campaign's id and its number."""


def target_id(campaign: int, number: int) -> int:
    """Return the id of a campaign's target."""
    return campaign * TARGETS + number


@attrs.frozen
class Statement:
    """A statement that is executed for many rows."""

    sql: str
    refusal: str | None = None
    """What is wrong if one of its rows is refused, for people; None if none can be."""

    optional: bool = False
    """Whether a row may change nothing; otherwise that counts as a refusal."""


@attrs.frozen
class Place:
    """The campaign that the events belong to."""

    name: str
    campaign: int
    accounts: Mapping[str, int]
    """The ids of its accounts, by name."""

    def account(self, name: str) -> int:
        """Return the id of an account.  Raises `CampaignError` if the campaign has none of that name."""
        try:
            return self.accounts[name]
        except KeyError:
            raise CampaignError(f"campaign {self.name!r} has no account {name!r}") from None

    def target(self, number: int) -> int:
        """Return the id of a target, which need not exist.  Raises `CampaignError` for an impossible number."""
        if not 0 <= number < TARGETS:
            raise CampaignError(f"campaign {self.name!r} has no target {number}")
        return target_id(self.campaign, number)


Write = tuple[Statement, Sequence[Row]]
Seqs = Sequence[int]
"""The places of events in the journal."""

Projector = Callable[[Any, Place, Seqs], list[Write]]
"""Returns what events of one kind change in the tables, in order; `Seqs` are their places in the journal."""
