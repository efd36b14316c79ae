"""Searching for commands whose create response was lost.

Creating is not idempotent, and there is no idempotency key, so only the list can show whether a command was created.  A
command is considered the lost one if it has the same type, device and registration, was not created before the POST (by
the service's clock, with a margin), and is not known to belong to another request: of this client, or according to the
`Known` hook.  The remaining risk: another operator's identical command, created at the same time, is taken for ours.
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
from dexcmd.wire.pages import MAX_PER_PAGE
from dexcmd.wire.retrying import ACCOUNT_ERRORS
from dexcmd.wire.times import format_time

__all__ = ["Findings", "Reconciler", "since"]

logger: logging.Logger = logging.getLogger(__name__)

MARGIN_SECONDS = 5.0
"""By how many seconds a command's `created_date` may seem to precede the start of its POST.

The service's time is known only roughly: `Date` is truncated to the second, its response took time to arrive, and
`created_date` may come from a slightly different clock.
"""


def since(session: Session, started: float) -> datetime | None:
    """Return a service time slightly before `started`, which is by the monotonic clock; None if unknown."""
    began = session.service_clock.at(started)
    return None if began is None else began - timedelta(seconds=MARGIN_SECONDS)


@attrs.frozen
class Findings:
    """The result of one search of the list."""

    found: dict[Lost, Command]
    complete: bool
    """Whether the walk was completed.  Only then is a command that was not found missing from the list."""

    pages: int = 1
    """How many requests it took."""

    undecided: frozenset[Lost] = frozenset()
    """Requests whose command could be confused with that of another POST, which was in progress during the search."""

    unreadable: DexError | None = None
    """Why the list can't be read, if the next search would fail the same way."""

    unclear: frozenset[Lost] = frozenset()
    """Requests without a row of their own, whose command may be one that is listed without its id, device or type."""


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
            # Without `since` (the service sends no `Date`), new rows can't be distinguished from old ones.
            return Findings({}, complete=False, undecided=frozenset(lost) - frozenset(sought))
        candidates = Candidates(sought, self._created)
        query = ListQuery("/dex/commands", MAX_PER_PAGE, {"from": format_time("since", candidates.since)}, bound="to")
        pages = Listing(self._session, query, decode_commands, identity).pages()
        found: dict[Lost, Command] | None = None
        complete, unreadable = True, None
        try:
            async for page in pages:
                rows = candidates.of(page)
                candidates.add(await unclaimed(rows, self._created, self._known))
                candidates.add(row for row in rows if row.id is None)
                found = candidates.all_matches()
                if found is not None:
                    break
        except CampaignError:
            # Raised by the `known` hook, not by reading the list.
            raise
        except DexError as error:
            # Keep what was found: the next search may fail earlier.
            complete, unreadable = False, _lasting(error)
        # `posts` now includes POSTs that started during the walk, whose rows may be among those found.
        undecided = frozenset(one for one in lost if one.kind in posts)
        if found is None:
            found = candidates.matches(complete=complete)
        found = {one: command for one, command in found.items() if one not in undecided}
        unclear = frozenset(one for one in sought if one not in found and candidates.is_unclear(one))
        return Findings(found, complete, pages.fetched, undecided, unreadable, unclear)

    async def _date(self, lost: Sequence[Lost]) -> None:
        """Set `since`, the start of the POST by the service's clock, where it is missing.

        Also for the lost requests of other searches, as rows are assigned to all of them together.
        """
        if self._session.service_clock.at(0.0) is None and any(one.since is None for one in lost):
            # There has been no response yet; the response to this request has a `Date`.
            await QuotaResource(self._session).get()
        # `sought` is read only now, as more may have been lost during the request.
        for one in (*lost, *self._created.sought()):
            if one.since is None:
                one.since = since(self._session, one.started)


def _lasting(error: DexError) -> DexError | None:
    """Return the error if the next search would fail the same way; None, after logging it, if that may succeed."""
    if isinstance(error, ACCOUNT_ERRORS):
        return error
    logger.warning("the list can't be read: %s", error)
    return None
