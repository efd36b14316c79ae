"""Why downloads of a running campaign fail, said now and then: thousands may fail for one reason."""

import time
from collections.abc import Callable

import attrs

from dexcmd.campaign.events import ArtifactFailed, CampaignEvent, TargetRetried
from dexcmd.cli.moments import duration_text

__all__ = ["Setbacks"]

SETBACK_SECONDS = 60.0
"""Minimum seconds between two messages."""


@attrs.define
class Setbacks:
    """Turns failed downloads that are to be tried again into occasional messages.

    What has failed for good is in the counts, and in the export with its reason.
    """

    _clock: Callable[[], float] = time.monotonic
    _error: str = ""
    """Of the last download that failed; whether it is tried again is told by the event that follows."""

    _told_at: float = float("-inf")
    _untold: int = 0

    def line(self, event: CampaignEvent) -> str | None:
        """Return the message for an event; None for most."""
        match event:
            case ArtifactFailed():
                self._error = event.error
                return None
            case TargetRetried(failure="download"):
                return self._line(event)
            case _:
                return None

    def _line(self, retried: TargetRetried) -> str | None:
        now = self._clock()
        if now - self._told_at < SETBACK_SECONDS:
            self._untold += 1
            return None
        since = f" (and {self._untold:,} more since the last such message)" if self._untold else ""
        self._told_at, self._untold = now, 0
        again = duration_text((retried.not_before - retried.at).total_seconds())
        return f"a download failed{since}, next try in {again}: {self._error}"
