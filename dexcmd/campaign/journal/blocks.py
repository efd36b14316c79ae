"""Events put together by their kind where that makes no difference: so each statement is for many rows.  Pure."""

from collections.abc import Iterable, Iterator
from typing import cast

import attrs

from dexcmd.campaign.events import (
    ArtifactFailed,
    ArtifactSaved,
    CampaignEvent,
    CommandEnded,
    CommandKnown,
    CommandOverdue,
    IntentClosed,
    TargetDropped,
    TargetEvent,
    TargetRetried,
)

__all__ = ["AT_ONCE", "Block", "blocks"]

AT_ONCE = 500
"""Events of a block: a plan of any size takes little memory."""

INDEPENDENT: frozenset[type[CampaignEvent]] = frozenset(
    {
        IntentClosed,
        CommandKnown,
        CommandEnded,
        CommandOverdue,
        ArtifactSaved,
        ArtifactFailed,
        TargetRetried,
        TargetDropped,
    }
)
"""Kinds of events of targets that may come in another order where they are of different targets.

An intent is not among them: it may depend on the end of another target's.
"""


@attrs.define
class Block:
    """Events that follow each other."""

    events: list[CampaignEvent] = attrs.field(factory=list[CampaignEvent])
    """In their order."""

    groups: dict[type[CampaignEvent], list[int]] = attrs.field(factory=dict[type[CampaignEvent], list[int]])
    """Where in `events` those of each kind are, the kinds in the order in which they are to be worked off."""

    _independent: bool = True
    _order: dict[type[CampaignEvent], int] = attrs.field(factory=dict[type[CampaignEvent], int])
    """The place in that order of each kind whose events are independent."""

    _ranks: dict[int, int] = attrs.field(factory=dict[int, int])
    """By the target, the place in that order of the latest of its events."""

    def add(self, event: CampaignEvent) -> bool:
        """Take an event, or tell that it does not fit."""
        kind = type(event)
        group = self.groups.get(kind)
        if kind in INDEPENDENT:
            target = cast("TargetEvent", event).target
            rank = self._order.setdefault(kind, len(self._order))
            # The turn of its kind must not have passed for its target.
            if not self._independent or rank < self._ranks.get(target, 0):
                return False
            self._ranks[target] = rank
        elif group is None and self.groups:
            return False
        else:
            self._independent = False
        if group is None:
            group = self.groups[kind] = []
        group.append(len(self.events))
        self.events.append(event)
        return True


def blocks(events: Iterable[CampaignEvent]) -> Iterator[Block]:
    """Return events in blocks, none of which is empty."""
    block = Block()
    for event in events:
        if len(block.events) >= AT_ONCE or not block.add(event):
            yield block
            block = Block()
            block.add(event)
    if block.events:
        yield block
