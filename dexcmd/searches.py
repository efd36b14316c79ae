"""The searches of one client for commands of lost POSTs: each look at the list serves all current searches."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from dexcmd.created import CreatedLog, Known, Lost
from dexcmd.polling.share import POLL_SHARE
from dexcmd.reconcile import Findings, Reconciler
from dexcmd.session import Session

__all__ = ["Search", "Searches"]


class Search(Protocol):
    """The search of one call."""

    def sought(self) -> list[Lost]:
        """Return what is searched for."""
        ...

    def tell(self, lost: list[Lost], findings: Findings, began: float) -> None:
        """Record the findings, for `lost`, of a look that started at `began` by the monotonic clock."""
        ...


class Searches:
    """The searches of one client and one retry policy.

    There is only one look at a time.  The first search that is due makes it on behalf of all, and searches that become
    due meanwhile wait for its end.  If the look is cancelled, one of those makes the next look, so no call depends on
    another for longer than a look of its own would take.
    """

    def __init__(self, session: Session, created: CreatedLog, known: Known | None = None) -> None:
        self._session = session
        self._created = created
        self._clock = session.settings.clock
        self._reconciler = Reconciler(session, created, known)
        self._joined: list[Search] = []
        self._over: asyncio.Event | None = None
        """Set when the look in progress ends; None if there is none."""

    @contextmanager
    def join(self, search: Search) -> Generator[None]:
        """Include this search in all looks inside the block, also in those that other searches make."""
        self._joined.append(search)
        try:
            yield
        finally:
            self._joined.remove(search)

    async def look(self) -> None:
        """Look at the list for all searches that have joined, or wait for the end of the look in progress.

        The look in progress gives the caller no result if it is cancelled, or if it started before the caller joined.
        Raises whatever the `known` hook raises.
        """
        if self._over is not None:
            await self._over.wait()
            return
        self._over = over = asyncio.Event()
        try:
            await self._look()
        finally:
            self._over = None
            over.set()

    async def _look(self) -> None:
        began = self._clock.monotonic()
        # One page is counted now, before the number of pages is known: other `Searches` share `look_free_at`, and would
        # otherwise start at the same moment.
        self._count(1)
        lost = {search: search.sought() for search in self._joined}
        findings = await self._reconciler.look([one for some in lost.values() for one in some])
        self._count(max(0, findings.pages - 1))
        for search, some in lost.items():
            # A search that has left meanwhile (its call was cancelled) must not adopt anything.
            if search in self._joined:
                search.tell(some, findings, began)

    def _count(self, pages: int) -> None:
        """Count requests, and delay looks that are not urgent as the share of the rate limit requires."""
        limit = self._session.settings.rate_limit
        if limit is not None:
            free_at = max(self._created.look_free_at, self._clock.monotonic())
            self._created.look_free_at = free_at + limit.seconds_for(pages, POLL_SHARE)
