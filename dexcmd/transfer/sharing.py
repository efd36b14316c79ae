"""What concurrent downloads share."""

import asyncio

import anyio
import attrs

from dexcmd.clock import Clock
from dexcmd.errors import DownloadError
from dexcmd.transfer.throttle import Throttle

__all__ = ["NOTHING_SHARED", "NotStartedError", "Shared"]


class NotStartedError(DownloadError):
    """Nothing was requested, as no more downloads are to start."""


@attrs.frozen(kw_only=True)
class Shared:
    """What downloads share; each field may be None."""

    throttle: Throttle | None = None
    slots: "anyio.Semaphore | None" = None
    """Limits how many may request and receive artifacts, or be about to do so again, at once.  Received artifacts are
    finished without a slot.
    """

    stopped: asyncio.Event | None = None
    """Once set, no more downloads start (`NotStartedError`); those in progress continue."""

    @classmethod
    def among(cls, concurrency: int, bytes_per_second: float | None, stopped: asyncio.Event, clock: Clock) -> "Shared":
        """Return it for `concurrency` downloads at once, and `bytes_per_second` in total."""
        return cls(
            throttle=None if bytes_per_second is None else Throttle(bytes_per_second, clock),
            slots=anyio.Semaphore(concurrency, fast_acquire=True),
            stopped=stopped,
        )


NOTHING_SHARED = Shared()
