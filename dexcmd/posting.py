"""One POST of up to ten commands, and what its response says about each."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import attrs

from dexcmd.batches import culprits, match_rows
from dexcmd.created import CreatedLog, Known, unclaimed
from dexcmd.errors import APIError, BadRequestError, DexError, ErrorDetail, QuotaExceededError
from dexcmd.events import CommandCreated
from dexcmd.resources.command import Command, decode_commands
from dexcmd.resources.quota import QuotaResource
from dexcmd.resources.requests import CommandRequest, encode_batch
from dexcmd.session import Request, Session
from dexcmd.wire.retrying import surely_not_processed

__all__ = ["Ambiguous", "Poster", "Posted"]

logger: logging.Logger = logging.getLogger(__name__)


@attrs.frozen
class Posted:
    """A good response: for each request its row, or the error that names it, or neither."""

    rows: tuple[Command | None, ...]
    errors: tuple[DexError | None, ...]
    said: tuple[ErrorDetail, ...] = ()
    """All errors in the response."""


class Ambiguous(Exception):  # noqa: N818 - what is known of a POST, which never gets past `creation`
    """The response does not tell whether the POST had an effect."""

    def __init__(self, cause: DexError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Poster:
    """Sends POSTs for one client."""

    def __init__(self, session: Session, created: CreatedLog, known: Known | None = None) -> None:
        self._session = session
        self._created = created
        self._known = known

    async def post(self, batch: Sequence[CommandRequest], on_sent: Callable[[bool], None]) -> Posted:
        """Send the POST of a checked batch; `on_sent` is as in `Call`.

        Raises `DexError` if certainly nothing was created (`QuotaExceededError` if that is the reason), and
        `Ambiguous` if something may have been.
        """
        clock = self._session.settings.clock
        started = clock.monotonic()
        request = Request("POST", "/dex/commands", body=encode_batch(batch))
        refusal: DexError | None = None
        rows: list[Command] = []
        served_at: datetime | None = None
        said: tuple[ErrorDetail, ...] = ()
        with self._created.under_way(batch):
            try:
                envelope = await self._session.call(request, on_sent)
                told, served_at, said = decode_commands(envelope.result), envelope.served_at, envelope.errors
            except DexError as error:
                if not surely_not_processed(error):
                    raise Ambiguous(error) from error
                on_sent(False)
                refusal = error
            else:
                # A row adopted meanwhile for a lost POST does not belong to this one as well.
                rows = await unclaimed(told, self._created, self._known)
        if refusal is not None:
            raise await self._reason(refusal, batch, clock.monotonic() - started) from refusal
        not_before = None
        if served_at is not None:
            # `Date` is truncated to the second, and dates from when the response was created.
            not_before = served_at - timedelta(seconds=clock.monotonic() - started + 1)
        matched = match_rows(batch, rows)
        for asked, row in zip(batch, matched, strict=True):
            if row is not None and row.id is not None:
                self._created.add(row.id, not_before)
                self._session.emit(CommandCreated(row.id, asked.device_id, asked.registration_id, asked.type))
        for row in rows:
            if row not in matched:
                logger.warning("the response to a POST names a command that was not asked for: %s", row.id)
        blamed = culprits(said, len(batch))
        errors = [
            BadRequestError(200, tuple(blamed[index]), None, "POST", "/dex/commands") if index in blamed else None
            for index in range(len(batch))
        ]
        return Posted(tuple(matched), tuple(errors), said)

    async def _reason(self, error: DexError, batch: Sequence[CommandRequest], elapsed: float) -> DexError:
        """Return `QuotaExceededError` if the quota is the reason for a refusal, else the error itself.

        The status and code for that are not documented, so the quota itself is requested.
        """
        if not isinstance(error, APIError) or error.status == 401 or culprits(error.errors, len(batch)):
            return error
        session, retry = self._session, self._session.settings.retry
        if error.status == 429 and error.retry_after is not None:
            # That request has to wait as well, and may take only what is left of the POST's time.
            session = session.with_retry(attrs.evolve(retry, total_seconds=max(0.001, retry.total_seconds - elapsed)))
        try:
            quota = await QuotaResource(session).get()
        except DexError:
            return error
        if quota.remaining is None or quota.remaining >= len(batch):
            return error
        return QuotaExceededError(error.status, error.errors, error.ray_id, error.method, error.path, error.retry_after)
