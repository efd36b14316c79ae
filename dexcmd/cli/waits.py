"""What is said of waits that are so long that nobody knows whether anything is still done."""

import time
from collections.abc import Callable

from dexcmd.cli.common import Common
from dexcmd.cli.moments import duration_text
from dexcmd.cli.stderr import note
from dexcmd.events import Event, Paced, Retrying

__all__ = ["WORTH_TELLING", "Waits", "telling_waits"]

WORTH_TELLING = 5.0
"""Seconds."""


class Waits:
    """An `on_event` that says on stderr why nothing happens, once for as long as that lasts, and passes events on."""

    def __init__(self, on_event: Callable[[Event], object] | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._on_event = on_event
        self._clock = clock
        self._until = 0.0

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if self._on_event is not None:
            self._on_event(event)
        if isinstance(event, Retrying | Paced) and event.wait >= WORTH_TELLING and self._clock() >= self._until:
            self._until = self._clock() + event.wait
            seconds = duration_text(event.wait)
            if isinstance(event, Retrying):
                note(f"{event.error}; retrying in {seconds}")
            else:
                note(f"waiting {seconds} for the rate limit")


def telling_waits(
    common: Common, on_event: Callable[[Event], object] | None = None
) -> Callable[[Event], object] | None:
    """Return an `on_event` that does as the given one and tells of long waits, unless the log tells of them already."""
    return on_event if common.verbose else Waits(on_event)
