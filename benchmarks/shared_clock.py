"""A clock that is the same in all processes of a measurement, and may go faster than the machine's."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from benchmarks.case import Params

__all__ = ["SharedClock"]

EPOCH = datetime(2026, 1, 1, 9, tzinfo=UTC)


class SharedClock:
    """A clock for dexcmd, for services and for what is measured."""

    def __init__(self, started: float, speed: float) -> None:
        """Let it go `speed` times as fast since `started`, a time of the monotonic clock that all processes share."""
        self.started = started
        self.speed = speed

    @classmethod
    def start(cls, speed: float = 1.0) -> "SharedClock":
        """Return a clock that begins now."""
        return cls(time.monotonic(), speed)

    @classmethod
    def of(cls, params: Params) -> "SharedClock":
        """Return the clock that params tell of."""
        return cls(**params["clock"])

    def params(self) -> Params:
        """Return what other processes need to be told to have this clock."""
        return {"clock": {"started": self.started, "speed": self.speed}}

    def monotonic(self) -> float:
        """Return the seconds of this clock since it began."""
        return (time.monotonic() - self.started) * self.speed

    def now(self) -> datetime:
        """Return the time in UTC, which at its beginning is a date in 2026."""
        return EPOCH + timedelta(seconds=self.monotonic())

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds of this clock have passed."""
        await asyncio.sleep(seconds / self.speed)
