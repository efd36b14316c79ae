"""Commands whose create answer got lost: when the list is looked at for them, and what becomes of each."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from dexcmd.errors import AmbiguousCreateError, CampaignError, DexError
from dexcmd.events import CommandAdopted
from dexcmd.outcome import Outcome
from dexcmd.polling.share import POLL_SHARE
from dexcmd.polling.watch import UNREADABLE
from dexcmd.reconcile import Findings, Lost, Reconciler
from dexcmd.resources.requests import CommandRequest, Target
from dexcmd.session import Session

__all__ = ["LostCommands"]

logger: logging.Logger = logging.getLogger(__name__)

LOOK_INTERVALS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds between looks for a lost command, the last one for all that follow."""


class LostCommands:
    """The commands that are looked for, all with one walk, until the list shows them or is believed that it does not.

    One that it does not show is absent, and may be sent once more, unless `again` says otherwise: one that is lost then
    as well is unknown.  `settle_seconds` is asked whenever an answer is lost.
    """

    def __init__(
        self, session: Session, reconciler: Reconciler, settle_seconds: Callable[[], float], *, again: bool
    ) -> None:
        self._session = session
        self._clock = session.settings.clock
        self._reconciler = reconciler
        self._settle_seconds = settle_seconds
        self._again = again
        self._lost: list[Lost] = []
        self._absent: dict[Target, Lost] = {}
        """What was lost once, and what the list did not show after the settling time."""

        self._looks = 0
        self._looked_at = -math.inf
        self._look_cost = 0.0
        """Seconds that the last look may take of the rate limit."""

    def __len__(self) -> int:
        """Return how many are looked for."""
        return len(self._lost)

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
        self._looks = 0
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
        self._looks = 0

    def was_absent(self, request: CommandRequest) -> bool:
        """Tell whether an earlier POST for the target got lost and the list did not show its command."""
        return request.target in self._absent

    def forget_absent(self, request: CommandRequest) -> None:
        """Note that the target has its command: what is asked for next is another one, and has its own tries."""
        self._absent.pop(request.target, None)

    def seconds_to_next_look(self) -> float:
        """Return when the list is to be looked at again; there is something to look for.

        There is a look when the first of the lost has settled, neither before nor much later.  Those before it are to
        find things early, and take no more than a share of the rate limit.
        """
        now = self._clock.monotonic()
        interval = max(
            LOOK_INTERVALS[min(self._looks, len(LOOK_INTERVALS) - 1)], self._looked_at + self._look_cost - now
        )
        due = min(one.until for one in self._lost) - now
        return min(interval, due) if due > 0 else interval

    async def look(self) -> list[tuple[CommandRequest, Outcome | None]]:
        """Look at the list, and return what is not looked for any more: its outcome, or None to send it again.

        Raises what the hook `Known` of the reconciler does.
        """
        self._looks += 1
        lost, began = list(self._lost), self._clock.monotonic()
        try:
            findings = await self._reconciler.look(lost)
        except CampaignError:
            # Of the hook, and not of the list.
            raise
        except UNREADABLE as error:
            return self._settle([(one, _unknown(one, str(error), "unreadable")) for one in lost], pages=0)
        except DexError as error:
            logger.warning("the list can't be read: %s", error)
            findings = Findings({}, complete=False)
        return self._settle([*self._judged(lost, findings, began)], findings.pages)

    def _settle(
        self, settled: Sequence[tuple[Lost, Outcome | None]], pages: int
    ) -> list[tuple[CommandRequest, Outcome | None]]:
        for one, _ in settled:
            self._lost.remove(one)
        limit = self._session.settings.rate_limit
        self._look_cost = 0.0 if limit is None else limit.seconds_for(pages, POLL_SHARE)
        self._looked_at = self._clock.monotonic()
        return [(one.request, outcome) for one, outcome in settled]

    def _judged(self, lost: Sequence[Lost], findings: Findings, began: float) -> Iterator[tuple[Lost, Outcome | None]]:
        """Give those of the lost about which a look that `began` then says something."""
        for one in lost:
            command = findings.found.get(one.request)
            if command is not None:
                adopted = CommandAdopted(
                    command.id or "", one.request.device_id, one.request.registration_id, one.request.type
                )
                self._session.emit(adopted)
                yield one, Outcome.made(one.request, "adopted", command)
            elif one.request in findings.undecided:
                continue
            elif began >= one.until and (findings.complete or began >= one.until + self._settle_seconds()):
                yield one, self._missing(one, findings)

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
