"""Campaigns in trouble: processes that end, answers that get lost, journals and operators that interfere."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import aiohttp
import anyio
import anyio.lowlevel
import pytest
import trustme
from yarl import URL

from dexcmd import WarpDiag, list_campaigns
from dexcmd.campaign.events import (
    AccountStopped,
    ArtifactSaved,
    Audited,
    AuditFailed,
    CampaignEvent,
    CommandEnded,
    CommandKnown,
    CreatingAborted,
    IntentClosed,
    IntentOpened,
    QuotaWaited,
    RunEnded,
    RunStarted,
    SurplusFound,
    TargetDropped,
    WaveOpened,
)
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.spec import AbortRule, AccountSpec, CampaignSpec, Pace, Retries, Share, Waves
from dexcmd.campaign.status import CampaignStatus
from dexcmd.campaign.store import Store
from dexcmd.clock import ManualClock
from dexcmd.errors import CampaignError, TransportError
from dexcmd.events import Event, Retrying
from dexcmd.sandbox import Behaviour, Fault, NewCommand, Sandbox
from tests.campaign.conftest import HEALTHY, CampaignRig

pytestmark = pytest.mark.anyio


class SettableClock(ManualClock):
    """A clock that may be set."""

    def set_back(self, by: timedelta) -> None:
        """Set what `now` tells back, as an operator or a time server may do."""
        self._epoch -= by


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


class WatchedStore:
    """A journal that does something before or after some of its methods."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read = 0
        """How often it was asked what the operator wants."""

        self.asked: Counter[str] = Counter()
        """How often it was asked anything else."""

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self._store, name)

    async def campaign(self, name: str) -> Any:
        record = await self._store.campaign(name)
        self.read += 1
        return record

    async def seen(self) -> None:
        """Return when what the operator wants by now has been taken over."""
        read = self.read
        # The second time it is asked, the first answer has been taken over.
        while self.read < read + 2:
            await anyio.sleep(0.001)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()


async def run_and_cancel(
    campaigns: CampaignRig,
    spec: CampaignSpec,
    at: str | type[CampaignEvent],
    collect: Literal["keep", "drop"] = "keep",
) -> CampaignStatus:
    """Run a campaign that the operator cancels when something is about to be asked of the journal, or written there.

    That is held up until the campaign knows.
    """

    class Store(WatchedStore):
        async def _meanwhile(self) -> None:
            nonlocal begun
            if not begun:
                begun = True
                await campaign.cancel(collect=collect)
                await (self.seen() if collect == "keep" else dropped.wait())

        async def due_targets(self, *args: Any) -> Any:
            if at == "due_targets":
                await self._meanwhile()
            return await self._store.due_targets(*args)

        async def append(self, name: str, events: Sequence[CampaignEvent]) -> None:
            if any(isinstance(event, TargetDropped) for event in events):
                dropped.set()
            await self._store.append(name, events)
            if isinstance(at, type) and any(isinstance(event, at) for event in events):
                await self._meanwhile()

    begun, dropped = False, anyio.Event()
    with anyio.fail_after(60):
        async with (
            open_journal(campaigns.journal) as journal,
            campaigns.campaign(spec, journal=Store(journal)) as campaign,
        ):
            return await campaign.run(on_event=campaigns.events.append)


def behaviour(**changes: Any) -> Behaviour:
    return Behaviour(**{**HEALTHY, **changes})


def commands_by_target(sandbox: Sandbox) -> Counter[tuple[str, str | None]]:
    return Counter(
        (command.device.device_id, command.device.registration_id) for command in sandbox.state.commands.values()
    )


class Crash(BaseException):
    """The end of a process: nothing of ours may catch it and go on."""


async def run_until(
    campaigns: CampaignRig, spec: CampaignSpec | str, kind: type[CampaignEvent], count: int = 1, **options: Any
) -> None:
    """Run a campaign in a process that ends as soon as so many events of a kind are durable."""
    left = count

    def note(event: CampaignEvent) -> None:
        nonlocal left
        campaigns.events.append(event)
        left -= isinstance(event, kind)
        if not left:
            raise Crash

    with pytest.raises(Crash):
        async with campaigns.campaign(spec, **options) as campaign:
            await campaign.run(on_event=note)


# --- commands that the journal knows


async def test_a_lost_answer_is_not_answered_by_a_command_of_another_campaign(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=4)
    async with campaigns.campaign(campaigns.spec(name="two")) as two:
        plan = await two.plan()
        # The clock stands still after that, so those commands are as young as can be.
        await run_until(campaigns, campaigns.spec(), CommandKnown, 4)
        sandbox.faults.add(Fault.drop(processed=False), on="create_commands", times=1)
        campaigns.events.clear()
        status = await two.run(plan, on_event=campaigns.events.append)
    assert status.count("saved", "failed") == 4
    assert Counter(event.outcome for event in campaigns.of(IntentClosed)) == {"absent": 4, "created": 4}
    assert (await campaigns.run("one")).count("saved", "failed") == 4
    assert set(commands_by_target(sandbox).values()) == {2}


async def test_an_open_intent_is_not_answered_by_an_earlier_command_of_its_target(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=4, behaviour=Behaviour.instant(**HEALTHY, failure_rate=1.0))
    spec = campaigns.spec(retries=Retries(device=1, wait=timedelta(0)))
    # The second command of each is about to be created when the process ends.
    await run_until(campaigns, spec, IntentOpened, 8)
    assert set(commands_by_target(sandbox).values()) == {1}
    campaigns.events.clear()
    status = await campaigns.run("one")
    assert status.accounts[0].failures["device"] == 4
    assert Counter(event.outcome for event in campaigns.of(IntentClosed)) == {"absent": 4, "created": 4}
    assert set(commands_by_target(sandbox).values()) == {2}


async def test_an_answer_that_names_a_command_of_another_campaign_counts_as_lost(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=4)
    async with campaigns.campaign(campaigns.spec(name="two")) as two:
        plan = await two.plan()
        await run_until(campaigns, campaigns.spec(), CommandKnown, 4)
        create = sandbox.state.create

        def same(new: Any) -> Any:
            # A service may hold that what runs already is what was asked for.
            return next(c for c in sandbox.state.commands.values() if c.device == new.device) or create(new)

        sandbox.state.create = same  # type: ignore[method-assign]
        status = await two.run(plan)
    assert status.accounts[0].failures["unknown"] == 4


NO_ROWS = {"null": None, "a row of null": [None]}
"""What a list has in place of its rows, which is no word that something is not there."""


@pytest.mark.parametrize("times", [2, None], ids=["twice", "for ever"])
@pytest.mark.parametrize("processed", [True, False])
@pytest.mark.parametrize("rows", NO_ROWS)
async def test_a_lost_answer_is_not_told_from_a_list_that_is_null(
    campaigns: CampaignRig, rows: str, processed: bool, times: int | None
) -> None:
    sandbox = await campaigns.account(devices=4)
    sandbox.faults.add(Fault.drop(processed=processed), on="create_commands", times=1)
    sandbox.faults.add(
        Fault.wrong_types("result.commands", NO_ROWS[rows]),
        on="list_commands",
        times=times,
        where=lambda _: campaigns.asked("create_commands") > 0,
    )
    with anyio.fail_after(60):
        status = await campaigns.run(campaigns.spec())
    if times is None:
        assert (status.state, status.count("creating")) == ("refused", 4)
        assert campaigns.asked("create_commands") == 1
        sandbox.faults.clear()
        status = await campaigns.run("one")
    assert status.state == "finished"
    assert status.count("saved") == 4
    assert campaigns.asked("create_commands") == (1 if processed else 2)
    assert set(commands_by_target(sandbox).values()) == {1}
    assert (status.accounts[0].surplus, status.accounts[0].foreign) == (0, 0)


# --- the operator, at the worst moment


async def test_what_was_written_down_when_it_was_cancelled_is_not_sent(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=8)
    started = campaigns.clock.now()
    spec = campaigns.spec(audit_after=timedelta(hours=10))
    status = await run_and_cancel(campaigns, spec, IntentOpened)
    assert status.state == "cancelled"
    assert status.count("not_attempted") == status.count() == 8
    assert campaigns.asked("create_commands") == 0
    assert not sandbox.state.commands
    # Its audit waits for no command that may still come of them.
    assert campaigns.clock.now() - started < timedelta(hours=1)


async def test_what_was_about_to_be_begun_when_it_was_cancelled_is_given_up(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=12)
    status = await run_and_cancel(campaigns, campaigns.spec(), "due_targets")
    assert status.state == "cancelled"
    assert status.count("not_attempted") == status.count() == 12
    assert not sandbox.state.commands


async def test_what_ends_just_when_it_is_dropped(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=20, behaviour=behaviour(run_seconds=(2.0, 900.0)))
    status = await run_and_cancel(campaigns, campaigns.spec(), CommandEnded, "drop")
    assert status.state == "cancelled"
    assert status.count("saved", "not_attempted") == len(sandbox.state.commands) == 20
    [stopped] = campaigns.of(AccountStopped)
    assert 0 < stopped.running < 20


# --- the audit


async def test_what_an_audit_found_before_it_failed_is_followed(
    campaigns: CampaignRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dexcmd.campaign.audit.PAGES_AT_ONCE", 1)
    sandbox = await campaigns.account(devices=60, behaviour=behaviour(list_lag=200.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=None)
    audits = 0

    def second_page(request: Any) -> bool:
        nonlocal audits
        audits += request.query.get("page") == "2"
        return request.query.get("page") == "2" and audits == 1

    sandbox.faults.add(Fault.error(418), on="list_commands", times=1, where=second_page)
    spec = campaigns.spec(lost_answers="give_up", audit_after=timedelta(seconds=400))
    with anyio.fail_after(60):
        status = await campaigns.run(spec)
    assert status.state == "finished"
    assert status.count("saved") == 60
    assert (status.accounts[0].surplus, status.accounts[0].foreign) == (0, 0)
    # Each command counts once, however many pages are judged at once.
    assert campaigns.of(Audited)[-1].commands == 60


class AuditsInVain:
    """Refuses each look at the list from when all targets of the only account are saved, until it is `over`."""

    def __init__(self, campaigns: CampaignRig) -> None:
        self._campaigns = campaigns
        self.over = False
        self.begun = anyio.Event()
        self.asked: list[datetime] = []
        """When it was looked at."""

        campaigns.sandbox.faults.add(Fault.error(418), on="list_commands", times=None, where=self._refuses)

    def _refuses(self, _: Any) -> bool:
        if self.over or len(self._campaigns.of(ArtifactSaved)) < len(self._campaigns.sandbox.state.devices):
            return False
        self.asked.append(self._campaigns.clock.now())
        self.begun.set()
        return True


async def test_an_audit_that_fails_is_told_of_and_made_by_the_next_run(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=3)
    audits = AuditsInVain(campaigns)
    status = await campaigns.run(campaigns.spec())
    assert [at - audits.asked[0] for at in audits.asked] == [timedelta(minutes=tries) for tries in range(3)]
    [failed] = campaigns.of(AuditFailed)
    [account] = status.accounts
    assert "418" in failed.error
    assert (status.state, account.stopped, account.audit_error) == ("interrupted", None, failed.error)
    assert status.count("saved") == 3
    audits.over = True
    status = await campaigns.run("one")
    [account] = status.accounts
    assert (status.state, account.stopped, account.audit_error) == ("finished", "finished", None)
    assert account.audited_at is not None
    assert campaigns.asked("create_commands") == 1


async def test_an_audit_that_the_journal_does_not_take_ends_the_run(campaigns: CampaignRig) -> None:
    class Full(WatchedStore):
        async def append(self, name: str, events: Sequence[CampaignEvent]) -> None:
            if any(isinstance(event, Audited) for event in events):
                raise CampaignError("the disk is full")
            await self._store.append(name, events)

    await campaigns.account(devices=1)
    began = campaigns.clock.now()
    async with open_journal(campaigns.journal) as journal:
        with pytest.raises(CampaignError, match="the disk is full"):
            await campaigns.run(campaigns.spec(), journal=Full(journal))
        assert (await campaigns.run("one", journal=journal)).state == "finished"
    # That is no list which may be had a minute later.
    assert campaigns.clock.now() - began < timedelta(minutes=2)
    [audited] = campaigns.of(Audited)
    assert audited.commands == 1


async def test_a_run_that_is_stopped_does_not_wait_for_the_next_try_of_an_audit(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=3)
    audits = AuditsInVain(campaigns)
    async with campaigns.campaign(campaigns.spec()) as campaign, anyio.create_task_group() as group:

        async def stop() -> None:
            await audits.begun.wait()
            await campaigns.clock.sleep(10.0)
            campaign.stop()

        group.start_soon(stop)
        status = await campaign.run(on_event=campaigns.events.append)
    assert (campaigns.clock.now() - audits.asked[0]).total_seconds() == 10.0
    assert len(audits.asked) == 1
    # It has not failed: it is still to come.
    assert (status.state, status.accounts[0].audit_error) == ("interrupted", None)


async def test_a_campaign_that_is_cancelled_waits_between_the_tries_of_an_audit_as_well(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=3)
    audits = AuditsInVain(campaigns)
    status = await run_and_cancel(campaigns, campaigns.spec(), ArtifactSaved)
    # At once they would all meet what is over in a minute.
    assert [at - audits.asked[0] for at in audits.asked] == [timedelta(minutes=tries) for tries in range(3)]
    assert status.state == "interrupted"
    audits.over = True
    assert (await campaigns.run("one")).state == "cancelled"


async def test_a_second_audit_counts_no_lost_post_again(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=10, behaviour=behaviour(list_lag=200.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    await run_until(campaigns, campaigns.spec(audit_after=timedelta(seconds=400)), Audited)
    assert len(campaigns.of(SurplusFound)) == 10
    sandbox.behaviour = behaviour()
    sandbox.state.create(NewCommand(sandbox.state.devices[0], "pcap", {}))
    status = await campaigns.run("one")
    assert status.state == "finished"
    [account] = status.accounts
    assert (account.commands, account.surplus, account.foreign) == (10, 10, 1)


async def test_a_lost_post_made_one_command_and_its_equal_is_somebody_elses(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=1, behaviour=behaviour(list_lag=200.0))

    def somebody_does_the_same(_: Any) -> bool:
        sandbox.state.create(NewCommand(sandbox.state.devices[0], "pcap", {}))
        return True

    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", where=somebody_does_the_same)
    status = await campaigns.run(campaigns.spec(lost_answers="give_up", audit_after=timedelta(seconds=400)))
    assert (len(campaigns.of(CommandKnown)), len(sandbox.state.commands)) == (1, 2)
    [account] = status.accounts
    assert (account.commands, account.surplus, account.foreign) == (1, 0, 1)


async def test_of_what_two_lost_posts_made_one_is_taken_over(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=1, behaviour=behaviour(list_lag=400.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    status = await campaigns.run(campaigns.spec(audit_after=timedelta(seconds=800)))
    assert (status.count("saved"), len(sandbox.state.commands)) == (1, 2)
    [account] = status.accounts
    assert (account.commands, account.surplus, account.foreign) == (1, 1, 0)
    assert len(campaigns.of(CommandKnown)) == 1


async def test_what_is_another_campaigns_is_not_foreign_once_that_is_known(campaigns: CampaignRig) -> None:
    class Ending(WatchedStore):
        async def append(self, name: str, events: Sequence[CampaignEvent]) -> None:
            if any(isinstance(event, CommandKnown) for event in events):
                raise Crash
            await self._store.append(name, events)

    await campaigns.account(devices=6)
    two = campaigns.spec(name="two", command=WarpDiag())
    async with open_journal(campaigns.journal) as journal:
        # The process ends when it has the answer to its POST, and before that is written down.
        with pytest.raises(Crash):
            async with campaigns.campaign(two, journal=Ending(journal)) as campaign:
                await campaign.run()
    first = campaigns.clock.now()
    status = await campaigns.run(campaigns.spec())
    assert status.accounts[0].foreign == 6
    assert (await campaigns.run("two")).count("saved", "failed") == 6
    async with campaigns.campaign("one") as campaign:
        [account] = (await campaign.status()).accounts
    assert (account.commands, account.surplus, account.foreign) == (6, 0, 0)
    assert account.audited_at is not None
    assert account.audited_at > first


# --- going on


async def test_a_retry_whose_answer_is_lost_is_sent_again_whatever_got_lost_before(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5, behaviour=behaviour(failure_rate=1.0))
    posts = 0

    def first_and_third(_: Any) -> bool:
        nonlocal posts
        posts += 1
        return posts in (1, 3)

    sandbox.faults.add(Fault.drop(processed=False), on="create_commands", times=None, where=first_and_third)
    status = await campaigns.run(campaigns.spec(retries=Retries(device=1)))
    assert status.accounts[0].failures == {**dict.fromkeys(status.accounts[0].failures, 0), "device": 5}
    assert set(commands_by_target(sandbox).values()) == {2}
    attempts = Counter(event.attempt for event in campaigns.of(IntentOpened))
    assert attempts[1] == 10
    assert attempts[2] > 5


async def test_a_second_post_that_a_process_left_is_not_sent_a_third_time(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=1)
    sandbox.faults.add(Fault.drop(), on="create_commands", times=None)
    # The first is sent and lost; the process ends when the second is about to be.
    await run_until(campaigns, campaigns.spec(), IntentOpened, 2)
    first, second = campaigns.of(IntentOpened)
    # The list is looked through from before the first, which may show up late.
    assert (first.attempt, second.attempt, second.since) == (1, 2, first.since)
    posts = campaigns.asked("create_commands")
    status = await campaigns.run("one")
    assert status.accounts[0].failures["unknown"] == 1
    # It may have been sent, and the list may be late: a third could make a second command.
    assert campaigns.asked("create_commands") == posts


async def test_what_the_first_of_two_posts_made_is_found_by_the_next_process(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=1, behaviour=behaviour(list_lag=200.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    # The list does not show it in time, and the process ends when the second is about to be sent.
    await run_until(campaigns, campaigns.spec(), IntentOpened, 2)
    status = await campaigns.run("one")
    assert status.count("saved") == len(sandbox.state.commands) == 1
    # Not by the audit, which comes last: by then a wave or the campaign may have ended for what counts as failed.
    assert [event.outcome for event in campaigns.of(IntentClosed)] == ["absent", "adopted"]


async def test_an_aborted_campaign_stays_so_whatever_comes_after(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=40, behaviour=behaviour(failure_rate=1.0))
    spec = campaigns.spec(pace=Pace(creates=1, in_flight=20), abort=(AbortRule(failed_percent=60, of_at_least=10),))

    def look(_: Any) -> bool:
        # The first ten fail, and the next ten take their time and succeed.
        if sandbox.state.commands:
            sandbox.behaviour = behaviour(run_seconds=(300.0, 400.0))
        return False

    sandbox.faults.add(Fault.drop(), on="create_commands", times=None, where=look)
    # Now less than 60 % have failed.
    await run_until(campaigns, spec, ArtifactSaved, 8)
    reasons = {event.reason for event in campaigns.of(CreatingAborted)}
    status = await campaigns.run("one")
    assert status.state == "aborted"
    assert {status.accounts[0].reason} == reasons == {"10 of 10 failed: the limit is 60 %"}
    assert (status.count("saved"), status.count("failed"), status.count("not_attempted")) == (10, 10, 20)


async def test_the_pause_between_waves_goes_on_while_no_process_does(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=10)
    waves = Waves(sizes=(Share(count=4),), soak=timedelta(minutes=60))
    await run_until(campaigns, campaigns.spec(waves=waves), ArtifactSaved, 4)
    ended = campaigns.of(ArtifactSaved)[-1].at
    campaigns.clock.advance(45 * 60)
    assert (await campaigns.run("one")).count("saved") == 10
    second = next(event for event in campaigns.of(WaveOpened) if event.wave == 2)
    assert timedelta(minutes=60) <= second.at - ended < timedelta(minutes=61)


@pytest.mark.parametrize("hours", [3, 14], ids=["before the reset", "after it"])
async def test_a_wait_for_the_quota_goes_on_while_no_process_does(campaigns: CampaignRig, hours: int) -> None:
    sandbox = await campaigns.account(devices=12, quota=10)
    # By then it does nothing else.
    await run_until(campaigns, campaigns.spec(), ArtifactSaved, 10)
    ended, asked = campaigns.clock.now(), campaigns.asked("get_quota")
    assert (len(campaigns.of(QuotaWaited)), campaigns.asked("create_commands")) == (1, 1)
    campaigns.clock.advance(hours * 3600)
    status = await campaigns.run("one")
    assert (status.state, status.count("saved")) == ("finished", 12)
    assert set(commands_by_target(sandbox).values()) == {1}
    # One POST for what is left, and one look at the quota when the process begins; another after the reset, if that is
    # still to come then.
    assert campaigns.asked("create_commands") == 2
    assert campaigns.asked("get_quota") - asked == (1 if hours == 14 else 2)
    first, *again = campaigns.of(QuotaWaited)
    assert len(again) == (0 if hours == 14 else 1)
    # The clock began at noon.  `Date` is cut to the second.
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    for wait in (first, *again):
        assert midnight <= wait.until < midnight + timedelta(seconds=3)
    second = max(command.created for command in sandbox.state.commands.values())
    due = max(midnight, ended + timedelta(hours=hours))
    assert due <= second < due + timedelta(minutes=2)


async def test_a_process_that_ends_as_it_begins_to_wait_for_the_quota_leaves_nothing_doubled(
    campaigns: CampaignRig,
) -> None:
    sandbox = await campaigns.account(devices=12, quota=10)
    # The POST that takes all there is is only about to be sent then.
    await run_until(campaigns, campaigns.spec(), QuotaWaited)
    assert not campaigns.of(CommandKnown)
    status = await campaigns.run("one")
    assert (status.state, status.count("saved")) == ("finished", 12)
    assert set(commands_by_target(sandbox).values()) == {1}


async def test_a_report_says_how_long_lost_commands_are_looked_for(campaigns: CampaignRig) -> None:
    # Too few to look for less time than is configured.
    await campaigns.account(devices=10)
    campaigns.client_options["settle_seconds"] = 300.0
    status = await campaigns.run(campaigns.spec())
    async with open_journal(campaigns.journal) as store:
        lags = await store.lags("one", "acme")
        assert await list_campaigns(store) == [status]
    assert 0 < lags.n <= 10
    assert 0 < lags.longest < 100
    settling = status.accounts[0].settling
    assert (settling.n, settling.longest) == (lags.n, lags.longest)
    assert settling.seconds == 300.0


# --- who is told


@pytest.mark.parametrize("kind", [RunStarted, IntentOpened, CommandKnown, ArtifactSaved, AccountStopped])
async def test_an_event_handler_that_raises_ends_the_run_in_good_order(
    campaigns: CampaignRig, kind: type[CampaignEvent]
) -> None:
    class BrokenError(Exception):
        pass

    def note(event: CampaignEvent) -> None:
        assert not any(isinstance(told, kind) for told in campaigns.events), "it is called after it has raised"
        campaigns.events.append(event)
        if isinstance(event, kind):
            raise BrokenError

    sandbox = await campaigns.account(devices=30)
    async with campaigns.campaign(campaigns.spec(pace=Pace(creates=1, in_flight=10))) as campaign:
        with anyio.fail_after(60):
            with pytest.raises(BrokenError):
                await campaign.run(on_event=note)
        written = [one.event async for one in campaign.events()]
        status = await campaign.status()
    # What was under way is at its end, and all of it is in the journal.
    assert status.count("creating") == 0
    assert isinstance(written[-1], RunEnded)
    assert status.count("running", "collecting", "saved", "failed") == len(sandbox.state.commands)
    told = [event for event in written if type(event).__name__ not in ("CampaignPlanned", "TargetPlanned")]
    assert told[: len(campaigns.events)] == campaigns.events
    campaigns.events.clear()
    assert (await campaigns.run("one")).count("saved") == 30
    assert set(commands_by_target(sandbox).values()) == {1}


# --- the quota


async def test_what_a_dead_process_reserves_costs_no_questions(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=10, quota=15)
    # Its POST was never sent, and it is not gone on with.
    await run_until(campaigns, campaigns.spec(name="dead", command=WarpDiag()), IntentOpened)
    asked = campaigns.asked("get_quota")
    with anyio.fail_after(60):
        status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 10
    # One more each time that as much again has passed, and the usual ones.
    assert campaigns.asked("get_quota") - asked <= 14
    # Ten minutes after its intents nobody's POST can still be under way.
    assert campaigns.of(ArtifactSaved)[-1].at - campaigns.of(RunStarted)[0].at < timedelta(minutes=20)
    assert len(sandbox.state.commands) == 10


async def test_a_service_that_tells_no_time_is_waited_for(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5)
    sandbox.faults.add(Fault.headers({"Date": "soon"}), times=None, where=lambda _: campaigns.clock.monotonic() < 600)
    async with open_journal(campaigns.journal) as journal:
        store = WatchedStore(journal)
        with anyio.fail_after(60):
            status = await campaigns.run(campaigns.spec(), journal=store)
    assert status.count("saved") == 5
    assert campaigns.asked("get_quota") <= 20
    assert store.asked["due_targets"] <= 40


class Line:
    """The way to a service, which can be cut: then no connection to it comes about."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._port = 0
        self._ends: list[asyncio.StreamWriter] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/client/v4"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        self._server.close()
        self._hang_up()

    def lead_to(self, port: int) -> None:
        """Lead to another service from now on."""
        self._to = port
        self._hang_up()

    def _hang_up(self) -> None:
        while self._ends:
            self._ends.pop().close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._to)
        self._ends += [writer, forth]
        async with anyio.create_task_group() as both:
            both.start_soon(self._carry, reader, forth)
            both.start_soon(self._carry, back, writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


async def test_a_service_that_can_not_be_reached_is_waited_for(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=12)
    line = Line(URL(sandbox.base_url).port or 0)
    await line.mend()
    campaigns.base_url = line.base_url
    mending: list[asyncio.Task[None]] = []
    failures = 0

    def count(event: Event) -> None:
        nonlocal failures
        failures += isinstance(event, Retrying)
        # More than one POST is tried for.
        if failures == 20 and not mending:
            mending.append(asyncio.create_task(line.mend()))

    def tell(event: CampaignEvent) -> None:
        campaigns.events.append(event)
        if isinstance(event, WaveOpened) and event.wave == 2:
            line.cut()

    campaigns.client_options = {"on_event": count}
    async with campaigns.campaign(campaigns.spec(waves=Waves(sizes=(Share(count=2),)))) as campaign:
        status = await campaign.run(on_event=tell)
    await mending[0]
    line.cut()
    assert (status.state, status.count("saved")) == ("finished", 12)
    assert len(sandbox.state.commands) == 12
    # It was not the quota that it waited for.
    assert campaigns.of(QuotaWaited) == []


async def test_a_service_whose_certificate_can_not_be_trusted_any_more_is_not_waited_for(
    campaigns: CampaignRig,
) -> None:
    trusted, stranger, client = trustme.CA(), trustme.CA(), ssl.create_default_context()
    trusted.configure_trust(client)

    async def tls(authority: trustme.CA, name: str) -> Sandbox:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        return await campaigns.account(name, devices=12, ssl_context=context)

    sandbox, other = await tls(trusted, "acme"), await tls(stranger, "other")
    line = Line(URL(sandbox.base_url).port or 0)
    await line.mend()
    campaigns.base_url = line.base_url.replace("http", "https", 1)
    account = AccountSpec(account_id=sandbox.account_id, name="acme")

    def tell(event: CampaignEvent) -> None:
        if isinstance(event, WaveOpened) and event.wave == 2:
            # From now on somebody else answers.
            line.lead_to(URL(other.base_url).port or 0)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client)) as session:
        campaigns.client_options = {"session": session}
        spec = campaigns.spec(accounts=(account,), waves=Waves(sizes=(Share(count=2),)))
        async with campaigns.campaign(spec) as campaign:
            with pytest.raises(TransportError, match="can't be trusted"):
                await campaign.run(on_event=tell)
            # What was not sent is not looked for either.
            [open_intents] = [await campaign.store.open_intents(campaign.name, "acme")]
        await anyio.wait_all_tasks_blocked()
    line.cut()
    assert open_intents == []
    assert len(sandbox.state.commands) == 2


async def test_a_quota_that_was_used_up_is_still_waited_for_while_it_is_not_told(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=12, quota=10)
    # Asked by the plan, and by the run; then after the reset, by two calls in vain.
    sandbox.faults.add(Fault.error(503), on="get_quota", skip=2, times=12)
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 12
    at_reset, *after = [event.until for event in campaigns.of(QuotaWaited)]
    assert len(after) == 2
    assert all(until > at_reset for until in after)


@pytest.mark.parametrize("left", [0, 5])
async def test_a_quota_that_others_use_up_meanwhile_costs_one_post(campaigns: CampaignRig, left: int) -> None:
    sandbox = await campaigns.account(devices=25, quota=25 + left)
    devices = sandbox.state.devices

    def others(_: Any) -> bool:
        if len(sandbox.state.commands) == 10:
            for device in devices[:15]:
                sandbox.state.create(NewCommand(device, "speed-test", {}))
        return False

    sandbox.faults.add(Fault.drop(), on="create_commands", times=None, where=others)
    status = await campaigns.run(campaigns.spec(pace=Pace(creates=1)))
    assert status.count("saved") == 25
    assert status.accounts[0].foreign == 15
    assert campaigns.asked("create_commands") == 4
    assert campaigns.asked("get_quota") <= 6


async def test_what_a_lost_post_may_have_made_is_not_created_once_more_of_the_quota(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=20, quota=25, behaviour=behaviour(list_lag=600.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=1)
    status = await campaigns.run(campaigns.spec(lost_answers="give_up", leave_quota=15))
    assert status.count("saved") == 20
    days = Counter(command.created.date() for command in sandbox.state.commands.values())
    assert [*days.values()] == [10, 10]


async def test_a_clock_that_is_set_back_prolongs_no_wait_for_the_quota(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=12, quota=10)

    def note(event: CampaignEvent) -> None:
        campaigns.events.append(event)
        if isinstance(event, QuotaWaited) and len(campaigns.of(QuotaWaited)) == 1:
            assert isinstance(campaigns.clock, SettableClock)
            campaigns.clock.set_back(timedelta(hours=30))
            # The service's clock is another.
            sandbox.behaviour = behaviour(clock_skew=30 * 3600.0)

    async with campaigns.campaign(campaigns.spec()) as campaign:
        status = await campaign.run(on_event=note)
    assert status.count("saved") == 12
    # It is reset at midnight; the clock began at noon.
    assert campaigns.clock.monotonic() < 13 * 3600


@pytest.mark.parametrize("reset", ["9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z"])
async def test_a_reset_at_the_end_of_the_calendar_is_not_believed(campaigns: CampaignRig, reset: str) -> None:
    sandbox = await campaigns.account(devices=25, quota=10)
    sandbox.faults.add(Fault.wrong_types("result.reset_time", reset), on="get_quota", times=None)
    status = await campaigns.run(campaigns.spec())
    assert status.count("saved") == 25
    # In truth it is reset at midnight; the clock began at noon.
    assert campaigns.clock.monotonic() < 60 * 3600
    assert campaigns.asked("get_quota") < 500


# --- cancelled, or refused by the journal, at any moment


class ErringStore(WatchedStore):
    """A journal that, at its nth call, cancels who runs the campaign or can't be had, before or after doing it."""

    def __init__(self, store: Store, nth: int, what: str) -> None:
        super().__init__(store)
        self.left = nth
        self._when, self._what = what.split()
        self.task: Any = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in ("hold", "held"):
            return method

        async def call(*args: Any, **keywords: Any) -> Any:
            self.left -= 1
            due = self.left == 0
            if due and self._when == "before":
                await self._err()
            result = await method(*args, **keywords)
            if due and self._when == "after":
                await self._err()
            return result

        return call

    async def _err(self) -> None:
        if self._what == "refused":
            raise CampaignError("the journal can't be had")
        self.task.cancel()
        # In whatever the task waits for, this one or another.
        await anyio.lowlevel.checkpoint()

    async def campaign(self, name: str) -> Any:
        # Steering asks this by the machine's clock.
        return await self._store.campaign(name)


@pytest.mark.parametrize("what", ["before cancelled", "after cancelled", "before refused", "after refused"])
async def test_trouble_at_any_call_of_the_journal_loses_and_doubles_nothing(campaigns: CampaignRig, what: str) -> None:
    sandbox = await campaigns.account(devices=14, behaviour=Behaviour.instant(multi_user_share=0, ineligible_share=0))
    sandbox.faults.add_random(
        rate=0.3, mix=[Fault.drop(processed=True), Fault.drop(processed=False)], on="create_commands", seed=5
    )
    spec = campaigns.spec(waves=Waves(sizes=(Share(count=3),)), pace=Pace(creates=2, in_flight=8))
    calls = 0
    ended = False
    while not ended:
        calls += 1
        assert calls < 300
        async with open_journal(campaigns.journal) as journal:
            store = ErringStore(journal, calls, what)
            tasks = set(asyncio.all_tasks())

            async def run(store: ErringStore = store) -> None:
                store.task = asyncio.current_task()
                async with campaigns.campaign(spec, journal=store) as campaign:
                    await campaign.run(on_event=campaigns.events.append)

            with anyio.fail_after(60):
                [outcome] = await asyncio.gather(asyncio.create_task(run()), return_exceptions=True)
            assert set(asyncio.all_tasks()) <= tasks, "a task is left behind"
            ended = store.left > 0
            if not ended:
                assert isinstance(outcome, asyncio.CancelledError | CampaignError), outcome
    async with campaigns.campaign("one") as campaign:
        status = await campaign.status()
        targets = await campaign.store.targets("one", range(1, 15))
        problems = await campaign.store.check()  # type: ignore[attr-defined]
    assert not problems
    assert status.state == "finished"
    made = commands_by_target(sandbox)
    assert set(made.values()) == {1}
    states = Counter((target.state, target.failure) for target in targets)
    # Two processes that end between an intent and its POST leave what two lost answers leave.
    assert states.keys() <= {("saved", None), ("failed", "unknown")}
    assert states["saved", None] == len(made) == len(campaigns.files())
    whole = Counter(r.params["command_id"] for r in sandbox.requests if r.operation == "download" and r.status == 200)
    saved = Counter(event.command_id for event in campaigns.of(ArtifactSaved) if not event.skipped)
    assert all(saved[command] <= 1 for command in saved)
    assert sum(whole.values()) <= len(made) + calls


# --- what it asks of its journal


async def test_what_is_due_much_later_is_not_looked_through_at_each_event(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=60, behaviour=behaviour(failure_rate=1.0))

    def look(_: Any) -> bool:
        # The first ten fail, and are due again hours later; the others end one by one.
        if sandbox.state.commands:
            sandbox.behaviour = behaviour(run_seconds=(100.0, 800.0))
        return False

    sandbox.faults.add(Fault.drop(), on="create_commands", times=None, where=look)
    async with open_journal(campaigns.journal) as journal:
        store = WatchedStore(journal)
        retries = Retries(device=1, wait=timedelta(hours=5))
        status = await campaigns.run(campaigns.spec(pace=Pace(creates=1), retries=retries), journal=store)
    assert status.count("saved") == 60
    assert len(campaigns.of(CommandEnded)) == 70
    # For the two times that something is due, once when there is nothing more, and when a target fails.
    assert store.asked["due_targets"] + store.asked["next_due"] <= 40


async def test_what_a_post_made_is_surplus_where_the_list_shows_that_of_an_earlier_one_first(
    campaigns: CampaignRig,
) -> None:
    # Both POSTs get lost, a night of waiting for the quota apart, and the second can't be told by the first's command,
    # which the list shows half a minute after that night.
    lag = timedelta(hours=12, seconds=30)
    behaviour = Behaviour(**HEALTHY, list_lag=lag.total_seconds())
    sandbox = await campaigns.account(devices=10, quota=10, behaviour=behaviour)
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", where=lambda _: not sandbox.state.commands)
    sandbox.faults.add(
        Fault.drop(processed=True), on="create_commands", where=lambda _: sandbox.state.now().day > 1, times=1
    )
    status = await campaigns.run(campaigns.spec(audit_after=lag))
    assert len(sandbox.state.commands) == 20
    assert status.count("saved") == 10
    [account] = status.accounts
    assert (account.commands, account.surplus, account.foreign) == (10, 10, 0)


async def test_what_an_audit_finds_failed_of_a_wave_that_is_over_is_not_tried_again(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=4, behaviour=Behaviour(**HEALTHY, list_lag=200.0, failure_rate=1.0))
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    spec = campaigns.spec(waves=Waves(sizes=(Share(count=2),)), retries=Retries(device=1), lost_answers="give_up")
    status = await campaigns.run(spec)
    assert status.state == "finished"
    assert status.count("failed") == 4
    # Those of the first wave were lost, and are found when the second is over, in which all are tried again.
    assert len(sandbox.state.commands) == 6
