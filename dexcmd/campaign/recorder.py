"""Artifacts that are in place, written down together.

One by one each would take a commit of its own, which costs more than all else that the journal does for it.  What is
lost with the process is found again: the file is there, whole, and is not fetched once more.
"""

import anyio

from dexcmd.campaign.desk import Desk
from dexcmd.campaign.events import ArtifactSaved

__all__ = ["Recorder"]

TOGETHER_SECONDS = 0.05
"""For how long the first waits for others."""


class Recorder:
    """Writes down what was saved, and lets go of its targets."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._saved: list[ArtifactSaved] = []
        self.waiting: int = 0
        """How many are not written down yet."""

    def add(self, saved: ArtifactSaved) -> None:
        """Have it written down within a moment."""
        self._saved.append(saved)
        self.waiting += 1
        self._desk.pulse.touch()

    async def run(self) -> None:
        """Write down until cancelled, and then what is left."""
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
