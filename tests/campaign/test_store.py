"""What every journal has to do, whatever it is kept in.

A new implementation goes into `STORES`; nothing else is needed to test it.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.campaign import events
from dexcmd.campaign.events import (
    AccountStarted,
    AccountStopped,
    Audited,
    AuditFailed,
    CampaignEvent,
    ControlRequested,
    CreatingAborted,
    ForeignFound,
    QuotaSeen,
    QuotaWaited,
    RunEnded,
    RunStarted,
    SurplusFound,
    TargetDropped,
    TargetEvent,
    TargetPlanned,
    WaveOpened,
)
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.records import (
    AccountRecord,
    ArtifactRecord,
    CampaignRecord,
    CommandRecord,
    Count,
    IntentRecord,
    Lags,
    TargetRecord,
)
from dexcmd.campaign.state import change_of
from dexcmd.campaign.store import Store
from dexcmd.errors import CampaignBusyError, CampaignError, CampaignExistsError, TargetBusyError
from tests.campaign.facts import START, Facts, account_id, minutes
from tests.campaign.memory import MemoryStore

pytestmark = pytest.mark.anyio

Opener = Callable[[Path], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def in_memory(_: Path) -> AsyncIterator[Store]:
    yield MemoryStore()


def in_file(folder: Path) -> Any:
    return open_journal(folder / "journal.db")


STORES: dict[str, Opener] = {"memory": in_memory, "sqlite": in_file}

LATE = minutes(100_000)


@pytest.fixture(params=STORES.values(), ids=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with request.param(tmp_path) as store:
        yield store


@pytest.fixture
def facts() -> Facts:
    return Facts()


async def numbers(answer: Any) -> list[int]:
    return [target.number for target in await answer]


async def state_of(store: Store, number: int, campaign: str = "c") -> TargetRecord:
    [target] = await store.targets(campaign, [number])
    return target


async def main_account(store: Store) -> AccountRecord:
    [account] = await store.accounts("c")
    return account


class TestCampaigns:
    async def test_one_that_is_planned(self, store: Store, facts: Facts):
        planned = facts.campaign(("emea", account_id(2)), ("apac", account_id(1)))
        await store.append("c", [planned])
        record = CampaignRecord(
            name="c",
            spec=planned.spec,
            fingerprint="f00d",
            type="pcap",
            control="run",
            planned_at=planned.at,
            first_run_at=None,
            ended=None,
        )
        assert await store.campaign("c") == record
        assert await store.campaigns() == [record]
        # The order of the spec, which is neither that of names nor that of ids.
        assert [(account.name, account.account_id) for account in await store.accounts("c")] == [
            ("emea", account_id(2)),
            ("apac", account_id(1)),
        ]

    async def test_the_oldest_comes_first(self, store: Store, facts: Facts):
        for name in ("b", "c", "a"):
            await store.append(name, [facts.campaign()])
        assert [record.name for record in await store.campaigns()] == ["b", "c", "a"]

    async def test_none_of_that_name(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1)])
        assert await store.campaign("C") is None
        # As a terminal may give it.
        assert await store.campaign("\udcff") is None
        assert await store.accounts("other") == []
        assert await store.counts("other") == []
        assert await store.events("other") == []
        assert await store.export("other", 0, 10) == []

    async def test_a_second_of_one_name(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(type="pcap")])
        with pytest.raises(CampaignExistsError):
            await store.append("c", [facts.campaign(type="warp-diag")])
        assert (await store.campaign("c")).type == "pcap"

    async def test_runs(self, store: Store, facts: Facts):
        first, again = facts.make(RunStarted), facts.make(RunStarted)
        await store.append("c", [facts.campaign(), first])
        assert (await store.campaign("c")).first_run_at == first.at
        await store.append("c", [facts.make(RunEnded, reason="interrupted")])
        assert (await store.campaign("c")).ended == "interrupted"
        await store.append("c", [again])
        record = await store.campaign("c")
        assert (record.first_run_at, record.ended) == (first.at, None)

    async def test_what_the_operator_wants(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign()])
        for control in ("pause", "run", "cancel_keep", "cancel_drop"):
            await store.append("c", [facts.make(ControlRequested, control=control)])
            assert (await store.campaign("c")).control == control

    @pytest.mark.parametrize("cancel", ["cancel_keep", "cancel_drop"])
    @pytest.mark.parametrize("together", [False, True])
    async def test_nothing_undoes_a_cancellation(self, store: Store, facts: Facts, cancel: str, together: bool):
        await store.append("c", [facts.campaign()])
        asked = [facts.make(ControlRequested, control=control) for control in ("pause", cancel, "pause", "run")]
        for group in [asked] if together else [[event] for event in asked]:
            await store.append("c", group)
        assert (await store.campaign("c")).control == cancel
        await store.append("c", [facts.make(ControlRequested, control="cancel_drop")])
        assert (await store.campaign("c")).control == "cancel_drop"


class TestAppend:
    @pytest.mark.parametrize("late", ["campaign", "busy", "command", "account", "target", "intent"])
    async def test_all_or_none(self, store: Store, facts: Facts, late: str):
        await store.append("c", [facts.campaign(), *facts.targets(3), *facts.created(1, "c1"), facts.opened(2)])
        before = await snapshot(store)
        wrong: dict[str, list[CampaignEvent]] = {
            "campaign": [facts.campaign()],
            "busy": [facts.opened(2, "post-3")],
            "command": [facts.known(3, "c1")],
            "account": [facts.make(WaveOpened, wave=2, account="other")],
            "target": [facts.opened(4)],
            "intent": [facts.closed(2, "created", "post-4")],
        }
        fine = [facts.make(WaveOpened, wave=1), facts.opened(3, "post-2"), facts.make(RunStarted)]
        with pytest.raises(CampaignError):
            await store.append("c", [*fine, *wrong[late]])
        assert await snapshot(store) == before
        await store.append("c", fine)
        assert await snapshot(store) != before

    async def test_to_a_campaign_that_there_is_not(self, store: Store, facts: Facts):
        with pytest.raises(CampaignError):
            await store.append("c", [facts.make(RunStarted)])
        assert await store.campaigns() == []

    async def test_nothing(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign()])
        await store.append("c", [])
        assert len(await store.events("c")) == 1

    async def test_a_command_is_known_once_in_all_campaigns(self, store: Store, facts: Facts):
        for name in ("c", "d"):
            await store.append(name, [facts.campaign(), *facts.targets(2)])
        await store.append("c", [facts.known(1, "c1")])
        for name, number in (("c", 1), ("c", 2), ("d", 1)):
            with pytest.raises(CampaignError):
                await store.append(name, [facts.known(number, "c1")])

    async def test_appends_at_the_same_time(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign()])
        batches = [[facts.target(2 * n + 1), facts.target(2 * n + 2)] for n in range(50)]
        await asyncio.gather(*(store.append("c", batch) for batch in batches))
        assert await numbers(store.targets("c", range(1, 101))) == list(range(1, 101))
        recorded = [one.event.target for one in await store.events("c") if isinstance(one.event, TargetPlanned)]
        # Whichever came first: a batch is never torn.
        assert sorted(recorded[::2]) == list(range(1, 101, 2))
        assert all(second == first + 1 for first, second in zip(recorded[::2], recorded[1::2], strict=True))


class TestIntents:
    async def test_one_open_intent_per_target(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(3)])
        await store.append("c", [facts.opened(1), facts.opened(2)])
        with pytest.raises(TargetBusyError) as caught:
            await store.append("c", [facts.opened(number, "post-2") for number in (1, 2, 3)])
        assert sorted(caught.value.targets) == [1, 2]
        assert await store.reserved(account_id(), START) == 2

    async def test_two_of_one_batch(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1)])
        with pytest.raises(TargetBusyError):
            await store.append("c", [facts.opened(1, "post-1"), facts.opened(1, "post-2")])
        assert await store.reserved(account_id(), START) == 0

    @pytest.mark.parametrize("outcome", ["created", "adopted", "rejected", "not_processed", "absent", "unknown"])
    async def test_another_after_the_end_of_one(self, store: Store, facts: Facts, outcome: Any):
        await store.append("c", [facts.campaign(), facts.target(1), facts.opened(1)])
        await store.append("c", [facts.closed(1, outcome), facts.opened(1, "post-2", attempt=2)])
        [intent] = await store.open_intents("c", "main")
        assert (intent.post, intent.attempt) == ("post-2", 2)

    @pytest.mark.parametrize(
        ("kind", "account", "registrations", "busy"),
        [
            ("pcap", account_id(), (None, None), True),
            ("pcap", account_id(), ("r1", "r1"), True),
            ("pcap", account_id(), (None, "r1"), True),
            ("pcap", account_id(), ("r1", None), True),
            ("pcap", account_id(), ("r1", "r2"), False),
            ("warp-diag", account_id(), (None, None), False),
            ("warp-diag", account_id(), (None, "r1"), False),
            ("pcap", account_id(2), (None, None), False),
            ("pcap", account_id(2), (None, "r1"), False),
        ],
    )
    async def test_over_campaigns(
        self,
        store: Store,
        facts: Facts,
        kind: str,
        account: str,
        registrations: tuple[str | None, str | None],
        busy: bool,
    ):
        ours, registration = registrations
        # The accounts of the two have different names, and the devices different numbers.
        await store.append("c", [facts.campaign(), facts.target(1, registration_id=ours), facts.opened(1)])
        other = Facts("theirs")
        target = other.target(7, device="device-1", registration_id=registration)
        await store.append("d", [other.campaign(("theirs", account), type=kind), target])
        opening = store.append("d", [other.opened(7, "post-9")])
        if busy:
            with pytest.raises(TargetBusyError) as caught:
                await opening
            assert caught.value.targets == (7,)
            await store.append("c", [facts.closed(1, "not_processed")])
            await store.append("d", [other.opened(7, "post-9")])
        else:
            await opening

    async def test_what_is_known_of_them(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(("main", account_id()), ("b", account_id(2))), *facts.targets(3)])
        first = facts.opened(2, "post-1", since=minutes(1))
        closed = facts.closed(2, "absent", "post-1")
        second = facts.opened(2, "post-2", attempt=2, since=minutes(1))
        third = facts.opened(1, "post-2", since=minutes(2))
        await store.append("c", [first, closed, second, third])
        intents = [
            IntentRecord(
                target=event.target,
                post=event.post,
                attempt=event.attempt,
                since=event.since,
                settled_at=event.settled_at,
                outcome=outcome,
                opened_at=event.at,
                closed_at=closed_at,
            )
            for event, outcome, closed_at in ((first, "absent", closed.at), (second, None, None), (third, None, None))
        ]
        assert await store.open_intents("c", "main") == intents[1:]
        assert await store.open_intents("c", "b") == []
        assert await store.intents("c", "main", ["device-1", "device-2", "device-3"]) == intents
        assert await store.intents("c", "main", {"device-2"}) == intents[:2]
        assert await store.intents("c", "b", ["device-2"]) == []
        assert await store.intents("c", "main", []) == []

    async def test_the_same_target_in_one_post_and_another_is_told_apart(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(2), facts.opened(1), facts.opened(2)])
        await store.append("c", [facts.closed(1, "not_processed")])
        assert [intent.target for intent in await store.open_intents("c", "main")] == [2]

    async def test_reserved_quota_is_counted_by_account_id(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(("main", account_id(1)), ("b", account_id(2))), *facts.targets(2)])
        other = Facts("theirs")
        await store.append("d", [other.campaign(("theirs", account_id(1))), other.target(1, device="device-9")])
        await store.append("c", [facts.opened(1), facts.opened(2)])
        await store.append("d", [other.opened(1)])
        assert await store.reserved(account_id(1), START) == 3
        assert await store.reserved(account_id(2), START) == 0
        # By then what their POSTs made is spent, whatever became of the process.
        assert await store.reserved(account_id(1), minutes(2)) == 0
        await store.append("c", [facts.closed(2, "created")])
        assert await store.reserved(account_id(1), START) == 2


class TestTargets:
    async def test_a_planned_one(self, store: Store, facts: Facts):
        planned = facts.target(
            1, registration_id="r", device_name="Laptop", platform="windows", version="2025.1.1", wave=2
        )
        await store.append("c", [facts.campaign(), planned])
        assert await state_of(store, 1) == TargetRecord(
            number=1,
            account="main",
            wave=2,
            device_id="device-1",
            registration_id="r",
            user_email="user1@example.com",
            device_name="Laptop",
            platform="windows",
            version="2025.1.1",
            skip=None,
            detail=None,
            state="pending",
            failure=None,
            error=None,
            reason=None,
            changed_at=planned.at,
            tries={},
            not_before=None,
            command_id=None,
        )

    async def test_a_skipped_one(self, store: Store, facts: Facts):
        skipped = facts.target(1, skip="not_found", device=None, user_email=None)
        await store.append("c", [facts.campaign(), skipped])
        target = await state_of(store, 1)
        assert (target.state, target.skip, target.wave) == ("skipped", "not_found", 0)
        assert (target.device_id, target.user_email) == (None, None)

    async def test_a_number_is_given_once(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1)])
        with pytest.raises(CampaignError):
            await store.append("c", [facts.target(1, device="another")])

    async def test_texts_are_kept_as_they_are(self, store: Store, facts: Facts):
        name = "Zoë's “laptop” \U0001f4bb\r\n\t=1+1,\";'--\\u0000 \u2028"
        await store.append("c", [facts.campaign(), facts.target(1, device_name=name, version="")])
        target = await state_of(store, 1)
        assert (target.device_name, target.version) == (name, "")
        [_, recorded] = await store.events("c")
        assert recorded.event.device_name == name

    async def test_times_are_of_any_zone(self, store: Store, facts: Facts):
        there = datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=5, minutes=30)))
        await store.append("c", [facts.campaign(), facts.target(1), *facts.created(1, "c1")])
        await store.append("c", [facts.overdue(1, "c1"), facts.retried(1, "timeout", there)])
        at = (await state_of(store, 1)).not_before
        assert at == there
        assert at.utcoffset() is not None
        # Nor is it compared as a text.
        assert await numbers(store.due_targets("c", "main", 1, there.astimezone(UTC), 9)) == [1]
        a_moment_before = there.astimezone(UTC) - timedelta(microseconds=1)
        assert await numbers(store.due_targets("c", "main", 1, a_moment_before, 9)) == []

    async def test_the_way_to_an_artifact(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1)])
        seen = []
        steps = [
            *facts.created(1, "c1"),
            facts.ended(1, "c1"),
            facts.not_saved(1, "c1", "a broken line"),
            facts.retried(1, "download", minutes(5)),
            facts.saved(1, "c1"),
        ]
        for step in steps:
            await store.append("c", [step])
            target = await state_of(store, 1)
            seen.append((target.state, target.failure, target.error, target.not_before, sum(target.tries.values())))
            changes = change_of(step) is not None
            assert (target.changed_at == step.at) is changes
        assert seen == [
            ("creating", None, None, None, 0),
            ("creating", None, None, None, 0),
            ("running", None, None, None, 0),
            ("collecting", None, None, None, 0),
            ("failed", "download", "a broken line", None, 0),
            ("collecting", None, "a broken line", minutes(5), 1),
            ("saved", None, None, None, 1),
        ]

    async def test_the_way_of_one_that_has_no_luck(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1)])
        seen = []
        steps = [
            facts.opened(1, "post-1"),
            facts.closed(1, "absent", "post-1", error="no answer"),
            facts.opened(1, "post-2", attempt=2),
            facts.closed(1, "unknown", "post-2", error="no answer again"),
            facts.retried(1, "unknown", minutes(1)),
            facts.opened(1, "post-3"),
            facts.closed(1, "rejected", "post-3", error="400: no"),
            facts.retried(1, "rejected", minutes(2)),
            facts.opened(1, "post-4"),
            facts.closed(1, "adopted", "post-4"),
            facts.known(1, "c1", "adopted"),
            facts.ended(1, "c1", "FAILED"),
            facts.retried(1, "device", minutes(3)),
            facts.opened(1, "post-5"),
            facts.closed(1, "not_processed", "post-5", error="no connection"),
            facts.make(TargetDropped, target=1, reason="deadline"),
        ]
        for step in steps:
            await store.append("c", [step])
            target = await state_of(store, 1)
            tries = sum(target.tries.values())
            seen.append((target.state, target.failure, target.error, target.reason, target.not_before, tries))
        assert seen == [
            ("creating", None, None, None, None, 0),
            ("pending", None, "no answer", None, None, 0),
            ("creating", None, "no answer", None, None, 0),
            ("failed", "unknown", "no answer again", None, None, 0),
            ("pending", None, "no answer again", None, minutes(1), 1),
            ("creating", None, "no answer again", None, None, 1),
            ("failed", "rejected", "400: no", None, None, 1),
            ("pending", None, "400: no", None, minutes(2), 2),
            ("creating", None, "400: no", None, None, 2),
            ("creating", None, None, None, None, 2),
            ("running", None, None, None, None, 2),
            ("failed", "device", None, None, None, 2),
            ("pending", None, None, None, minutes(3), 3),
            ("creating", None, None, None, None, 3),
            ("pending", None, "no connection", None, None, 3),
            ("not_attempted", None, "no connection", "deadline", None, 3),
        ]

    @pytest.mark.parametrize("end", ["ended", "overdue"])
    async def test_one_that_is_found_late_after_all(self, store: Store, facts: Facts, end: str):
        await store.append("c", [facts.campaign(), facts.target(1), facts.opened(1)])
        await store.append("c", [facts.closed(1, "unknown", error="no answer"), facts.known(1, "c1", "adopted")])
        assert (await state_of(store, 1)).state == "running"
        await store.append("c", [facts.ended(1, "c1", "FAILED") if end == "ended" else facts.overdue(1, "c1")])
        target = await state_of(store, 1)
        # What went wrong before is not what it failed for.
        assert (target.state, target.error) == ("failed", None)

    async def test_by_numbers(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(5)])
        await store.append("d", [facts.campaign(), *facts.targets(2, device="another")])
        assert await numbers(store.targets("c", (4, 1, 9))) == [1, 4]
        assert await numbers(store.targets("c", [])) == []
        assert (await state_of(store, 2, "d")).device_id == "another"

    async def test_more_numbers_than_a_query_takes(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(3)])
        assert await numbers(store.targets("c", range(2, 40_000))) == [2, 3]
        assert await store.known(account_id(), [f"c{number}" for number in range(40_000)]) == set()
        assert await store.intents("c", "main", [f"device-{number}" for number in range(40_000)]) == []

    async def test_when_the_last_was_decided(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(3), facts.target(4, wave=2), *facts.created(1, "c1")])
        assert await store.decided_at("c", "main", 1) is None
        await store.append("c", [saved := facts.make(TargetDropped, target=2, reason="deadline")])
        await store.append("c", [facts.make(TargetDropped, target=4, reason="deadline")])
        await store.append("c", [*facts.created(3, "c3"), facts.overdue(3, "c3"), facts.retried(3, "timeout")])
        assert await store.decided_at("c", "main", 1) == saved.at
        await store.append("c", [ended := facts.ended(1, "c1", "FAILED")])
        assert await store.decided_at("c", "main", 1) == ended.at
        assert await store.decided_at("c", "main", 3) is None
        assert await store.decided_at("c", "other", 1) is None

    async def test_counts(self, store: Store, facts: Facts):
        other = Facts("b")
        await store.append(
            "c",
            [
                facts.campaign(("main", account_id()), ("b", account_id(2))),
                *facts.targets(4),
                facts.target(5, wave=2),
                facts.target(6, skip="offline"),
                other.target(7),
                *facts.created(1, "c1"),
                facts.opened(2, "post-2"),
                facts.closed(2, "rejected", "post-2"),
            ],
        )

        def count(account: str, wave: int, state: Any, n: int, failure: Any = None) -> Count:
            return Count(account=account, wave=wave, state=state, failure=failure, n=n)

        mine = {
            count("main", 1, "running", 1),
            count("main", 1, "failed", 1, "rejected"),
            count("main", 1, "pending", 2),
            count("main", 2, "pending", 1),
            count("main", 0, "skipped", 1),
        }
        theirs = {count("b", 1, "pending", 1)}
        assert same(await store.counts("c"), mine | theirs)
        assert same(await store.counts("c", "main"), mine)
        assert same(await store.counts("c", "b"), theirs)


def same(counts: list[Count], expected: set[Count]) -> bool:
    return len(counts) == len(expected) and set(counts) == expected


class TestDue:
    async def test_pending_ones_of_a_wave_in_their_order(self, store: Store, facts: Facts):
        other = Facts("b")
        await store.append(
            "c",
            [
                facts.campaign(("main", account_id()), ("b", account_id(2))),
                *(facts.target(number) for number in (10, 9, 2, 1)),
                facts.target(3, wave=2),
                facts.target(4, skip="offline"),
                other.target(5),
                facts.opened(9),
            ],
        )
        await store.append("d", [facts.campaign(), facts.target(1, device="another")])
        assert await numbers(store.due_targets("c", "main", 1, LATE, 100)) == [1, 2, 10]
        assert await numbers(store.due_targets("c", "main", 1, LATE, 2)) == [1, 2]
        assert await numbers(store.due_targets("c", "main", 2, LATE, 100)) == [3]
        assert await numbers(store.due_targets("c", "main", 0, LATE, 100)) == []
        assert await numbers(store.undecided("c", "main", 0, 100)) == [1, 2, 3, 10]
        assert await numbers(store.undecided("c", "main", 2, 1)) == [3]
        assert await numbers(store.undecided("c", "main", 10, 100)) == []

    async def test_retries_when_their_time_has_come(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(3)])
        assert await store.next_due("c", "main", 1) is None
        for number, due in ((1, minutes(5)), (2, minutes(4))):
            await store.append("c", [*facts.created(number, f"c{number}", f"post-{number}")])
            await store.append("c", [facts.overdue(number, f"c{number}"), facts.retried(number, "timeout", due)])
        assert await store.next_due("c", "main", 1) == minutes(4)
        assert await store.next_due("c", "main", 2) is None
        assert await numbers(store.due_targets("c", "main", 1, minutes(3), 9)) == [3]
        assert await numbers(store.due_targets("c", "main", 1, minutes(4), 9)) == [2, 3]
        assert await numbers(store.undecided("c", "main", 0, 9)) == [1, 2, 3]
        await store.append("c", [facts.opened(2, "post-3")])
        assert await store.next_due("c", "main", 1) == minutes(5)

    async def test_retries_that_were_put_off_later_than_now(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1), *facts.created(1, "c1")])
        retried = facts.retried(1, "timeout", minutes(5))
        await store.append("c", [facts.overdue(1, "c1"), retried])
        assert await numbers(store.due_targets("c", "main", 1, retried.at, 9)) == []
        # The clock was set back since.
        a_moment_before = retried.at - timedelta(microseconds=1)
        assert await numbers(store.due_targets("c", "main", 1, a_moment_before, 9)) == [1]


class TestCommands:
    async def test_what_is_known_of_one(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(2)])
        known = facts.known(1, "c1", "adopted", created_date=minutes(1), not_before=minutes(0))
        other = facts.known(2, "c2", "response", not_before=minutes(0))
        await store.append("c", [known, other])
        record = CommandRecord(
            command_id="c1",
            target=1,
            account="main",
            provenance="adopted",
            known_at=known.at,
            created_date=minutes(1),
            not_before=minutes(0),
            status=None,
            completed_date=None,
            filename=None,
        )
        assert (await store.running("c", "main"))[0] == record
        await store.append("c", [facts.ended(1, "c1", completed_date=minutes(2), filename="a.zip")])
        ended = attrs.evolve(record, status="SUCCESS", completed_date=minutes(2), filename="a.zip")
        assert await store.collecting("c", "main") == [ended]
        assert [command.command_id for command in await store.running("c", "main")] == ["c2"]
        await store.append("c", [facts.ended(2, "c2", created_date=minutes(1))])
        assert {one.command_id: one.created_date for one in await store.collecting("c", "main")} == {
            "c1": minutes(1),
            "c2": minutes(1),
        }

    async def test_only_the_latest_of_a_target(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1), *facts.created(1, "c1")])
        await store.append("c", [facts.overdue(1, "c1"), facts.retried(1, "timeout")])
        assert await store.running("c", "main") == []
        await store.append("c", facts.created(1, "c2", "post-2"))
        assert [command.command_id for command in await store.running("c", "main")] == ["c2"]
        assert (await state_of(store, 1)).command_id == "c2"

    async def test_to_collect_in_the_order_of_their_ends(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(("main", account_id()), ("b", account_id(2))), *facts.targets(4)])
        for number, completed in ((1, 7), (2, 5), (3, None), (4, 6)):
            command = f"c{number}"
            date = None if completed is None else minutes(completed)
            events = [*facts.created(number, command, command), facts.ended(number, command, completed_date=date)]
            await store.append("c", events)

        async def collecting() -> list[str]:
            return [command.command_id for command in await store.collecting("c", "main")]

        # It became known within the first minute.
        assert await collecting() == ["c3", "c2", "c4", "c1"]
        assert await store.collecting("c", "b") == []
        await store.append("c", [facts.not_saved(4, "c4"), facts.retried(4, "download", minutes(30))])
        # Due or not.
        assert await collecting() == ["c3", "c2", "c4", "c1"]
        await store.append("c", [facts.saved(2, "c2")])
        assert await collecting() == ["c3", "c4", "c1"]

    async def test_whose_they_are(self, store: Store, facts: Facts):
        other = Facts("theirs")
        await store.append("c", [facts.campaign(), *facts.targets(3), *facts.created(1, "c1"), facts.known(2, "c2")])
        await store.append("d", [other.campaign(("theirs", account_id()), type="warp-diag")])
        await store.append("d", [other.target(1, device="device-1"), other.known(1, "d1")])
        await store.append("e", [facts.campaign(("main", account_id(2))), facts.target(1), facts.known(1, "e1")])
        found = facts.make(SurplusFound, command_id="s1", target=2, device_id="device-2", created_date=minutes(1))
        foreign = facts.make(ForeignFound, command_id="f1", device_id="device-1", type="pcap", created_date=minutes(1))
        await store.append("c", [found, foreign])
        everything = ["c1", "c2", "d1", "e1", "s1", "f1", "x1"]
        assert await store.known(account_id(), everything) == {"c1", "c2", "d1", "s1"}
        assert await store.known(account_id(2), everything) == {"e1"}
        assert await store.known(account_id(), []) == set()
        # It turns out to be another's own, and so it is foreign no more.
        assert (await main_account(store)).foreign == 1
        await store.append("d", [other.retried(1, "timeout"), other.known(1, "f1")])
        assert await store.known(account_id(), ["f1"]) == {"f1"}
        assert (await main_account(store)).foreign == 0
        await store.append("c", [foreign])
        assert (await main_account(store)).foreign == 0

    async def test_what_is_surplus_is_not_foreign(self, store: Store, facts: Facts):
        def found(kind: type[CampaignEvent], **fields: Any) -> Any:
            return facts.make(kind, command_id="x1", device_id="device-1", created_date=minutes(1), **fields)

        lost = [
            facts.opened(1),
            facts.closed(1, "unknown", error="lost"),
            facts.make(TargetDropped, target=1, reason="cancelled"),
        ]
        await store.append("c", [facts.campaign(), facts.target(1), *lost])
        await store.append("c", [found(ForeignFound, type="pcap")])
        lost_at = (await main_account(store)).last_lost_at
        await store.append("c", [facts.closed(1, "surplus"), found(SurplusFound, target=1)])
        await store.append("c", [found(ForeignFound, type="pcap")])
        account = await main_account(store)
        assert (account.surplus, account.foreign, account.last_lost_at) == (1, 0, lost_at)
        # That says nothing of the target, but for its POST.
        target = await state_of(store, 1)
        assert (target.state, target.error) == ("not_attempted", "lost")
        [intent] = await store.intents("c", "main", ["device-1"])
        assert intent.outcome == "surplus"

    async def test_how_soon_they_are_listed(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(("main", account_id()), ("b", account_id(2))), *facts.targets(4)])
        assert await store.lags("c", "main") == Lags(n=0, longest=0.0)
        for number, provenance, lag in ((1, "response", 0.0), (2, "adopted", 60.0), (3, "response", 4.25)):
            events = [
                facts.known(number, f"c{number}", provenance),
                facts.ended(number, f"c{number}", listed_after=lag),
            ]
            await store.append("c", events)
        await store.append("c", [facts.known(4, "c4"), facts.ended(4, "c4", listed_after=None)])
        assert await store.lags("c", "main") == Lags(n=2, longest=4.25)
        assert await store.lags("c", "b") == Lags(n=0, longest=0.0)

    async def test_the_mean_size_of_artifacts(self, store: Store, facts: Facts):
        assert await store.mean_artifact_size("pcap") == (0, 0.0)
        for name, kind, size in (("c", "pcap", 1), ("d", "pcap", 2**62), ("e", "warp-diag", 7)):
            await store.append(name, [facts.campaign(type=kind), facts.target(1), facts.known(1, name)])
            await store.append(name, [facts.ended(1, name), facts.saved(1, name, size=size)])
        assert await store.mean_artifact_size("pcap") == (2, pytest.approx(2**61))
        assert await store.mean_artifact_size("warp-diag") == (1, 7.0)
        assert await store.mean_artifact_size("speed-test") == (0, 0.0)


class TestAccounts:
    async def test_a_new_one(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign()])
        assert await main_account(store) == AccountRecord(
            name="main",
            account_id=account_id(),
            wave=0,
            settle_seconds=None,
            aborted=None,
            stopped=None,
            reason=None,
            left_running=0,
            quota=None,
            usage=None,
            reset_time=None,
            waits_until=None,
            surplus=0,
            foreign=0,
            audited_at=None,
            audit_error=None,
            posts=0,
            commands=0,
            size=0,
            last_lost_at=None,
            first_since=None,
        )

    async def test_waves_and_its_end(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.make(WaveOpened, wave=1)])
        await store.append(
            "c",
            [facts.make(WaveOpened, wave=2), facts.make(AccountStopped, kind="aborted", reason="12 of 20", running=3)],
        )
        account = await main_account(store)
        assert (account.wave, account.stopped, account.reason, account.left_running) == (2, "aborted", "12 of 20", 3)

    async def test_what_is_told_of_a_run(self, store: Store, facts: Facts):
        started = [facts.make(AccountStarted, settle_seconds=seconds) for seconds in (120.0, 300.5)]
        await store.append("c", [facts.campaign(), *started, facts.make(CreatingAborted, reason="12 of 20")])
        account = await main_account(store)
        assert (account.settle_seconds, account.aborted, account.stopped) == (300.5, "12 of 20", None)

    async def test_waiting_for_the_quota(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1)])
        await store.append("c", [facts.make(QuotaSeen, quota=200, usage=200, reset_time=minutes(600))])
        await store.append("c", [facts.make(QuotaWaited, until=minutes(601))])
        account = await main_account(store)
        assert (account.quota, account.usage, account.reset_time) == (200, 200, minutes(600))
        assert account.waits_until == minutes(601)
        # The POST of an intent may have been on its way when the last of the quota went.
        for meanwhile in (facts.make(RunStarted), facts.opened(1)):
            await store.append("c", [meanwhile])
            account = await main_account(store)
            assert (account.usage, account.reset_time, account.waits_until) == (200, minutes(600), minutes(601))
        await store.append("c", [facts.make(QuotaSeen, quota=200, usage=None, reset_time=None)])
        account = await main_account(store)
        assert (account.usage, account.reset_time, account.waits_until) == (None, None, None)

    async def test_posts_and_what_came_of_them(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(4)])
        await store.append("c", [facts.opened(1, "p1", since=minutes(3)), facts.opened(2, "p1", since=minutes(2))])
        await store.append("c", [facts.opened(3, "p2", since=minutes(4))])
        account = await main_account(store)
        assert (account.posts, account.first_since, account.last_lost_at) == (2, minutes(2), None)
        for number, outcome, post in ((1, "absent", "p1"), (3, "unknown", "p2"), (2, "not_processed", "p1")):
            closed = facts.closed(number, outcome, post)
            await store.append("c", [closed])
            lost_at = (await main_account(store)).last_lost_at
            assert (lost_at == closed.at) is (outcome != "not_processed")

    async def test_the_latest_that_was_lost_is_the_last_told(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(3), *(facts.opened(n, f"p{n}") for n in (1, 2, 3))])
        first, second, third = (facts.closed(n, "absent", f"p{n}") for n in (1, 2, 3))
        # A clock may be put back.
        await store.append("c", [first, second, attrs.evolve(third, at=first.at)])
        assert (await main_account(store)).last_lost_at == first.at

    async def test_commands_and_bytes(self, store: Store, facts: Facts):
        other = Facts("b")
        await store.append("c", [facts.campaign(("main", account_id()), ("b", account_id(2))), *facts.targets(2)])
        await store.append("c", [*facts.created(1, "c1", "p1"), facts.ended(1, "c1", "FAILED")])
        await store.append("c", [facts.retried(1, "device"), *facts.created(1, "c2", "p2"), facts.ended(1, "c2")])
        await store.append("c", [facts.saved(1, "c2", size=2**40), *facts.created(2, "c3", "p3")])
        await store.append("c", [other.target(3), other.known(3, "b1"), other.ended(3, "b1"), other.saved(3, "b1")])
        assert [(one.name, one.posts, one.commands, one.size) for one in await store.accounts("c")] == [
            ("main", 3, 3, 2**40),
            ("b", 0, 1, 1000),
        ]

    async def test_an_artifact_that_is_saved_again_counts_once(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1), facts.known(1, "c1"), facts.ended(1, "c1")])
        await store.append("c", [facts.saved(1, "c1", size=5), facts.saved(1, "c1", size=7, location="there")])
        assert (await main_account(store)).size == 7
        [(_, _, artifact, _)] = await store.export("c", 0, 9)
        assert (artifact.size, artifact.location) == (7, "there")

    async def test_audits(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1), facts.known(1, "c1")])
        surplus = {"target": 1, "device_id": "device-1", "created_date": minutes(1)}
        foreign = {"device_id": None, "type": None, "created_date": None}
        audit = {"since": START, "commands": 9, "surplus": 1, "foreign": 2}
        for again in (False, True):
            audited = facts.make(Audited, **audit)
            await store.append(
                "c",
                [
                    facts.make(SurplusFound, command_id="s1", **surplus),
                    facts.make(ForeignFound, command_id="f1", **foreign),
                    facts.make(ForeignFound, command_id="f2", **foreign),
                    *([facts.make(SurplusFound, command_id="s2", **surplus)] if again else []),
                    audited,
                ],
            )
            account = await main_account(store)
            assert (account.surplus, account.foreign, account.audited_at) == (1 + again, 2, audited.at)
        # A surplus one is no command that the target counts.
        assert account.commands == 1
        assert (await state_of(store, 1)).command_id == "c1"

    async def test_audits_that_failed(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.make(AuditFailed, error="HTTP 500")])
        assert (await main_account(store)).audit_error == "HTTP 500"
        # It is tried again.
        await store.append("c", [facts.make(AccountStarted, settle_seconds=9.0)])
        assert (await main_account(store)).audit_error is None


class TestEvents:
    async def test_as_they_were_written(self, store: Store):
        await store.append("d", [Facts().campaign()])
        facts = Facts()
        written = one_of_each(facts)
        for event in written:
            await store.append("c", [event])
        recorded = await store.events("c")
        assert [one.event for one in recorded] == written
        assert {one.campaign for one in recorded} == {"c"}
        sequence = [one.seq for one in recorded]
        assert sequence == sorted(set(sequence))
        assert [one.seq for one in await store.events("d")] < sequence

    async def test_in_pages(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(5)])
        await store.append("d", [facts.campaign(), *facts.targets(5, device=None, skip="not_found")])
        await store.append("c", [facts.opened(1), facts.make(RunStarted)])
        everything = await store.events("c")
        after, pages = 0, []
        while page := await store.events("c", after, 3):
            pages.append(page)
            after = page[-1].seq
        assert [len(page) for page in pages] == [3, 3, 2]
        assert [one for page in pages for one in page] == everything

    async def test_of_some_kinds(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(5), facts.opened(1), facts.make(RunStarted)])
        kinds = [RunStarted, TargetPlanned]
        found = await store.events("c", kinds=kinds)
        assert [type(one.event) for one in found] == [TargetPlanned] * 5 + [RunStarted]
        assert [one.event.target for one in await store.events("c", found[1].seq, 2, kinds)] == [3, 4]
        assert await store.events("c", kinds=[]) == []


def one_of_each(facts: Facts) -> list[CampaignEvent]:
    """Return a legal history with an event of each class, with all that it can say and with as little."""
    lost = [
        facts.opened(3, "p3"),
        facts.closed(3, "unknown", "p3", error="nobody knows"),
        facts.make(TargetDropped, target=3, reason="cancelled"),
    ]
    history = [
        facts.campaign(),
        facts.target(1, registration_id="r1", device_name="n", platform="p", version="v"),
        facts.target(2, skip="not_found", device=None, user_email=None),
        facts.target(3),
        facts.make(RunStarted),
        facts.make(ControlRequested, control="pause"),
        facts.make(WaveOpened, wave=1),
        facts.make(QuotaSeen, quota=1, usage=2, reset_time=minutes(3)),
        facts.make(QuotaSeen, quota=None, usage=None, reset_time=None),
        facts.make(QuotaWaited, until=minutes(4)),
        *facts.created(1, "c1"),
        facts.overdue(1, "c1"),
        facts.retried(1, "timeout", minutes(5)),
        facts.opened(1, "p2"),
        facts.closed(1, "adopted", "p2"),
        facts.known(1, "c2", "adopted", created_date=minutes(6), not_before=minutes(5)),
        facts.ended(1, "c2", created_date=minutes(6), completed_date=minutes(7), filename="f.zip", listed_after=1 / 3),
        facts.not_saved(1, "c2"),
        facts.retried(1, "download", minutes(8)),
        facts.saved(1, "c2", size=2**62, resumed_from=2**61, skipped=True),
        *lost,
        facts.make(SurplusFound, command_id="s", target=1, device_id=None, created_date=None),
        facts.make(ForeignFound, command_id="f", device_id=None, type=None, created_date=None),
        facts.make(Audited, since=minutes(1), commands=3, surplus=1, foreign=1),
        facts.make(AccountStopped, kind="finished"),
        facts.make(RunEnded, reason="finished"),
        # What is newer comes last, for journals of version 1 have all that is before.
        facts.make(AccountStarted, settle_seconds=1 / 3),
        facts.make(CreatingAborted, reason="too many"),
        facts.make(AuditFailed, error="HTTP 500"),
    ]
    abstract = {"CampaignEvent", "Provenance", "IntentOutcome", "SkipReason", "StopKind", "DropReason", "Control"}
    assert {type(event).__name__ for event in history} == set(events.__all__) - abstract
    return history


class TestExport:
    async def test_a_target_with_all_that_belongs_to_it(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(3), facts.target(4, skip="offline")])
        await store.append("c", [facts.opened(1, "p1"), facts.closed(1, "absent", "p1"), *facts.created(1, "c1", "p2")])
        saved = facts.saved(1, "c1", size=5)
        await store.append("c", [facts.ended(1, "c1", filename="f.zip"), saved, facts.opened(2, "p3")])
        rows = await store.export("c", 0, 100)
        assert [target for target, *_ in rows] == await store.targets("c", [1, 2, 3, 4])
        [(_, command, artifact, intent), (_, none, nothing, opened), *rest] = rows
        assert (command.command_id, command.filename, command.status) == ("c1", "f.zip", "SUCCESS")
        assert artifact == ArtifactRecord(
            command_id="c1", location=saved.location, size=5, sha256=saved.sha256, saved_at=saved.at
        )
        assert (intent.post, intent.outcome) == ("p2", "created")
        assert (none, nothing, opened.post, opened.outcome) == (None, None, "p3", None)
        assert [row[1:] for row in rest] == [(None, None, None)] * 2

    async def test_the_artifact_is_that_of_the_latest_command(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1), facts.known(1, "c1"), facts.ended(1, "c1")])
        await store.append("c", [facts.saved(1, "c1"), facts.retried(1, "device"), *facts.created(1, "c2")])
        [(_, command, artifact, _)] = await store.export("c", 0, 9)
        assert (command.command_id, artifact) == ("c2", None)

    async def test_in_pages(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign(), *(facts.target(number) for number in (10, 9, 3, 2, 1))])
        await store.append("d", [facts.campaign(), facts.target(4, device="another")])
        assert [row[0].number for row in await store.export("c", 0, 2)] == [1, 2]
        assert [row[0].number for row in await store.export("c", 2, 2)] == [3, 9]
        assert [row[0].number for row in await store.export("c", 9, 2)] == [10]
        assert await store.export("c", 10, 2) == []


class TestHold:
    async def test_against_others(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign()])
        await store.append("d", [facts.campaign()])
        assert not await store.held("c")
        async with store.hold("c"):
            assert await store.held("c")
            assert not await store.held("d")
            with pytest.raises(CampaignBusyError):
                async with store.hold("c"):
                    raise AssertionError
            assert await store.held("c")
            async with store.hold("d"):
                # Holding one is no hindrance to writing in it, by this process or another: a pause has to come in.
                await store.append("c", [facts.make(ControlRequested, control="pause")])
        assert not await store.held("c")
        async with store.hold("c"):
            pass

    async def test_it_ends_with_an_error(self, store: Store, facts: Facts):
        await store.append("c", [facts.campaign()])
        with pytest.raises(RuntimeError, match=r"^mine$"):
            async with store.hold("c"):
                raise RuntimeError("mine")
        assert not await store.held("c")


# --- any history


DEVICES = 3
"""So few that campaigns get into each other's way."""

POSSIBLE = {
    "pending": ("opened", "dropped"),
    "creating": ("created", "adopted", "rejected", "not_processed", "absent", "unknown"),
    "running": ("succeeded", "failed", "overdue"),
    "collecting": ("saved", "not_saved"),
    "failed": ("retried",),
    "saved": (),
    "skipped": (),
    "not_attempted": (),
}
"""What may happen to a target, by its state."""


@attrs.define
class Author:
    """Writes a history into a store, as choices have it: two campaigns that share an account and its devices."""

    store: Store
    facts: dict[str, Facts] = attrs.field(factory=lambda: {"c": Facts("one"), "d": Facts("two")})
    refused: list[bool] = attrs.field(factory=list[bool])
    """For each batch that had to wait, whether the right target was named."""

    count: int = 0
    posts: dict[tuple[str, int], str] = attrs.field(factory=dict[tuple[str, int], str])

    async def begin(self) -> None:
        for name, facts in self.facts.items():
            skipped = facts.target(DEVICES + 1, skip="excluded")
            planned = facts.campaign((facts.account, account_id()), ("other", account_id(2)))
            await self.store.append(name, [planned, *facts.targets(DEVICES), skipped])

    async def go_on(self, name: str, number: int, choice: int, delay: int) -> None:
        """Append what `choice` makes of a target: a fact of its account for 0, else one that its state allows."""
        facts = self.facts[name]
        facts.ticks += delay
        self.count += 1
        possible = POSSIBLE[(await state_of(self.store, number, name)).state]
        if choice == 0 or not possible:
            batch = [self.account_fact(facts, number, delay)]
        else:
            batch = await self.target_facts(name, number, possible[choice % len(possible)])
        try:
            await self.store.append(name, batch)
        except TargetBusyError as error:
            self.refused.append(error.targets == (number,))

    def account_fact(self, facts: Facts, number: int, delay: int) -> CampaignEvent:
        made: list[CampaignEvent] = [
            facts.make(WaveOpened, wave=1 + delay % 2),
            facts.make(QuotaSeen, quota=200, usage=self.count, reset_time=minutes(delay)),
            facts.make(QuotaWaited, until=minutes(delay)),
            facts.make(RunStarted),
            facts.make(RunEnded, reason="interrupted"),
            facts.make(ControlRequested, control="pause"),
            facts.make(
                SurplusFound,
                command_id=f"{'fs'[delay % 2]}{self.count % 3}",
                target=number,
                device_id=None,
                created_date=minutes(delay),
            ),
            facts.make(ForeignFound, command_id=f"f{delay % 3}", device_id=None, type=None, created_date=None),
            facts.make(Audited, since=minutes(delay), commands=self.count, surplus=0, foreign=0),
            facts.make(AccountStopped, kind="refused", reason="403", running=delay),
            facts.make(AccountStarted, settle_seconds=delay / 3),
            facts.make(CreatingAborted, reason=f"rule {delay}"),
        ]
        return made[self.count % len(made)]

    async def target_facts(self, name: str, number: int, what: str) -> list[CampaignEvent]:
        facts = self.facts[name]
        target = await state_of(self.store, number, name)
        command = target.command_id or ""
        new, post = f"{name}-{self.count}", self.posts.get((name, number), "")
        match what:
            case "opened":
                self.posts[name, number] = f"post-{self.count // 2}-{name}"
                return [facts.opened(number, self.posts[name, number], since=facts.now)]
            case "dropped":
                return [facts.make(TargetDropped, target=number, reason="deadline")]
            case "created":
                return [facts.closed(number, "created", post), facts.known(number, new, not_before=facts.now)]
            case "adopted":
                known = facts.known(number, new, "adopted", created_date=facts.now)
                return [facts.closed(number, "adopted", post), known]
            case "rejected" | "not_processed" | "absent" | "unknown":
                return [facts.closed(number, what, post, error=f"it was {what}")]
            case "succeeded":
                return [facts.ended(number, command, completed_date=facts.now, listed_after=float(self.count))]
            case "failed":
                return [facts.ended(number, command, "FAILED", created_date=facts.now)]
            case "overdue":
                return [facts.overdue(number, command)]
            case "saved":
                return [facts.saved(number, command, size=self.count)]
            case "not_saved":
                return [facts.not_saved(number, command, f"error {self.count}")]
            case _:
                assert what == "retried"
                assert target.failure is not None
                due = facts.now + timedelta(seconds=20)
                return [facts.retried(number, target.failure, due)]


async def snapshot(store: Store) -> dict[str, Any]:
    """Return all that a store can be asked."""
    devices = [f"device-{number}" for number in range(1, DEVICES + 2)]
    answers: dict[str, Any] = {"campaigns": await store.campaigns()}
    for type_ in ("pcap", "warp-diag"):
        answers["mean size", type_] = await store.mean_artifact_size(type_)
    histories = [await store.events(campaign.name, limit=10_000) for campaign in answers["campaigns"]]
    told = {getattr(one.event, "command_id", "none") for history in histories for one in history}
    for number in (1, 2):
        answers["known", number] = await store.known(account_id(number), told)
        answers["reserved", number] = await store.reserved(account_id(number), minutes(5))
    for campaign in answers["campaigns"]:
        name = campaign.name
        answers[name] = (
            await store.campaign(name),
            await store.accounts(name),
            sorted(await store.counts(name), key=repr),
            await store.events(name, limit=10_000),
            await store.export(name, 0, 1000),
            await store.held(name),
        )
        for account in answers[name][1]:
            a = account.name
            answers[name, a] = (
                sorted(await store.counts(name, a), key=repr),
                await store.undecided(name, a, 0, 1000),
                await store.open_intents(name, a),
                await store.intents(name, a, devices),
                await store.running(name, a),
                await store.lags(name, a),
                await store.collecting(name, a),
                [await store.next_due(name, a, wave) for wave in range(3)],
                [await store.due_targets(name, a, 1, minutes(n), 1000) for n in (0, 1, 2, 1000)],
            )
    return answers


async def replayed(store: Store) -> Store:
    """Return a store in memory that has been told all the events of another one, in small batches."""
    told = MemoryStore()
    recorded = [one for campaign in await store.campaigns() for one in await store.events(campaign.name, 0, 10_000)]
    for one in sorted(recorded, key=lambda one: one.seq):
        await told.append(one.campaign, [one.event])
    return told


choices = st.lists(
    st.tuples(st.sampled_from("cd"), st.integers(1, DEVICES), st.integers(0, 6), st.integers(0, 40)), max_size=60
)


@pytest.mark.parametrize("opener", STORES.values(), ids=STORES)
@settings(deadline=None, max_examples=100)
@given(choices=choices)
def test_all_that_is_known_follows_from_the_events(opener: Opener, choices: list[tuple[str, int, int, int]]):
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with contextlib.AsyncExitStack() as stack:
                store = await stack.enter_async_context(opener(Path(folder)))
                author = Author(store)
                await author.begin()
                for choice in choices:
                    await author.go_on(*choice)
                assert await snapshot(store) == await snapshot(await replayed(store))
                await check_states(store)
                assert all(author.refused)

    asyncio.run(run())


async def check_states(store: Store) -> None:
    """Check that targets are in the state in which the events leave them."""
    for name in "cd":
        states: dict[int, Any] = {}
        for one in await store.events(name, limit=10_000):
            if isinstance(one.event, TargetEvent) and (change := change_of(one.event)) is not None:
                states[one.event.target] = change.state, change.failure
        rows = await store.export(name, 0, 1000)
        assert {row[0].number: (row[0].state, row[0].failure) for row in rows} == states


async def test_campaigns_do_get_into_each_others_way(tmp_path: Path):
    """What the histories above are made by can show what it is to show."""
    async with in_memory(tmp_path) as store:
        author = Author(store)
        await author.begin()
        for name in "cd":
            await author.go_on(name, 1, 2, 1)
        assert author.refused == [True]
        assert await store.reserved(account_id(), START) == 1
