"""Looking for commands whose create answer was lost.

Creating is not idempotent, and there is no key that would make it so.  The list is the only witness.  A command is
taken for the lost one if it is of the same type, for the same device and registration, was created since just before
the POST by the service's own clock, and belongs to no other request: of this client, or of whatever else tells which
commands it knows.  What stays possible: another operator's equal command in the same moments is taken for ours.
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
"""How much earlier than its POST a command may seem to be created.

`Date` is cut to the second, its answer was on the way for a while, and the clock behind `created_date` need not be
quite the same.
"""


def since(session: Session, started: float) -> datetime | None:
    """Return the service's time a little before `started` of the monotonic clock; None while it is not known."""
    began = session.service_clock.at(started)
    return None if began is None else began - timedelta(seconds=MARGIN_SECONDS)


@attrs.frozen
class Findings:
    """What one look at the list showed."""

    found: dict[Lost, Command]
    complete: bool
    """Whether the walk could be finished; only then does it say what is missing."""

    pages: int = 1
    """How many requests it took."""

    undecided: frozenset[Lost] = frozenset()
    """Those whose command can't be told from that of another POST, which was under way during the look."""

    unreadable: DexError | None = None
    """Why the list can't be read, where the next look would meet the same."""


class Reconciler:
    """Looks lost requests up in the list, many with one walk."""

    def __init__(self, session: Session, created: CreatedLog, known: Known | None = None) -> None:
        self._session = session
        self._created = created
        self._known = known

    async def look(self, lost: Sequence[Lost]) -> Findings:
        """Walk the list once, newest first, as far back as the earliest of the POSTs, or for as long as it can be read.

        Raises what `known` does.
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
            # Or the service says no time, so no row can be told to be new.
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
            # Of the hook, and not of the list.
            raise
        except DexError as error:
            # Not every call would have walked so far, so what is seen by then is found.
            complete, unreadable = False, _lasting(error)
        # While the list was walked, a POST may have begun, which may be lost by now.
        undecided = frozenset(one for one in lost if one.kind in posts)
        if found is None:
            found = candidates.matches(complete=complete)
        found = {one: command for one, command in found.items() if one not in undecided}
        return Findings(found, complete, pages.fetched, undecided, unreadable)

    async def _date(self, lost: Sequence[Lost]) -> None:
        """Tell for those of the lost that have none yet what time their POST began, by the service's clock.

        Also for those of others, which choose among the same rows.
        """
        if self._session.service_clock.at(0.0) is None and any(one.since is None for one in lost):
            # No answer has come so far; this one brings a `Date`.
            await QuotaResource(self._session).get()
        # Told only now who they are: others may have got lost meanwhile.
        for one in (*lost, *self._created.sought()):
            if one.since is None:
                one.since = since(self._session, one.started)


def _lasting(error: DexError) -> DexError | None:
    """Return why the list could not be read, if the next look would meet the same; None if it may fare better."""
    if isinstance(error, ACCOUNT_ERRORS):
        return error
    logger.warning("the list can't be read: %s", error)
    return None
