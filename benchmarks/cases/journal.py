"""A journal that is told of a campaign of 100,000 targets, and then asked where it stands."""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Metric, Params, Result
from benchmarks.lateness import watching
from benchmarks.limits import TARGETS, over_cpu, over_limits
from benchmarks.usage import MIB, peak_mib

__all__ = ["journal_of_dexcmd"]

PER_POST = 10
CREATES, DOWNLOADS = 4, 8
TOGETHER_SECONDS = 0.05
"""For how long artifacts that are saved wait for others, to be written down together."""

LEFT = 0.005
"""The part of the targets that is left due, begun and running each, so that there is something to go on with."""

NOTES = """\
{targets:,} targets: planned at once, then for each an intent, its end, a command, its end and an artifact: ten targets
a POST and four POSTs at a time, artifacts one by one and eight at a time, as a campaign does it. CPU is that of the
process, and "grown" what its memory has grown by at its peak, both with making the events: "(nothing)" does only that,
so the difference to it is the journal's. "Loop blocked" is the longest that the event loop was late for a sleep of
2 ms meanwhile. "Asked" is the time to open the journal again and to ask what a run asks first. "(bare events)" writes
the events as JSON into one table of SQLite, a commit for each batch: what durability takes where nothing is joined."""

Append = Callable[[list[Any]], Coroutine[Any, Any, None]]


def journal_of_dexcmd(params: Params) -> Result:
    """Tell a journal of `targets` of the params, and return what that takes."""
    from dexcmd.campaign.journal import open_journal

    async def run(path: Path) -> Result:
        async with open_journal(path) as store:
            result = await _measure(params, lambda batch: store.append("campaign", batch))
        began = time.perf_counter()
        async with open_journal(path) as store:
            await store.campaign("campaign")
            await store.accounts("campaign")
            counts = await store.counts("campaign")
            intents = await store.open_intents("campaign", "main")
            running = await store.running("campaign", "main")
            due = await store.due_targets("campaign", "main", 1, _now(), 10)
            asked = time.perf_counter() - began
        if not sum(count.n for count in counts) == params["targets"] or not (intents and running and due):
            raise RuntimeError("the journal does not have what it was told")
        return {**result, "targets": params["targets"], "asked": asked}

    return _in_folder(run)


def _bare(params: Params) -> Result:
    import json

    import attrs

    def write(db: sqlite3.Connection, batch: list[Any]) -> None:
        rows = [(type(event).__name__, json.dumps(attrs.asdict(event), default=str)) for event in batch]
        db.execute("BEGIN")
        db.executemany("INSERT INTO event (kind, data) VALUES (?, ?)", rows)
        db.execute("COMMIT")

    async def run(path: Path) -> Result:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, kind TEXT, data TEXT)")
        lock = asyncio.Lock()

        async def append(batch: list[Any]) -> None:
            async with lock:
                await asyncio.to_thread(write, db, batch)

        result = await _measure(params, append)
        db.close()
        return result

    return _in_folder(run)


def _nothing(params: Params) -> Result:
    async def append(_: list[Any]) -> None:
        await asyncio.sleep(0)

    return asyncio.run(_measure(params, append))


def _in_folder(run: Callable[[Path], Coroutine[Any, Any, Result]]) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.db")
        return {**asyncio.run(run(path)), "size": path.stat().st_size / MIB}


async def _measure(params: Params, append: Append) -> Result:
    # So that importing them is not measured.
    import hashlib  # noqa: F401

    import dexcmd.campaign.events  # noqa: F401

    targets, left = params["targets"], max(PER_POST, round(params["targets"] * LEFT))
    before, cpu, began = peak_mib(), time.process_time(), time.perf_counter()
    async with watching() as late:
        await _tell(targets, left, append)
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "grown": peak_mib() - before,
        "late": late.milliseconds,
    }


async def _tell(targets: int, left: int, append: Append) -> None:
    await append([_planned_campaign(), *map(_planned, range(1, targets + 1))])
    posts = range(1, targets - left, PER_POST)
    queue: asyncio.Queue[list[int] | None] = asyncio.Queue(DOWNLOADS)

    async def create(numbers: Iterator[int]) -> None:
        for first in numbers:
            group = [*range(first, first + PER_POST)]
            since = _now()
            await append([_opened(number, since) for number in group])
            if first > targets - 2 * left:
                continue
            await append([event for number in group for event in (_closed(number), _known(number))])
            if first <= targets - 3 * left:
                await append([_ended(number) for number in group])
                await queue.put(group)

    saved: list[Any] = []

    async def collect() -> None:
        while (group := await queue.get()) is not None:
            for number in group:
                saved.append(_saved(number))
                await asyncio.sleep(0)

    async def record() -> None:
        while saved or not all(task.done() for task in collectors):
            await asyncio.sleep(TOGETHER_SECONDS)
            together = saved[:]
            saved.clear()
            await append(together)

    collectors = [asyncio.create_task(collect()) for _ in range(DOWNLOADS)]
    recorder = asyncio.create_task(record())
    numbers = iter(posts)
    await asyncio.gather(*(create(numbers) for _ in range(CREATES)))
    for _ in collectors:
        await queue.put(None)
    await asyncio.gather(*collectors, recorder)


# --- what is told


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def _planned_campaign() -> Any:
    from dexcmd.campaign.events import CampaignPlanned

    return CampaignPlanned(at=_now(), spec="{}", fingerprint="", type="pcap", accounts=(("main", "a" * 32),))


def _id(kind: int, number: int) -> str:
    """Return what looks like a random id, the same for the same number."""
    import hashlib

    digest = hashlib.md5(f"{kind}/{number}".encode(), usedforsecurity=False).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def _planned(number: int) -> Any:
    from dexcmd.campaign.events import TargetPlanned

    return TargetPlanned(
        at=_now(),
        account="main",
        target=number,
        device_id=_id(1, number),
        registration_id=_id(2, number),
        user_email=f"user{number}@example.com",
        device_name=f"LAPTOP-{number}",
        platform="windows",
        version="2025.4.943.0",
        wave=1,
    )


def _opened(number: int, since: Any) -> Any:
    from dexcmd.campaign.events import IntentOpened

    post = _id(3, (number - 1) // PER_POST)
    return IntentOpened(at=_now(), account="main", target=number, post=post, attempt=1, since=since, settled_at=since)


def _closed(number: int) -> Any:
    from dexcmd.campaign.events import IntentClosed

    post = _id(3, (number - 1) // PER_POST)
    return IntentClosed(at=_now(), account="main", target=number, post=post, outcome="created")


def _known(number: int) -> Any:
    from dexcmd.campaign.events import CommandKnown

    now = _now()
    return CommandKnown(
        at=now, account="main", target=number, command_id=_id(4, number), provenance="response", not_before=now
    )


def _ended(number: int) -> Any:
    from dexcmd.campaign.events import CommandEnded

    now, command = _now(), _id(4, number)
    return CommandEnded(
        at=now,
        account="main",
        target=number,
        command_id=command,
        status="SUCCESS",
        created_date=now,
        completed_date=now,
        filename=f"{command}.zip",
        listed_after=1.5,
    )


def _saved(number: int) -> Any:
    from dexcmd.campaign.events import ArtifactSaved

    command = _id(4, number)
    return ArtifactSaved(
        at=_now(),
        account="main",
        target=number,
        command_id=command,
        location=f"captures/main/2026-03-01/user{number}@example.com-{command}.zip",
        size=1_000_000 + number,
        sha256=_id(5, number).replace("-", "") * 2,
    )


@contextmanager
def _prepare(scale: float) -> Iterator[Params]:
    yield {"targets": max(1000, round(TARGETS * scale / 1000) * 1000)}


CASE = Case(
    name="journal",
    title="the journal of a campaign",
    notes=lambda params: NOTES.format(targets=params["targets"]),
    rounds=3,
    metrics=(
        Metric("seconds", "time s", 2, compared=True, spread=True),
        Metric("cpu", "CPU s", 2, compared=True, spread=True),
        Metric("grown", "grown MiB", 1),
        Metric("late", "loop blocked ms", 1),
        Metric("asked", "asked s", 3),
        Metric("size", "file MiB", 0),
    ),
    peer="(bare events)",
    contenders={"dexcmd": journal_of_dexcmd, "(bare events)": _bare, "(nothing)": _nothing},
    prepare=_prepare,
    check=lambda runs: [*over_limits(runs, "asked"), *over_cpu(runs, "(bare events)", "(nothing)")],
)
