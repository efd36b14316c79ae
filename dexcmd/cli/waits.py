"""Reports waits so long that users might wonder whether anything is still happening."""

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
    """An `on_event` hook that explains long waits on stderr, once per wait, and passes events on."""

    def __init__(self, on_event: Callable[[Event], object] | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._on_event = on_event
        self._clock = clock
        self._until = 0.0

    def __call__(self, event: Event) -> None:
        """Handle an event."""
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
    """Return an `on_event` hook that also reports long waits, unless the log already does."""
    return on_event if common.verbose else Waits(on_event)
