"""Many targets: batches of ten, several POSTs at a time, and an outcome for each request whatever happens."""

import logging
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, Literal

import anyio
import attrs

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
MOST_QUOTA_WAIT = 300.0
"""Seconds between questions after a reset of the quota that is due and does not show."""

QUOTA_WAIT_SLICE = 60.0
"""Seconds after which a wait looks whether the client is closed."""

OnQuota = Literal["stop", "wait"]


@attrs.frozen(kw_only=True)
class BulkOptions:
    """What is created in bulk, and how; raises `ConfigurationError` for what can't be right."""

    requests: Sequence[CommandRequest] = attrs.field(converter=check_targets)
    concurrency: int = attrs.field(default=4, validator=count)
    """POSTs at a time."""

    on_quota: OnQuota = attrs.field(default="stop", validator=one_of("stop", "wait"))
    """Whether what exceeds the day's quota is left, or waits for the reset."""

    quota_wait_seconds: float = attrs.field(default=90_000.0, validator=above_zero)
    """How long it waits for resets in all."""


class BulkCreate(Coroutine[Any, Any, BulkResult]):
    """A `create_many` to be awaited.

    What it has made can be read from `result` at any time, after a cancellation too:

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

    @property
    def result(self) -> BulkResult:
        """Return the outcomes as they stand.

        A request that was not got to yet is `not_attempted`, reason `cancelled`.
        """
        return BulkResult(tuple(self._outcomes))

    def stop(self) -> None:
        """Send nothing more, and let what was sent come to its end; then it ends.

        What was not sent is `not_attempted`, for the reason `cancelled`.  A lost answer is still looked for.
        """
        self._stopped = True
        self._creation.stop()
        self._wait.cancel()

    def __await__(self) -> Generator[Any, Any, BulkResult]:
        """Create the commands and return the outcomes.  What fails is an outcome and no exception.

        Awaiting it again, once it has ended, gives the same outcomes.
        """
        return self._run().__await__()

    # A coroutine in all but name, so that `asyncio.create_task` takes it.

    def send(self, value: Any) -> Any:
        """Go on, as the event loop does."""
        self._run_once = self._run_once or self._run()
        try:
            return self._run_once.send(value)
        except BaseException:
            self._run_once = None
            raise

    def throw(self, *error: Any) -> Any:
        """Go on with an exception, as the event loop does for a cancellation."""
        self._run_once = self._run_once or self._run()
        try:
            return self._run_once.throw(*error)
        except BaseException:
            self._run_once = None
            raise

    def close(self) -> None:
        """End it; what was made can still be read from `result`."""
        if self._run_once is not None:
            self._run_once.close()

    async def _run(self) -> BulkResult:
        if self._ended:
            return self.result
        if self._started:
            raise RuntimeError(
                "this create_many is being awaited already, or was cancelled; its `result` tells what it made"
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
            # The POST itself will tell whether there is room, so this is no reason to give up.
            logger.warning("the quota can't be told: %s", error)
            return Quota()

    async def _wait_for_reset(self, quota: Quota) -> bool:
        """Sleep until the quota is whole again and tell whether it is.

        False where that is not wanted or takes too long.
        """
        clock = self._session.settings.clock
        if self._options.on_quota == "stop" or quota.reset_time is None:
            return False
        wait = max(self._least_wait, (quota.reset_time - self._session.service_now()).total_seconds() + 1.0)
        # A reset that should have been is asked for less and less often.
        self._least_wait = min(self._least_wait * 2, MOST_QUOTA_WAIT)
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
        """Create what the quota has room for, and return what was refused for the quota all the same."""
        await self._creation.run(plan_batches(requests))
        outcomes = [self._outcomes[self._index[request.target]] for request in requests]
        return [outcome.request for outcome in outcomes if outcome.reason == "quota"]

    async def _leave(self, requests: Sequence[CommandRequest], reason: str) -> None:
        """Note why requests are not attempted."""
        error = None if reason == "cancelled" else self._creation.stopped_by
        outcomes = [Outcome(request, "not_attempted", error=error, reason=reason) for request in requests]
        for outcome in outcomes:
            self._record(outcome)
        if self._on_outcomes is not None and outcomes:
            await self._on_outcomes(outcomes)

    async def _hand_on(self, outcomes: Sequence[Outcome]) -> None:
        """Hand on what is final.  What was left for the quota is not: it may be created in another run."""
        final = [outcome for outcome in outcomes if outcome.reason != "quota"]
        if self._on_outcomes is not None and final:
            await self._on_outcomes(final)

    def _record(self, outcome: Outcome) -> None:
        self._outcomes[self._index[outcome.request.target]] = outcome
