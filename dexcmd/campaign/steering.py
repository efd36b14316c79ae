"""What the operator wants of a campaign that runs, here and from other terminals."""

from collections.abc import Awaitable, Callable

import anyio

from dexcmd.campaign.events import Control
from dexcmd.campaign.pulse import Pulse
from dexcmd.campaign.store import Store
from dexcmd.tasks import run_beside

__all__ = ["Steering"]


class Steering:
    """Knows what is wanted, and wakes the shards when that changes."""

    def __init__(self, store: Store, campaign: str, interval: float) -> None:
        self._store = store
        self._campaign = campaign
        self._interval = interval
        self._pulses: list[Pulse] = []
        self._ending = anyio.Event()
        self.control: Control = "run"
        self.stopping: bool = False
        """Whether this process is to end soon: nothing more is begun, and what is being fetched is finished."""

    @property
    def ending(self) -> bool:
        """Whether nothing more is to be begun: this process is to end soon, or the campaign is cancelled."""
        return self.stopping or self.control in ("cancel_keep", "cancel_drop")

    async def run_unless_ending(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run what can be left at any point, and leave it at once where nothing more is to be begun."""
        with anyio.CancelScope() as scope:

            async def leave() -> None:
                await self._ending.wait()
                scope.cancel()

            if not self.ending:
                await run_beside(work, [leave])

    def attach(self, pulse: Pulse) -> None:
        """Touch a pulse at each change."""
        self._pulses.append(pulse)

    def stop(self) -> None:
        """Have this process end soon.  The campaign itself goes on with the next."""
        self.stopping = True
        self._touch()

    async def look(self) -> None:
        """Take over what the journal says is wanted."""
        record = await self._store.campaign(self._campaign)
        if record is not None and record.control != self.control:
            self.control = record.control
            self._touch()

    async def watch(self) -> None:
        """Look at the journal again and again: another process may write there."""
        # In real time, whatever clock the campaign has: it is a person who waits for the effect.
        while True:
            await anyio.sleep(self._interval)
            await self.look()

    def _touch(self) -> None:
        if self.ending:
            self._ending.set()
        for pulse in self._pulses:
            pulse.touch()
