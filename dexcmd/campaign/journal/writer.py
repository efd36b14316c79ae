"""The thread that writes a journal: all that waits is made durable by one commit."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import attrs

from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.journal.projection import Projection
from dexcmd.errors import CampaignError, DexError

__all__ = ["Writer"]

MOST_AT_ONCE = 256
"""Appends that one commit takes."""


@attrs.define(eq=False)
class _Append:
    campaign: str
    events: Sequence[CampaignEvent]
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[None]"
    error: BaseException | None = None

    def tell(self) -> None:
        """Hand the outcome to the event loop that waits for it, if it still runs."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.done.done():
            return
        if self.error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(self.error)


class Writer:
    """Appends events, from any task, on the one connection that writes."""

    def __init__(self, db: sqlite3.Connection, explain: Callable[[sqlite3.Error], CampaignError]) -> None:
        self._db = db
        self._explain = explain
        self._projection = Projection(db)
        self._queue: queue.SimpleQueue[_Append | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dexcmd journal", daemon=True)
        self._thread.start()

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        """Return when events are durable.  A cancellation leaves it open whether they become so: all or none do."""
        loop = asyncio.get_running_loop()
        append = _Append(campaign, events, loop, loop.create_future())
        self._queue.put(append)
        await append.done

    def close(self) -> None:
        """Write what is still waiting and end the thread; blocks until that is done."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch: list[_Append] = []
            item = self._queue.get()
            while item is not None:
                batch.append(item)
                if len(batch) >= MOST_AT_ONCE:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            going_on = item is not None
            if batch:
                self._commit(batch)
                for append in batch:
                    append.tell()

    def _commit(self, batch: Sequence[_Append]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for append in batch:
                self._write(append)
            self._db.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to those who wait
            failure = self._explain(error) if isinstance(error, sqlite3.Error) else error
            self._projection.forget()
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            for append in batch:
                append.error = append.error or failure

    def _write(self, append: _Append) -> None:
        """Write the events of one append, or none of them: what is wrong with it harms no other."""
        self._db.execute("SAVEPOINT append")
        try:
            self._projection.append(append.campaign, append.events)
        except DexError as error:
            append.error = error
            self._projection.forget()
            self._db.execute("ROLLBACK TO append")
        self._db.execute("RELEASE append")
