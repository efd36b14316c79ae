"""What the operator wants of a running campaign, from this process or another terminal."""

from collections.abc import Awaitable, Callable

import anyio

from dexcmd.campaign.events import Control
from dexcmd.campaign.pulse import Pulse
from dexcmd.campaign.store import Store
from dexcmd.tasks import run_beside

__all__ = ["Steering"]


class Steering:
    """Knows what the operator wants, and wakes the shards when that changes."""

    def __init__(self, store: Store, campaign: str, interval: float) -> None:
        self._store = store
        self._campaign = campaign
        self._interval = interval
        self._pulses: list[Pulse] = []
        self._ending = anyio.Event()
        self.control: Control = "run"
        self.stopping: bool = False
        """Whether this process is to end soon: it starts nothing more, and finishes downloads in progress."""

    @property
    def ending(self) -> bool:
        """Whether nothing more is to be started: this process is to end soon, or the campaign is cancelled."""
        return self.stopping or self.control in ("cancel_keep", "cancel_drop")

    async def run_unless_ending(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run work that may be abandoned at any point, and abandon it as soon as nothing more is to be started."""
        with anyio.CancelScope() as scope:

            async def leave() -> None:
                await self._ending.wait()
                scope.cancel()

            if not self.ending:
                await run_beside(work, [leave])

    def attach(self, pulse: Pulse) -> None:
        """Touch a pulse at every change."""
        self._pulses.append(pulse)

    def stop(self) -> None:
        """Make this process end soon.  The campaign resumes with the next."""
        self.stopping = True
        self._touch()

    async def look(self) -> None:
        """Adopt what the journal says is wanted."""
        record = await self._store.campaign(self._campaign)
        if record is not None and record.control != self.control:
            self.control = record.control
            self._touch()

    async def watch(self) -> None:
        """Check the journal regularly: another process may have written to it."""
        # In real time, whatever the campaign's clock: a person is waiting for the effect.
        while True:
            await anyio.sleep(self._interval)
            await self.look()

    def _touch(self) -> None:
        if self.ending:
            self._ending.set()
        for pulse in self._pulses:
            pulse.touch()
