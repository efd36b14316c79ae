"""Accounts that are planned by a run, each by itself: against sandboxes over real sockets."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from dexcmd import DexClient, RateLimit, RetryPolicy
from dexcmd.campaign.events import AccountStopped, CampaignEvent, CampaignPlanned, IntentOpened, RunEnded, TargetPlanned
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.plan import campaign_planned
from dexcmd.campaign.spec import AccountSpec, Targeting
from dexcmd.campaign.store import Store
from dexcmd.errors import CampaignBusyError, CampaignError, ConfigurationError
from dexcmd.sandbox import Fault, SandboxDevice
from tests.campaign.conftest import CampaignRig

pytestmark = pytest.mark.anyio


def device(number: int) -> SandboxDevice:
    return SandboxDevice(
        device_id=f"00000000-0000-4000-8000-{number:012d}",
        registration_id=f"00000000-0000-4000-9000-{number:012d}",
        name=f"laptop-{number}",
        user_email=f"user{number}@example.com",
        platform="mac",
    )


async def planned(campaigns: CampaignRig) -> list[tuple[int, str, str, str | None]]:
    """Return number, account, device and reason to skip of each target in the journal."""
    async with campaigns.campaign("one") as campaign:
        events = [recorded.event async for recorded in campaign.events()]
    targets = [event for event in events if isinstance(event, TargetPlanned)]
    return sorted((one.target, one.account, str(int((one.device_id or "")[-12:])), one.skip) for one in targets)


def named(folder: Path, *rows: tuple[int, str]) -> Targeting:
    file = folder / "devices.csv"
    file.write_text("device_id,account\n" + "".join(f"{device(one).device_id},{account}\n" for one, account in rows))
    return Targeting(csv=str(file))


class Gate:
    """Makes clients; the one for the plan of an account comes when it is let through."""

    def __init__(self, campaigns: CampaignRig, account: str) -> None:
        self._campaigns = campaigns
        self._account = account
        self.reached = anyio.Event()
        self.opened = anyio.Event()

    def __call__(self, account: AccountSpec) -> Any:
        dex = self._campaigns.client(account)
        return self.waiting(dex) if account.name == self._account and not self.opened.is_set() else dex

    @asynccontextmanager
    async def waiting(self, dex: DexClient) -> AsyncIterator[DexClient]:
        self.reached.set()
        await self.opened.wait()
        async with dex:
            yield dex


async def test_accounts_are_numbered_as_they_are_planned(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1), device(2)])
    await campaigns.account("b", devices=[device(3), device(4)])
    gate = Gate(campaigns, "a")

    def note(event: CampaignEvent) -> None:
        campaigns.events.append(event)
        if isinstance(event, AccountStopped):
            # All is over in the other one before this one is known.
            gate.opened.set()

    async with campaigns.campaign(campaigns.spec(), client=gate) as campaign:
        with anyio.fail_after(60):
            status = await campaign.run(on_event=note)
    assert [event.account for event in campaigns.of(AccountStopped)] == ["b", "a"]
    assert (status.state, status.count("saved")) == ("finished", 4)
    rows = await planned(campaigns)
    assert [(number, account) for number, account, *_ in rows] == [(1, "b"), (2, "b"), (3, "a"), (4, "a")]


async def test_a_device_that_may_be_in_any_account_is_missed_once(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[device(2)])
    targets = Targeting(device_ids=tuple(device(number).device_id for number in (1, 2, 3)))
    status = await campaigns.run(campaigns.spec(targets=targets))
    assert (status.state, status.count("saved")) == ("finished", 2)
    assert [row[1:] for row in await planned(campaigns)] == [
        ("a", "1", None),
        ("a", "3", "not_found"),
        ("b", "2", None),
    ]


async def test_a_device_that_is_in_one_account_is_missed_there(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[device(2)])
    targets = named(campaigns.folder, (1, "a"), (2, "b"), (3, "b"), (1, "b"))
    status = await campaigns.run(campaigns.spec(targets=targets))
    assert (status.state, status.count("saved")) == ("finished", 2)
    assert sorted(row[1:] for row in await planned(campaigns)) == [
        ("a", "1", None),
        ("b", "1", "not_found"),
        ("b", "2", None),
        ("b", "3", "not_found"),
    ]


async def test_who_could_not_be_read_when_all_were_planned_misses_only_its_own(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[device(2)])
    file = campaigns.folder / "devices.csv"
    names = [(1, ""), (2, ""), (3, "b"), (4, "a"), (5, "")]
    file.write_text("device_id,account\n" + "".join(f"{device(one).device_id},{name}\n" for one, name in names))
    b.faults.add(Fault.error(403), on="list_commands")
    status = await campaigns.run(campaigns.spec(targets=Targeting(csv=str(file))))
    assert (status.state, status.count("saved")) == ("finished", 2)
    rows = await planned(campaigns)
    assert [row[1:] for row in rows] == [
        ("a", "1", None),
        ("a", "4", "not_found"),
        # As far as could be seen then.
        ("a", "5", "not_found"),
        ("b", "2", None),
        ("b", "3", "not_found"),
    ]


async def test_who_is_in_no_account_is_missed_where_none_could_be_read_at_first(campaigns: CampaignRig) -> None:
    a = await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[device(2)])
    for sandbox in (a, b):
        # All planned as one, and then each alone.
        sandbox.faults.add(Fault.error(403), on="get_quota", times=2)
    targets = Targeting(device_ids=tuple(device(number).device_id for number in (1, 2, 3)))
    assert (await campaigns.run(campaigns.spec(targets=targets))).state == "refused"
    status = await campaigns.run("one")
    assert (status.state, status.count("saved")) == ("finished", 2)
    missed = [(device, skip) for _, _, device, skip in await planned(campaigns) if skip is not None]
    assert missed == [("3", "not_found")]


@pytest.mark.parametrize(("at_first", "missing_at"), [("none", "b"), ("some", "a")])
async def test_who_is_in_no_account_is_missed_once_all_have_been_read_in_whatever_run(
    campaigns: CampaignRig, at_first: str, missing_at: str
) -> None:
    a = await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[device(2)])
    c = await campaigns.account("c", devices=[])
    # All planned as one, and then each alone.
    b.faults.add(Fault.error(403), on="get_quota", times=2)
    if at_first == "none":
        a.faults.add(Fault.error(403), on="get_quota", times=1)
        c.faults.add(Fault.error(403), on="get_quota", times=1)
    targets = Targeting(device_ids=tuple(device(number).device_id for number in (1, 2, 3)))
    status = await campaigns.run(campaigns.spec(targets=targets))
    assert [one.stopped for one in status.accounts] == ["finished", "refused", "finished"]
    status = await campaigns.run("one")
    assert (status.state, status.count("saved")) == ("finished", 2)
    rows = [(account, skip) for _, account, device, skip in await planned(campaigns) if device == "3"]
    assert rows == [(missing_at, "not_found")]


async def test_an_account_without_a_device_has_ended(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[])
    status = await campaigns.run(campaigns.spec())
    assert status.state == "finished"
    reasons = {event.account: (event.kind, event.reason) for event in campaigns.of(AccountStopped)}
    assert reasons == {
        "a": ("finished", None),
        "b": ("finished", "no device of this account matched when the campaign was planned"),
    }
    # Nothing was asked of it but for the plan.
    assert campaigns.asked("get_quota", "b") == campaigns.asked("list_devices", "b") == 1


async def test_a_list_of_devices_that_can_not_be_read_begins_nothing(campaigns: CampaignRig) -> None:
    await campaigns.account("a")
    await campaigns.account("b")
    spec = campaigns.spec(targets=Targeting(csv=str(campaigns.folder / "gone.csv")))
    async with campaigns.campaign(spec) as campaign:
        with pytest.raises(ConfigurationError, match=r"gone\.csv"):
            await campaign.run()
        assert not await campaign.known()
    assert campaigns.asked("get_quota") == 0


async def test_it_is_read_no_more_once_all_are_planned(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[device(2)])
    spec = campaigns.spec(targets=named(campaigns.folder, (1, "a"), (2, "b")))
    async with campaigns.campaign(spec) as campaign:
        plan = await campaign.plan()
        (campaigns.folder / "devices.csv").unlink()
        status = await campaign.run(plan)
    assert (status.state, status.count("saved")) == ("finished", 2)


async def test_a_list_of_devices_that_is_gone_ends_only_who_is_to_be_planned_by_it(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[device(2)])
    spec = campaigns.spec(targets=named(campaigns.folder, (1, "a"), (2, "b")))
    b.faults.add(Fault.error(403), times=None)
    async with campaigns.campaign(spec) as campaign:

        def stop(event: CampaignEvent) -> None:
            if isinstance(event, IntentOpened):
                campaign.stop()

        status = await campaign.run(on_event=stop)
        assert status.count("saved") == 0
        b.faults.clear()
        gone = (campaigns.folder / "devices.csv").rename(campaigns.folder / "gone.csv")
        status = await campaign.run()
        assert [one.stopped for one in status.accounts] == ["finished", "refused"]
        assert "devices.csv" in (status.accounts[1].reason or "")
        assert status.count("saved") == 1
        gone.rename(campaigns.folder / "devices.csv")
        status = await campaign.run()
    assert (status.state, status.count("saved")) == ("finished", 2)


async def test_a_stop_waits_for_no_account_that_is_planned(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[device(2)])
    gate = Gate(campaigns, "b")
    async with campaigns.campaign(campaigns.spec(), client=gate) as campaign, anyio.create_task_group() as group:

        async def stop() -> None:
            await gate.reached.wait()
            while not campaigns.of(AccountStopped):
                await anyio.sleep(0.001)
            campaign.stop()

        group.start_soon(stop)
        with anyio.fail_after(60):
            status = await campaign.run(on_event=campaigns.events.append)
        assert [event.reason for event in campaigns.of(RunEnded)] == ["interrupted"]
        assert (status.state, status.count("saved"), status.count()) == ("interrupted", 1, 1)
        gate.opened.set()
        status = await campaign.run()
    assert (status.state, status.count("saved")) == ("finished", 2)


@pytest.mark.parametrize("alone", [True, False])
async def test_a_stop_does_not_wait_for_the_plan_of_them_all(campaigns: CampaignRig, alone: bool) -> None:
    await campaigns.account("a", devices=[device(1)])
    if not alone:
        await campaigns.account("b", devices=[device(2)])
    gate = Gate(campaigns, "a")
    targets = Targeting(device_ids=(device(1).device_id, device(2).device_id))
    async with (
        campaigns.campaign(campaigns.spec(targets=targets, deadline=timedelta(hours=1)), client=gate) as campaign,
        anyio.create_task_group() as group,
    ):

        async def stop() -> None:
            await gate.reached.wait()
            campaign.stop()

        group.start_soon(stop)
        with anyio.fail_after(20):
            status = await campaign.run(on_event=campaigns.events.append)
        # It is known, and the time up to its deadline has not begun.
        assert (status.state, status.deadline, status.count()) == ("planned", None, 0)
        assert not campaigns.events
        gate.opened.set()
        status = await campaign.run()
    assert (status.state, status.count("saved")) == ("finished", 1 if alone else 2)


async def test_a_second_run_that_is_refused_takes_nothing_from_the_first(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    gate = Gate(campaigns, "a")
    async with campaigns.campaign(campaigns.spec(), client=gate) as campaign, anyio.create_task_group() as group:

        async def run_again() -> None:
            await gate.reached.wait()
            with pytest.raises(CampaignBusyError):
                await campaign.run()
            async with campaigns.campaign("one") as other:
                running = [(await one.status()).running_elsewhere for one in (campaign, other)]
            assert running == [False, True]
            campaign.stop()

        await campaign.store.append(campaign.name, [campaign_planned(campaign.spec, campaigns.clock.now())])
        group.start_soon(run_again)
        with anyio.fail_after(20):
            status = await campaign.run()
    assert status.state == "interrupted"


async def test_what_is_not_in_the_journal_yet_is_taken_from_the_plan(campaigns: CampaignRig) -> None:
    a = await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[device(2), device(3)])
    b.faults.add(Fault.error(403), on="get_quota", times=1)
    status = await campaigns.run(campaigns.spec(targets=Targeting(exclude=(device(3).device_id,))))
    assert (status.state, status.count("saved")) == ("refused", 1)
    # So the plan has other numbers for the second one than the journal has left.
    a.state.devices = (device(4), device(5), *a.state.devices)
    async with campaigns.campaign("one") as campaign:
        plan = await campaign.plan()
        b.state.devices = (device(6), *b.state.devices)
        looks = campaigns.asked("list_devices")
        status = await campaign.run(plan)
    assert (status.state, status.count("saved")) == ("finished", 2)
    assert campaigns.asked("list_devices") == looks
    assert await planned(campaigns) == [(1, "a", "1", None), (2, "b", "2", None), (3, "b", "3", "excluded")]


async def test_a_run_whose_plan_is_of_the_first_account_only(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[])
    b = await campaigns.account("b", devices=[device(2)])
    c = await campaigns.account("c", devices=[device(3)])
    await campaigns.account("d", devices=[device(4)])
    b.faults.add(Fault.silence(headers=False), on="get_quota", times=1)
    c.faults.add(Fault.error(403), on="get_quota", times=1)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        with anyio.fail_after(60):
            plan = await campaign.plan(first=True)
        accounts = {account.account.name: account.commands for account in plan.accounts}
        # One that has nothing to capture, and one that can't be read, are told; nobody waits for the silent one.
        assert (accounts, [*plan.errors]) == ({"a": 0, "c": 0, "d": 1}, ["c"])
        looks = campaigns.asked("list_devices", "d")
        status = await campaign.run(plan)
    assert (status.state, status.count("saved")) == ("finished", 3)
    assert campaigns.asked("list_devices", "d") == looks
    first, *others = await planned(campaigns)
    assert first == (1, "d", "4", None)
    assert sorted(row[1:] for row in others) == [("b", "2", None), ("c", "3", None)]


async def test_the_first_account_that_captures_something_before_the_deadline(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)], quota=1)
    b = await campaigns.account("b", devices=[device(2)])
    b.faults.add(Fault.slow(0.2, real_time=True), on="get_quota", times=1)
    async with campaigns.campaign(campaigns.spec(deadline=timedelta(seconds=1), leave_quota=1)) as campaign:
        plan = await campaign.plan(first=True)
    assert [(account.account.name, account.commands, account.late) for account in plan.accounts] == [
        ("a", 0, 1),
        ("b", 1, 0),
    ]


async def test_all_are_looked_at_for_a_device_that_may_be_in_any(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[device(2)])
    b.faults.add(Fault.slow(0.2, real_time=True), on="get_quota", times=1)
    targets = Targeting(device_ids=tuple(device(number).device_id for number in (1, 2, 3)))
    async with campaigns.campaign(campaigns.spec(targets=targets)) as campaign:
        plan = await campaign.plan(first=True)
    assert [account.account.name for account in plan.accounts] == ["a", "b"]
    assert plan.skips == {"not_found": 1}


async def test_where_the_plan_has_no_device_of_an_account_that_has_ended(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[])
    async with campaigns.campaign(campaigns.spec()) as campaign:
        await campaign.store.append(campaign.name, [campaign_planned(campaign.spec, campaigns.clock.now())])
        plan = await campaign.plan()
        b.state.devices = (device(2),)
        status = await campaign.run(plan)
    assert (status.state, status.count("saved"), status.count()) == ("finished", 1, 1)
    assert status.accounts[1].reason == "no device of this account matched when the campaign was planned"


async def test_all_of_a_run_is_told_but_for_its_plan(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[])
    async with campaigns.campaign(campaigns.spec()) as campaign:
        await campaign.run(on_event=campaigns.events.append)
        await campaign.run(on_event=campaigns.events.append)
        events = [recorded.event async for recorded in campaign.events()]
    untold = [event for event in events if event not in campaigns.events]
    assert [type(event) for event in untold] == [CampaignPlanned, TargetPlanned]
    assert len(campaigns.events) == len(events) - 2


# --- tried again


@pytest.mark.parametrize("what", ["unavailable", "dropped", "limited"])
async def test_an_account_that_can_not_be_planned_for_a_while_is_planned_later(
    campaigns: CampaignRig, what: str
) -> None:
    await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[device(2)])
    fault = {
        "unavailable": Fault.error(503),
        "dropped": Fault.drop(processed=False),
        # More than a call waits for.
        "limited": Fault.rate_limited(400),
    }[what]
    over = campaigns.clock.now() + timedelta(minutes=20)
    limited = what == "limited"
    b.faults.add(
        fault,
        on="list_devices",
        times=1 if limited else None,
        where=lambda _: limited or campaigns.clock.now() < over,
    )
    status = await campaigns.run(campaigns.spec())
    assert (status.state, status.count("saved")) == ("finished", 2)


async def test_a_journal_that_can_not_be_read_ends_the_run_and_is_no_refusal(campaigns: CampaignRig) -> None:
    class Unreadable:
        def __init__(self, store: Store) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def events(self, *_: Any) -> Any:
            raise CampaignError("the journal can't be read")

    for number, name in enumerate(("emea", "apac"), 1):
        await campaigns.account(name, devices=[device(number)])
    spec = campaigns.spec(targets=Targeting(device_ids=(device(1).device_id,)))
    began = campaigns.clock.now()
    async with open_journal(campaigns.journal) as journal:
        await journal.append(spec.name, [campaign_planned(spec, began)])
        with pytest.raises(CampaignError, match="can't be read"):
            await campaigns.run("one", journal=Unreadable(journal))
        assert campaigns.clock.now() == began
        assert (await campaigns.run("one", journal=journal)).count("saved") == 1


async def test_an_account_that_can_not_be_planned_for_an_hour_is_refused(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    b = await campaigns.account("b", devices=[device(2)])
    b.faults.add(Fault.error(503), on="list_devices", times=None)
    started = campaigns.clock.now()
    status = await campaigns.run(campaigns.spec())
    assert [one.stopped for one in status.accounts] == ["finished", "refused"]
    assert "503" in (status.accounts[1].reason or "")
    [end] = [event for event in campaigns.of(AccountStopped) if event.account == "b"]
    assert end.at - started >= timedelta(hours=1)


async def test_accounts_of_one_token_that_find_no_room_under_its_limit_are_planned_later(
    campaigns: CampaignRig,
) -> None:
    for number in range(24):
        # With a device they would go on to share the limit once they are planned.
        await campaigns.account(f"a{number}", devices=[], token="t" * 40)
    campaigns.share_origin()
    # Eight find room at once, and eight within the time of a call.
    campaigns.client_options = {"rate_limit": RateLimit(requests=8, seconds=300.0), "retry": RetryPolicy()}
    status = await campaigns.run(campaigns.spec())
    assert [one.stopped for one in status.accounts] == ["finished"] * 24


# --- cancelled


async def test_a_cancelled_campaign_waits_for_no_account_that_is_planned(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[device(2)])
    gate = Gate(campaigns, "b")
    async with campaigns.campaign(campaigns.spec(), client=gate) as campaign, anyio.create_task_group() as group:

        async def cancel() -> None:
            await gate.reached.wait()
            while not campaigns.of(AccountStopped):
                await anyio.sleep(0.001)
            await campaign.cancel()

        group.start_soon(cancel)
        with anyio.fail_after(20):
            status = await campaign.run(on_event=campaigns.events.append)
    assert [event.reason for event in campaigns.of(RunEnded)] == ["finished"]
    assert (status.state, status.count("saved"), status.count()) == ("cancelled", 1, 1)
    assert [(one.stopped, one.reason) for one in status.accounts] == [
        ("finished", None),
        ("cancelled", "by the operator"),
    ]


async def test_of_a_campaign_that_is_cancelled_no_account_is_planned(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[device(2)])
    clients: list[str] = []

    def client(account: AccountSpec) -> DexClient:
        clients.append(account.name)
        return campaigns.client(account)

    async with campaigns.campaign(campaigns.spec(), client=client) as campaign:
        # As where the process ended before any was planned.
        await campaign.store.append(campaign.name, [campaign_planned(campaign.spec, campaigns.clock.now())])
        await campaign.cancel()
        status = await campaign.run()
    assert (status.state, status.count()) == ("cancelled", 0)
    assert {one.stopped for one in status.accounts} == {"cancelled"}
    assert not clients


class HeldAfterPlan:
    """A journal that has the targets of an account, and does not say so before it is cancelled."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reached = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        await self._store.append(campaign, events)
        if any(isinstance(event, TargetPlanned) for event in events):
            self.reached.set()
            await anyio.sleep_forever()


async def test_what_is_planned_just_when_it_is_cancelled_is_given_up(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[device(1)])
    await campaigns.account("b", devices=[])
    async with open_journal(campaigns.journal) as store:
        held: Any = HeldAfterPlan(store)
        async with campaigns.campaign(campaigns.spec(), journal=held) as campaign, anyio.create_task_group() as group:

            async def cancel() -> None:
                await held.reached.wait()
                await campaign.cancel()

            group.start_soon(cancel)
            with anyio.fail_after(20):
                status = await campaign.run()
    assert (status.state, status.accounts[0].stopped) == ("cancelled", "cancelled")
    assert status.count("not_attempted") == status.count() == 1
