"""The searches of one client for what lost POSTs made: each look at the list is for all of them."""

import asyncio
import logging
import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from dexcmd.created import CreatedLog, Known
from dexcmd.errors import CampaignError, DexError
from dexcmd.polling.share import POLL_SHARE
from dexcmd.polling.watch import UNREADABLE
from dexcmd.reconcile import Findings, Lost, Reconciler
from dexcmd.session import Session

__all__ = ["Search", "Searches"]

logger: logging.Logger = logging.getLogger(__name__)


class Search(Protocol):
    """What one call looks for."""

    def begin(self) -> list[Lost]:
        """Note that a look at the list begins, and return what is looked for."""
        ...

    def tell(self, lost: list[Lost], findings: Findings) -> None:
        """Note what a look showed of those with which it began."""
        ...


class Searches:
    """Those of one client and one retry policy.

    One look at a time.  Whoever is due first makes it, for all that look for something then, and those that are due
    meanwhile wait for what it tells.  So calls depend on one another for no longer than one of them would take itself:
    what a look that was cancelled has not told, the next in line looks for.
    """

    def __init__(self, session: Session, created: CreatedLog, known: Known | None = None) -> None:
        self._session = session
        self._clock = session.settings.clock
        self._reconciler = Reconciler(session, created, known)
        self._told: dict[Search, int] = {}
        """How often each of those that look for something was told of a look."""

        self._turn = asyncio.Lock()
        self.free_at = -math.inf
        """When there may be another look by the share of the rate limit, if there is no reason for an earlier one."""

    @contextmanager
    def join(self, search: Search) -> Generator[None]:
        """Have a search told what the looks of the others show."""
        self._told[search] = 0
        try:
            yield
        finally:
            del self._told[search]

    def told(self, search: Search) -> int:
        """Return of how many looks a search was told since it joined."""
        return self._told[search]

    async def look(self, search: Search, told: int) -> None:
        """Look at the list, if the search was told of no look since it was `told` of so many.

        Raises what the hook `known` does.
        """
        async with self._turn:
            if self._told[search] == told:
                await self._look()

    async def _look(self) -> None:
        lost = {search: search.begin() for search in self._told}
        findings = await self._findings([one for some in lost.values() for one in some])
        limit = self._session.settings.rate_limit
        cost = 0.0 if limit is None else limit.seconds_for(findings.pages, POLL_SHARE)
        self.free_at = self._clock.monotonic() + cost
        for search, some in lost.items():
            # One that was cancelled meanwhile has nothing to do with what was found, and leaves it to others.
            if search in self._told:
                self._told[search] += 1
                search.tell(some, findings)

    async def _findings(self, lost: list[Lost]) -> Findings:
        try:
            return await self._reconciler.look(lost)
        except CampaignError:
            # Of the hook, and not of the list.
            raise
        except UNREADABLE as error:
            return Findings({}, complete=False, unreadable=error)
        except DexError as error:
            logger.warning("the list can't be read: %s", error)
            return Findings({}, complete=False)
