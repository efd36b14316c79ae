"""The journal in a file: appends that share a commit, reads beside them, and processes that share the file."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from dexcmd.campaign.events import CampaignEvent, ControlRequested, QuotaSeen, RunStarted, TargetPlanned
from dexcmd.campaign.journal import SqliteStore, open_journal
from dexcmd.errors import CampaignBusyError, CampaignError, CampaignExistsError, ConfigurationError, TargetBusyError
from tests.campaign.facts import START, Facts, account_id
from tests.campaign.journal_program import PER_BATCH, program

pytestmark = pytest.mark.anyio


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with open_journal(path) as store:
        yield store
        assert await store.check() == []


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dexcmd")]


def lock(path: Path) -> sqlite3.Connection:
    """Return another program's connection that keeps everybody else from writing."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


async def until_it_waits(store: SqliteStore) -> None:
    """Return when the thread that writes has taken what there is to do."""
    await asyncio.sleep(0)
    while not store._appends._queue.empty():
        await asyncio.sleep(0.001)


class TestTogether:
    """What is appended while another commit is under way shares the next one."""

    async def test_one_commit_for_all_that_waits(self, store: SqliteStore, facts: Facts):
        await store.append("c", [facts.campaign()])
        statements: list[str] = []
        store._file.writer.set_trace_callback(statements.append)
        await asyncio.gather(*(store.append("c", [facts.target(number)]) for number in range(1, 31)))
        assert [text for text in statements if text.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
        assert len(await store.targets("c", range(1, 31))) == 30

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("busy", TargetBusyError),
            ("exists", CampaignExistsError),
            ("no campaign", CampaignError),
            ("no account", CampaignError),
            ("no target", CampaignError),
            ("negative target", CampaignError),
            ("second command", CampaignError),
            ("surplus command", CampaignError),
            ("command of another", CampaignError),
            ("too large", CampaignError),
            ("no zone", ConfigurationError),
            ("no event", TypeError),
            ("nothing", TypeError),
        ],
    )
    async def test_one_that_is_wrong_harms_no_other(
        self, store: SqliteStore, facts: Facts, kind: str, error: type[Exception]
    ):
        await store.append("c", [facts.campaign(), *facts.targets(9), *facts.created(1, "c1"), facts.opened(2, "p2")])
        surplus = {"device_id": None, "created_date": None}
        found = facts.make(events_of("SurplusFound"), command_id="s1", target=1, **surplus)
        await store.append("c", [found])
        wrong: dict[str, tuple[str, list[Any]]] = {
            "busy": ("c", [facts.opened(2, "p3")]),
            "exists": ("c", [facts.campaign()]),
            "no campaign": ("d", [facts.make(RunStarted)]),
            "no account": ("c", [facts.target(10), Facts("other").target(11)]),
            "no target": ("c", [facts.opened(99)]),
            "negative target": ("c", [facts.target(-1)]),
            "second command": ("c", [facts.known(3, "c1")]),
            "surplus command": ("c", [facts.known(3, "s1")]),
            "command of another": ("c", [facts.ended(3, "c1")]),
            "too large": ("c", [facts.make(QuotaSeen, quota=2**63, usage=1, reset_time=None)]),
            "no zone": ("c", [attrs.evolve(facts.target(10), at=datetime(2026, 1, 1))]),  # noqa: DTZ001
            "no event": ("c", [CampaignEvent(at=facts.now)]),
            "nothing": ("c", [facts.target(10), None]),
        }
        before = len(await store.events("c"))
        bad = facts.retried(1, "timeout"), facts.opened(9, "p9")
        done = await asyncio.gather(
            store.append("c", [facts.opened(4, "p4")]),
            store.append("c", [facts.opened(5, "p5"), bad[1]]),
            store.append(
                wrong[kind][0], [facts.opened(6, "p6"), *wrong[kind][1]] if kind != "exists" else wrong[kind][1]
            ),
            store.append("c", [facts.opened(7, "p7")]),
            store.append("e", [facts.campaign(("main", account_id(2)))]),
            return_exceptions=True,
        )
        assert [type(one) for one in done] == [type(None), type(None), error, type(None), type(None)]
        assert "\n" not in str(done[2])
        assert [intent.post for intent in await store.open_intents("c", "main")] == ["p2", "p4", "p5", "p9", "p7"]
        assert len(await store.events("c")) == before + 4
        assert await store.campaign("e") is not None

    async def test_what_is_wrong_is_told(self, store: SqliteStore, facts: Facts):
        await store.append("c", [facts.campaign(), *facts.targets(2)])

        async def said(*events: Any) -> str:
            with pytest.raises(CampaignError) as caught:
                await store.append("c", events)
            return str(caught.value)

        assert await said(facts.known(1, "c1"), facts.known(2, "c1")) == (
            "campaign 'c': CommandKnown of target 2: the command is recorded already"
        )
        assert await said(facts.opened(1), facts.opened(3)) == (
            "campaign 'c': IntentOpened of target 3: this account has no such target"
        )
        assert await said(facts.closed(2, "created")) == (
            "campaign 'c': IntentClosed of target 2: there is no intent to close"
        )
        assert await said(Facts("b").opened(1)) == "campaign 'c' has no account 'b'"
        assert await said(facts.opened(1), facts.opened(1), Facts("b").opened(1)) == "campaign 'c' has no account 'b'"
        assert await said(facts.campaign()) == "the journal already has a campaign 'c'"
        two = (("x", account_id()), ("x", account_id(2)))
        with pytest.raises(CampaignError, match="two accounts of the campaign have the same name"):
            await store.append("d", [facts.campaign(*two)])

    async def test_a_campaign_that_was_refused_may_be_planned_again(self, store: SqliteStore, facts: Facts):
        both = [facts.campaign(), facts.target(1), facts.target(1)]
        with pytest.raises(CampaignError):
            await store.append("c", both)
        await store.append("d", [facts.campaign(("b", account_id()))])
        await store.append("c", both[:2])
        assert [account.name for account in await store.accounts("c")] == ["main"]

    async def test_an_artifact_that_is_saved_twice_counts_once(self, store: SqliteStore, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1), *facts.created(1, "c1"), facts.ended(1, "c1")])
        await store.append("c", [facts.saved(1, "c1", size=5), facts.saved(1, "c1", size=7)])
        await store.append("c", [facts.saved(1, "c1", size=3, location="elsewhere")])
        [(_, _, artifact, _)] = await store.export("c", 0, 9)
        assert artifact is not None
        assert (artifact.location, artifact.size) == ("elsewhere", 3)
        assert [account.size for account in await store.accounts("c")] == [3]
        assert await store.mean_artifact_size("pcap") == (1, 3.0)

    async def test_half_a_surrogate_is_kept_and_shown_as_a_mark(self, store: SqliteStore, facts: Facts):
        await store.append("c", [facts.campaign()])
        odd = facts.target(1, device_name="a\ud83db", device="d\ud83d")
        await asyncio.gather(store.append("c", [facts.target(2)]), store.append("c", [odd]))
        [target] = await store.targets("c", [1])
        assert (target.device_name, target.device_id) == ("a?b", "d?")
        told = [one.event for one in await store.events("c", kinds=[TargetPlanned])]
        assert told[1] == odd


def events_of(name: str) -> Any:
    from dexcmd.campaign import events

    return getattr(events, name)


class TestCancelled:
    async def test_one_that_waits_comes_to_its_end(self, store: SqliteStore, path: Path, facts: Facts):
        await store.append("c", [facts.campaign()])
        with closing(lock(path)) as other:
            under_way = asyncio.create_task(store.append("c", [facts.target(1)]))
            await until_it_waits(store)
            behind = asyncio.create_task(store.append("c", [facts.target(2)]))
            refused = asyncio.create_task(store.append("c", [facts.campaign()]))
            await asyncio.sleep(0)
            for task in (under_way, behind, refused) * 2:
                task.cancel()
                await asyncio.sleep(0)
            assert not any(task.done() for task in (under_way, behind, refused))
            other.execute("ROLLBACK")
            done = await asyncio.gather(under_way, behind, refused, return_exceptions=True)
        assert [type(one) for one in done] == [asyncio.CancelledError] * 3
        assert [target.number for target in await store.targets("c", [1, 2])] == [1, 2]

    async def test_closing_waits_for_what_is_given(self, path: Path, facts: Facts):
        async with open_journal(path) as store:
            await store.append("c", [facts.campaign()])
            tasks = [asyncio.create_task(store.append("c", [facts.target(number)])) for number in (1, 2, 3)]
            await asyncio.sleep(0)
        assert all(task.done() for task in tasks) or await asyncio.gather(*tasks)
        assert rows(path, "SELECT count(*) FROM target") == [(3,)]
        assert own_threads() == []
        for late in (store.append("c", [facts.target(4)]), store.campaigns()):
            with pytest.raises(RuntimeError, match="is closed"):
                await late

    async def test_leaving_it_by_a_cancellation_leaves_nothing(self, path: Path, facts: Facts):
        with anyio.CancelScope() as scope:
            async with open_journal(path) as store, store.hold("c"):
                await store.append("c", [facts.campaign()])
                await store.campaigns()
                scope.cancel()
                await asyncio.sleep(1)
        assert own_threads() == []
        # The last connection that is closed takes the log along.
        assert [file.suffix for file in path.parent.glob("journal.db*")].count(".db") == 1
        assert not path.with_name("journal.db-wal").exists()
        async with open_journal(path) as store, store.hold("c"):
            assert len(await store.campaigns()) == 1

    async def test_a_cancellation_while_it_is_opened_leaves_nothing(self, path: Path):
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN EXCLUSIVE")
            opening = asyncio.create_task(open_journal(path).__aenter__())
            await asyncio.sleep(0.01)
            opening.cancel()
            await asyncio.sleep(0.01)
            assert not opening.done()
            other.execute("ROLLBACK")
            with pytest.raises(asyncio.CancelledError):
                await opening
            del opening
        assert own_threads() == []
        assert not path.with_name("journal.db-wal").exists()

    async def test_nothing_is_left_of_one_that_was_only_looked_at(self, path: Path):
        async with open_journal(path) as store:
            assert await store.campaigns() == []
        assert own_threads() == []


class TestReading:
    async def test_is_done_in_a_thread(self, store: SqliteStore, facts: Facts):
        await store.append("c", [facts.campaign(), facts.target(1)])
        seen: set[threading.Thread] = set()
        for connection in (store._file.reader, store._file.writer):
            connection.set_trace_callback(lambda _: seen.add(threading.current_thread()))
        await store.append("c", [facts.target(2)])
        await store.export("c", 0, 10)
        assert len(seen) == 2
        assert threading.main_thread() not in seen

    async def test_goes_on_beside_a_commit(self, store: SqliteStore, path: Path, facts: Facts):
        await store.append("c", [facts.campaign()])
        with closing(lock(path)) as other:
            writing = asyncio.create_task(store.append("c", [facts.target(1)]))
            await until_it_waits(store)
            assert await store.targets("c", [1]) == []
            assert not writing.done()
            other.execute("ROLLBACK")
            await writing
        assert len(await store.targets("c", [1])) == 1

    async def test_takes_as_long_for_many_targets_as_for_few(self, tmp_path: Path):
        few, many = [await steps(tmp_path / str(targets), targets) for targets in (200, 4000)]
        assert few.keys() == many.keys()
        for query, n in many.items():
            assert n <= 1.5 * few[query] + 5, query


async def steps(folder: Path, targets: int) -> dict[str, int]:
    """Return how many tens of steps SQLite takes for each query of a campaign of so many targets, nearly all saved."""
    facts = Facts()
    folder.mkdir()
    async with open_journal(folder / "journal.db") as store:
        await store.append("c", [facts.campaign(), *facts.targets(targets)])
        begun: list[CampaignEvent] = []
        for number in range(1, targets - 10):
            begun += [*facts.created(number, f"c{number}", f"p{number // 10}"), facts.ended(number, f"c{number}")]
            begun.append(facts.saved(number, f"c{number}"))
        running = [*facts.created(targets - 10, "r1", "r1"), *facts.created(targets - 9, "r2", "r2")]
        overdue = [*facts.created(targets - 8, "r3", "r3"), facts.overdue(targets - 8, "r3")]
        collecting = [facts.ended(targets - 9, "r2"), facts.retried(targets - 8, "timeout")]
        await store.append("c", [*begun, *running, *overdue, *collecting, facts.opened(targets - 7, "o")])
        count: dict[str, int] = {}
        taken = 0

        def step() -> int:
            nonlocal taken
            taken += 1
            return 0

        store._file.reader.set_progress_handler(step, 10)
        answers: dict[str, Any] = {
            "campaign": lambda: store.campaign("c"),
            "accounts": lambda: store.accounts("c"),
            "due_targets": lambda: store.due_targets("c", "main", 1, facts.now, 5),
            "next_due": lambda: store.next_due("c", "main", 1),
            "targets": lambda: store.targets("c", [1, 2, 3]),
            "undecided": lambda: store.undecided("c", "main", targets - 12, 5),
            "open_intents": lambda: store.open_intents("c", "main"),
            "intents": lambda: store.intents("c", "main", ["device-1", "device-2"]),
            "reserved": lambda: store.reserved(account_id(), START),
            "running": lambda: store.running("c", "main"),
            "collecting": lambda: store.collecting("c", "main"),
            "known": lambda: store.known(account_id(), ["c1", "c2", "x"]),
            "lags": lambda: store.lags("c", "main"),
            "mean_artifact_size": lambda: store.mean_artifact_size("pcap"),
            "events": lambda: store.events("c", 50, 5),
            "export": lambda: store.export("c", 50, 5),
        }
        for name, ask in answers.items():
            taken = 0
            assert await ask(), name
            count[name] = taken
        return count


class TestProcesses:
    async def test_that_open_a_new_journal_at_the_same_moment(self, path: Path):
        async with (
            program("open_at_once", path) as a,
            program("open_at_once", path) as b,
            program("open_at_once", path) as c,
        ):
            processes = (a, b, c)
            for process in processes:
                assert await process.stdout.readline() == b"ready\n"
            for process in processes:
                process.stdin.write(b"\n")
            assert [await process.stdout.readline() for process in processes] == [b"0\n"] * 3
            assert [await process.wait() for process in processes] == [0, 0, 0]

    async def test_stores_that_open_a_new_journal_at_the_same_moment(self, path: Path, facts: Facts):
        async def use(name: str) -> int:
            async with open_journal(path) as store, store.hold(name):
                await store.append(name, [facts.campaign()])
                return len(await store.events(name))

        assert await asyncio.gather(*(use(f"c{n}") for n in range(12))) == [1] * 12

    async def test_a_hold_ends_with_its_process(self, store: SqliteStore, path: Path):
        assert not await store.held("c")
        async with program("hold", path) as process:
            assert await process.stdout.readline() == b"held\n"
            assert await store.held("c")
            with pytest.raises(CampaignBusyError, match="another process is running campaign 'c'"):
                async with store.hold("c"):
                    raise AssertionError
            async with store.hold("d"):
                pass
            process.kill()
            await process.wait()
        assert not await store.held("c")
        async with store.hold("c"):
            assert await store.held("c")

    async def test_two_that_write_and_read_at_the_same_time(self, store: SqliteStore, path: Path, facts: Facts):
        await store.append("c", [facts.campaign()])
        async with program("append_some", path) as process:
            ended = asyncio.create_task(process.stdout.readline())
            written = 0
            while not ended.done():
                await store.append("c", [facts.make(ControlRequested, control="pause")])
                written += 1
                assert await store.campaign("c") is not None
                assert len(await store.events("c", limit=10_000)) > written
            assert await ended == b"done\n"
        assert len(await store.targets("c", range(1000, 1100))) == 100
        assert len(await store.events("c", limit=100_000)) == 101 + written

    async def test_what_was_confirmed_outlives_a_kill(self, tmp_path: Path):
        for number, batches in enumerate((1, 7, 40)):
            path = tmp_path / f"{number}.db"
            async with program("append_for_ever", path) as process:
                confirmed = [int(await process.stdout.readline()) for _ in range(batches)]
                process.kill()
                rest, _ = await process.communicate()
            # A line that the kill has cut is none.
            confirmed += [int(line) for line in rest.split(b"\n")[:-1]]
            async with open_journal(path) as store:
                told = await store.events("c", limit=1_000_000)
                planned = [one.event.target for one in told if isinstance(one.event, TargetPlanned)]
                whole = {batch for batch in range(max(planned) // PER_BATCH + 1) if batch * PER_BATCH + 1 in planned}
                assert whole.issuperset(confirmed)
                # Of each batch all four events of each target, or nothing.
                assert len(told) == 1 + len(whole) * PER_BATCH * 4
                assert len(await store.running("c", "main")) == len(whole) * PER_BATCH
                assert await store.check() == []
