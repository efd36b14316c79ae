"""Campaigns from their plan to their end, against sandboxes over real sockets."""

import errno
import os
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import anyio
import attrs
import pytest

from dexcmd import (
    Campaign,
    CampaignBusyError,
    CampaignError,
    CampaignExistsError,
    Command,
    ConfigurationError,
    DexClient,
    DownloadError,
    TransportError,
    WarpDiag,
)
from dexcmd.campaign.desk import Flight
from dexcmd.campaign.destination import Destination
from dexcmd.campaign.events import (
    AccountStopped,
    ArtifactFailed,
    ArtifactSaved,
    Audited,
    CampaignEvent,
    CommandEnded,
    CommandKnown,
    CommandOverdue,
    ControlRequested,
    ForeignFound,
    IntentClosed,
    IntentOpened,
    QuotaWaited,
    RunEnded,
    SurplusFound,
    TargetDropped,
    TargetRetried,
    WaveOpened,
)
from dexcmd.campaign.spec import AbortRule, AccountSpec, ArtifactsSpec, Pace, Retries, Share, Waves
from dexcmd.sandbox import Behaviour, Fault, NewCommand, Sandbox, make_devices
from dexcmd.transfer.saved import Saved
from tests.campaign.conftest import HEALTHY, CampaignRig
from tests.campaign.memory import MemoryStore
from tests.faults.mounts import TMPFS, mounted, read_only
from tests.loops import ON_EACH_LOOP

pytestmark = pytest.mark.anyio


def behaviour(**changes: Any) -> Behaviour:
    return Behaviour(**{**HEALTHY, **changes})


def commands_by_target(sandbox: Sandbox) -> Counter[tuple[str, str | None]]:
    return Counter(
        (command.device.device_id, command.device.registration_id) for command in sandbox.state.commands.values()
    )


# --- the whole way


@ON_EACH_LOOP
async def test_every_target_is_captured_once_and_its_file_is_whole(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=25)
    status = await campaigns.run(campaigns.spec())
    assert status.state == "finished"
    assert status.count("saved") == status.count() == 25
    assert set(commands_by_target(sandbox).values()) == {1}
    files = campaigns.files()
    assert len(files) == 25
    for path in files:
        command_id = path.stem[-36:]
        assert path.read_bytes() == b"".join(sandbox.artifact(command_id).read())
        assert path.parent.name == "2026-01-01"
        assert path.parent.parent.name == "acme"
    assert status.size == sum(path.stat().st_size for path in files)
    assert campaigns.asked("create_commands") == 3
    assert campaigns.asked("download") == 25
    [account] = status.accounts
    assert (account.commands, account.posts, account.surplus, account.foreign) == (25, 3, 0, 0)
    assert account.stopped == "finished"
    assert account.audited_at is not None


async def test_an_intent_is_durable_before_its_post_is_sent(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=12)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        opened: list[int] = []

        def look(_: Any) -> bool:
            # Called as the POST arrives: `on_event` tells of what is durable.
            opened.append(len(campaigns.of(IntentOpened)))
            return False

        sandbox.faults.add(Fault.drop(), on="create_commands", times=None, where=look)
        await campaign.run(on_event=campaigns.events.append)
        intents = await campaign.store.intents("one", "acme", [d.device_id for d in sandbox.state.devices])
    assert sorted(opened) in ([10, 12], [12, 12], [2, 12])
    assert {intent.outcome for intent in intents} == {"created"}
    assert len({intent.post for intent in intents}) == 2


async def test_nothing_is_done_again_by_a_second_run(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account()
    await campaigns.run(campaigns.spec())
    asked = len(sandbox.requests)
    status = await campaigns.run("one")
    assert status.state == "finished"
    assert len(sandbox.requests) == asked


async def test_another_campaign_of_the_same_name_is_refused(campaigns: CampaignRig) -> None:
    await campaigns.account()
    await campaigns.run(campaigns.spec())
    with pytest.raises(CampaignExistsError, match="one"):
        await campaigns.run(campaigns.spec(command=WarpDiag()))


async def test_a_campaign_that_is_not_in_the_journal_can_not_be_named(campaigns: CampaignRig) -> None:
    with pytest.raises(CampaignError, match="no campaign 'other'"):
        async with campaigns.campaign("other"):
            pytest.fail("it was opened")


async def test_only_one_process_runs_a_campaign(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account()
    async with campaigns.campaign(campaigns.spec()) as first, campaigns.campaign(campaigns.spec()) as second:
        async with first.store.hold("one"):
            with pytest.raises(CampaignBusyError, match="one"):
                await second.run()
        assert not sandbox.requests
        assert (await second.run()).state == "finished"


async def test_a_handler_that_raises_ends_the_run_in_good_order(
    campaigns: CampaignRig, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = await campaigns.account(devices=85)
    told: list[CampaignEvent] = []

    def tell(event: CampaignEvent) -> None:
        told.append(event)
        if isinstance(event, CommandKnown):
            raise ArithmeticError("not mine")

    async with campaigns.campaign(campaigns.spec()) as campaign:
        with pytest.raises(ArithmeticError, match="not mine"):
            await campaign.run(on_event=tell)
        assert [(record.levelname, record.name) for record in caplog.records if "on_event" in record.message] == [
            ("ERROR", "dexcmd.campaign.runner")
        ]
        assert isinstance(told[-1], CommandKnown)
        # What was under way ended well, and nothing more was begun.
        assert await campaign.store.open_intents(campaign.name, "acme") == []
        assert 10 <= len(sandbox.state.commands) < 85
        status = await campaign.run(on_event=campaigns.events.append)
    assert (status.state, status.count("saved")) == ("finished", 85)
    assert set(commands_by_target(sandbox).values()) == {1}
    assert campaigns.of(RunEnded)[-1].reason == "finished"


# --- answers that get lost


LOST = {
    "processed": (Fault.drop(processed=True), "adopted"),
    "not processed": (Fault.drop(processed=False), "created"),
    "gateway": (Fault.error(502, processed=True), "adopted"),
}


@pytest.mark.parametrize("kind", LOST)
async def test_a_lost_answer_doubles_nothing(campaigns: CampaignRig, kind: str) -> None:
    sandbox = await campaigns.account(devices=10)
    fault, outcome = LOST[kind]
    sandbox.faults.add(fault, on="create_commands", times=1)
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 10
    assert set(commands_by_target(sandbox).values()) == {1}
    outcomes = Counter(event.outcome for event in campaigns.of(IntentClosed))
    assert outcomes == ({"adopted": 10} if outcome == "adopted" else {"absent": 10, "created": 10})
    provenances = {event.provenance for event in campaigns.of(CommandKnown)}
    assert provenances == {"adopted" if outcome == "adopted" else "response"}


async def test_with_give_up_nothing_is_sent_twice(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=10)
    sandbox.faults.add(Fault.drop(processed=False), on="create_commands", times=1)
    status = await campaigns.run(campaigns.spec(lost_answers="give_up"))
    assert status.count("failed") == 10
    assert status.accounts[0].failures["unknown"] == 10
    assert campaigns.asked("create_commands") == 1
    assert not sandbox.state.commands


async def test_what_the_list_shows_too_late_is_stated_as_surplus(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=10, behaviour=behaviour(list_lag=200.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    status = await campaigns.run(campaigns.spec(audit_after=timedelta(seconds=400)))
    assert set(commands_by_target(sandbox).values()) == {2}
    assert status.count("saved") == 10
    assert status.accounts[0].surplus == 10
    assert len({event.command_id for event in campaigns.of(SurplusFound)}) == 10
    [audited] = campaigns.of(Audited)
    assert (audited.commands, audited.surplus) == (20, 10)


async def test_it_is_told_until_when_the_audit_waits(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=10)
    sandbox.faults.add(Fault.drop(processed=False), on="create_commands", times=1)
    async with campaigns.campaign(campaigns.spec(audit_after=timedelta(seconds=400))) as campaign:

        def stop(event: CampaignEvent) -> None:
            campaigns.events.append(event)
            if len(campaigns.of(ArtifactSaved)) == 10:
                campaign.stop()

        audit_at = (await campaign.run(on_event=stop)).accounts[0].audit_at
        lost = max(event.at for event in campaigns.of(IntentClosed) if event.outcome == "absent")
        assert audit_at == lost + timedelta(seconds=400)
        status = await campaign.run(on_event=campaigns.events.append)
        [audited] = campaigns.of(Audited)
        assert audit_at <= audited.at < audit_at + timedelta(seconds=10)
        assert (status.state, status.accounts[0].audit_at) == ("finished", None)


async def test_what_was_unknown_is_taken_over_when_the_audit_finds_it(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=10, behaviour=behaviour(list_lag=200.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    spec = campaigns.spec(lost_answers="give_up", audit_after=timedelta(seconds=400))
    status = await campaigns.run(spec)
    assert status.count("saved") == 10
    assert status.accounts[0].surplus == 0
    assert {event.provenance for event in campaigns.of(CommandKnown)} == {"adopted"}


async def test_commands_of_others_are_told_and_not_touched(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=10)
    sandbox.faults.add(
        Fault.drop(processed=True),
        on="create_commands",
        times=None,
        where=lambda _: bool(sandbox.state.create(NewCommand(sandbox.state.devices[0], "speed-test", {})) and False),
    )
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 10
    assert (status.accounts[0].foreign, status.accounts[0].surplus) == (1, 0)
    [foreign] = campaigns.of(ForeignFound)
    assert foreign.type == "speed-test"
    [audited] = campaigns.of(Audited)
    assert (audited.commands, audited.foreign) == (11, 1)


# --- waves, limits, rules


async def test_waves_come_one_after_the_other(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=20)
    waves = Waves(sizes=(Share(count=2), Share(percent=50)), soak=timedelta(minutes=5))
    status = await campaigns.run(campaigns.spec(waves=waves))
    assert status.count("saved") == 20
    opened = campaigns.of(WaveOpened)
    assert [event.wave for event in opened] == [1, 2, 3]
    posts = campaigns.of(IntentOpened)
    sizes = [
        sum(
            opened[i].at <= post.at < (opened[i + 1].at if i < 2 else post.at.max.replace(tzinfo=post.at.tzinfo))
            for post in posts
        )
        for i in range(3)
    ]
    assert sizes == [2, 8, 10]
    saved = campaigns.of(ArtifactSaved)
    for before, wave in zip((2, 10), opened[1:], strict=True):
        last = sorted(event.at for event in saved)[before - 1]
        assert wave.at - last >= timedelta(minutes=5)
    # The audit is of all of them.
    [audited] = campaigns.of(Audited)
    assert (audited.commands, audited.since) == (20, posts[0].since)


async def test_it_is_told_what_the_next_wave_waits_for(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=4)
    waves = Waves(sizes=(Share(count=2),), soak=timedelta(minutes=5))
    async with campaigns.campaign(campaigns.spec(waves=waves)) as campaign:

        def stop(event: CampaignEvent) -> None:
            campaigns.events.append(event)
            if len(campaigns.of(ArtifactSaved)) == 2:
                campaign.stop()

        status = await campaign.run(on_event=stop)
        last = max(event.at for event in campaigns.of(ArtifactSaved))
        assert status.accounts[0].next_wave_at == last + timedelta(minutes=5)
        status = await campaign.run()
        assert status.count("saved") == 4
        assert status.accounts[0].next_wave_at is None


async def test_a_wave_that_fails_ends_the_account(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=20, behaviour=behaviour(failure_rate=1.0))
    waves = Waves(sizes=(Share(count=3),), min_succeeded_percent=50.0)
    status = await campaigns.run(campaigns.spec(waves=waves))
    assert status.state == "aborted"
    assert len(sandbox.state.commands) == 3
    assert (status.count("failed"), status.count("not_attempted")) == (3, 17)
    assert {event.reason for event in campaigns.of(TargetDropped)} == {"aborted"}


async def test_an_abort_rule_ends_the_account(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=60, behaviour=behaviour(failure_rate=1.0))
    spec = campaigns.spec(
        pace=Pace(creates=1, in_flight=10), abort=(AbortRule(failed_percent=50, of_at_least=10, failure="device"),)
    )
    status = await campaigns.run(spec)
    assert status.state == "aborted"
    assert 10 <= len(sandbox.state.commands) <= 20
    assert status.count("failed") == len(sandbox.state.commands)
    assert status.count("not_attempted") == 60 - len(sandbox.state.commands)
    assert "of" in (status.accounts[0].reason or "")


async def test_no_more_are_in_flight_than_allowed(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=30)
    most = 0

    def look(_: Any) -> bool:
        nonlocal most
        now = sandbox.state.now().timestamp()
        running = [c for c in sandbox.state.commands.values() if c.timeline.status(now) not in ("SUCCESS", "FAILED")]
        most = max(most, len(running))
        return False

    sandbox.faults.add(Fault.drop(), on=None, times=None, where=look)
    status = await campaigns.run(campaigns.spec(pace=Pace(in_flight=10)))
    assert status.count("saved") == 30
    assert 0 < most <= 10


@pytest.mark.parametrize("in_between", [False, True], ids=["at once", "interrupted"])
async def test_devices_that_come_after_the_plan_are_not_captured(campaigns: CampaignRig, in_between: bool) -> None:
    await campaigns.account("a", devices=3)
    empty = await campaigns.account("b", devices=[])
    async with campaigns.campaign(campaigns.spec()) as campaign:
        plan = await campaign.plan()
        for device in make_devices(2, seed=9, **HEALTHY):
            empty.state.add_device(device)

        def stop(_: object) -> None:
            if in_between:
                campaign.stop()

        await campaign.run(plan, on_event=stop)
        status = await campaign.run()
    assert (status.state, status.count("saved")) == ("finished", 3)
    assert not empty.state.commands
    assert [account.stopped for account in status.accounts] == ["finished", "finished"]


async def test_three_quota_windows_cost_no_request_for_waiting(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=25, quota=12)
    status = await campaigns.run(campaigns.spec(leave_quota=2))
    assert status.count("saved") == 25
    assert set(commands_by_target(sandbox).values()) == {1}
    assert len(campaigns.of(QuotaWaited)) == 2
    days = Counter(command.created.date() for command in sandbox.state.commands.values())
    assert list(days.values()) == [10, 10, 5]
    # One for the plan, one for the run, and one after each reset.
    assert campaigns.asked("get_quota") <= 6
    waits = [event.until - event.at for event in campaigns.of(QuotaWaited)]
    assert all(timedelta(hours=11) < wait <= timedelta(hours=24, seconds=2) for wait in waits)


async def test_the_deadline_ends_creating_and_not_collecting(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=25, quota=10)
    status = await campaigns.run(campaigns.spec(deadline=timedelta(hours=2)))
    assert len(sandbox.state.commands) == 10
    assert (status.count("saved"), status.count("not_attempted")) == (10, 15)
    assert status.state == "finished"
    assert {event.reason for event in campaigns.of(TargetDropped)} == {"deadline"}


async def test_retries_are_by_class_of_failure(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5, behaviour=behaviour(failure_rate=1.0))
    status = await campaigns.run(campaigns.spec(retries=Retries(device=2)))
    assert set(commands_by_target(sandbox).values()) == {3}
    assert status.accounts[0].failures["device"] == 5
    assert Counter(event.failure for event in campaigns.of(TargetRetried)) == {"device": 10}


async def test_commands_that_do_not_end_are_given_up(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=5, behaviour=behaviour(run_seconds=(4000.0, 4000.0)))
    status = await campaigns.run(campaigns.spec(pace=Pace(timeout=timedelta(minutes=10))))
    assert status.accounts[0].failures["timeout"] == 5
    assert len(campaigns.of(CommandOverdue)) == 5


async def test_a_file_that_is_named_a_little_later_is_waited_for(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=5, behaviour=behaviour(filename_delay=30.0))
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 5
    ended = campaigns.of(CommandEnded)
    assert len(ended) == 5
    assert all(event.filename for event in ended)


async def test_a_command_whose_file_is_not_named_by_the_end_of_its_time_is_saved_by_its_usual_name(
    campaigns: CampaignRig,
) -> None:
    await campaigns.account(devices=5, behaviour=behaviour(run_seconds=(580.0, 580.0), filename_style="null"))
    status = await campaigns.run(campaigns.spec(pace=Pace(timeout=timedelta(minutes=10))))
    assert status.count("saved") == 5
    assert not campaigns.of(CommandOverdue)


async def test_a_download_that_fails_is_tried_again(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5)
    sandbox.faults.add(Fault.error(404), on="download", times=5)
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 5
    assert len(sandbox.state.commands) == 5
    assert Counter(event.failure for event in campaigns.of(TargetRetried)) == {"download": 5}


async def test_what_the_service_rejects_is_told(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5)
    culprit = sandbox.state.devices[3].device_id
    sandbox.faults.add(
        Fault.error(400, form="envelope", message="no such device"),
        on="create_commands",
        times=None,
        where=lambda request: any(command["device_id"] == culprit for command in request.body["commands"]),
    )
    async with campaigns.campaign(campaigns.spec()) as campaign:
        status = await campaign.run(on_event=campaigns.events.append)
        targets = await campaign.store.targets("one", range(1, 6))
    assert status.count("saved") == 4
    [rejected] = [target for target in targets if target.state == "failed"]
    assert (rejected.device_id, rejected.failure) == (culprit, "rejected")
    assert "no such device" in (rejected.error or "")
    # Each POST that was refused has an intent of its own, closed as one that had no effect.
    assert Counter(event.outcome for event in campaigns.of(IntentClosed)) >= Counter(created=4, rejected=1)


# --- the operator


@pytest.mark.parametrize("ask", [Campaign.pause, Campaign.resume])
async def test_a_cancellation_in_the_same_moment_stands(
    campaigns: CampaignRig, ask: Callable[[Campaign], Awaitable[None]]
) -> None:
    class Overtaken(MemoryStore):
        """A journal into which somebody else's cancellation is written just before this process asks for something."""

        async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
            if any(isinstance(event, ControlRequested) for event in events):
                cancelled = ControlRequested(at=campaigns.clock.now(), control="cancel_keep")
                await super().append(campaign, [cancelled])
            await super().append(campaign, events)

    await campaigns.account(devices=3)
    store = Overtaken()
    async with campaigns.campaign(campaigns.spec(), journal=store) as campaign:
        await store.append("one", [*(await campaign.plan()).events()])
        with pytest.raises(CampaignError, match="the campaign 'one' is cancelled"):
            await ask(campaign)
        assert (await campaign.status()).control == "cancel_keep"


async def test_pause_resume_and_cancel_from_another_terminal(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=30, behaviour=behaviour(run_seconds=(100.0, 200.0)))
    spec = campaigns.spec(pace=Pace(creates=1, in_flight=10))
    async with campaigns.campaign(spec) as campaign, anyio.create_task_group() as group:
        begun, paused, cancelled = anyio.Event(), anyio.Event(), anyio.Event()

        async def operate() -> None:
            await begun.wait()
            async with campaigns.campaign("one") as other:
                await other.pause()
                assert (await other.status()).running_elsewhere
                assert not (await campaign.status()).running_elsewhere
                while (await other.status()).count("saved") < 10:
                    await anyio.sleep(0.01)
                made = len(sandbox.state.commands)
                assert made == 10
                assert (await other.status()).state == "paused"
                paused.set()
                await other.resume()
                while len(sandbox.state.commands) == made:
                    await anyio.sleep(0.01)
                running = await other.cancel()
                assert 10 >= running >= (await other.status()).count("running", "creating")
                cancelled.set()

        group.start_soon(operate)

        def note(event: Any) -> None:
            if isinstance(event, CommandKnown):
                begun.set()

        status = await campaign.run(on_event=note)
    assert paused.is_set()
    assert cancelled.is_set()
    assert status.state == "cancelled"
    # What was created is collected all the same.
    assert status.count("saved") == len(sandbox.state.commands) < 30
    assert status.count("not_attempted") == 30 - len(sandbox.state.commands)


async def test_cancel_can_drop_what_runs(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=20, behaviour=behaviour(run_seconds=(900.0, 900.0)))
    async with campaigns.campaign(campaigns.spec()) as campaign, anyio.create_task_group() as group:
        known = 0
        all_known = anyio.Event()

        def note(event: Any) -> None:
            nonlocal known
            campaigns.events.append(event)
            known += isinstance(event, CommandKnown)
            if known == 20:
                all_known.set()

        async def operate() -> None:
            await all_known.wait()
            async with campaigns.campaign("one") as other:
                await other.cancel(collect="drop")

        group.start_soon(operate)
        status = await campaign.run(on_event=note)
    assert status.state == "cancelled"
    assert status.count("not_attempted") == len(sandbox.state.commands) == 20
    [stopped] = campaigns.of(AccountStopped)
    assert stopped.running == 20
    assert not campaigns.files()


async def test_what_is_dropped_is_not_polled_for_any_more(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=20, behaviour=behaviour(run_seconds=(900.0, 900.0)))
    dropped_at = 0

    def note(event: CampaignEvent) -> None:
        nonlocal dropped_at
        campaigns.events.append(event)
        if isinstance(event, TargetDropped):
            dropped_at = len(sandbox.requests)

    async with campaigns.campaign(campaigns.spec()) as campaign, anyio.create_task_group() as group:

        async def operate() -> None:
            while len(campaigns.of(CommandKnown)) < 20:
                await anyio.sleep(0.001)
            # The audit goes on for two minutes.
            sandbox.faults.add(Fault.error(418), on="list_commands", times=2, where=lambda _: dropped_at > 0)
            await campaign.cancel(collect="drop")

        group.start_soon(operate)
        status = await campaign.run(on_event=note)
    assert (status.state, status.count("not_attempted")) == ("cancelled", 20)
    since = [request for request in sandbox.requests[dropped_at:] if request.operation == "list_commands"]
    assert len(since) == 3


async def test_another_word_for_what_to_collect_cancels_nothing(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=1)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        await campaign.store.append("one", [*(await campaign.plan()).events()])
        with pytest.raises(ConfigurationError, match="collect must be one of keep, drop, not 'all'"):
            await campaign.cancel(collect="all")  # type: ignore[arg-type]
        assert (await campaign.status()).control == "run"


async def test_a_cancelled_campaign_is_not_resumed(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=5)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        plan = await campaign.plan()
        campaign.stop()
        await campaign.run(plan)
    async with campaigns.campaign("one") as campaign:
        assert (await campaign.status()).state == "finished"
        with pytest.raises(CampaignError, match="ended"):
            await campaign.pause()


async def test_a_stop_while_it_is_being_planned_counts(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5)
    spec = campaigns.spec(deadline=timedelta(hours=1))

    def stopping(account: AccountSpec) -> DexClient:
        campaign.stop()
        return campaigns.client(account)

    async with campaigns.campaign(spec, client=stopping) as campaign:
        assert not await campaign.known()
        status = await campaign.run(on_event=campaigns.events.append)
        # It has not begun, and neither has the time up to its deadline.
        assert (status.state, status.deadline) == ("planned", None)
        assert await campaign.known()
    assert not campaigns.events
    assert not sandbox.state.commands
    status = await campaigns.run(spec)
    assert (status.state, status.count("saved")) == ("finished", 5)


async def test_a_stop_of_what_does_not_run_is_forgotten(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=5)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        campaign.stop()
        assert (await campaign.run()).state == "finished"


async def test_without_a_journal_it_is_planned_and_no_more(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=5)
    async with Campaign(campaigns.spec(), journal=None, client=campaigns.client, clock=campaigns.clock) as campaign:
        assert (await campaign.plan()).commands == 5
        with pytest.raises(RuntimeError, match="give it a journal"):
            await campaign.run()
    assert not campaigns.folder.joinpath("journal.db").exists()


async def test_stop_ends_the_process_and_not_the_campaign(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=30)
    async with campaigns.campaign(campaigns.spec(pace=Pace(creates=1, in_flight=10))) as campaign:

        def note(event: Any) -> None:
            campaigns.events.append(event)
            if isinstance(event, ArtifactSaved):
                campaign.stop()

        status = await campaign.run(on_event=note)
    assert status.state == "interrupted"
    assert campaigns.of(RunEnded)[-1].reason == "interrupted"
    made = len(sandbox.state.commands)
    assert made < 30
    status = await campaigns.run("one")
    assert status.state == "finished"
    assert status.count("saved") == 30
    assert set(commands_by_target(sandbox).values()) == {1}


# --- accounts


async def test_an_account_that_is_refused_stops_alone_and_goes_on_later(campaigns: CampaignRig) -> None:
    await campaigns.account("good", devices=10)
    bad = await campaigns.account("bad", devices=10)
    spec = campaigns.spec()
    async with campaigns.campaign(spec) as campaign:
        plan = await campaign.plan()
        bad.faults.add(Fault.error(403, form="envelope", code=10000), on="create_commands", times=1)
        status = await campaign.run(plan)
    stopped = {account.name: account.stopped for account in status.accounts}
    assert stopped == {"good": "finished", "bad": "refused"}
    assert status.state == "refused"
    status = await campaigns.run("one")
    assert status.state == "finished"
    assert status.count("saved") == 20
    assert set(commands_by_target(bad).values()) == {1}


async def test_an_account_whose_list_is_refused_stops_and_tells_how_many_commands_run_on(
    campaigns: CampaignRig,
) -> None:
    sandbox = await campaigns.account(devices=5, behaviour=behaviour(run_seconds=(900.0, 900.0)))
    refusal = Fault.error(403, form="envelope", code=10000)
    sandbox.faults.add(refusal, on="list_commands", times=None, where=lambda _: len(campaigns.of(CommandKnown)) == 5)
    with anyio.fail_after(60):
        status = await campaigns.run(campaigns.spec())
    assert (status.accounts[0].stopped, status.count("running")) == ("refused", 5)
    [stopped] = campaigns.of(AccountStopped)
    assert stopped.running == 5


async def test_an_account_without_a_token_is_told(campaigns: CampaignRig, monkeypatch: pytest.MonkeyPatch) -> None:
    await campaigns.account("good", devices=3)
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    other = AccountSpec(account_id="b" * 32, name="other", token_env="NO_SUCH_TOKEN")

    def client(account: AccountSpec) -> DexClient:
        from dexcmd.campaign.campaign import client_for

        return campaigns.client(account) if account.name == "good" else client_for(account)

    spec = campaigns.spec()
    status = await campaigns.run(attrs.evolve(spec, accounts=(*spec.accounts, other)), client=client)
    assert {account.name: account.stopped for account in status.accounts} == {"good": "finished", "other": "refused"}
    assert "NO_SUCH_TOKEN" in (status.accounts[1].reason or "")


# --- the destination


async def test_a_full_disk_ends_the_run_and_loses_nothing(
    campaigns: CampaignRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await campaigns.account(devices=5)
    spec = campaigns.spec()
    blocked = campaigns.captures
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("in the way")
    with pytest.raises(Exception, match="captures"):
        await campaigns.run(spec)
    blocked.unlink()
    status = await campaigns.run("one")
    assert status.count("saved") == 5
    assert set(commands_by_target(sandbox).values()) == {1}
    for path in campaigns.files():
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


@pytest.mark.parametrize("kind", [TMPFS])
async def test_nothing_is_created_for_a_folder_that_can_not_be_written_to(campaigns: CampaignRig, kind: str) -> None:
    sandbox = await campaigns.account(devices=5)
    with mounted(kind) as disk:
        spec = campaigns.spec(artifacts=ArtifactsSpec(into=str(disk)))
        with (
            read_only(disk),
            pytest.raises(ConfigurationError, match=f"^can't write into the folder {disk}: Read-only"),
        ):
            await campaigns.run(spec)
        assert len(sandbox.state.commands) == 0
        status = await campaigns.run(spec)
    assert (status.count("saved"), len(sandbox.state.commands)) == (5, 5)


@pytest.mark.parametrize("kind", [TMPFS])
async def test_no_artifact_is_given_up_for_a_folder_that_can_not_be_written_to_any_more(
    campaigns: CampaignRig, kind: str
) -> None:
    sandbox = await campaigns.account(devices=5)
    with mounted(kind) as disk, ExitStack() as locked:
        spec = campaigns.spec(artifacts=ArtifactsSpec(into=str(disk)), retries=Retries(download=1))

        def lock(event: CampaignEvent) -> None:
            campaigns.events.append(event)
            if isinstance(event, WaveOpened):
                locked.enter_context(read_only(disk))

        async with campaigns.campaign(spec) as campaign:
            with pytest.raises(DownloadError, match="Read-only"):
                await campaign.run(on_event=lock)
        assert campaigns.of(ArtifactFailed) == []
        locked.close()
        status = await campaigns.run(campaigns.spec().name)
    assert (status.state, status.count("saved"), len(sandbox.state.commands)) == ("finished", 5, 5)


async def test_a_connection_that_this_machine_forbids_is_no_fault_of_the_destination(
    campaigns: CampaignRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await campaigns.account(devices=5)
    fetch, forbidden = Destination.fetch, list[str | None]()

    async def forbid_one(destination: Destination, flight: Flight, command: Command) -> tuple[str, Saved]:
        if not forbidden:
            forbidden.append(command.id)
            # As a packet filter does.
            raise TransportError("GET: no connection") from PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return await fetch(destination, flight, command)

    monkeypatch.setattr(Destination, "fetch", forbid_one)
    status = await campaigns.run(campaigns.spec())
    assert (status.state, status.count("saved")) == ("finished", 5)
    assert [event.command_id for event in campaigns.of(ArtifactFailed)] == forbidden


async def test_two_campaigns_on_one_device_do_not_mix(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=10)
    first, second = campaigns.spec(), campaigns.spec(name="two", artifacts=ArtifactsSpec(into=str(campaigns.captures)))
    async with campaigns.campaign(first) as one, campaigns.campaign(second) as two:
        plans = [await one.plan(), await two.plan()]
        async with anyio.create_task_group() as group:
            group.start_soon(one.run, plans[0])
            group.start_soon(two.run, plans[1])
        for campaign in (one, two):
            assert (await campaign.status()).count("saved", "failed") == 10
    assert set(commands_by_target(sandbox).values()) == {2}


@pytest.mark.parametrize(("platform", "posts"), [("linux", 1), ("windows", 4)])
async def test_registrations_of_one_device_are_captured_together_where_that_can_be(
    campaigns: CampaignRig, platform: str, posts: int
) -> None:
    plain = [
        attrs.evolve(device, platform=platform)
        for device in make_devices(6, multi_user_share=0, ineligible_share=0, disconnected_share=0)
    ]
    shared = [
        attrs.evolve(
            plain[0], registration_id=f"11111111-0000-4000-8000-00000000000{number}", user_email=f"{number}@x.test"
        )
        for number in range(3)
    ]
    sandbox = await campaigns.account(devices=[*plain, *shared])
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 9
    assert set(commands_by_target(sandbox).values()) == {1}
    assert campaigns.asked("create_commands") == posts


async def test_registrations_that_wait_for_another_are_kept_when_the_quota_has_no_room_for_all(
    campaigns: CampaignRig,
) -> None:
    first = [attrs.evolve(device, platform="windows") for device in make_devices(6, **HEALTHY)]
    second = [
        attrs.evolve(device, registration_id=f"11111111-0000-4000-8000-00000000000{number}")
        for number, device in enumerate(first)
    ]
    # With what the six leave of the quota one more is begun, and five are not.
    sandbox = await campaigns.account(devices=[*first, *second], quota=7)
    with anyio.fail_after(10):
        status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 12
    assert set(commands_by_target(sandbox).values()) == {1}


@pytest.mark.parametrize("first_untold", [False, True])
async def test_a_registration_that_is_not_told_goes_out_apart(campaigns: CampaignRig, first_untold: bool) -> None:
    await campaigns.account(devices=4)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        plan = await campaign.plan()
        [account] = plan.accounts
        first = account.targets[0]
        told, untold = attrs.evolve(first, target=5), attrs.evolve(first, registration_id=None)
        pair = [untold, told] if first_untold else [first, attrs.evolve(untold, target=5)]
        plan = attrs.evolve(plan, accounts=(attrs.evolve(account, targets=[*account.targets[1:], *pair]),))
        status = await campaign.run(plan)
    assert status.count("saved") == 5
    assert campaigns.asked("create_commands") == 2


@pytest.mark.parametrize("interval", [0, -1, float("nan"), "1"])
async def test_an_interval_that_is_none(campaigns: CampaignRig, interval: Any) -> None:
    # With 0 the journal would be asked without a pause.
    with pytest.raises(ConfigurationError, match="control_interval must be"):
        Campaign("c", journal=campaigns.folder / "journal.db", control_interval=interval)
