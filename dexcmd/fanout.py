"""Creating for many targets: batches of ten, several POSTs at once, and always an outcome for each request."""

import logging
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, Literal

import anyio
import attrs

from dexcmd.async_only import LazyStart
from dexcmd.batches import plan_batches
from dexcmd.created import CreatedLog
from dexcmd.creation import Creation, OnOutcomes
from dexcmd.errors import DexError
from dexcmd.outcome import BulkResult, Outcome
from dexcmd.resources.quota import Quota, QuotaResource
from dexcmd.resources.requests import CommandRequest, check_targets
from dexcmd.searches import Searches
from dexcmd.session import Session
from dexcmd.validators import above_zero, count, one_of

__all__ = ["BulkCreate", "BulkOptions", "OnQuota"]

logger: logging.Logger = logging.getLogger(__name__)

LEAST_QUOTA_WAIT = 1.0
MAX_QUOTA_WAIT = 300.0
"""Seconds between quota requests while a reset is overdue."""

QUOTA_WAIT_SLICE = 60.0
"""How often, in seconds, a wait for the quota checks whether the client has been closed."""

OnQuota = Literal["stop", "wait"]


@attrs.frozen(kw_only=True)
class BulkOptions:
    """What to create in bulk, and how; raises `ConfigurationError` for an invalid value."""

    requests: Sequence[CommandRequest] = attrs.field(converter=check_targets)
    concurrency: int = attrs.field(default=4, validator=count)
    """How many POSTs run at once."""

    on_quota: OnQuota = attrs.field(default="stop", validator=one_of("stop", "wait"))
    """Whether requests beyond the daily quota are skipped, or wait for the reset."""

    quota_wait_seconds: float = attrs.field(default=90_000.0, validator=above_zero)
    """The total wait for resets."""


class BulkCreate(LazyStart, Coroutine[Any, Any, BulkResult]):
    """The awaitable that `create_many` returns.

    `result` says what it has created at any time, including after a cancellation:

        bulk = dex.commands.create_many(requests)
        try:
            await bulk
        finally:
            print(bulk.result.commands)
    """

    def __init__(
        self,
        session: Session,
        created: CreatedLog,
        searches: Searches,
        options: BulkOptions,
        on_outcomes: OnOutcomes | None = None,
    ) -> None:
        self._session = session
        self._options = options
        self._quota_wait_left = options.quota_wait_seconds
        self._on_outcomes = on_outcomes
        self._creation = Creation(
            session,
            created,
            self._record,
            searches=searches,
            on_outcomes=self._hand_on,
            concurrency=options.concurrency,
        )
        self._outcomes = [Outcome(request, "not_attempted", reason="cancelled") for request in options.requests]
        self._index = {request.target: index for index, request in enumerate(options.requests)}
        self._run_once: Coroutine[Any, Any, BulkResult] | None = None
        self._started = False
        self._ended = False
        self._stopped = False
        self._wait = anyio.CancelScope()
        self._least_wait = LEAST_QUOTA_WAIT
        if on_outcomes is None:
            # Otherwise it is a capture's, which tells of itself.
            self._unstarted = "was never awaited: nothing was created"

    @property
    def result(self) -> BulkResult:
        """The outcomes as they stand.

        A request that has not been processed yet is `not_attempted`, with reason `cancelled`.
        """
        return BulkResult(tuple(self._outcomes))

    def stop(self) -> None:
        """Send nothing more, complete what was sent, and then end.

        What was not sent is `not_attempted`, with reason `cancelled`.  Commands of a lost response are still searched
        for.
        """
        self._stopped = True
        self._creation.stop()
        self._wait.cancel()

    def __await__(self) -> Generator[Any, Any, BulkResult]:
        """Create the commands and return the outcomes.  Failures are outcomes, not exceptions.

        Awaiting it again after it has ended gives the same outcomes.
        """
        self._unstarted = None
        return self._run().__await__()

    # The coroutine protocol, so that `asyncio.create_task` accepts it.

    def send(self, value: Any) -> Any:
        """Resume, as the event loop does."""
        self._unstarted = None
        self._run_once = self._run_once or self._run()
        try:
            return self._run_once.send(value)
        except BaseException:
            self._run_once = None
            raise

    def throw(self, *error: Any) -> Any:
        """Resume with an exception, as the event loop does for a cancellation."""
        self._unstarted = None
        self._run_once = self._run_once or self._run()
        try:
            return self._run_once.throw(*error)
        except BaseException:
            self._run_once = None
            raise

    def close(self) -> None:
        """Close it; `result` still says what was created."""
        self._unstarted = None
        if self._run_once is not None:
            self._run_once.close()

    async def _run(self) -> BulkResult:
        if self._ended:
            return self.result
        if self._started:
            raise RuntimeError(
                "this create_many is being awaited already, or was cancelled: its `result` has what it created"
            )
        self._started = True
        todo = list(self._options.requests)
        while todo:
            if self._stopped:
                await self._leave(todo, "cancelled")
                break
            quota = await self._quota()
            room = len(todo) if quota.remaining is None else quota.remaining
            if room > 0:
                todo = await self._create(todo[:room]) + todo[room:]
                if self._creation.stopped_by is None or self._creation.out_of_quota:
                    continue
                await self._leave(todo, "abort")
            elif await self._wait_for_reset(quota) or self._stopped:
                continue
            else:
                await self._leave(todo, "quota")
            break
        self._ended = True
        return self.result

    async def _quota(self) -> Quota:
        try:
            return await QuotaResource(self._session).get()
        except DexError as error:
            # Not a reason to fail: the POST itself will show whether any quota is left.
            logger.warning("the quota can't be read: %s", error)
            return Quota()

    async def _wait_for_reset(self, quota: Quota) -> bool:
        """Sleep until the quota is reset; return False if not to wait, or if that would take too long."""
        clock = self._session.settings.clock
        if self._options.on_quota == "stop" or quota.reset_time is None:
            return False
        wait = max(self._least_wait, (quota.reset_time - self._session.service_now()).total_seconds() + 1.0)
        # An overdue reset is checked less and less often.
        self._least_wait = min(self._least_wait * 2, MAX_QUOTA_WAIT)
        if wait > self._quota_wait_left:
            return False
        self._quota_wait_left -= wait
        logger.info("the quota is used up: waiting %.0f s for its reset", wait)
        end = clock.monotonic() + wait
        with self._wait:
            while (left := end - clock.monotonic()) > 0 and not self._session.closed:
                await clock.sleep(min(left, QUOTA_WAIT_SLICE))
        self._wait = anyio.CancelScope()
        return not self._session.closed

    async def _create(self, requests: Sequence[CommandRequest]) -> list[CommandRequest]:
        """Create commands for `requests`, and return those that were refused because of the quota nevertheless."""
        await self._creation.run(plan_batches(requests))
        outcomes = [self._outcomes[self._index[request.target]] for request in requests]
        return [outcome.request for outcome in outcomes if outcome.reason == "quota"]

    async def _leave(self, requests: Sequence[CommandRequest], reason: str) -> None:
        """Record why requests are not attempted."""
        error = None if reason == "cancelled" else self._creation.stopped_by
        outcomes = [Outcome(request, "not_attempted", error=error, reason=reason) for request in requests]
        for outcome in outcomes:
            self._record(outcome)
        if self._on_outcomes is not None and outcomes:
            await self._on_outcomes(outcomes)

    async def _hand_on(self, outcomes: Sequence[Outcome]) -> None:
        """Pass on final outcomes.  An outcome with reason `quota` is not final: a later run may still create it."""
        final = [outcome for outcome in outcomes if outcome.reason != "quota"]
        if self._on_outcomes is not None and final:
            await self._on_outcomes(final)

    def _record(self, outcome: Outcome) -> None:
        self._outcomes[self._index[outcome.request.target]] = outcome
