"""One account's part of the journal: writes its events, and keeps count of its targets."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

import attrs

from dexcmd.campaign.decide import Tally
from dexcmd.campaign.events import CampaignEvent, TargetEvent
from dexcmd.campaign.records import TargetRecord
from dexcmd.campaign.spec import FailureClass
from dexcmd.campaign.state import DECIDED, Change, TargetState, change_of
from dexcmd.campaign.store import Store

__all__ = ["Ledger", "OnEvent"]

OnEvent = Callable[[CampaignEvent], object]


@attrs.define
class _Count:
    states: Counter[TargetState] = attrs.field(factory=Counter[TargetState])
    failures: Counter[FailureClass] = attrs.field(factory=Counter[FailureClass])


@attrs.frozen
class _Place:
    wave: int
    change: Change


class Ledger:
    """Writes an account's events, and keeps count of how many of its targets are in each state.

    Only started targets are held in memory, so their total number does not matter.
    """

    def __init__(self, store: Store, campaign: str, account: str, on_event: OnEvent) -> None:
        self.store = store
        self.campaign = campaign
        self.account = account
        self._on_event = on_event
        self._waves: defaultdict[int, _Count] = defaultdict(_Count)
        self._places: dict[int, _Place] = {}
        self.decided_at: datetime | None = None
        """When a target was last decided, as far as this process knows."""

        self.arrivals: int = 0
        """How often a target became due, at once or later."""

    async def load(self) -> None:
        """Load the counts from the journal."""
        for count in await self.store.counts(self.campaign, self.account):
            wave = self._waves[count.wave]
            wave.states[count.state] += count.n
            if count.failure is not None:
                wave.failures[count.failure] += count.n

    def track(self, record: TargetRecord) -> None:
        """Start tracking a target from its state in the journal."""
        self._places[record.number] = _Place(record.wave, Change(record.state, record.failure))

    def wave(self, number: int) -> Tally:
        """Return the tally of a wave."""
        count = self._waves[number]
        return Tally(dict(count.states), dict(count.failures))

    @property
    def waves(self) -> int:
        """Return how many waves there are."""
        return max(self._waves, default=0)

    @property
    def total(self) -> Tally:
        """Return the tally of all targets that are not skipped."""
        states: Counter[TargetState] = Counter()
        failures: Counter[FailureClass] = Counter()
        for number, count in self._waves.items():
            if number > 0:
                states.update(count.states)
                failures.update(count.failures)
        return Tally(states, failures)

    async def note(self, *events: CampaignEvent) -> None:
        """Write events, which are durable when this returns.  Raises what `Store.append` does."""
        await self.store.append(self.campaign, events)
        self._count(events)
        for event in events:
            self._on_event(event)

    def _count(self, events: Sequence[CampaignEvent]) -> None:
        touched: set[int] = set()
        for event in events:
            change = change_of(event)
            if change is None or not isinstance(event, TargetEvent):
                continue
            place = self._places[event.target]
            count = self._waves[place.wave]
            self._add(count, place.change, -1)
            self._add(count, change, 1)
            self._places[event.target] = attrs.evolve(place, change=change)
            touched.add(event.target)
            if change.state in DECIDED:
                self.decided_at = event.at
            self.arrivals += change.state == "pending"
        for target in touched:
            # A target that is decided or due again is loaded again if anything is to be done about it.
            if self._places[target].change.state in DECIDED or self._places[target].change.state == "pending":
                del self._places[target]

    @staticmethod
    def _add(count: _Count, change: Change, n: int) -> None:
        count.states[change.state] += n
        if change.failure is not None:
            count.failures[change.failure] += n
