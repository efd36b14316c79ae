"""Records artifacts that are in place, several at a time.

One by one, each would need its own commit, which costs more than everything else the journal does for it.  A process
that dies first loses nothing: the complete file is found again, and is not fetched twice.
"""

import anyio

from dexcmd.campaign.desk import Desk
from dexcmd.campaign.events import ArtifactSaved

__all__ = ["Recorder"]

TOGETHER_SECONDS = 0.05
"""How long the first one waits for others."""


class Recorder:
    """Records what was saved, and releases its targets."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._saved: list[ArtifactSaved] = []
        self.waiting: int = 0
        """How many are not recorded yet."""

    def add(self, saved: ArtifactSaved) -> None:
        """Have an artifact recorded within a moment."""
        self._saved.append(saved)
        self.waiting += 1
        self._desk.pulse.touch()

    async def run(self) -> None:
        """Record until cancelled, and then record what is left."""
        pulse = self._desk.pulse
        try:
            while True:
                version = pulse.version
                if self._saved:
                    await self._desk.clock.sleep(TOGETHER_SECONDS)
                    await self._write_down()
                    pulse.touch()
                else:
                    await pulse.wait(version)
        finally:
            with anyio.CancelScope(shield=True):
                await self._write_down()

    async def _write_down(self) -> None:
        saved, self._saved = self._saved, []
        if saved:
            await self._desk.ledger.note(*saved)
        for event in saved:
            self._desk.land(event.target)
        self.waiting -= len(saved)
