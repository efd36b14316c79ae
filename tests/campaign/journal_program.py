"""A process that uses a journal, for the tests: it says on stdout what it has done, and can be killed at any time.

python -m tests.campaign.journal_program ACTION JOURNAL
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from dexcmd.campaign.journal import SqliteStore, open_journal
from dexcmd.errors import CampaignError
from tests.campaign.facts import Facts

__all__ = ["PER_BATCH", "program", "say"]

NOBODY = 65534

PER_BATCH = 3
"""Targets of each append."""


def say(*words: object) -> None:
    print(*words, flush=True)


@asynccontextmanager
async def program(action: str, journal: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start one; it is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.campaign.journal_program",
        action,
        str(journal),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def open_at_once(path: Path) -> None:
    """Open it when told to."""
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    async with open_journal(path) as store:
        say(len(await store.campaigns()))


async def hold(path: Path) -> None:
    """Hold a campaign until the end of the process."""
    async with open_journal(path) as store, store.hold("c"):
        say("held")
        await asyncio.Event().wait()


async def append_for_ever(path: Path) -> None:
    """Append batches, some at the same time, and say which are durable."""
    facts = Facts()
    async with open_journal(path) as store:
        await store.append("c", [facts.campaign()])
        await asyncio.gather(*(append_each(store, facts, first) for first in range(4)))


async def append_each(store: SqliteStore, facts: Facts, first: int) -> None:
    for batch in range(first, 1_000_000, 4):
        numbers = range(batch * PER_BATCH + 1, (batch + 1) * PER_BATCH + 1)
        planned = [facts.target(number) for number in numbers]
        made = [event for number in numbers for event in facts.created(number, f"c{number}", f"post-{batch}")]
        await store.append("c", [*planned, *made])
        say(batch)


async def append_some(path: Path) -> None:
    """Append a hundred events to a campaign that is there, one after the other."""
    facts = Facts()
    async with open_journal(path) as store:
        for number in range(100):
            await store.append("c", [facts.target(1000 + number)])
    say("done")


async def write_as_nobody(path: Path) -> None:
    """Open it without any rights of one's own, append, and say what came of it."""
    # What is loaded late has to be so by now.
    await asyncio.to_thread(lambda: None)
    await anyio.to_thread.run_sync(lambda: None)
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        async with open_journal(path) as store:
            await store.append("c", [Facts().campaign()])
    except CampaignError as error:
        say(error)
    else:
        say("written")


ACTIONS = {action.__name__: action for action in (open_at_once, hold, append_for_ever, append_some, write_as_nobody)}

if __name__ == "__main__":
    asyncio.run(ACTIONS[sys.argv[1]](Path(sys.argv[2])))
