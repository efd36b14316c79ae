"""Many targets: batches of ten, several POSTs at a time, and an outcome for each request whatever happens."""

import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Literal

import attrs

from dexcmd.errors import (
    AmbiguousCreateError,
    APIError,
    AuthenticationError,
    ConfigurationError,
    DexError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    TransportError,
)
from dexcmd.posting import Poster
from dexcmd.resources.command import Command
from dexcmd.resources.quota import Quota, QuotaResource
from dexcmd.resources.requests import MOST_PER_POST, CommandRequest, check_targets
from dexcmd.session import Session
from dexcmd.tasks import run_tasks
from dexcmd.validators import above_zero, count, one_of

__all__ = [
    "BulkCreate",
    "BulkOptions",
    "BulkResult",
    "OnOutcomes",
    "OnQuota",
    "Outcome",
    "OutcomeState",
    "plan_batches",
]

logger = logging.getLogger(__name__)

OutcomeState = Literal["created", "adopted", "rejected", "not_attempted", "unknown"]
OnQuota = Literal["stop", "wait"]
OnOutcomes = Callable[[Sequence["Outcome"]], Awaitable[None]]

UNDER_WAY = "cancelled while its POST was under way"

_HOPELESS = (
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    RateLimitError,
    TransportError,
    ConfigurationError,
)
"""Refusals and failures that the next POST would meet as well, so none is sent."""


@attrs.frozen
class Outcome:
    """What became of one request.

    `created`: the service confirmed it.  `adopted`: the answer was lost, and the command found in the list.
    `rejected`: the service refused it, and `error` says why.  `not_attempted`: it was not sent, or surely not
    processed, and `reason` says why (`quota`, `abort`, `cancelled`).  `unknown`: it may have been created,
    and can't be told.
    """

    request: CommandRequest
    state: OutcomeState
    command: Command | None = None
    error: DexError | None = None
    reason: str | None = None

    @property
    def command_id(self) -> str | None:
        """Return the id of the command, where one is known to exist."""
        return None if self.command is None else self.command.id


@attrs.frozen
class BulkResult:
    """The outcomes of `create_many`, one a request, in the order of the requests."""

    outcomes: tuple[Outcome, ...]

    @property
    def commands(self) -> list[Command]:
        """Return the commands that are known to exist."""
        return [outcome.command for outcome in self.outcomes if outcome.command is not None]

    def in_state(self, *states: OutcomeState) -> list[Outcome]:
        """Return the outcomes in one of the states."""
        return [outcome for outcome in self.outcomes if outcome.state in states]


def plan_batches(indices: Sequence[int]) -> list[Sequence[int]]:
    """Return the indices in runs of at most ten, in order."""
    return [indices[start : start + MOST_PER_POST] for start in range(0, len(indices), MOST_PER_POST)]


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


class BulkCreate:
    """A `create_many` to be awaited.

     What it has made can be read from `result` at any time, after a cancellation too.

    bulk = dex.commands.create_many(requests) try:
        await bulk
    finally:
        print(bulk.result.commands)
    """

    def __init__(
        self, session: Session, poster: Poster, options: BulkOptions, on_outcomes: OnOutcomes | None = None
    ) -> None:
        self._session = session
        self._poster = poster
        self._options = options
        self._requests = options.requests
        self._quota_wait_left = options.quota_wait_seconds
        self._on_outcomes = on_outcomes
        self._outcomes = [
            Outcome(request, "not_attempted", reason="cancelled") for request in options.requests
        ]
        self._todo: list[int] = list(range(len(options.requests)))
        self._abort: DexError | None = None
        self._refusal: QuotaExceededError | None = None
        self._started = False

    @property
    def result(self) -> BulkResult:
        """Return the outcomes as they stand.

        A request that was not got to yet is `not_attempted`, reason `cancelled`.
        """
        return BulkResult(tuple(self._outcomes))

    def __await__(self) -> Generator[object, None, BulkResult]:
        """Create the commands and return the outcomes.  What fails is an outcome and no exception."""
        return self._run().__await__()

    async def _run(self) -> BulkResult:
        if not self._started:
            self._started = True
            while self._todo and self._abort is None:
                quota = await self._quota()
                room = len(self._todo) if quota.remaining is None else quota.remaining
                if room > 0:
                    now, self._todo = self._todo[:room], self._todo[room:]
                    await self._create(now)
                elif not await self._wait_for_reset(quota):
                    break
            await self._leave(self._todo)
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
        # A second more, for the clocks of the service and of this machine are not the same.
        wait = max(0.0, (quota.reset_time - clock.now()).total_seconds()) + 1.0
        if wait > self._quota_wait_left:
            return False
        self._quota_wait_left -= wait
        logger.info("the quota is used up: waiting %.0f s for its reset", wait)
        await clock.sleep(wait)
        return True

    async def _create(self, indices: Sequence[int]) -> None:
        self._refusal = None
        batches = plan_batches(indices)
        queue = iter(batches)

        async def work() -> None:
            for batch in queue:
                if self._abort is None and self._refusal is None:
                    await self._create_batch(batch)
                else:
                    self._todo.extend(batch)

        await run_tasks([work] * min(self._options.concurrency, len(batches)))
        self._todo.sort()

    async def _create_batch(self, batch: Sequence[int]) -> None:
        requests = [self._requests[index] for index in batch]
        for index, request in zip(batch, requests, strict=True):
            self._outcomes[index] = Outcome(request, "unknown", error=AmbiguousCreateError(UNDER_WAY))
        try:
            rows = await self._poster.post(requests)
        except QuotaExceededError as error:
            self._refusal = error
            self._todo.extend(batch)
            for index, request in zip(batch, requests, strict=True):
                self._outcomes[index] = Outcome(request, "not_attempted", error=error, reason="quota")
            return
        except AmbiguousCreateError as error:
            outcomes = [Outcome(request, "unknown", error=error) for request in requests]
        except _HOPELESS as error:
            self._abort = error
            outcomes = [
                Outcome(request, "not_attempted", error=error, reason="abort") for request in requests
            ]
        except APIError as error:
            outcomes = [Outcome(request, "rejected", error=error) for request in requests]
        else:
            missing = AmbiguousCreateError(
                "the answer to the POST has no row for it", tuple(filter(None, rows))
            )
            outcomes = [
                Outcome(request, "unknown", error=missing)
                if row is None
                else Outcome(request, "created", row)
                for request, row in zip(requests, rows, strict=True)
            ]
        await self._settle(batch, outcomes)

    async def _leave(self, indices: Sequence[int]) -> None:
        """Note why requests are not attempted."""
        reason = "quota" if self._abort is None else "abort"
        error = self._refusal if self._abort is None else self._abort
        await self._settle(
            indices,
            [Outcome(self._requests[i], "not_attempted", error=error, reason=reason) for i in indices],
        )

    async def _settle(self, indices: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        # All at once and before anything is awaited: what was created must be known, whatever is cancelled
        # next.
        for index, outcome in zip(indices, outcomes, strict=True):
            self._outcomes[index] = outcome
        if self._on_outcomes is not None and outcomes:
            await self._on_outcomes(outcomes)
