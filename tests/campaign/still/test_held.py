"""What is not to be created, or not any more, is not: by a clock on which work takes no time.

And what got lost is looked for before it is sent again, given up only by what the list tells, and collected whenever it
is found.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from dexcmd.campaign.campaign import Campaign
from dexcmd.campaign.events import (
    AccountStopped,
    CampaignEvent,
    CommandEnded,
    CommandKnown,
    IntentClosed,
    IntentOpened,
    RunEnded,
    TargetDropped,
    TargetRetried,
    WaveOpened,
)
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.spec import CampaignSpec, Pace, Retries, Share, Waves
from dexcmd.campaign.status import CampaignStatus
from dexcmd.campaign.store import Store
from dexcmd.sandbox import Behaviour, Fault
from tests.campaign.conftest import HEALTHY, CampaignRig
from tests.campaign.still.conftest import EPOCH

pytestmark = pytest.mark.anyio


def seconds(event: CampaignEvent) -> float:
    """Return when something has happened, in seconds from the start."""
    return (event.at - EPOCH).total_seconds()


class InterruptedRunError(Exception):
    """The process of a campaign has ended."""


# --- what is told by the list


@pytest.mark.parametrize("restarted", [False, True])
async def test_no_command_is_given_up_because_the_list_can_not_be_read(campaigns: CampaignRig, restarted: bool) -> None:
    sandbox = await campaigns.account(devices=5, behaviour=Behaviour(**HEALTHY))
    until = timedelta(hours=2)
    sandbox.faults.add(
        Fault.error(503),
        on="list_commands",
        times=None,
        where=lambda _: 5 < campaigns.clock.monotonic() < until.total_seconds(),
    )

    def note(event: CampaignEvent) -> None:
        campaigns.events.append(event)
        if restarted and isinstance(event, CommandKnown):
            raise InterruptedRunError

    # What is given up would be created once more.
    spec = campaigns.spec(retries=Retries(timeout=1), pace=Pace(timeout=timedelta(minutes=30)))
    async with campaigns.campaign(spec) as campaign:
        if restarted:
            with pytest.raises(InterruptedRunError):
                await campaign.run(on_event=note)
            await campaigns.clock.sleep(3600)
            status = await campaign.run(on_event=campaigns.events.append)
        else:
            status = await campaign.run(on_event=note)
    assert (status.count("saved"), len(sandbox.state.commands)) == (5, 5)


# --- what got lost


async def lag_and_quota(campaigns: CampaignRig) -> Any:
    """Run a campaign whose first answer is lost, and whose resend the quota refuses until the next day."""
    # Nobody steers it, and it is half a day to the reset.
    campaigns.control_interval = 60.0
    sandbox = await campaigns.account(devices=20, quota=13, behaviour=Behaviour(**HEALTHY, list_lag=300.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    status = await campaigns.run(campaigns.spec(pace=Pace(creates=1)))
    assert status.count("saved") == 20
    return sandbox


async def test_what_the_list_shows_by_the_time_it_is_sent_again_is_adopted(campaigns: CampaignRig) -> None:
    sandbox = await lag_and_quota(campaigns)
    assert len(sandbox.state.commands) == 20
    # It takes nothing of the second day's quota, or one of the last would have to wait for the third.
    assert campaigns.clock.monotonic() < 86400


async def test_what_was_lost_before_a_stop_is_looked_for_before_it_is_sent_again(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY, list_lag=300.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    async with campaigns.campaign(campaigns.spec()) as campaign:

        def note(event: CampaignEvent) -> None:
            if isinstance(event, IntentOpened):
                campaign.stop()

        await campaign.run(on_event=note)
        # Long enough to be believed absent by one that does not look again.
        await campaigns.clock.sleep(3600)
        status = await campaign.run()
    assert (status.count("saved"), len(sandbox.state.commands)) == (3, 3)
    assert campaigns.asked("create_commands") == 1


async def test_what_was_lost_twice_is_not_sent_again_after_a_refusal_and_a_restart(
    campaigns: CampaignRig,
) -> None:
    sandbox = await campaigns.account(devices=1, behaviour=Behaviour(**HEALTHY))
    for fault in (Fault.drop(), Fault.error(400, form="envelope", code=1001)):
        sandbox.faults.add(fault, on="create_commands", times=1)
    sandbox.faults.add(Fault.drop(), on="create_commands", times=None)
    async with campaigns.campaign(campaigns.spec(retries=Retries(rejected=1))) as campaign:

        def note(event: CampaignEvent) -> None:
            if isinstance(event, TargetRetried):
                campaign.stop()

        await campaign.run(on_event=note)
        assert campaigns.asked("create_commands") == 2
        status = await campaign.run(on_event=campaigns.events.append)
    assert status.count("failed") == 1
    assert [event.attempt for event in campaigns.of(IntentOpened)] == [2]
    assert [event.outcome for event in campaigns.of(IntentClosed)] == ["unknown"]
    assert campaigns.asked("create_commands") == 3


async def test_what_was_lost_once_is_sent_again_after_a_refusal(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY))
    # The first POST is lost, and what is sent again is refused for longer than a call lasts.
    for fault in (Fault.drop(), Fault.rate_limited(3600)):
        sandbox.faults.add(fault, on="create_commands", times=1)
    status = await campaigns.run(campaigns.spec())
    assert (status.count("saved"), len(sandbox.state.commands)) == (3, 3)
    assert campaigns.asked("create_commands") == 3
    # Whoever looks for what any of them made finds what the first made, however late that shows up.
    assert len({event.since for event in campaigns.of(IntentOpened)}) == 1


@pytest.mark.parametrize("unknown", [0, 1])
async def test_what_an_audit_finds_of_who_was_given_up_is_collected(campaigns: CampaignRig, unknown: int) -> None:
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY, list_lag=600.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    retries = Retries(unknown=unknown, wait=timedelta(hours=5))
    status = await campaigns.run(campaigns.spec(lost_answers="give_up", retries=retries, deadline=timedelta(hours=1)))
    assert len(campaigns.of(TargetDropped)) == 3 * unknown
    assert (status.count("saved"), len(sandbox.state.commands)) == (3, 3)
    assert status.accounts[0].surplus == 0


async def test_what_is_dropped_while_a_poll_goes_on_is_not_ended_by_it(campaigns: CampaignRig) -> None:
    campaigns.control_interval = 1.0
    sandbox = await campaigns.account(devices=60, behaviour=Behaviour(**HEALTHY, run_seconds=(10.0, 10.0)))
    second = anyio.Event()

    def second_page(request: Any) -> bool:
        if request.query["page"] == "2" and sandbox.state.commands:
            second.set()
        return second.is_set()

    # The first page has told of some by then, and the poll is over before the audit, which fails at first.
    sandbox.faults.add(Fault.slow(15.0), on="list_commands", times=1, where=second_page)
    sandbox.faults.add(Fault.error(418), on="list_commands", times=1, where=lambda _: second.is_set())
    async with campaigns.campaign(campaigns.spec()) as campaign, anyio.create_task_group() as group:

        async def drop() -> None:
            await second.wait()
            await campaign.cancel(collect="drop")

        group.start_soon(drop)
        status = await campaign.run(on_event=campaigns.events.append)
    assert (status.state, status.count("not_attempted")) == ("cancelled", 60)
    assert not campaigns.of(CommandEnded)


# --- what waits to be sent


async def pause(campaign: Campaign) -> None:
    await campaign.pause()


async def stop(campaign: Campaign) -> None:
    campaign.stop()


async def cancel(campaign: Campaign) -> None:
    await campaign.cancel()


@pytest.mark.parametrize("act", [stop, pause, cancel])
async def test_what_waits_to_be_sent_is_not_once_nothing_is_to_be_created(
    campaigns: CampaignRig, act: Callable[[Campaign], Awaitable[None]]
) -> None:
    campaigns.control_interval = 1.0
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY))
    sandbox.faults.add(Fault.rate_limited(100), on="create_commands", times=1)
    async with campaigns.campaign(campaigns.spec()) as campaign, anyio.create_task_group() as group:

        async def operate() -> None:
            await campaigns.clock.sleep(30)
            assert campaigns.asked("create_commands") == 1
            await act(campaign)
            await campaigns.clock.sleep(300)
            assert not sandbox.state.commands
            assert {event.outcome for event in campaigns.of(IntentClosed)} == {"not_processed"}
            if act is pause:
                await campaign.resume()

        group.start_soon(operate)
        status = await campaign.run(on_event=campaigns.events.append)
    assert status.count("saved") == len(sandbox.state.commands) == (3 if act is pause else 0)
    if act is stop:
        assert seconds(campaigns.of(RunEnded)[0]) < 40


async def run_and_cancel_once_lost(campaigns: CampaignRig, spec: CampaignSpec) -> CampaignStatus:
    """Run a campaign that is cancelled after half a minute, when the answers of its POSTs are lost."""
    campaigns.control_interval = 1.0
    async with campaigns.campaign(spec) as campaign, anyio.create_task_group() as group:

        async def operate() -> None:
            await campaigns.clock.sleep(30)
            assert campaigns.asked("create_commands") > 0
            assert not campaigns.of(IntentClosed)
            await campaign.cancel()

        group.start_soon(operate)
        return await campaign.run(on_event=campaigns.events.append)


async def test_what_was_lost_when_it_was_cancelled_is_given_up(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=12)
    sandbox.faults.add(Fault.drop(processed=False), on="create_commands", times=None)
    started = campaigns.clock.now()
    status = await run_and_cancel_once_lost(campaigns, campaigns.spec(audit_after=timedelta(hours=10)))
    assert status.state == "cancelled"
    assert status.count("not_attempted") == status.count() == 12
    assert not sandbox.state.commands
    # Its audit waits for no command that may still come of them.
    assert campaigns.clock.now() - started < timedelta(hours=1)


async def test_a_list_that_is_refused_does_not_hold_up_a_cancelled_campaign(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=8)
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    # It can't be read before, and may not be after.
    sandbox.faults.add(
        Fault.error(503),
        on="list_commands",
        times=None,
        where=lambda _: bool(sandbox.state.commands) and campaigns.clock.monotonic() < 40,
    )
    sandbox.faults.add(
        Fault.error(403, form="envelope", code=10000),
        on="list_commands",
        times=None,
        where=lambda _: bool(sandbox.state.commands),
    )
    status = await run_and_cancel_once_lost(campaigns, campaigns.spec())
    assert status.accounts[0].stopped == "refused"
    assert status.count("creating") == 8
    sandbox.faults.clear()
    status = await campaigns.run("one")
    assert status.state == "cancelled"
    assert status.count("saved") == len(sandbox.state.commands) == 8


async def test_what_waits_to_be_sent_is_not_after_the_deadline(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY))
    sandbox.faults.add(Fault.rate_limited(100), on="create_commands", times=1)
    status = await campaigns.run(campaigns.spec(deadline=timedelta(seconds=30)))
    assert (status.state, status.count("not_attempted")) == ("finished", 3)
    assert not sandbox.state.commands


async def test_what_got_lost_is_not_sent_again_after_the_deadline(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5, behaviour=Behaviour(**HEALTHY))
    sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    status = await campaigns.run(campaigns.spec(deadline=timedelta(seconds=60)))
    assert (status.state, status.count("not_attempted")) == ("finished", 5)
    assert not sandbox.state.commands
    assert campaigns.asked("create_commands") == 1


async def test_a_stop_does_not_wait_until_it_is_known_what_became_of_a_post(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY))
    sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    async with campaigns.campaign(campaigns.spec()) as campaign:

        def note(event: CampaignEvent) -> None:
            campaigns.events.append(event)
            if isinstance(event, IntentOpened):
                campaign.stop()

        await campaign.run(on_event=note)
    # The next run looks for it.
    assert seconds(campaigns.of(RunEnded)[0]) < 10


class Counted:
    """A journal that counts how often intents are to be opened, and bears only so many."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tries = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, campaign: str, events: Any) -> None:
        self.tries += any(isinstance(event, IntentOpened) for event in events)
        assert self.tries < 50
        await self._store.append(campaign, events)


async def test_what_another_campaign_is_creating_is_left_alone_for_a_while(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY))
    # For minutes the first one looks for what became of it.
    sandbox.faults.add(Fault.drop(), on="create_commands", times=1)
    async with open_journal(campaigns.journal) as store:
        counted = Counted(store)
        async with (
            campaigns.campaign(campaigns.spec(), journal=store) as one,
            campaigns.campaign(campaigns.spec(name="two"), journal=counted) as two,
            anyio.create_task_group() as group,
        ):
            group.start_soon(one.run)
            await campaigns.clock.sleep(10)
            status = await two.run()
    assert status.count("saved", "failed") == 3
    assert 2 <= counted.tries <= 6


# --- the deadline


class Locked:
    """A journal that takes its time to write down intents."""

    def __init__(self, store: Store, clock: Any) -> None:
        self._store = store
        self._clock = clock
        self.undecided_asked = 0

    def __getattr__(self, name: str) -> Any:
        self.undecided_asked += name == "undecided"
        return getattr(self._store, name)

    async def append(self, campaign: str, events: Any) -> None:
        if any(isinstance(event, IntentOpened) for event in events):
            await self._clock.sleep(60)
        await self._store.append(campaign, events)


async def test_nothing_goes_round_while_a_journal_takes_its_time_at_the_deadline(
    campaigns: CampaignRig,
) -> None:
    await campaigns.account(devices=3, behaviour=Behaviour(**HEALTHY))
    async with open_journal(campaigns.journal) as store:
        locked = Locked(store, campaigns.clock)
        async with campaigns.campaign(campaigns.spec(deadline=timedelta(seconds=30)), journal=locked) as campaign:
            await campaign.run()
    assert locked.undecided_asked < 10


@pytest.mark.parametrize("waves", [Waves(), Waves(sizes=(Share(count=2),))], ids=["one wave", "two"])
async def test_a_paused_campaign_has_ended_when_nothing_is_left_of_it(campaigns: CampaignRig, waves: Waves) -> None:
    await campaigns.account(devices=5, behaviour=Behaviour(**HEALTHY))
    spec = campaigns.spec(deadline=EPOCH + timedelta(minutes=10), waves=waves)
    async with campaigns.campaign(spec) as campaign:
        plan = await campaign.plan()
        await campaign.store.append(campaign.name, [*plan.events()])
        await campaign.pause()
        status = await campaign.run(on_event=campaigns.events.append)
    assert (status.state, status.count("not_attempted")) == ("finished", 5)
    assert seconds(campaigns.of(RunEnded)[0]) < 700


async def test_no_pause_between_waves_is_waited_for_when_nothing_is_left(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=5, behaviour=Behaviour(**HEALTHY))
    waves = Waves(sizes=(Share(count=2), Share(count=4)), soak=timedelta(hours=24))
    status = await campaigns.run(campaigns.spec(deadline=timedelta(minutes=10), waves=waves))
    assert (status.state, status.count("saved"), status.count("not_attempted")) == ("finished", 2, 3)
    assert len(campaigns.of(WaveOpened)) == 1
    assert seconds(campaigns.of(AccountStopped)[0]) < 700


async def test_no_campaign_is_aborted_for_a_wave_after_which_nothing_is_to_come(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=5, behaviour=Behaviour(**HEALTHY, failure_rate=1.0, run_seconds=(300.0, 300.0)))
    waves = Waves(sizes=(Share(count=2),), min_succeeded_percent=90.0)
    status = await campaigns.run(campaigns.spec(deadline=timedelta(minutes=1), waves=waves))
    assert (status.state, status.count("failed"), status.count("not_attempted")) == ("finished", 2, 3)
