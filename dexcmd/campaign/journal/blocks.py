"""Groups events by kind where their order makes no difference, so that each statement covers many rows.  Pure."""

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
"""The most events of a block: a plan of any size takes little memory."""

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
"""Kinds of target events that may be reordered between different targets.

`IntentOpened` is not among them: it may depend on the end of another target's intent.
"""


@attrs.define
class Block:
    """Consecutive events."""

    events: list[CampaignEvent] = attrs.field(factory=list[CampaignEvent])
    """In their original order."""

    groups: dict[type[CampaignEvent], list[int]] = attrs.field(factory=dict[type[CampaignEvent], list[int]])
    """The indexes into `events` by kind, with the kinds in the order in which they are to be processed."""

    _independent: bool = True
    _order: dict[type[CampaignEvent], int] = attrs.field(factory=dict[type[CampaignEvent], int])
    """The position in that order of each kind whose events are independent."""

    _ranks: dict[int, int] = attrs.field(factory=dict[int, int])
    """By target, the position in that order of its latest event."""

    def add(self, event: CampaignEvent) -> bool:
        """Add an event, or return False if it does not fit."""
        kind = type(event)
        group = self.groups.get(kind)
        if kind in INDEPENDENT:
            target = cast("TargetEvent", event).target
            rank = self._order.setdefault(kind, len(self._order))
            # Its kind must not be processed before an earlier event of its target.
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
    """Yield the events in non-empty blocks."""
    block = Block()
    for event in events:
        if len(block.events) >= AT_ONCE or not block.add(event):
            yield block
            block = Block()
            block.add(event)
    if block.events:
        yield block
