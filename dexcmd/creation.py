"""Creating commands so that none is created twice and no outcome is lost.

Batches wait in a queue for workers that send their POSTs.  A POST that was refused because of some of its commands is
requeued without them.  If a response is lost, one separate task searches the list for its commands, together with all
other lost ones, while the workers continue.  Commands that it finds are adopted.  Those that are still not in the list
after the settling time are requeued, once.

`run` is given all batches at the start.  `serve` runs until cancelled and takes batches from `submit`, for campaigns,
which decide step by step what to create.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import anyio
import attrs

from dexcmd.batches import Batch, culprits, plan_batches, split_culprits
from dexcmd.created import CreatedLog, Known
from dexcmd.errors import (
    AmbiguousCreateError,
    APIError,
    AuthenticationError,
    BadRequestError,
    CampaignError,
    DexError,
    ErrorDetail,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
)
from dexcmd.lost import LostCommands
from dexcmd.outcome import Outcome
from dexcmd.posting import Ambiguous, Poster
from dexcmd.reconcile import since
from dexcmd.resources.requests import CommandRequest
from dexcmd.searches import Searches
from dexcmd.session import Session
from dexcmd.tasks import run_tasks

__all__ = ["Creation", "OnOutcomes", "Record"]

logger: logging.Logger = logging.getLogger(__name__)

STOPS = (QuotaExceededError, AuthenticationError, PermissionDeniedError, NotFoundError, RateLimitError)
"""Refusals that the next POST would meet as well, unless they name the command that caused them."""

Record = Callable[[Outcome], None]
OnOutcomes = Callable[[Sequence[Outcome]], Awaitable[None]]

BeforePost = Callable[[Batch, datetime | None], Awaitable[str | None]]
"""Awaited before each POST, with the batch and a service time slightly before now (None if unknown).

If it returns a string, the POST is not sent, and the string is the reason.
"""


@attrs.define(eq=False)
class _Sent:
    """A POST that has started, and when it was last sent."""

    started: float
    since: datetime | None
    """A service time slightly before `started`; None if unknown."""

    under_way: bool = False
    """Whether it may have an effect.  If not, it is waiting for `before_post`, its turn, or a retry."""

    taken_back: bool = False
    """Whether it must not be sent or, if in progress, not retried."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    """Cancelled to take the POST back while it has no effect (see `under_way`)."""

    def take_back(self) -> None:
        self.taken_back = True
        self._end_unless_under_way()

    def note(self, *, under_way: bool) -> None:
        self.under_way = under_way
        self._end_unless_under_way()

    def _end_unless_under_way(self) -> None:
        if self.taken_back and not self.under_way:
            self.scope.cancel()


class Creation:
    """Creates commands.

    Each outcome is passed to `record` at once, and may be replaced later.  While a POST is in progress, its requests
    are recorded as `unknown`, so that the record is true even if the call is cancelled at that moment.  Final outcomes
    are passed to `on_outcomes`, which is awaited and so may delay further work.

    Without `split`, a refusal rejects all requests of its POST.  Without `again`, commands that the list does not show
    are not sent again.  `known` prevents a command that belongs to others from being attributed to a request.
    `settle_seconds` is called whenever a response is lost; by default it returns the client's setting.  With
    `searches`, the list is searched together with other calls that have no `known` hook.
    """

    def __init__(
        self,
        session: Session,
        created: CreatedLog,
        record: Record,
        *,
        searches: Searches | None = None,
        on_outcomes: OnOutcomes | None = None,
        before_post: BeforePost | None = None,
        known: Known | None = None,
        settle_seconds: Callable[[], float] | None = None,
        concurrency: int = 1,
        split: bool = True,
        again: bool = True,
    ) -> None:
        self._session = session
        self._clock = session.settings.clock
        self._created = created
        self._poster = Poster(session, created, known)
        settle_seconds = settle_seconds or (lambda: session.settings.settle_seconds)
        searches = searches or Searches(session, created, known)
        self.lost: LostCommands = LostCommands(session, created, searches, settle_seconds, again=again)
        self._record = record
        self._on_outcomes = on_outcomes
        self._before_post = before_post
        self._final: list[Outcome] = []
        """Final outcomes still to be passed to `on_outcomes`."""

        self._concurrency = concurrency
        self._split = split
        self._queue: deque[Batch] = deque()
        self._busy = 0
        """How many workers are processing a batch."""

        self._closing = False
        """Whether nothing more will be submitted."""

        self._stopped = False
        """Whether `stop` was called; batches submitted later are not sent either."""

        self._sending: set[_Sent] = set()
        """The POSTs that have started and not ended."""

        self._change = anyio.Event()
        self.stopped_by: DexError | None = None
        """The refusal or failure that made further POSTs of the last run pointless."""

    @property
    def out_of_quota(self) -> bool:
        """Whether the quota stopped the last run, so that the rest can be run later."""
        return isinstance(self.stopped_by, QuotaExceededError)

    async def run(self, batches: Sequence[Batch]) -> None:
        """Create the commands of `batches`.  Failures are outcomes, not exceptions."""
        self.go_on()
        self._queue.extend(batches)
        self._closing = True
        await self._run_workers(min(self._concurrency, len(batches)))

    async def serve(self) -> None:
        """Create what is submitted, until cancelled.

        Failures are outcomes; exceptions of hooks are raised.
        """
        await self._run_workers(self._concurrency)

    async def _run_workers(self, workers: int) -> None:
        with self._created.seeking(self.lost.sought):
            await run_tasks([*[self._work] * workers, self._settle])

    def submit(self, batch: Batch) -> None:
        """Have a batch created by `serve`."""
        self._queue.append(batch)
        self._touch()

    async def wait_for_room(self) -> bool:
        """Wait until a worker of `serve` is idle, so that a submitted batch is sent at once.

        Returns whether it had to wait.
        """
        waited = False
        while len(self._queue) + self._busy >= self._concurrency:
            await self._change.wait()
            waited = True
        return waited

    def stop(self) -> None:
        """Send nothing more: what was not sent is `not_attempted`, with reason `cancelled`.

        What was sent is completed: responses are awaited, and commands of lost ones searched for.
        """
        self._stopped = True
        self.take_back()

    def take_back(self) -> None:
        """Don't send the POSTs that are waiting for their turn, and don't retry those in progress.

        Their outcomes are as after `stop`.  Batches submitted afterwards are sent.
        """
        for sent in self._sending:
            sent.take_back()

    def go_on(self) -> None:
        """Clear `stopped_by`: the next POST may succeed."""
        self.stopped_by = None

    def look_for(self, request: CommandRequest, cause: DexError, since: datetime, wait: float, *, again: bool) -> None:
        """Search for a command whose POST was lost some time ago: see `LostCommands.look_for`."""
        self.lost.look_for(request, cause, since, wait, again=again)
        self._touch()

    async def wait_until_idle(self) -> None:
        """Wait until no POST is in progress and all outcomes of answered ones have been passed on."""
        while self._busy:
            await self._change.wait()

    # --- the queue

    def _touch(self) -> None:
        """Wake everything that waits for a change."""
        self._change.set()
        self._change = anyio.Event()

    @property
    def _done(self) -> bool:
        return self._closing and not (self._queue or self._busy or self.lost)

    async def _work(self) -> None:
        while not self._done:
            if not self._queue:
                await self._change.wait()
                continue
            batch = self._queue.popleft()
            self._busy += 1
            try:
                await self._create(batch)
                await self._hand_on()
            finally:
                self._busy -= 1
                self._touch()

    def _conclude(self, outcome: Outcome) -> None:
        if outcome.command is not None:
            self.lost.forget_absent(outcome.request)
        self._record(outcome)
        self._final.append(outcome)

    async def _hand_on(self) -> None:
        outcomes, self._final = self._final, []
        if self._on_outcomes is not None and outcomes:
            await self._on_outcomes(outcomes)

    def _abort(self, error: DexError, batch: Batch) -> None:
        """Abandon `batch` and the whole queue: the next POST would meet the same error."""
        self.stopped_by = error
        self._abandon(batch, error)
        while self._queue:
            self._abandon(self._queue.popleft(), error)

    def _abandon(self, batch: Batch, error: DexError) -> None:
        for request in batch:
            self._conclude(_not_attempted(request, error))

    # --- one POST

    async def _create(self, batch: Batch) -> None:
        if self._stopped:
            self._leave(batch, "cancelled")
            return
        started = self._clock.monotonic()
        sent = _Sent(started, since(self._session, started))
        self._sending.add(sent)
        try:
            reason = None if self._before_post is None else await self._before_post(batch, sent.since)
            if reason is None and sent.taken_back:
                # It was taken back during `before_post`, which was allowed to finish.
                reason = "cancelled"
            if reason is not None:
                self._leave(batch, reason)
                return
            with sent.scope:
                await self._post(batch, sent)
        finally:
            self._sending.discard(sent)
        if sent.scope.cancelled_caught:
            if sent.under_way:
                # It was sent at the moment when it was cancelled.
                self._lose(batch, AmbiguousCreateError("stopped while its POST was in progress"), sent)
            else:
                self._leave(batch, "cancelled")

    async def _post(self, batch: Batch, sent: _Sent) -> None:
        def on_sent(under_way: bool) -> None:
            if under_way:
                sent.started = self._clock.monotonic()
                # Determined now, from earlier responses: the `Date` of this POST's own response may be wrong.
                sent.since = since(self._session, sent.started)
            sent.note(under_way=under_way)
            error = AmbiguousCreateError("cancelled while its POST was in progress")
            for request in batch:
                self._record(
                    Outcome(request, "unknown", error=error)
                    if under_way
                    else Outcome(request, "not_attempted", reason="cancelled")
                )

        try:
            posted = await self._poster.post(batch, on_sent)
        except CampaignError:
            # Raised by a hook, possibly after commands were created: not a refusal of the POST.
            raise
        except Ambiguous as ambiguous:
            self._lose(batch, ambiguous.cause, sent)
        except DexError as error:
            if isinstance(error, APIError) and (not isinstance(error, STOPS) or culprits(error.errors, len(batch))):
                self._refuse(batch, error)
            else:
                self._abort(error, batch)
        else:
            missing: list[CommandRequest] = []
            for request, row, blame in zip(batch, posted.rows, posted.errors, strict=True):
                if row is not None:
                    self._conclude(Outcome.made(request, "created", row))
                elif blame is not None:
                    self._conclude(Outcome(request, "rejected", error=blame))
                else:
                    missing.append(request)
            if missing:
                said = (ErrorDetail("the response has fewer rows than the request has commands"), *posted.said)
                cause = BadRequestError(200, said, method="POST", path="/dex/commands")
                self._lose(missing, cause, sent)

    def _leave(self, batch: Batch, reason: str) -> None:
        for request in batch:
            self._conclude(Outcome(request, "not_attempted", reason=reason))

    def _refuse(self, batch: Batch, error: APIError) -> None:
        rejected, rest = split_culprits(batch, error) if self._split else (batch, [])
        for request in rejected:
            self._conclude(Outcome(request, "rejected", error=error))
        for part in reversed(rest):
            if self.stopped_by is None:
                self._queue.appendleft(part)
            else:
                self._abandon(part, self.stopped_by)

    # --- lost responses

    def _lose(self, requests: Sequence[CommandRequest], cause: DexError, sent: _Sent) -> None:
        for outcome in self.lost.lose(requests, cause, sent.started, sent.since):
            self._record(outcome)

    async def _settle(self) -> None:
        while not self._done:
            if not self.lost:
                await self._change.wait()
                continue
            try:
                await self.lost.look()
            finally:
                # If this is cancelled, another call's search may have just found some of its commands.
                absent = self._conclude_settled()
            self._queue.extend(plan_batches(absent))
            self._touch()
            await self._hand_on()

    def _conclude_settled(self) -> list[CommandRequest]:
        """Conclude what is no longer searched for, and return what must be sent again."""
        absent: list[CommandRequest] = []
        for request, outcome in self.lost.take_settled():
            if outcome is not None:
                self._conclude(outcome)
            elif self.stopped_by is not None:
                self._conclude(_not_attempted(request, self.stopped_by))
            else:
                absent.append(request)
        return absent


def _not_attempted(request: CommandRequest, error: DexError) -> Outcome:
    """Return the outcome of a request abandoned because of the error of another one."""
    reason = "quota" if isinstance(error, QuotaExceededError) else "abort"
    return Outcome(request, "not_attempted", error=error, reason=reason)
