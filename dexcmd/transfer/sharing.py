"""What downloads that run side by side share."""

import asyncio

import anyio
import attrs

from dexcmd.clock import Clock
from dexcmd.errors import DownloadError
from dexcmd.transfer.throttle import Throttle

__all__ = ["NOTHING_SHARED", "NotBegunError", "Shared"]


class NotBegunError(DownloadError):
    """Nothing was asked for, for nothing more is to be begun."""


@attrs.frozen(kw_only=True)
class Shared:
    """What downloads share; each of it may be missing."""

    throttle: Throttle | None = None
    slots: "anyio.Semaphore | None" = None
    """How many may ask for artifacts and receive them at a time, or are about to do so once more; what is received is
    finished outside of it.
    """

    stopped: asyncio.Event | None = None
    """Once set, no artifact is begun any more, which is a `NotBegunError`; those that are begun go on."""

    @classmethod
    def among(cls, concurrency: int, bytes_per_second: float | None, stopped: asyncio.Event, clock: Clock) -> "Shared":
        """Return it for so many at a time, and bytes a second in all."""
        return cls(
            throttle=None if bytes_per_second is None else Throttle(bytes_per_second, clock),
            slots=anyio.Semaphore(concurrency, fast_acquire=True),
            stopped=stopped,
        )


NOTHING_SHARED = Shared()
