"""Commands whose create response was lost: when to search the list for them, and the outcome of each."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from dexcmd.created import CreatedLog, Lost
from dexcmd.errors import AmbiguousCreateError, DexError
from dexcmd.events import CommandAdopted
from dexcmd.outcome import Outcome
from dexcmd.polling.nap import Nap
from dexcmd.reconcile import Findings
from dexcmd.resources.command import Command
from dexcmd.resources.requests import CommandRequest, Target
from dexcmd.searches import Searches
from dexcmd.session import Session

__all__ = ["LostCommands", "Settled"]

logger: logging.Logger = logging.getLogger(__name__)

LOOK_INTERVALS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds between searches for a lost command; the last value applies to all that follow."""

Settled = tuple[CommandRequest, Outcome | None]
"""A request that is no longer searched for, and its outcome: None if it must be sent again."""


class LostCommands:
    """The lost commands of one call, searched for until the list shows them or they are considered absent.

    With `again`, an absent one is sent once more.  If that response is lost as well and the list does not show the
    command, its outcome is unknown.  `settle_seconds` is called whenever a response is lost.
    """

    def __init__(
        self,
        session: Session,
        created: CreatedLog,
        searches: Searches,
        settle_seconds: Callable[[], float],
        *,
        again: bool,
    ) -> None:
        self._session = session
        self._clock = session.settings.clock
        self._created = created
        self._searches = searches
        self._settle_seconds = settle_seconds
        self._again = again
        self._lost: list[Lost] = []
        self._absent: dict[Target, Lost] = {}
        """Requests that were lost once, and whose command was not in the list after the settling time."""

        self._settled: list[Settled] = []
        """Requests that are no longer searched for, until `take_settled` returns them."""

        self._nap = Nap(self._clock)
        self._looks = 0
        """How many searches have covered everything that is lost, since something was last lost."""

        self._began = -math.inf
        self._looked_at = -math.inf
        """When the last search that gave a result began, and when it ended."""

    def __bool__(self) -> bool:
        """Tell whether any request is searched for, or is settled but not yet returned by `take_settled`."""
        return bool(self._lost or self._settled)

    def lose(
        self, requests: Sequence[CommandRequest], cause: DexError, started: float, since: datetime | None
    ) -> list[Outcome]:
        """Search for the commands of a lost POST, and return their provisional outcomes.

        The POST started at `started` by the monotonic clock, and slightly after `since` by the service's, if known.
        """
        logger.warning("searching the list for %d commands whose create response was lost: %s", len(requests), cause)
        until = self._clock.monotonic() + self._settle_seconds()
        for request in requests:
            # If this was the second POST, the first one's command may still appear, so search from the first POST on.
            first = self._absent.get(request.target)
            if first is None:
                self._lost.append(Lost(request, cause, started, until, since))
            else:
                self._lost.append(Lost(request, cause, first.started, until, first.since))
        self._look_anew()
        error = _untold("the create response was lost", cause)
        return [Outcome(request, "unknown", error=error) for request in requests]

    def look_for(self, request: CommandRequest, cause: DexError, since: datetime, wait: float, *, again: bool) -> None:
        """Search for a command whose POST was lost some time ago, perhaps before this object was created.

        Its POST started no earlier than `since` by the service's clock.  A command that is still missing after `wait`
        seconds is considered absent and, with `again`, may be sent once more.
        """
        now = self._clock.monotonic()
        lost = Lost(request, cause, now, now + wait, since)
        if again:
            self._absent.pop(request.target, None)
        else:
            self._absent[request.target] = lost
        self._lost.append(lost)
        self._look_anew()

    def was_absent(self, request: CommandRequest) -> bool:
        """Tell whether an earlier POST for the target was lost and the list did not show its command."""
        return request.target in self._absent

    def forget_absent(self, request: CommandRequest) -> None:
        """Record that the target has its command: the next request for it is a new one, and may be sent twice again."""
        self._absent.pop(request.target, None)

    async def look(self) -> None:
        """Search the list until at least one request is settled.  There must be some to search for.

        Raises whatever the `Known` hook of the searches raises.  Even then, `take_settled` returns what was settled.
        """
        with self._searches.join(self):
            while not self._settled:
                # Sleep even for 0 seconds, so that responses lost at the same moment are searched for together.
                await self._nap.sleep(self._seconds_to_next_look())
                if not self._settled and self._seconds_to_next_look() == 0.0:
                    await self._searches.look()

    def take_settled(self) -> list[Settled]:
        """Return the requests that are no longer searched for, each once."""
        settled, self._settled = self._settled, []
        return settled

    def _look_anew(self) -> None:
        """Restart the search intervals, for what has just been lost."""
        self._looks = 0
        self._nap.end()

    def _seconds_to_next_look(self) -> float:
        """Return how many seconds remain until the next search.

        There is one at the end of each request's settling time (`until`), regardless of the interval and the share of
        the rate limit.  Earlier searches only serve to find commands sooner, and stay within that share.
        """
        interval = LOOK_INTERVALS[min(self._looks, len(LOOK_INTERVALS) - 1)]
        at = max(self._looked_at + interval, self._created.look_free_at)
        at = min([at, *(one.until for one in self._lost if one.until > self._began)])
        return max(0.0, at - self._clock.monotonic())

    def sought(self) -> list[Lost]:
        """Return the requests that are searched for."""
        return list(self._lost)

    def tell(self, lost: list[Lost], findings: Findings, began: float) -> None:
        """Process the findings, for `lost`, of the search that started at `began` by the monotonic clock."""
        self._began, self._looked_at = began, self._clock.monotonic()
        if len(lost) == len(self._lost):
            self._looks += 1
        settled = dict(self._judged(lost, findings))
        if settled:
            self._lost = [one for one in self._lost if one not in settled]
            self._settled += [(one.request, outcome) for one, outcome in settled.items()]
            self._nap.end()

    def _judged(self, lost: list[Lost], findings: Findings) -> Iterator[tuple[Lost, Outcome | None]]:
        """Yield the lost requests that a search settles, each with its outcome as in `Settled`."""
        for one in lost:
            command = findings.found.get(one)
            if command is not None:
                yield one, self._adopt(one, command)
            elif findings.unreadable is not None:
                yield one, _unknown(one, str(findings.unreadable), "unreadable")
            elif one in findings.undecided:
                continue
            elif self._began >= one.until and (findings.complete or self._began >= one.until + self._settle_seconds()):
                yield one, self._missing(one, findings)

    def _adopt(self, one: Lost, command: Command) -> Outcome:
        request = one.request
        if command.id is not None:
            self._created.add(command.id, command.created_date)
            logger.warning("adopted command %s for device %s", command.id, request.device_id)
        self._session.emit(CommandAdopted(command.id or "", request.device_id, request.registration_id, request.type))
        return Outcome.made(request, "adopted", command)

    def _missing(self, one: Lost, findings: Findings) -> Outcome | None:
        """Return the outcome of a command missing after the settling time; None to send it again."""
        if not findings.complete:
            return _unknown(one, "the list can't be read", "unreadable")
        if one in findings.unclear:
            # It may have been created, so sending it again could create a second one.
            return _unknown(one, "the list may show it, but without its id, device or type", "not_listed")
        if not self._again or self.was_absent(one.request):
            lost = "the responses to two POSTs were lost" if self._again else "the response to the POST was lost"
            return _unknown(one, f"{lost}, and the list does not show the command", "not_listed")
        self._absent[one.request.target] = one
        return None


def _unknown(one: Lost, why: str, reason: str) -> Outcome:
    return Outcome(one.request, "unknown", error=_untold(why, one.cause), reason=reason)


def _untold(why: str, cause: DexError) -> AmbiguousCreateError:
    return AmbiguousCreateError(
        f"it is unknown whether the command was created: {why}; the POST ended with: {cause}", cause=cause
    )
