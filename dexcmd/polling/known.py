"""What polls have taught of a list of commands.  Pure."""

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
    """What all polls of a client add to, and plan by."""

    rows: Rows = attrs.field(factory=Rows)
    durations: Durations = attrs.field(factory=Durations)
    schedules: "WeakSet[Schedule]" = attrs.field(factory=WeakSet["Schedule"])
    """Those of all followers that have not been forgotten."""

    def forget(self) -> None:
        """Forget of the rows what lies too far back to matter to any of them."""
        self.rows.forget_before(min((schedule.oldest for schedule in self.schedules), default=math.inf))
