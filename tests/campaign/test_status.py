"""How a campaign stands, by its records: each state by a table, and sums that come out."""

from datetime import datetime, timedelta
from typing import Any, get_args

import attrs
import pytest

from dexcmd.campaign.events import (
    AccountStarted,
    AccountStopped,
    ControlRequested,
    QuotaSeen,
    QuotaWaited,
    RunEnded,
    RunStarted,
    TargetDropped,
)
from dexcmd.campaign.reading import read_status
from dexcmd.campaign.records import AccountRecord, CampaignRecord, Count
from dexcmd.campaign.report import report_lines
from dexcmd.campaign.spec import AccountSpec, CampaignSpec, FailureClass, Waves
from dexcmd.campaign.state import TargetState
from dexcmd.campaign.status import CampaignStatus, Settling, is_between_waves, status_of
from dexcmd.errors import CampaignError
from dexcmd.resources.requests import Pcap
from tests.campaign.facts import Facts, account_id, minutes
from tests.campaign.memory import MemoryStore

pytestmark = pytest.mark.anyio

SPEC = CampaignSpec(
    name="c",
    command=Pcap(),
    accounts=(
        AccountSpec(account_id=account_id(), name="a"),
        AccountSpec(account_id=account_id(2), name="b", token_env="APAC"),
        AccountSpec(account_id=account_id(3), name="empty"),
    ),
)

CAMPAIGN = CampaignRecord(
    name="c",
    spec="{}",
    fingerprint="f",
    type="pcap",
    control="run",
    planned_at=minutes(0),
    first_run_at=minutes(1),
    ended=None,
)

SETTLING = Settling(seconds=120.0, n=7, longest=4.5)


def account(name: str = "a", **fields: Any) -> AccountRecord:
    nothing = dict.fromkeys(field.name for field in attrs.fields(AccountRecord))
    zeros = dict.fromkeys(("wave", "left_running", "surplus", "foreign", "posts", "commands", "size"), 0)
    return AccountRecord(**{**nothing, **zeros, "name": name, "account_id": account_id(), **fields})


def count(
    state: TargetState, n: int = 1, account: str = "a", wave: int = 1, failure: FailureClass | None = None
) -> Count:
    return Count(account=account, wave=wave, state=state, failure=failure, n=n)


def status(
    *accounts: AccountRecord,
    counts: Any = (),
    campaign: CampaignRecord = CAMPAIGN,
    spec: CampaignSpec = SPEC,
    **options: Any,
) -> CampaignStatus:
    settling = {one.name: SETTLING for one in accounts}
    ended = options.pop("waves_ended", {})
    return status_of(campaign, spec, accounts, counts, settling, ended, **{"held": False, **options})


WAITS = account(waits_until=minutes(99))
BUSY = account("b")
DONE = account("b", stopped="finished")


class TestState:
    @pytest.mark.parametrize(
        ("accounts", "counts", "changes", "held", "state"),
        [
            # Never run: whatever is to be done.
            ([account()], [count("pending")], {"first_run_at": None}, False, "planned"),
            ([account()], [count("pending")], {"first_run_at": None, "control": "cancel_keep"}, False, "planned"),
            ([account()], [count("pending")], {"first_run_at": None}, True, "running"),
            # No process.
            ([account()], [count("pending")], {}, False, "interrupted"),
            ([account()], [count("pending")], {"ended": "failed"}, False, "interrupted"),
            ([account()], [count("pending")], {"control": "cancel_drop"}, False, "interrupted"),
            ([WAITS], [count("pending")], {}, False, "interrupted"),
            # All is decided, and it may still have to be audited.
            ([account()], [count("saved")], {}, False, "interrupted"),
            ([account()], [count("saved")], {}, True, "running"),
            # A process.
            ([account()], [count("pending")], {}, True, "running"),
            ([account()], [count("pending")], {"control": "cancel_keep"}, True, "running"),
            ([WAITS], [count("pending")], {}, True, "waiting"),
            ([WAITS], [count("pending"), count("failed", failure="device"), count("saved")], {}, True, "waiting"),
            ([WAITS], [count("pending"), count("creating")], {}, True, "running"),
            ([WAITS], [count("pending"), count("running")], {}, True, "running"),
            ([WAITS], [count("pending"), count("collecting")], {}, True, "running"),
            ([WAITS], [count("pending"), count("running", n=0)], {}, True, "waiting"),
            ([WAITS, BUSY], [count("pending"), count("pending", account="b")], {}, True, "running"),
            ([WAITS, DONE], [count("pending"), count("saved", account="b")], {}, True, "waiting"),
            ([account(stopped="finished"), BUSY], [], {}, True, "running"),
            # Held by the operator.
            ([account()], [count("pending")], {"control": "pause"}, False, "paused"),
            ([account()], [count("running")], {"control": "pause"}, True, "paused"),
            ([WAITS], [count("pending")], {"control": "pause"}, True, "paused"),
            ([account()], [count("pending")], {"control": "pause", "first_run_at": None}, False, "paused"),
            ([account(stopped="finished")], [count("saved")], {"control": "pause"}, False, "finished"),
            # Over.
            ([account(stopped="finished"), DONE], [count("saved")], {"ended": "finished"}, False, "finished"),
            # The process is about to end.
            ([account(stopped="finished")], [count("saved")], {}, True, "finished"),
            ([account(stopped="aborted"), DONE], [], {}, False, "aborted"),
            ([DONE, account(stopped="refused")], [], {}, False, "refused"),
            ([account(stopped="cancelled"), DONE], [], {}, False, "cancelled"),
            ([account(stopped="aborted"), account("b", stopped="refused")], [], {}, False, "refused"),
            ([account(stopped="cancelled"), account("b", stopped="refused")], [], {}, False, "refused"),
            ([account(stopped="cancelled"), account("b", stopped="aborted")], [], {}, False, "aborted"),
            ([account(stopped="aborted"), BUSY], [], {}, True, "running"),
            ([account(stopped="aborted"), BUSY], [], {}, False, "interrupted"),
            # What it waited for does not matter any more.
            ([account(stopped="aborted", waits_until=minutes(9)), DONE], [], {}, True, "aborted"),
        ],
    )
    def test_by_the_records(self, accounts: Any, counts: Any, changes: dict[str, Any], held: bool, state: str):
        campaign = attrs.evolve(CAMPAIGN, **changes)
        found = status(*accounts, counts=counts, campaign=campaign, held=held)
        assert found.state == state
        assert found.control == campaign.control

    @pytest.mark.parametrize(
        ("held", "here", "elsewhere"), [(False, False, False), (True, False, True), (True, True, False)]
    )
    def test_who_runs_it(self, held: bool, here: bool, elsewhere: bool):
        assert status(account(), held=held, here=here).running_elsewhere is elsewhere


class TestSoak:
    SPEC = attrs.evolve(SPEC, waves=Waves(soak=timedelta(minutes=5)))
    OPEN = account(wave=1)

    def test_when_the_next_wave_begins(self):
        ended = {"a": minutes(9)}
        counts = [count("saved"), count("pending", wave=2)]
        found = status(self.OPEN, counts=counts, spec=self.SPEC, waves_ended=ended, held=True)
        assert (found.accounts[0].next_wave_at, found.state) == (minutes(14), "waiting")
        assert "  waits with wave 2 until 2026-03-01 08:14 UTC: so long is its soak" in report_lines(found)
        at_once = status(self.OPEN, counts=counts, waves_ended=ended, held=True)
        assert (at_once.accounts[0].next_wave_at, at_once.state) == (None, "running")

    @pytest.mark.parametrize(
        ("changes", "counts", "between"),
        [
            ({}, [count("saved"), count("failed", failure="device"), count("pending", wave=2)], True),
            ({}, [count("saved"), count("running", n=0), count("pending", wave=2)], True),
            ({}, [count("not_attempted"), count("skipped", wave=0), count("pending", wave=2)], True),
            ({}, [count("saved"), count("pending"), count("pending", wave=2)], False),
            ({}, [count("saved"), count("collecting"), count("pending", wave=2)], False),
            ({}, [count("saved")], False),
            ({}, [count("saved"), count("pending", account="b", wave=2)], False),
            ({"wave": 2}, [count("saved"), count("saved", wave=2)], False),
            ({"wave": 0}, [count("pending"), count("pending", wave=2)], False),
            ({"stopped": "aborted"}, [count("saved"), count("pending", wave=2)], False),
            ({"aborted": "12 of 20 failed"}, [count("saved"), count("pending", wave=2)], False),
        ],
    )
    def test_whether_it_is_between_waves(self, changes: dict[str, Any], counts: Any, between: bool):
        assert is_between_waves(attrs.evolve(self.OPEN, **changes), counts) is between


class TestAudit:
    LOST = account(posts=1, last_lost_at=minutes(9))

    def test_until_when_it_waits(self):
        found = status(self.LOST, counts=[count("saved"), count("failed", failure="unknown")], held=True)
        assert found.accounts[0].audit_at == minutes(24)
        told = "  waits with the audit until 2026-03-01 08:24 UTC: POSTs without a response may still create commands"
        assert told in report_lines(found)

    @pytest.mark.parametrize(
        ("fields", "counts", "control"),
        [
            ({"last_lost_at": None}, [count("saved")], "run"),
            ({"stopped": "finished"}, [count("saved")], "run"),
            ({"audit_error": "HTTP 500"}, [count("saved")], "run"),
            ({}, [count("saved"), count("collecting")], "run"),
            ({}, [count("saved"), count("pending", wave=2)], "run"),
            # It waits for nothing any more.
            ({}, [count("saved")], "cancel_keep"),
        ],
    )
    def test_nothing_is_waited_for(self, fields: dict[str, Any], counts: Any, control: Any):
        campaign = attrs.evolve(CAMPAIGN, control=control)
        found = status(attrs.evolve(self.LOST, **fields), counts=counts, campaign=campaign, held=True)
        assert found.accounts[0].audit_at is None
        assert not any("waits with the audit" in line for line in report_lines(found))


class TestDeadline:
    @pytest.mark.parametrize(
        ("deadline", "first_run_at", "expected"),
        [
            (None, minutes(1), None),
            (minutes(50), None, minutes(50)),
            (minutes(50), minutes(1), minutes(50)),
            (timedelta(minutes=30), minutes(1), minutes(31)),
            # It counts from the first run.
            (timedelta(minutes=30), None, None),
        ],
    )
    def test_in_the_end_it_is_a_time(self, deadline: Any, first_run_at: datetime | None, expected: datetime | None):
        campaign = attrs.evolve(CAMPAIGN, first_run_at=first_run_at)
        assert status(account(), campaign=campaign, spec=attrs.evolve(SPEC, deadline=deadline)).deadline == expected


class TestSums:
    def test_states_and_failures(self):
        counts = [
            count("saved", 3),
            count("saved", 4, wave=2),
            count("failed", 2, failure="device"),
            count("failed", 1, wave=3, failure="device"),
            count("failed", 5, failure="timeout"),
            count("skipped", 9, wave=0),
            count("saved", 100, account="b"),
        ]
        found = status(account(), account("b", account_id=account_id(2)), account("empty"), counts=counts)
        a, b, empty = found.accounts
        assert set(a.states) == set(get_args(TargetState))
        assert set(a.failures) == set(get_args(FailureClass))
        assert {state: n for state, n in a.states.items() if n} == {"saved": 7, "failed": 8, "skipped": 9}
        assert {failure: n for failure, n in a.failures.items() if n} == {"device": 3, "timeout": 5}
        assert (a.waves, b.waves, empty.waves) == (3, 1, 0)
        assert (b.account_id, b.states["saved"], sum(empty.states.values())) == (account_id(2), 100, 0)
        assert (found.count(), found.count("saved"), found.count("skipped", "failed")) == (115, 107, 17)

    def test_what_is_only_handed_on(self):
        record = account(
            wave=2,
            stopped="cancelled",
            reason="enough",
            left_running=3,
            quota=200,
            usage=150,
            reset_time=minutes(5),
            waits_until=minutes(6),
            surplus=1,
            foreign=2,
            audited_at=minutes(7),
            posts=8,
            commands=9,
            size=10,
        )
        [found] = status(record).accounts
        assert (found.settling, found.token_env) == (SETTLING, "CLOUDFLARE_API_TOKEN")
        others = {"settling", "token_env", "states", "failures", "waves", "next_wave_at", "audit_at"}
        for name in set(attrs.fields_dict(type(found))) - others:
            assert getattr(found, name) == getattr(record, name), name

    def test_bytes(self):
        assert status(account(size=2**40), account("b", size=1)).size == 2**40 + 1


async def test_along_a_journal():
    """What a journal answers leads through the states of a campaign."""
    store, facts = MemoryStore(), Facts("a")
    states = []

    async def after(*events: Any) -> None:
        await store.append("c", events)
        states.append((await read_status(store, SPEC)).state)

    await after(facts.campaign(), *facts.targets(2))
    async with store.hold("c"):
        await after(facts.make(RunStarted))
        await after(*facts.created(1, "c1"))
        await after(facts.make(QuotaSeen, quota=1, usage=1, reset_time=minutes(9)))
        await after(facts.make(QuotaWaited, until=minutes(9)))
        await after(facts.ended(1, "c1"), facts.saved(1, "c1"))
    await after(facts.make(RunEnded, reason="interrupted"))
    await after(facts.make(ControlRequested, control="pause"))
    await after(facts.make(ControlRequested, control="cancel_keep"))
    async with store.hold("c"):
        await after(facts.make(TargetDropped, target=2, reason="cancelled"))
        await after(facts.make(AccountStopped, kind="cancelled"))
    assert states == [
        "planned",
        "running",
        "running",
        "running",
        "running",
        "waiting",
        "interrupted",
        "paused",
        "interrupted",
        "waiting",
        "cancelled",
    ]


class TestRead:
    async def test_it_knows_how_soon_commands_are_listed(self):
        store, facts = MemoryStore(), Facts("a")
        await store.append("c", [facts.campaign(("a", account_id()), ("b", account_id(2))), facts.target(1)])
        await store.append("c", [facts.known(1, "c1"), facts.ended(1, "c1", listed_after=4.5)])
        a, b = (await read_status(store, SPEC)).accounts
        assert (a.settling, b.settling) == (
            Settling(seconds=120, n=1, longest=4.5),
            Settling(seconds=120, n=0, longest=0),
        )
        await store.append("c", [facts.make(AccountStarted, settle_seconds=60.0)])
        a, b = (await read_status(store, SPEC)).accounts
        assert a.settling == Settling(seconds=60, n=1, longest=4.5)
        assert b.settling.seconds == 120

    async def test_it_knows_from_many_commands_that_it_takes_less_time(self):
        store, facts = MemoryStore(), Facts("a")
        await store.append("c", [facts.campaign(("a", account_id()), ("b", account_id(2))), *facts.targets(50)])
        for number in range(1, 51):
            await store.append(
                "c", [facts.known(number, f"c{number}"), facts.ended(number, f"c{number}", listed_after=21.0)]
            )
        a, b = (await read_status(store, SPEC)).accounts
        assert (a.settling, b.settling.seconds) == (Settling(seconds=63, n=50, longest=21), 120)

    async def test_who_runs_it(self):
        store = MemoryStore()
        await store.append("c", [Facts("a").campaign()])
        assert not (await read_status(store, SPEC)).running_elsewhere
        async with store.hold("c"):
            assert (await read_status(store, SPEC)).running_elsewhere
            found = await read_status(store, SPEC, here=True)
        assert (found.state, found.running_elsewhere) == ("running", False)

    async def test_one_that_is_not_known(self):
        with pytest.raises(CampaignError, match=r"^there is no campaign 'c' in the journal$"):
            await read_status(MemoryStore(), SPEC)
