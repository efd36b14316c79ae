"""One POST of up to ten commands, and what its answer says of each."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

from dexcmd.errors import AmbiguousCreateError, APIError, DexError, QuotaExceededError
from dexcmd.events import CommandCreated
from dexcmd.resources.command import Command, decode_commands
from dexcmd.resources.quota import QuotaResource
from dexcmd.resources.requests import CommandRequest, encode_batch
from dexcmd.session import Request, Session
from dexcmd.wire.retrying import surely_not_processed

__all__ = ["CreatedLog", "Poster", "match_rows"]

logger = logging.getLogger(__name__)


class CreatedLog:
    """The commands that a client made, each with a time, by the service's clock, before which it was not.

    It tells a follower how far back to look.  Bounded: the oldest are forgotten.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._commands: OrderedDict[str, datetime | None] = OrderedDict()

    def add(self, command_id: str, not_before: datetime | None) -> None:
        """Note a command."""
        self._commands[command_id] = not_before
        if len(self._commands) > self._size:
            self._commands.popitem(last=False)

    def not_before(self, command_id: str) -> datetime | None:
        """Return the time before which a command did not exist; None where that is not known."""
        return self._commands.get(command_id)


class Poster:
    """Sends POSTs for one client."""

    def __init__(self, session: Session, created: CreatedLog) -> None:
        self._session = session
        self._created = created

    async def post(self, batch: Sequence[CommandRequest]) -> list[Command | None]:
        """Create the commands of a checked batch and return each one's row, in the order of the batch.

        None stands for a request that the answer has no row for.  Raises `DexError` where surely nothing was
        created, as `QuotaExceededError` where that is why, and `AmbiguousCreateError` where something may
        have been.
        """
        clock = self._session.settings.clock
        started = clock.monotonic()
        try:
            envelope = await self._session.call(Request("POST", "/dex/commands", body=encode_batch(batch)))
            rows = decode_commands(envelope.result)
        except DexError as error:
            if surely_not_processed(error):
                raise await self._reason(error, len(batch)) from error
            raise AmbiguousCreateError(
                f"it can't be told whether {len(batch)} commands were created: {error}", cause=error
            ) from error
        not_before = None
        if envelope.served_at is not None:
            # `Date` is cut to the second, and told when the answer was made.
            not_before = envelope.served_at - timedelta(seconds=clock.monotonic() - started + 1)
        matched = match_rows(batch, rows)
        for request, row in zip(batch, matched, strict=True):
            if row is not None and row.id is not None:
                self._created.add(row.id, not_before)
                self._session.emit(
                    CommandCreated(row.id, request.device_id, request.registration_id, request.type)
                )
        return matched

    async def _reason(self, error: DexError, wanted: int) -> DexError:
        """Return `QuotaExceededError` where the quota is the reason for a refusal.

        Which status says so is not documented.
        """
        if not isinstance(error, APIError) or error.status in (401, 429):
            return error
        try:
            quota = await QuotaResource(self._session).get()
        except DexError:
            return error
        if quota.remaining is None or quota.remaining >= wanted:
            return error
        return QuotaExceededError(
            error.status, error.errors, error.ray_id, error.method, error.path, error.retry_after
        )


def match_rows(batch: Sequence[CommandRequest], rows: Sequence[Command]) -> list[Command | None]:
    """Return for each request the row of the answer that is its own, or None.

    The service promises neither the order of the request nor as many rows.  A row is claimed once; one that
    names the registration that was asked for goes first, and one without a registration, or for a request
    without one, after that.
    """
    free: dict[str, Command] = {}
    for row in rows:
        if row.id is not None:
            free.setdefault(row.id, row)
    matched: list[Command | None] = [None] * len(batch)
    for exact in (True, False):
        for index, request in enumerate(batch):
            if matched[index] is None:
                found = next((row for row in free.values() if _is_for(row, request, exact)), None)
                if found is not None and found.id is not None:
                    matched[index] = free.pop(found.id)
    for row in free.values():
        logger.warning("the answer to a POST names a command that was not asked for: %s", row.id)
    return matched


def _is_for(row: Command, request: CommandRequest, exact: bool) -> bool:
    if (row.device_id, row.type) != (request.device_id, request.type):
        return False
    if exact:
        return row.registration_id == request.registration_id
    return row.registration_id is None or request.registration_id is None
