"""The searches of one client for what lost POSTs made: each look at the list is for all of them."""

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
    """What one call looks for."""

    def sought(self) -> list[Lost]:
        """Return what is looked for."""
        ...

    def tell(self, lost: list[Lost], findings: Findings, began: float) -> None:
        """Note what a look that `began` then, by the monotonic clock, showed of those that it was for."""
        ...


class Searches:
    """Those of one client and one retry policy.

    One look at a time.  Whoever is due first makes it, for all that look for something then, and those that are due
    meanwhile wait for what it tells.  So calls depend on one another for no longer than one of them would take itself:
    what a look that was cancelled has not told, the next in line looks for.
    """

    def __init__(self, session: Session, created: CreatedLog, known: Known | None = None) -> None:
        self._session = session
        self._created = created
        self._clock = session.settings.clock
        self._reconciler = Reconciler(session, created, known)
        self._joined: list[Search] = []
        self._over: asyncio.Event | None = None
        """Set when the look that is under way is over; None while none is."""

    @contextmanager
    def join(self, search: Search) -> Generator[None]:
        """Have a search told what the looks of the others show."""
        self._joined.append(search)
        try:
            yield
        finally:
            self._joined.remove(search)

    async def look(self) -> None:
        """Look at the list for all that have joined; or wait for the end of the look that is under way.

        That one may have been cancelled, or have begun before somebody joined, and then tells nothing.  Raises what the
        hook `known` does.
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
        # Counted before it is known what it takes: those who look by other searches would begin in the same moment.
        self._count(1)
        lost = {search: search.sought() for search in self._joined}
        findings = await self._reconciler.look([one for some in lost.values() for one in some])
        self._count(max(0, findings.pages - 1))
        for search, some in lost.items():
            # One that was cancelled meanwhile has nothing to do with what was found, and leaves it to others.
            if search in self._joined:
                search.tell(some, findings, began)

    def _count(self, pages: int) -> None:
        """Have looks wait that there is no reason for now, for as long as the share of the rate limit asks for."""
        limit = self._session.settings.rate_limit
        if limit is not None:
            free_at = max(self._created.look_free_at, self._clock.monotonic())
            self._created.look_free_at = free_at + limit.seconds_for(pages, POLL_SHARE)
