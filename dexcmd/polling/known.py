"""What polls have learned about a list of commands.  Pure."""

import math
from typing import TYPE_CHECKING
from weakref import WeakSet

import attrs

from dexcmd.polling.durations import Durations
from dexcmd.polling.looks import Rows

if TYPE_CHECKING:
    from dexcmd.polling.schedule import Schedule

__all__ = ["Known"]


@attrs.define(eq=False)
class Known:
    """The knowledge shared by all polls of a client, which add to it and plan by it."""

    rows: Rows = attrs.field(factory=Rows)
    durations: Durations = attrs.field(factory=Durations)
    schedules: "WeakSet[Schedule]" = attrs.field(factory=WeakSet["Schedule"])
    """Those of all live followers."""

    def forget(self) -> None:
        """Drop the rows that are too old to matter to any of them."""
        self.rows.forget_before(min((schedule.oldest for schedule in self.schedules), default=math.inf))
