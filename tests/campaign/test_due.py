"""Which targets are begun next, and how often the journal is asked for them."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from dexcmd import DexClient, Pcap
from dexcmd.campaign.desk import Desk
from dexcmd.campaign.due import DueTargets
from dexcmd.campaign.events import TargetDropped
from dexcmd.campaign.ledger import Ledger
from dexcmd.campaign.pulse import Pulse
from dexcmd.campaign.settling import SettlingTime
from dexcmd.campaign.spec import AccountSpec, ArtifactsSpec, CampaignSpec
from dexcmd.campaign.steering import Steering
from dexcmd.clock import ManualClock
from tests.campaign.facts import Facts, account_id, minutes
from tests.campaign.memory import MemoryStore

pytestmark = pytest.mark.anyio


class CountingStore:
    """A journal that counts what it is asked."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self._store, name)

    def looks(self) -> int:
        """Return how often it was asked what is due, and when, since this was last asked."""
        looks = self.asked["due_targets"] + self.asked["next_due"]
        self.asked.clear()
        return looks


class Account:
    """An account whose first wave is open, and what is due of it."""

    def __init__(self, dex: DexClient, clock: ManualClock) -> None:
        account = AccountSpec(account_id=account_id(), name="main")
        spec = CampaignSpec(name="one", command=Pcap(), accounts=(account,), artifacts=ArtifactsSpec(into="captures"))
        self.clock = clock
        # Later than anything that is made up.
        clock.advance((minutes(60) - clock.now()).total_seconds())
        self.store: Any = CountingStore()
        self.facts = Facts()
        self.desk = Desk(
            spec=spec,
            account=account,
            session=dex.session,
            ledger=Ledger(self.store, "one", "main", lambda _: None),
            steering=Steering(self.store, "one", 1.0),
            pulse=Pulse(clock),
            settling=SettlingTime(60.0),
            deadline=None,
            wave=1,
        )
        self.due = DueTargets(self.desk)

    async def plan(self, *targets: Any) -> None:
        await self.store.append("one", [self.facts.campaign(), *targets])
        await self.desk.ledger.load()

    async def begin(self, most: int = 10, unnoted: int = 0) -> list[int]:
        return [flight.target.number for flight in await self.due.begin(most, unnoted)]

    def in_seconds(self, seconds: float) -> Any:
        return self.clock.now() + timedelta(seconds=seconds)

    async def create(self, number: int) -> None:
        """Have a target that is begun get a command."""
        await self.desk.ledger.note(*self.facts.created(number, f"c{number}", f"p{number}"))

    async def fail(self, number: int, seconds: float) -> None:
        """Have a target that has a command fail, and be due again."""
        again = self.facts.retried(number, "device", self.in_seconds(seconds))
        await self.desk.ledger.note(self.facts.ended(number, f"c{number}", "FAILED"), again)
        self.desk.land(number)


@pytest.fixture
async def account(clock: ManualClock) -> AsyncIterator[Account]:
    async with DexClient(api_token="t", account_id=account_id(), clock=clock) as dex:
        yield Account(dex, clock)


def registrations(account: Account, *devices: str) -> list[Any]:
    """Return targets, each a registration of a device on which they take turns."""
    return [
        account.facts.target(number, device=device, registration_id=f"r{number}", platform="windows")
        for number, device in enumerate(devices, 1)
    ]


async def test_a_registration_that_had_to_wait_goes_before_all_others(account: Account) -> None:
    await account.plan(*registrations(account, "a", "a", "b", "b", "c", "d"))
    assert await account.begin(3) == [1, 3, 5]
    assert await account.begin(0) == []
    account.desk.land(3)
    account.desk.land(1)
    assert await account.begin(1) == [2]
    assert await account.begin(5) == [4, 6]


async def test_who_waits_for_another_registration_is_not_begun_twice(account: Account) -> None:
    await account.plan(*registrations(account, "a", "a", "b"))
    assert await account.begin(unnoted=0) == [1, 3]
    # The journal has all three as pending; what may have come is looked for anew.
    account.due.give_back()
    assert await account.begin(unnoted=2) == []
    account.desk.land(1)
    await account.store.append("one", account.facts.created(1, "c1"))
    assert await account.begin() == [2]
    account.desk.land(2)
    await account.store.append("one", account.facts.created(2, "c2", "post-2"))
    assert await account.begin() == []


async def test_what_is_left_alone_is_begun_when_that_is_over(account: Account) -> None:
    await account.plan(*account.facts.targets(3))
    assert await account.begin(2) == [1, 2]
    until = account.in_seconds(60)
    account.due.leave_alone([1, 2], until)
    for number in (1, 2):
        account.due.give_back()
        account.desk.land(number)
    assert await account.begin() == [3]
    assert await account.begin(unnoted=1) == []
    assert await account.due.next_time() == until
    account.clock.advance(59)
    assert await account.begin(unnoted=1) == []
    account.clock.advance(1)
    assert await account.begin(unnoted=1) == [1, 2]


async def test_what_was_read_is_forgotten_when_it_is_given_up(account: Account) -> None:
    await account.plan(*registrations(account, "a", "a", "b", "c"))
    assert await account.begin(2) == [1, 3]
    for number in (1, 3):
        await account.create(number)
    account.due.clear()
    dropped = [account.facts.make(TargetDropped, target=number, reason="cancelled") for number in (2, 4)]
    await account.store.append("one", dropped)
    account.desk.land(1)
    assert await account.begin() == []


async def test_the_journal_is_not_asked_again_before_there_is_more(account: Account) -> None:
    await account.plan(*account.facts.targets(2))
    assert await account.begin() == [1, 2]
    for number in (1, 2):
        await account.create(number)
    assert await account.begin() == []
    assert await account.due.next_time() is None
    account.store.looks()
    for _ in range(3):
        assert await account.begin() == []
        assert await account.due.next_time() is None
    assert account.store.looks() == 0
    await account.fail(1, 60)
    until = account.in_seconds(60)
    assert await account.begin() == []
    assert await account.due.next_time() == until
    assert account.store.looks() == 2
    assert await account.begin() == []
    assert await account.due.next_time() == until
    assert account.store.looks() == 0
    account.clock.advance(60)
    assert await account.begin() == [1]
    await account.desk.ledger.note(*account.facts.created(1, "another", "another"))
    assert await account.begin() == []
    assert await account.due.next_time() is None
    account.store.looks()
    assert await account.begin() == []
    assert account.store.looks() == 0
    # One that was begun may be due again without any event.
    account.due.give_back()
    assert await account.begin() == []
    assert account.store.looks() == 1


async def test_what_becomes_due_while_it_is_looked_when_is_not_missed(account: Account) -> None:
    await account.plan(*account.facts.targets(2))
    assert await account.begin() == [1, 2]
    for number in (1, 2):
        await account.create(number)
    assert await account.begin() == []
    await account.fail(1, 0)
    # It is due by now, and was not when the journal was asked for what is.
    assert await account.due.next_time() is None
    assert await account.begin() == [1]


async def test_what_is_due_at_once_while_it_is_looked_when_is_not_missed(account: Account) -> None:
    await account.plan(*account.facts.targets(2))
    assert await account.begin() == [1, 2]
    await account.create(1)
    assert await account.begin(unnoted=1) == []
    # Its POST was not sent after all, so that the journal has no time for it.
    account.due.give_back()
    account.desk.land(2)
    assert await account.due.next_time() is None
    assert await account.begin() == [2]


async def test_one_that_is_due_and_waits_for_another_hides_no_later_one(account: Account) -> None:
    await account.plan(*registrations(account, "a", "a", "b"))
    assert await account.begin() == [1, 3]
    await account.create(3)
    await account.fail(3, 60)
    await account.store.append("one", [account.facts.retried(2, "device", account.clock.now())])
    assert await account.begin(unnoted=1) == []
    await account.due.next_time()
    account.clock.advance(60)
    assert await account.begin(unnoted=1) == [3]


async def test_a_wave_that_is_opened_is_looked_through(account: Account) -> None:
    await account.plan(account.facts.target(1), account.facts.target(2, wave=2))
    assert await account.begin() == [1]
    await account.create(1)
    assert await account.begin() == []
    assert await account.due.next_time() is None
    account.desk.wave = 2
    assert await account.begin() == [2]


async def test_what_is_due_in_less_than_a_microsecond_is_not_due_now(account: Account) -> None:
    # Otherwise it would be waited for without end: no wait is so short, and nothing is begun.
    await account.plan(*registrations(account, "a"))
    [number] = await account.begin()
    await account.create(number)
    await account.fail(number, 10.0)
    assert await account.begin() == []
    assert await account.due.next_time() == account.in_seconds(10)
    account.clock.advance(10 - 2e-7)
    assert await account.begin() == []
    until = await account.due.next_time()
    assert until is not None
    assert until > account.clock.now()
    account.clock.advance((until - account.clock.now()).total_seconds())
    assert await account.begin() == [number]
