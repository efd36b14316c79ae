"""Exports of campaigns: who gets a row, what it says, and how the file comes to its place."""

import asyncio
import errno
import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dexcmd.campaign.events import AccountStopped, ForeignFound, SurplusFound, TargetDropped
from dexcmd.campaign.export import pages, write
from dexcmd.campaign.export.schema import ExportRow
from dexcmd.campaign.export.write import FILES, export_campaign
from dexcmd.campaign.journal import open_journal
from dexcmd.errors import CampaignError, ConfigurationError
from tests.campaign.facts import Facts, account_id, minutes
from tests.campaign.memory import MemoryStore
from tests.campaign.test_export_formats import READERS

pytestmark = pytest.mark.anyio


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture
async def store(facts: Facts) -> MemoryStore:
    """A campaign that has seen everything."""
    store = MemoryStore()
    other = Facts("b", ticks=5000)
    planned = facts.target(1, registration_id="r", device_name="=1+1", platform="linux", version="2025.1")
    await store.append("c", [facts.campaign(("main", account_id()), ("b", account_id(2))), planned])
    await store.append(
        "c", [facts.target(2, skip="not_found", user_email=None, detail="no row"), *map(facts.target, range(3, 9))]
    )
    await store.append("c", [other.target(9, wave=2), *other.created(9, "b1", "pb")])
    await store.append(
        "c",
        [
            facts.opened(1, "p1"),
            facts.closed(1, "adopted", "p1"),
            facts.known(1, "c1", "adopted", created_date=minutes(1)),
            facts.ended(1, "c1", completed_date=minutes(5), filename="f.zip"),
            facts.saved(1, "c1", size=2**40, location="captures/c1.zip", sha256="ab" * 32),
            facts.opened(3, "p3"),
            facts.closed(3, "rejected", "p3", error="400: no"),
            facts.make(TargetDropped, target=4, reason="deadline"),
            *facts.created(5, "c5", "p5"),
            facts.overdue(5, "c5"),
            facts.retried(5, "timeout", minutes(80)),
            *facts.created(5, "c5b", "p5b"),
            facts.ended(5, "c5b", "FAILED"),
            facts.retried(5, "device", minutes(85)),
            *facts.created(5, "c5c", "p5c"),
            facts.ended(5, "c5c", "FAILED"),
            facts.retried(5, "device", minutes(90)),
            *facts.created(6, "c6", "p6"),
            facts.ended(6, "c6"),
            facts.opened(7, "p7"),
        ],
    )
    found = {"device_id": None, "created_date": minutes(2)}
    surplus = facts.make(SurplusFound, command_id="s1", target=1, **found)
    foreign = other.make(ForeignFound, command_id="f1", device_id="device-3", type="warp-diag", created_date=None)
    await store.append("c", [surplus, foreign, facts.make(AccountStopped, kind="finished"), surplus, foreign])
    await store.append("d", [facts.campaign(), facts.target(1)])
    return store


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def exported(store: MemoryStore) -> list[dict[str, Any]]:
    stream = io.StringIO()
    assert await export_campaign(store, "c", stream, "jsonl") == len(objects(stream.getvalue()))
    return objects(stream.getvalue())


class TestRows:
    async def test_each_target_has_one_and_stray_commands_come_last(self, store: MemoryStore):
        assert [(row["target"], row["account"], row["outcome"], row["reason"]) for row in await exported(store)] == [
            (1, "main", "saved", None),
            (2, "main", "skipped", "not_found"),
            (3, "main", "failed", "rejected"),
            (4, "main", "not_attempted", "deadline"),
            (5, "main", "pending", None),
            (6, "main", "collecting", None),
            (7, "main", "creating", None),
            (8, "main", "pending", None),
            (9, "b", "running", None),
            (None, "main", "surplus", None),
            (None, "b", "foreign", None),
        ]

    async def test_all_that_is_known_of_a_saved_one(self, store: MemoryStore):
        [target] = await store.targets("c", [1])
        [(_, command, _, intent)] = await store.export("c", 0, 1)
        [row, *_] = await exported(store)
        saved_at = text(target.changed_at)
        assert row == {
            "campaign": "c",
            "account": "main",
            "account_id": account_id(),
            "target": 1,
            "wave": 1,
            "device_id": "device-1",
            "registration_id": "r",
            "user_email": "user1@example.com",
            "device_name": "=1+1",
            "platform": "linux",
            "version": "2025.1",
            "outcome": "saved",
            "reason": None,
            "detail": None,
            "error": None,
            "tries": 0,
            "changed_at": saved_at,
            "due_at": None,
            "posted_at": text(intent.opened_at),
            "answered_at": text(intent.closed_at),
            "type": "pcap",
            "command_id": "c1",
            "provenance": "adopted",
            "known_at": text(command.known_at),
            "created_at": text(minutes(1)),
            "completed_at": text(minutes(5)),
            "status": "SUCCESS",
            "filename": "f.zip",
            "path": "captures/c1.zip",
            "size": 2**40,
            "sha256": "ab" * 32,
            "saved_at": saved_at,
            "surplus_of": None,
        }

    async def test_what_others_say_besides(self, store: MemoryStore):
        rows = {row["target"]: row for row in await exported(store) if row["target"]}
        assert (rows[2]["wave"], rows[2]["user_email"], rows[2]["command_id"]) == (0, None, None)
        assert rows[2]["detail"] == "no row"
        assert (rows[3]["error"], rows[3]["provenance"]) == ("400: no", None)
        assert (rows[5]["tries"], rows[5]["due_at"]) == (3, text(minutes(90)))
        assert (rows[6]["status"], rows[6]["path"], rows[6]["size"]) == ("SUCCESS", None, None)
        assert rows[7]["posted_at"] is not None
        assert rows[7]["answered_at"] is None
        assert rows[8]["posted_at"] is None
        assert (rows[9]["account_id"], rows[9]["wave"], rows[9]["provenance"]) == (account_id(2), 2, "response")

    async def test_what_stray_commands_say(self, store: MemoryStore):
        surplus, foreign = (
            {name: value for name, value in row.items() if value} for row in (await exported(store))[-2:]
        )
        noted = {key: surplus.pop(key) for key in ("changed_at", "known_at")}
        assert noted["changed_at"] == noted["known_at"]
        assert surplus == {
            "campaign": "c",
            "account": "main",
            "account_id": account_id(),
            "device_id": "device-1",
            "registration_id": "r",
            "user_email": "user1@example.com",
            "device_name": "=1+1",
            "platform": "linux",
            "version": "2025.1",
            "outcome": "surplus",
            "type": "pcap",
            "command_id": "s1",
            "provenance": "adopted",
            "created_at": text(minutes(2)),
            "surplus_of": 1,
        }
        assert foreign.pop("changed_at") == foreign.pop("known_at")
        assert foreign == {
            "campaign": "c",
            "account": "b",
            "account_id": account_id(2),
            "device_id": "device-3",
            "outcome": "foreign",
            "type": "warp-diag",
            "command_id": "f1",
            "provenance": "foreign",
        }

    async def test_pages_join_without_a_seam(self, store: MemoryStore, monkeypatch: pytest.MonkeyPatch):
        whole = await exported(store)
        for size in (1, 2, 3):
            monkeypatch.setattr(pages, "PAGE", size)
            assert await exported(store) == whole

    async def test_pages_go_by_numbers(self, facts: Facts, monkeypatch: pytest.MonkeyPatch):
        store = MemoryStore()
        await store.append("c", [facts.campaign(), *map(facts.target, (10, 20, 30))])
        monkeypatch.setattr(pages, "PAGE", 2)
        assert [row["target"] for row in await exported(store)] == [10, 20, 30]

    async def test_a_campaign_without_targets(self, facts: Facts):
        store = MemoryStore()
        await store.append("c", [facts.campaign()])
        assert await exported(store) == []


def text(time: Any) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class TestForeignNoMore:
    """What the journal has come to know as somebody's own is foreign to nobody, as the counts of a campaign have it."""

    async def test_what_became_a_targets(self, store: MemoryStore, facts: Facts):
        # The other campaign of the account was told of its commands when this one had seen them, or just before.
        found = {"device_id": None, "type": None, "created_date": None}
        await store.append("c", [facts.make(ForeignFound, command_id="f2", **found)])
        await store.append("d", [*facts.created(1, "f2"), facts.known(1, "f3")])
        await store.append("c", [facts.make(ForeignFound, command_id="f3", **found)])
        assert [row["command_id"] for row in await exported(store) if row["outcome"] == "foreign"] == ["f1"]
        assert [account.foreign for account in await store.accounts("c")] == [0, 1]

    async def test_what_became_surplus(self, store: MemoryStore, facts: Facts):
        found = {"device_id": None, "created_date": None}
        await store.append("c", [facts.make(ForeignFound, command_id="s2", type=None, **found)])
        await store.append("c", [facts.make(SurplusFound, command_id="s2", target=1, **found)])
        assert [row["outcome"] for row in await exported(store) if row["command_id"] == "s2"] == ["surplus"]
        assert [account.surplus for account in await store.accounts("c")] == [2, 0]


class TestFiles:
    async def test_all_formats_say_the_same(self, store: MemoryStore, tmp_path: Path):
        said = []
        for format_, reader in READERS.items():
            path = tmp_path / f"c.{format_}"
            assert await export_campaign(store, "c", path, format_) == 11
            said.append(reader(path))
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert all(rows == said[0] for rows in said)
        assert len(said[0]) == 11
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"c.{format_}" for format_ in FILES)

    @pytest.mark.parametrize("format_", FILES)
    async def test_pages_of_what_was_found_before(
        self, store: MemoryStore, tmp_path: Path, format_: Any, monkeypatch: pytest.MonkeyPatch
    ):
        # Each audit finds the same foreign commands.
        monkeypatch.setattr(pages, "PAGE", 1)
        assert await export_campaign(store, "c", tmp_path / "c", format_) == 11
        assert len(READERS[format_](tmp_path / "c")) == 11

    @pytest.mark.parametrize("format_", FILES)
    @pytest.mark.parametrize("folder", [b"\xff", b"file:x", b"s3:", b"a?b#c%41", b"'\n\""])
    async def test_a_folder_of_any_name(
        self, store: MemoryStore, tmp_path: Path, format_: Any, folder: bytes, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        path = Path(os.fsdecode(folder), "c")
        path.parent.mkdir()
        assert await export_campaign(store, "c", path, format_) == 11
        assert len(READERS[format_](path.absolute().rename(tmp_path / "c"))) == 11

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("name", ["a\0b", "a\ud800", "a\0b/c"])
    async def test_a_name_that_no_file_can_have(self, store: MemoryStore, tmp_path: Path, name: str, overwrite: bool):
        with pytest.raises(ConfigurationError, match=r"^invalid file name "):
            await export_campaign(store, "c", tmp_path / name, "csv", overwrite=overwrite)
        assert [*tmp_path.iterdir()] == []

    @pytest.mark.parametrize(("folder", "why"), [("a-file", "Not a directory"), ("a" * 300, "File name too long")])
    async def test_a_folder_that_is_none(self, store: MemoryStore, tmp_path: Path, folder: str, why: str):
        (tmp_path / "a-file").touch()
        with pytest.raises(CampaignError, match=f"^can't write .*: {why}$"):
            await export_campaign(store, "c", tmp_path / folder / "c", "csv")

    @pytest.mark.parametrize("format_", FILES)
    async def test_one_that_is_there(self, store: MemoryStore, tmp_path: Path, format_: Any):
        path = tmp_path / "there"
        path.write_text("precious")
        with pytest.raises(ConfigurationError, match="set overwrite to replace it"):
            await export_campaign(store, "c", str(path), format_)
        assert path.read_text() == "precious"
        assert await export_campaign(store, "c", path, format_, overwrite=True) == 11
        assert len(READERS[format_](path)) == 11
        assert list(tmp_path.iterdir()) == [path]

    async def test_one_that_is_there_is_seen_before_anything_is_read(
        self, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = tmp_path / "there"
        path.touch()
        monkeypatch.setattr(store, "export", None)
        with pytest.raises(ConfigurationError, match="set overwrite to replace it"):
            await export_campaign(store, "c", path, "csv")

    async def test_a_link_to_nowhere_is_something(self, store: MemoryStore, tmp_path: Path):
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConfigurationError, match="set overwrite to replace it"):
            await export_campaign(store, "c", tmp_path / "link", "csv")
        await export_campaign(store, "c", tmp_path / "link", "csv", overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["link"]
        assert not (tmp_path / "link").is_symlink()

    @pytest.mark.parametrize("state", ["open", "closed", "in a folder that can't be written to"])
    async def test_a_journal_is_not_replaced(self, facts: Facts, tmp_path: Path, state: str):
        # All that keeps its campaigns from being done twice would be gone.
        path = tmp_path / "folder?#%41" / "journal.db"
        async with open_journal(path) as store:
            await store.append("c", [facts.campaign(), facts.target(1)])
            if state == "open":
                with pytest.raises(ConfigurationError, match=r"journal\.db is a journal: choose another file$"):
                    await export_campaign(store, "c", path, "csv", overwrite=True)
        kept = path.read_bytes()
        path.parent.chmod(0o700 if state == "closed" else 0o500)
        async with open_journal(tmp_path / "another.db") as store:
            await store.append("c", [facts.campaign(), facts.target(1)])
            with pytest.raises(ConfigurationError, match=r"journal\.db is a journal: choose another file$"):
                await export_campaign(store, "c", path, "sqlite", overwrite=True)
        path.parent.chmod(0o700)
        assert path.read_bytes() == kept
        assert [one.name for one in path.parent.iterdir() if "hold" not in one.name] == ["journal.db"]

    async def test_a_database_of_something_else_is_replaced(self, store: MemoryStore, tmp_path: Path):
        with closing(sqlite3.connect(tmp_path / "c")) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE precious (x)")
            assert await export_campaign(store, "c", tmp_path / "c", "csv", overwrite=True) == 11

    async def test_one_that_comes_there_meanwhile(self, store: MemoryStore, tmp_path: Path):
        path = tmp_path / "c.csv"

        class Late(MemoryStore):
            async def export(self, campaign: str, after: int, limit: int) -> Any:
                path.write_text("theirs")
                return await store.export(campaign, after, limit)

            async def campaign(self, name: str) -> Any:
                return await store.campaign(name)

            async def accounts(self, campaign: str) -> Any:
                return await store.accounts(campaign)

        with pytest.raises(ConfigurationError, match="set overwrite to replace it"):
            await export_campaign(Late(), "c", path, "csv")
        assert path.read_text() == "theirs"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("format_", FILES)
    async def test_it_is_durable_before_it_has_its_name(
        self, store: MemoryStore, tmp_path: Path, format_: Any, monkeypatch: pytest.MonkeyPatch
    ):
        synced: list[tuple[str, int, bool]] = []
        fsync = os.fsync
        path = tmp_path / "c"

        def note(descriptor: int) -> None:
            status = os.fstat(descriptor)
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
            synced.append((kind, status.st_size if kind == "file" else 0, path.exists()))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", note)
        await export_campaign(store, "c", path, format_)
        assert synced == [("file", path.stat().st_size, False), ("folder", 0, True)]

    async def test_where_there_is_no_folder(self, store: MemoryStore, tmp_path: Path):
        with pytest.raises(CampaignError, match=r"^can't write .*c\.csv: No such file or directory$"):
            await export_campaign(store, "c", tmp_path / "none" / "c.csv", "csv")

    async def test_where_there_is_a_folder(self, store: MemoryStore, tmp_path: Path):
        (tmp_path / "c").mkdir()
        with pytest.raises(CampaignError, match="Is a directory"):
            await export_campaign(store, "c", tmp_path / "c", "csv", overwrite=True)
        with pytest.raises(ConfigurationError, match="is a folder"):
            await export_campaign(store, "c", "/", "csv", overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["c"]

    @pytest.mark.parametrize("format_", FILES)
    async def test_a_full_disk(self, store: MemoryStore, tmp_path: Path, format_: Any, monkeypatch: pytest.MonkeyPatch):
        opener = FILES[format_]

        def without_room(part: Path) -> Any:
            part.unlink()
            part.symlink_to("/dev/full")
            return opener(part)

        monkeypatch.setattr(write, "FILES", {**FILES, format_: without_room})
        with pytest.raises(CampaignError, match=r"^can't write "):
            await export_campaign(store, "c", tmp_path / "c", format_)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("format_", FILES)
    async def test_a_cancellation_leaves_nothing(
        self, store: MemoryStore, tmp_path: Path, format_: Any, monkeypatch: pytest.MonkeyPatch
    ):
        began, go_on = asyncio.Event(), threading.Event()
        loop, opener = asyncio.get_running_loop(), FILES[format_]

        class Slow:
            def __init__(self, path: Path) -> None:
                self.file = opener(path)
                self.finish, self.close = self.file.finish, self.file.close

            def write(self, rows: Sequence[ExportRow]) -> None:
                loop.call_soon_threadsafe(began.set)
                go_on.wait()
                self.file.write(rows)

        monkeypatch.setattr(write, "FILES", {format_: Slow})
        task = asyncio.create_task(export_campaign(store, "c", tmp_path / "c", format_))
        await began.wait()
        assert len(list(tmp_path.iterdir())) == 1
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(tmp_path.iterdir()) == []


class TestStreams:
    async def test_csv(self, store: MemoryStore, tmp_path: Path):
        stream = io.StringIO(newline="")
        assert await export_campaign(store, "c", stream, "csv") == 11
        await export_campaign(store, "c", tmp_path / "c.csv", "csv")
        assert stream.getvalue().encode() == (tmp_path / "c.csv").read_bytes()

    @pytest.mark.parametrize("format_", ["parquet", "sqlite"])
    async def test_what_needs_a_file(self, store: MemoryStore, format_: Any):
        stream = io.StringIO()
        with pytest.raises(ConfigurationError, match=f"^{format_} requires a file, not a stream$"):
            await export_campaign(store, "c", stream, format_)
        assert stream.getvalue() == ""

    async def test_what_it_raises_is_left_as_it_is(self, store: MemoryStore):
        class Closed(io.StringIO):
            def flush(self) -> None:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

        with pytest.raises(BrokenPipeError):
            await export_campaign(store, "c", Closed(), "jsonl")


class TestMistakes:
    async def test_no_such_format(self, store: MemoryStore, tmp_path: Path):
        with pytest.raises(
            ConfigurationError, match=r"^format must be one of csv, jsonl, parquet, sqlite, not 'xlsx'$"
        ):
            await export_campaign(store, "c", tmp_path / "c", "xlsx")  # type: ignore[arg-type]

    async def test_no_such_campaign(self, store: MemoryStore, tmp_path: Path):
        with pytest.raises(CampaignError, match=r"^the journal has no campaign 'e'$"):
            await export_campaign(store, "e", tmp_path / "c", "csv")
        assert list(tmp_path.iterdir()) == []

    async def test_parquet_without_the_extra(self, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ConfigurationError, match=r"dexcmd\[parquet\]"):
            await export_campaign(store, "c", tmp_path / "c", "parquet")
        assert list(tmp_path.iterdir()) == []

    def test_pyarrow_is_not_loaded_for_the_rest(self):
        code = "import sys, dexcmd.campaign.export.write; print('pyarrow' in sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "False"


# --- memory


PROGRAM = Path(__file__).with_name("export_program.py")


@pytest.mark.parametrize("format_", FILES)
def test_40_000_rows_take_the_memory_of_a_page(tmp_path: Path, format_: str):
    path = tmp_path / "rows"
    run = subprocess.run([sys.executable, PROGRAM, path, format_], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    # With all rows at a time it is 77 and more.
    assert int(run.stdout) < 65
    if format_ == "sqlite":
        database = sqlite3.connect(path)
        try:
            assert database.execute("SELECT count(*), count(DISTINCT target) FROM target").fetchall() == [(40_000,) * 2]
        finally:
            database.close()
    else:
        assert path.stat().st_size > 1_000_000
