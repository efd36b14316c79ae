"""Events in a journal: written and read again, by this version and by older ones, and worked off in groups."""

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.campaign import events
from dexcmd.campaign.events import CampaignEvent, TargetEvent
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.journal.blocks import AT_ONCE, INDEPENDENT, blocks
from dexcmd.campaign.journal.codec import KINDS, decode, encoder_of, kind_of
from dexcmd.campaign.journal.times import micros, moment
from dexcmd.errors import CampaignError, ConfigurationError
from tests.campaign.facts import Facts
from tests.campaign.memory import MemoryStore
from tests.campaign.test_store import Author, choices, one_of_each, snapshot

pytestmark = pytest.mark.anyio

NAMES = [
    "CampaignPlanned",
    "RunStarted",
    "RunEnded",
    "ControlRequested",
    "WaveOpened",
    "QuotaSeen",
    "QuotaWaited",
    "AccountStopped",
    "SurplusFound",
    "ForeignFound",
    "Audited",
    "TargetPlanned",
    "IntentOpened",
    "IntentClosed",
    "CommandKnown",
    "CommandEnded",
    "CommandOverdue",
    "ArtifactSaved",
    "ArtifactFailed",
    "TargetRetried",
    "TargetDropped",
    "AccountStarted",
    "CreatingAborted",
    "AuditFailed",
]
"""What stands in journals: never to be changed, only added to."""

# In one zone: where clocks go back, two times of different zones are not equal whatever they are.
times = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return what a field of a type may hold."""
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is tuple:
        return st.lists(st.tuples(st.text(), st.text())).map(tuple)
    if type(None) in get_args(kind):
        return st.none() | st.one_of([values(one) for one in get_args(kind) if one is not type(None)])
    simple: dict[type, st.SearchStrategy[Any]] = {
        # Half surrogates too: what the service says may hold them.
        str: st.text(st.characters()),
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        datetime: times,
    }
    return simple[kind]


def any_of(kind: type[CampaignEvent]) -> st.SearchStrategy[CampaignEvent]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in attrs.fields(kind)})


def written(event: CampaignEvent) -> str:
    return encoder_of(type(event))(event)


def read(event: CampaignEvent, data: str) -> CampaignEvent:
    account, target = getattr(event, "account", None), getattr(event, "target", None)
    return decode(kind_of(type(event)), event.at, account, target, data)


class TestWritten:
    def test_names_are_for_ever(self):
        assert list(KINDS) == NAMES
        assert {kind for kind in vars(events).values() if kind in KINDS.values()} == set(KINDS.values())
        abstract = {CampaignEvent, events.AccountEvent, TargetEvent}
        classes = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, CampaignEvent)]
        assert set(classes) - abstract == set(KINDS.values())

    @settings(deadline=None, max_examples=300)
    @given(st.one_of([any_of(kind) for kind in KINDS.values()]))
    def test_any_event_is_read_as_it_was(self, event: CampaignEvent):
        assert read(event, written(event)) == event

    def test_what_are_columns_is_not_told_twice(self):
        for event in one_of_each(Facts()):
            said = json.loads(written(event))
            assert not said.keys() & {"at", "account", "target"}
            fields = [field for field in attrs.fields(type(event)) if field.name not in ("at", "account", "target")]
            assert [*said] == [field.name for field in fields if getattr(event, field.name) != field.default]

    def test_what_an_older_version_wrote(self):
        planned = Facts().target(3)
        data = json.dumps({"device_id": "device-3", "user_email": "user3@example.com", "wave": 1, "gone": [1, 2]})
        assert read(planned, data) == planned

    @pytest.mark.parametrize("data", ["", "[]", "null", "{}", '{"device_id": 5, "user_email": "a"}', "{", '"'])
    def test_what_is_damaged(self, data: str):
        with pytest.raises(CampaignError, match=r"^an event of the journal can't be read: TargetPlanned of 2026-"):
            read(Facts().target(3), data)

    def test_a_kind_that_there_is_not(self):
        with pytest.raises(CampaignError, match="Unheard"):
            decode("Unheard", datetime.now(UTC), None, None, "{}")
        with pytest.raises(TypeError, match=r"^TargetEvent is not a campaign event$"):
            kind_of(TargetEvent)


class TestTimes:
    @given(times)
    def test_they_survive(self, time: datetime):
        assert moment(micros(time)) == time

    def test_one_without_a_zone(self):
        with pytest.raises(ConfigurationError, match="has no time zone"):
            micros(datetime(2026, 1, 1))  # noqa: DTZ001


def of_targets(numbers: Collection[int]) -> st.SearchStrategy[CampaignEvent]:
    facts = Facts()
    targets = st.sampled_from([*numbers])
    return st.one_of(
        st.just(facts.make(events.RunStarted)),
        st.just(facts.make(events.WaveOpened, wave=1)),
        targets.map(facts.target),
        targets.map(facts.opened),
        targets.map(lambda number: facts.closed(number, "created")),
        targets.map(lambda number: facts.known(number, f"c{number}")),
        targets.map(lambda number: facts.ended(number, f"c{number}")),
        targets.map(lambda number: facts.saved(number, f"c{number}")),
    )


class TestBlocks:
    @settings(deadline=None, max_examples=300)
    @given(st.lists(of_targets(range(1, 4)), max_size=40))
    def test_the_order_stays_where_it_matters(self, told: list[CampaignEvent]):
        made = [*blocks(told)]
        assert [event for block in made for event in block.events] == told
        for block in made:
            order = [index for group in block.groups.values() for index in group]
            assert sorted(order) == [*range(len(block.events))]
            if not all(type(event) in INDEPENDENT for event in block.events):
                assert order == sorted(order)
            for target in range(1, 4):
                mine = [index for index in order if getattr(block.events[index], "target", None) == target]
                assert mine == sorted(mine)
            assert all({type(block.events[index]) for index in group} == {kind} for kind, group in block.groups.items())

    def test_what_alternates_goes_together(self):
        facts = Facts()
        told = [event for n in range(1, 6) for event in (facts.closed(n, "created"), facts.known(n, f"c{n}"))]
        [block] = blocks(told)
        assert block.groups == {events.IntentClosed: [0, 2, 4, 6, 8], events.CommandKnown: [1, 3, 5, 7, 9]}

    def test_an_intent_waits_for_the_end_of_another(self):
        facts = Facts()
        told = [facts.opened(3), facts.closed(1, "absent"), facts.opened(2)]
        assert [block.events for block in blocks(told)] == [[event] for event in told]

    def test_many(self):
        told = Facts().targets(2 * AT_ONCE + 1)
        assert [len(block.events) for block in blocks(told)] == [AT_ONCE, AT_ONCE, 1]
        assert [*blocks([])] == []


class TestTogether:
    @settings(deadline=None, max_examples=60)
    @given(choices=choices, sizes=st.lists(st.integers(1, 30), min_size=1))
    def test_however_events_are_put_together(self, choices: list[Any], sizes: list[int]):
        """What is told in few appends, and at the same time, makes the same as what is told bit by bit."""

        async def run(folder: Path) -> None:
            memory = MemoryStore()
            author = Author(memory)
            await author.begin()
            for choice in choices:
                await author.go_on(*choice)
            told = memory._tables.events
            async with open_journal(folder / "journal.db") as store:
                appends: list[tuple[str, list[CampaignEvent]]] = []
                for index, one in enumerate(told):
                    if not appends or appends[-1][0] != one.campaign or not index % sizes[index % len(sizes)]:
                        appends.append((one.campaign, []))
                    appends[-1][1].append(one.event)
                await asyncio.gather(*(store.append(name, batch) for name, batch in appends))
                assert await snapshot(store) == await snapshot(memory)
                assert await store.check() == []

        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(run(Path(folder)))


class TestCheck:
    @pytest.fixture
    async def journal(self, tmp_path: Path) -> Path:
        path = tmp_path / "journal.db"
        async with open_journal(path) as store:
            facts = Facts()
            await store.append("c", one_of_each(facts))
            await store.append("d", [facts.campaign(), facts.target(1, device_name="half \ud800"), facts.opened(1)])
            assert await store.check() == []
        return path

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (
                "UPDATE target SET state = 'failed', failure = 'device' WHERE number = 1",
                [
                    "target 4294967297: state is 'failed', but 'saved' according to the events; "
                    "failure is 'device', but None according to the events",
                    "target 8589934593: state is 'failed', but 'creating' according to the events; "
                    "failure is 'device', but None according to the events",
                ],
            ),
            (
                "UPDATE account SET size = 5 WHERE id = 1",
                [f"account 1: size is 5, but {2**62} according to the events"],
            ),
            (
                "DELETE FROM foreign_command",
                ["account 1: foreign_commands is 0, but 1 according to the events", "foreign_command 1, f is missing"],
            ),
            ("DELETE FROM retry WHERE failure = 'timeout'", ["retry 4294967297, timeout is missing"]),
            (
                "INSERT INTO post VALUES (2, 'p0')",
                ["account 2: posts is 2, but 1 according to the events", "post 2, p0 does not follow from the events"],
            ),
            (
                "INSERT INTO post VALUES (2, 'z')",
                ["account 2: posts is 2, but 1 according to the events", "post 2, z does not follow from the events"],
            ),
            (
                "UPDATE intent SET post = 'p1' WHERE seq = 11",
                ["intent 4294967297, 11: post is 'p1', but 'post-1' according to the events"],
            ),
        ],
    )
    async def test_what_does_not_follow_from_the_events(self, journal: Path, change: str, told: list[str]):
        self.change(journal, change)
        async with open_journal(journal) as store:
            assert await store.check() == told

    async def test_the_first_differences_are_enough(self, tmp_path: Path):
        path = tmp_path / "many.db"
        async with open_journal(path) as store:
            facts = Facts()
            await store.append("c", [facts.campaign(), *facts.targets(100)])
        self.change(path, "UPDATE target SET wave = 7")
        async with open_journal(path) as store:
            assert len(await store.check()) == 10

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ("1, 7, 'TargetDropped', 0, '{\"reason\": \"deadline\"}'", "this account has no such target"),
            ("1, 1, 'TargetDropped', 0, '{'", "can't be read"),
            ("NULL, NULL, 'Unheard', 0, '{}'", "can't be read"),
        ],
    )
    async def test_events_that_can_not_be(self, journal: Path, change: str, told: str):
        self.change(journal, f"INSERT INTO event VALUES (99, 1, {change})")
        async with open_journal(journal) as store:
            [said] = await store.check()
            assert said.startswith("the events can't be replayed: ")
            assert told in said

    def change(self, path: Path, sql: str) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(sql)
