"""Searching for commands whose create response was lost.

Creating is not idempotent, and there is no idempotency key.  The list is the only witness.  A command is considered the
lost one if it has the same type, device and registration, was created since just before the POST by the service's own
clock, and belongs to no other request of this client, or of anything else that reports which commands it knows.  The
remaining risk: another operator's identical command created at the same time is taken for ours.
"""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import attrs

from dexcmd.candidates import Candidates
from dexcmd.created import CreatedLog, Kind, Known, Lost, unclaimed
from dexcmd.errors import CampaignError, DexError
from dexcmd.paging import Listing, ListQuery
from dexcmd.resources.command import Command, decode_commands, identity
from dexcmd.resources.quota import QuotaResource
from dexcmd.session import Session
from dexcmd.wire.pages import MOST_PER_PAGE
from dexcmd.wire.retrying import ACCOUNT_ERRORS
from dexcmd.wire.times import format_time

__all__ = ["Findings", "Reconciler", "since"]

logger: logging.Logger = logging.getLogger(__name__)

MARGIN_SECONDS = 5.0
"""How much earlier than its POST a command may seem to have been created.

`Date` is truncated to the second, its response took time to arrive, and `created_date` may come from a slightly
different clock.
"""


def since(session: Session, started: float) -> datetime | None:
    """Return the service's time a little before `started` of the monotonic clock; None if unknown."""
    began = session.service_clock.at(started)
    return None if began is None else began - timedelta(seconds=MARGIN_SECONDS)


@attrs.frozen
class Findings:
    """The result of one search of the list."""

    found: dict[Lost, Command]
    complete: bool
    """Whether the walk was completed; only then does it show what is missing."""

    pages: int = 1
    """How many requests it took."""

    undecided: frozenset[Lost] = frozenset()
    """Those whose command can't be distinguished from one of another POST, which was in progress during the search."""

    unreadable: DexError | None = None
    """Why the list can't be read, if the next search would fail the same way."""


class Reconciler:
    """Looks up lost requests in the list, many in one walk."""

    def __init__(self, session: Session, created: CreatedLog, known: Known | None = None) -> None:
        self._session = session
        self._created = created
        self._known = known

    async def look(self, lost: Sequence[Lost]) -> Findings:
        """Walk the list once, newest first, back to the earliest of the POSTs, or until it can't be read.

        Raises whatever `known` raises.
        """
        try:
            await self._date(lost)
        except DexError as error:
            return Findings({}, complete=False, unreadable=_lasting(error))
        with self._created.posts() as posts:
            return await self._walk(lost, posts)

    async def _walk(self, lost: Sequence[Lost], posts: Collection[Kind]) -> Findings:
        sought = [one for one in lost if one.kind not in posts]
        if not sought or any(one.since is None for one in sought):
            # Or the service sends no time, so rows can't be recognised as new.
            return Findings({}, complete=False, undecided=frozenset(lost) - frozenset(sought))
        candidates = Candidates(sought, self._created)
        query = ListQuery("/dex/commands", MOST_PER_PAGE, {"from": format_time("since", candidates.since)}, bound="to")
        pages = Listing(self._session, query, decode_commands, identity).pages()
        found: dict[Lost, Command] | None = None
        complete, unreadable = True, None
        try:
            async for page in pages:
                candidates.add(await unclaimed(candidates.of(page), self._created, self._known))
                found = candidates.all_matches()
                if found is not None:
                    break
        except CampaignError:
            # From the hook, not from the list.
            raise
        except DexError as error:
            # Not every search would have got this far, so what was found until then counts.
            complete, unreadable = False, _lasting(error)
        # A POST may have started during the walk, and may be lost by now.
        undecided = frozenset(one for one in lost if one.kind in posts)
        if found is None:
            found = candidates.matches(complete=complete)
        found = {one: command for one, command in found.items() if one not in undecided}
        return Findings(found, complete, pages.fetched, undecided, unreadable)

    async def _date(self, lost: Sequence[Lost]) -> None:
        """Set `since`, the start of the POST by the service's clock, where it is missing.

        Also for the lost requests of other searches, which choose among the same rows.
        """
        if self._session.service_clock.at(0.0) is None and any(one.since is None for one in lost):
            # There was no response so far; this one has a `Date`.
            await QuotaResource(self._session).get()
        # Collected only now, as others may have been lost meanwhile.
        for one in (*lost, *self._created.sought()):
            if one.since is None:
                one.since = since(self._session, one.started)


def _lasting(error: DexError) -> DexError | None:
    """Return why the list could not be read, if the next search would fail the same way; None if it may succeed."""
    if isinstance(error, ACCOUNT_ERRORS):
        return error
    logger.warning("the list can't be read: %s", error)
    return None
