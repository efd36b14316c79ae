"""The file of a journal: whose it is, what is no journal, what is in the way, and how it comes to a newer version."""

import asyncio
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dexcmd.campaign.events import RunStarted
from dexcmd.campaign.journal import open_journal, opening
from dexcmd.campaign.journal.failures import explain
from dexcmd.campaign.journal.schema import APPLICATION_ID, MIGRATIONS
from dexcmd.errors import CampaignBusyError, CampaignError, TargetBusyError
from tests.campaign.facts import Facts
from tests.campaign.journal_program import program
from tests.campaign.memory import MemoryStore
from tests.campaign.test_store import one_of_each, snapshot

pytestmark = pytest.mark.anyio

VERSION_1 = Path(__file__).with_name("journal_v1.sql").read_text(encoding="utf-8")
VERSION_1_EVENTS = VERSION_1.count('INSERT INTO "event"')

NEXT = (
    "ALTER TABLE account ADD COLUMN region TEXT NOT NULL DEFAULT 'unknown'",
    "CREATE INDEX account_in_region ON account (region)",
    "UPDATE account SET region = 'of ' || name",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def facts() -> Facts:
    return Facts()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)


def ask(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


async def refusal(path: Path, **options: Any) -> str:
    """Return what opening a journal is refused with."""
    with pytest.raises(CampaignError) as caught:
        async with open_journal(path, **options):
            raise AssertionError
    said = str(caught.value)
    assert said.startswith(f"journal {path}: ")
    assert "\n" not in said
    return said.removeprefix(f"journal {path}: ")


class TestPrivacy:
    async def test_all_that_is_made_is_for_the_user_only(self, tmp_path: Path, facts: Facts):
        folder = tmp_path / "new" / "folder"
        async with open_journal(folder / "journal.db") as store, store.hold("c"):
            await store.append("c", [facts.campaign()])
            files = sorted(folder.iterdir())
            names = [file.name.removeprefix("journal.db") for file in files]
            assert names[:1] + names[-2:] == ["", "-shm", "-wal"]
            assert names[1].startswith("-hold-c-")
            assert [mode(file) for file in files] == [0o600] * 4
        assert [mode(folder), mode(folder.parent)] == [0o700] * 2

    async def test_what_is_there_stays_as_it_is(self, path: Path, facts: Facts):
        path.touch(0o640)
        path.parent.chmod(0o750)
        async with open_journal(str(path)) as store:
            await store.append("c", [facts.campaign()])
        assert (mode(path), mode(path.parent)) == (0o640, 0o750)

    async def test_names_of_campaigns_make_no_paths(self, path: Path):
        async with open_journal(path) as store, store.hold("../c/d"), store.hold("a"), store.hold("A"):
            assert len({file.name.casefold() for file in path.parent.iterdir()}) == len([*path.parent.iterdir()]) == 6

    async def test_what_a_hold_leaves_is_empty_and_may_be_deleted(self, path: Path):
        async with open_journal(path) as store:
            for _ in range(2):
                async with store.hold("c"):
                    assert await store.held("c")
                [left] = path.parent.glob("*-hold-*")
                assert left.read_bytes() == b""
                left.unlink()
                assert not await store.held("c")

    async def test_a_held_file_is_not_opened_and_closed_again(self, path: Path):
        # That would drop the locks that the process has on it.
        async with open_journal(path) as store, store.hold("c"):
            opening.make_private(next(path.parent.glob("*-hold-*")))
            assert await store.held("c")
            async with program("hold", path) as process:
                assert await process.stdout.readline() == b""


class TestNames:
    """A file is one journal, whatever it is called: what holds a campaign lies beside it."""

    async def test_through_a_link(self, path: Path, tmp_path: Path, facts: Facts):
        link = tmp_path / "elsewhere" / "link.db"
        link.parent.mkdir()
        link.symlink_to(path)
        # It leads nowhere yet.
        async with open_journal(link) as store, open_journal(path) as other:
            await store.append("c", [facts.campaign()])
            assert [record.name for record in await other.campaigns()] == ["c"]
            async with store.hold("c"):
                assert await other.held("c")
                with pytest.raises(CampaignBusyError):
                    async with other.hold("c"):
                        raise AssertionError
        assert [file.name for file in link.parent.iterdir()] == ["link.db"]
        assert mode(path) == 0o600

    async def test_from_another_folder(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(path.parent)
        async with open_journal(path.name) as store, open_journal(path) as other:
            monkeypatch.chdir(tmp_path.parent)
            async with store.hold("c"):
                assert await other.held("c")

    async def test_one_that_can_not_be(self, tmp_path: Path):
        # Said in other words by each Python.
        assert "embedded null" in await refusal(tmp_path / "a\0b")


class TestRefused:
    @pytest.mark.parametrize("content", [b"x", b"# A text\n" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
    async def test_what_is_no_journal(self, path: Path, content: bytes):
        path.write_bytes(content)
        said = await refusal(path)
        assert said in (
            "it is not a dexcmd journal: choose another file",
            "it is damaged: restore it from a backup",
        )
        assert path.read_bytes() == content

    @pytest.mark.parametrize(
        "script", ["CREATE TABLE mine (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"]
    )
    async def test_another_database(self, path: Path, script: str):
        make(path, script)
        before = path.read_bytes()
        assert await refusal(path) == "it is a database of another program: choose another file"
        assert path.read_bytes() == before

    async def test_one_of_a_newer_version(self, path: Path):
        make(path, f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {len(MIGRATIONS) + 1}")
        assert await refusal(path) == (
            f"it was written by a newer version of dexcmd (format {len(MIGRATIONS) + 1}, this one reads up to "
            f"{len(MIGRATIONS)}): update dexcmd"
        )

    async def test_a_damaged_one(self, path: Path, facts: Facts):
        async with open_journal(path) as store:
            await store.append("c", [facts.campaign(), *facts.targets(2000)])
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = b"\xaa" * (len(content) - len(content) // 2)
        path.write_bytes(content)
        async with open_journal(path) as store:
            for query in (store.export("c", 0, 10_000), store.events("c", limit=10_000)):
                with pytest.raises(CampaignError, match=r"it is damaged: restore it from a backup$"):
                    await query
            assert await store.check() != []

    async def test_one_whose_tables_are_damaged(self, path: Path, facts: Facts):
        async with open_journal(path) as store:
            await store.append("c", [facts.campaign()])
        content = path.read_bytes()
        assert content.count(b"CREATE TABLE campaign") == 1
        # SQLite repeats what it can't make out, which is no text then.
        path.write_bytes(content.replace(b"CREATE TABLE campaign", b"CREATE T\xffBLE campaign"))
        assert await refusal(path) == "it is damaged: restore it from a backup"

    async def test_one_whose_tables_are_damaged_meanwhile(self, path: Path, facts: Facts):
        async with open_journal(path) as store:
            await store.append("c", [facts.campaign()])
            make(
                path,
                "PRAGMA writable_schema = ON; PRAGMA schema_version = 1000;"
                "UPDATE sqlite_master SET sql = CAST(x'435245415445ff' AS TEXT) WHERE name = 'campaign'",
            )
            with pytest.raises(CampaignError, match="it is damaged"):
                await store.append("c", [facts.make(RunStarted)])
            with pytest.raises(CampaignError, match="it is damaged"):
                await store.campaigns()

    @pytest.mark.parametrize("time", ["'soon'", "x'00'", 2**62, -(2**62)])
    async def test_a_time_that_is_none(self, path: Path, facts: Facts, time: Any):
        async with open_journal(path) as store:
            await store.append("c", [facts.campaign(), *facts.targets(2)])
        make(
            path,
            f"UPDATE target SET changed_at = {time}; DROP TRIGGER event_is_never_changed; UPDATE event SET at = {time}",
        )
        async with open_journal(path) as store:
            for query in (store.export("c", 0, 9), store.targets("c", [1]), store.events("c")):
                with pytest.raises(CampaignError, match=r"in place of a time: it is damaged"):
                    await query
            [told] = await store.check()
            assert "in place of a time" in told

    async def test_a_folder(self, path: Path):
        path.mkdir()
        assert await refusal(path) == "it is not a dexcmd journal: choose another file"

    async def test_a_pipe_is_not_waited_for(self, path: Path):
        os.mkfifo(path)
        assert await refusal(path) == "it is not a dexcmd journal: choose another file"

    async def test_below_a_file(self, path: Path):
        path.write_text("")
        assert "can't create the folder" in await refusal(path / "journal.db")

    async def test_where_nothing_can_be_made(self):
        assert await refusal(Path("/proc/journal.db")) == os.strerror(2)

    async def test_a_hold_that_can_not_be_made(self, path: Path):
        async with open_journal(path) as store:
            async with store.hold("c"):
                hold = next(path.parent.glob("*-hold-*"))
            hold.unlink()
            hold.mkdir()
            with pytest.raises(CampaignError, match="can't be opened"):
                async with store.hold("c"):
                    raise AssertionError
            with pytest.raises(CampaignError, match="can't be opened"):
                await store.held("c")
            hold.rmdir()
            hold.write_bytes(b"no database" * 100)
            with pytest.raises(CampaignError, match="not a dexcmd journal"):
                async with store.hold("c"):
                    raise AssertionError
            with pytest.raises(CampaignError, match="not a dexcmd journal"):
                await store.held("c")
            with pytest.raises(CampaignError, match="too long"):
                await store.held("c" * 300)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody gets to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


class TestReadOnly:
    async def test_a_folder(self, open_folder: Path):
        path = open_folder / "journal.db"
        open_folder.chmod(0o555)
        async with program("write_as_nobody", path) as process:
            assert (await process.stdout.readline()).decode().strip() == f"journal {path}: {os.strerror(13)}"

    async def test_a_file(self, open_folder: Path):
        path = open_folder / "journal.db"
        async with open_journal(path):
            pass
        path.chmod(0o444)
        open_folder.chmod(0o555)
        async with program("write_as_nobody", path) as process:
            assert (await process.stdout.readline()).decode().strip() == (
                f"journal {path}: it can't be written: give this user write permission for it and its folder, or "
                "choose another file"
            )


class TestDurability:
    def test_what_is_committed_is_on_the_disk(self, path: Path):
        with closing(opening.JournalFile(path, 1.0, MIGRATIONS)) as file:
            file.open()
            [(log,)] = file.writer.execute("PRAGMA journal_mode")
            [(syncing,)] = file.writer.execute("PRAGMA synchronous")
        # 2 is FULL: less syncs the log now and then only, and a machine that stops loses what it was told is durable.
        assert (log, syncing) == ("wal", 2)


class TestInTheWay:
    async def test_another_program_that_locks_it(self, path: Path, facts: Facts):
        async with open_journal(path, busy_seconds=0.01) as store:
            await store.append("c", [facts.campaign()])
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                appends = [store.append("c", [facts.target(number)]) for number in (1, 2)]
                done = await asyncio.gather(*appends, return_exceptions=True)
                assert len(await store.events("c")) == 1
            locked = "another program has locked it for too long: wait for that one or stop it, and try again"
            assert [str(error) for error in done] == [f"journal {path}: {locked}"] * 2
            await store.append("c", [facts.target(3)])
            assert len(await store.events("c")) == 2
            assert await store.check() == []

    async def test_a_new_one_that_another_program_locks(self, path: Path):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert (await refusal(path, busy_seconds=0.02)).startswith("another program has locked it for too long")

    async def test_switching_to_the_log_waits_for_others(self, path: Path):
        path.touch()
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM sqlite_master").fetchall()
            assert (await refusal(path, busy_seconds=0.05)).startswith("another program has locked it for too long")
            opened = asyncio.create_task(enter(path))
            await asyncio.sleep(0.05)
            assert not opened.done()
            other.execute("COMMIT")
            await opened

    async def test_a_full_disk(self, path: Path, facts: Facts):
        async with open_journal(path) as store:
            await store.append("c", [facts.campaign()])
            db = store._file.writer
            [(pages,)] = db.execute("PRAGMA page_count")
            db.execute(f"PRAGMA max_page_count = {pages + 20}")
            large = [facts.target(number) for number in range(1, 2000)]
            appends = [store.append("c", [facts.target(2000)]), store.append("c", large)]
            done = await asyncio.gather(*appends, return_exceptions=True)
            assert [str(error) for error in done] == [
                f"journal {path}: the disk is full: free some space and try again"
            ] * 2
            # Also where something is wrong with one of them, and they are written one by one.
            appends = [store.append("c", [facts.campaign()]), store.append("c", large)]
            assert [str(error) for error in await asyncio.gather(*appends, return_exceptions=True)] == [
                f"journal {path}: the disk is full: free some space and try again"
            ] * 2
            assert len(await store.events("c")) == 1
            await store.append("c", [facts.target(2000)])
            db.execute("PRAGMA max_page_count = 100000")
            await store.append("c", large)
            assert len(await store.events("c", limit=10_000)) == 2001
            assert await store.check() == []

    async def test_what_is_planned_after_the_disk_was_full_is_no_other_campaigns(self, path: Path, facts: Facts):
        async with open_journal(path) as store:
            db = store._file.writer
            [(pages,)] = db.execute("PRAGMA page_count")
            db.execute(f"PRAGMA max_page_count = {pages + 20}")
            with pytest.raises(CampaignError, match="the disk is full"):
                await store.append("a", [facts.campaign(), *facts.targets(2000)])
            # It takes the place in the file that the first would have had.
            await store.append("b", [facts.campaign(), facts.target(9)])
            db.execute("PRAGMA max_page_count = 100000")
            await store.append("a", [facts.campaign(), *facts.targets(2)])
            assert [len(await store.targets(name, range(1, 10))) for name in ("a", "b")] == [2, 1]
            assert [len(await store.events(name)) for name in ("a", "b")] == [3, 2]


async def enter(path: Path) -> None:
    async with open_journal(path):
        pass


def test_what_is_not_known_is_told_in_one_line():
    error = sqlite3.OperationalError("an odd\nthing")
    assert str(explain(error, Path("j"))) == "journal j: an odd thing"
    assert str(explain(OSError("odd"), Path("j"))) == "journal j: odd"


class TestVersions:
    async def test_a_journal_of_version_1_is_read_and_gone_on_with(self, path: Path, facts: Facts):
        make(path, VERSION_1)
        told = MemoryStore()
        await told.append("c", one_of_each(facts)[:VERSION_1_EVENTS])
        async with open_journal(path) as store:
            assert await snapshot(store) == await snapshot(told)
            assert await store.check() == []
            await store.append("c", [facts.target(9), facts.opened(9, "p9")])
            assert await store.check() == []

    async def test_what_was_told_before_the_rule_that_refuses_it_is_sound(self, path: Path, facts: Facts):
        both = [facts.target(1), facts.target(2, device="device-1", registration_id="r1")]
        async with open_journal(path, migrations=MIGRATIONS[:2]) as store:
            await store.append("c", [facts.campaign(), *both, facts.opened(1), facts.opened(2)])
        async with open_journal(path) as store:
            assert await store.check() == []
            await store.append("c", [facts.closed(1, "absent"), facts.closed(2, "absent"), facts.opened(1, "p2")])
            with pytest.raises(TargetBusyError):
                await store.append("c", [facts.opened(2, "p2")])
            assert await store.check() == []

    async def test_a_journal_of_version_1_is_what_is_made_now(self, path: Path):
        made = path.with_name("now.db")
        make(path, VERSION_1)
        async with open_journal(made, migrations=MIGRATIONS[:1]):
            pass
        tables = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
        assert [spaced(row) for row in ask(path, tables)] == [spaced(row) for row in ask(made, tables)]

    async def test_it_is_brought_to_the_next_version(self, path: Path, facts: Facts):
        make(path, VERSION_1)
        told = MemoryStore()
        await told.append("c", one_of_each(facts)[:VERSION_1_EVENTS])
        versions = (*MIGRATIONS, NEXT)
        opened = [open_and_check(path, versions) for _ in range(6)]
        assert await asyncio.gather(*opened) == [await snapshot(told)] * 6
        assert ask(path, "PRAGMA user_version") == [(len(versions),)]
        assert ask(path, "SELECT name, region FROM account") == [("main", "of main")]
        assert "newer version" in await refusal(path)

    async def test_a_new_one_has_the_newest(self, path: Path, facts: Facts):
        async with open_journal(path, migrations=(*MIGRATIONS, NEXT)) as store:
            await store.append("c", [facts.campaign()])
            assert await store.check() == []
        assert ask(path, "SELECT region FROM account") == [("unknown",)]

    async def test_all_of_it_or_nothing(self, path: Path):
        make(path, VERSION_1)
        before = ask(path, "SELECT sql FROM sqlite_master")
        assert "no such table" in await refusal(path, migrations=(*MIGRATIONS, NEXT, ("UPDATE missing SET a = 1",)))
        assert ask(path, "SELECT sql FROM sqlite_master") == before
        assert ask(path, "PRAGMA user_version") == [(1,)]
        async with open_journal(path) as store:
            assert await store.check() == []


async def open_and_check(path: Path, migrations: Any) -> Any:
    async with open_journal(path, migrations=migrations) as store:
        return await snapshot(store)


def spaced(row: Any) -> Any:
    kind, name, sql = row
    return kind, name, sql and " ".join(sql.split())


def test_events_are_never_changed(path: Path):
    make(path, VERSION_1)
    for sql in ("UPDATE event SET at = 0 WHERE seq = 1", "DELETE FROM event WHERE seq = 30"):
        with pytest.raises(sqlite3.IntegrityError, match="events are never"):
            ask(path, sql)
