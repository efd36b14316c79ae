"""Commands whose create answer got lost: when the list is looked at for them, and what becomes of each."""

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
"""Seconds between looks for a lost command, the last one for all that follow."""

Settled = tuple[CommandRequest, Outcome | None]
"""A request that is not looked for any more, and its outcome: None where it is to be sent again."""


class LostCommands:
    """The commands that a call looks for, until the list shows them or is believed that it does not.

    One that it does not show is absent, and may be sent once more, unless `again` says otherwise: one that is lost then
    as well is unknown.  `settle_seconds` is asked whenever an answer is lost.
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
        """What was lost once, and what the list did not show after the settling time."""

        self._settled: list[Settled] = []
        """What is not looked for any more, until `take_settled` returns it."""

        self._nap = Nap(self._clock)
        self._looks = 0
        """How many have told of all that is lost."""

        self._began = -math.inf
        self._looked_at = -math.inf
        """When the last look that told anything began, and when it ended."""

    def __bool__(self) -> bool:
        """Tell whether any are looked for, or were and `take_settled` has not said so yet."""
        return bool(self._lost or self._settled)

    def lose(
        self, requests: Sequence[CommandRequest], cause: DexError, started: float, since: datetime | None
    ) -> list[Outcome]:
        """Look for the commands of a POST that got lost, and return their outcomes meanwhile.

        It began at `started` of the monotonic clock, which is `since` of the service's, if that is known.
        """
        logger.warning("looking for %d commands whose create answer is lost: %s", len(requests), cause)
        until = self._clock.monotonic() + self._settle_seconds()
        for request in requests:
            # The first POST may still have had an effect that shows late, so it is looked for from there.
            first = self._absent.get(request.target)
            if first is None:
                self._lost.append(Lost(request, cause, started, until, since))
            else:
                self._lost.append(Lost(request, cause, first.started, until, first.since))
        self._look_anew()
        error = _untold("its create answer is lost", cause)
        return [Outcome(request, "unknown", error=error) for request in requests]

    def look_for(self, request: CommandRequest, cause: DexError, since: datetime, wait: float, *, again: bool) -> None:
        """Look for a command whose POST got lost some time ago, perhaps before this object was made.

        Its POST began no earlier than `since` of the service's clock.  After `wait` seconds the list is believed;
        with `again` what it does not show then may be sent once more.
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
        """Tell whether an earlier POST for the target got lost and the list did not show its command."""
        return request.target in self._absent

    def forget_absent(self, request: CommandRequest) -> None:
        """Note that the target has its command: what is asked for next is another one, and has its own tries."""
        self._absent.pop(request.target, None)

    async def look(self) -> None:
        """Look at the list until some are not looked for any more.  There are some to look for.

        Raises what the hook `Known` of the searches does.  Whatever ends it, `take_settled` has what came of it.
        """
        with self._searches.join(self):
            while not self._settled:
                # Also for no time at all: whoever loses an answer in the same moment is then looked for with it.
                await self._nap.sleep(self._seconds_to_next_look())
                if not self._settled and self._seconds_to_next_look() == 0.0:
                    await self._searches.look()

    def take_settled(self) -> list[Settled]:
        """Return those that are not looked for any more, each once."""
        settled, self._settled = self._settled, []
        return settled

    def _look_anew(self) -> None:
        """Have what was just lost looked for as soon as what was lost first."""
        self._looks = 0
        self._nap.end()

    def _seconds_to_next_look(self) -> float:
        """Return when the list is to be looked at again.

        There is a look when one of the lost has settled, neither before nor much later.  Those before it are to find
        things early, and take no more than a share of the rate limit.
        """
        interval = LOOK_INTERVALS[min(self._looks, len(LOOK_INTERVALS) - 1)]
        at = max(self._looked_at + interval, self._created.look_free_at)
        at = min([at, *(one.until for one in self._lost if one.until > self._began)])
        return max(0.0, at - self._clock.monotonic())

    def sought(self) -> list[Lost]:
        """Return what is looked for."""
        return list(self._lost)

    def tell(self, lost: list[Lost], findings: Findings, began: float) -> None:
        """Note what the look that `began` then showed of `lost`."""
        self._began, self._looked_at = began, self._clock.monotonic()
        if len(lost) == len(self._lost):
            self._looks += 1
        settled = dict(self._judged(lost, findings))
        if settled:
            self._lost = [one for one in self._lost if one not in settled]
            self._settled += [(one.request, outcome) for one, outcome in settled.items()]
            self._nap.end()

    def _judged(self, lost: list[Lost], findings: Findings) -> Iterator[tuple[Lost, Outcome | None]]:
        """Give those of the lost about which a look says something, with what a `Settled` has."""
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
        """Return the outcome of what the list does not show after the settling time; None to send it again."""
        if not findings.complete:
            return _unknown(one, "the list can't be read", "unreadable")
        if not self._again or self.was_absent(one.request):
            lost = "two POSTs got lost" if self._again else "its POST got lost"
            return _unknown(one, f"{lost}, and the list shows nothing of it", "not_listed")
        self._absent[one.request.target] = one
        return None


def _unknown(one: Lost, why: str, reason: str) -> Outcome:
    return Outcome(one.request, "unknown", error=_untold(why, one.cause), reason=reason)


def _untold(why: str, cause: DexError) -> AmbiguousCreateError:
    return AmbiguousCreateError(
        f"it can't be told whether it was created: {why}; the POST ended with: {cause}", cause=cause
    )
