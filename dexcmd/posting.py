"""One POST of up to ten commands, and what its answer says of each."""

import logging
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import attrs

from dexcmd.errors import APIError, BadRequestError, DexError, ErrorDetail, QuotaExceededError
from dexcmd.events import CommandCreated
from dexcmd.resources.command import Command, decode_commands
from dexcmd.resources.quota import QuotaResource
from dexcmd.resources.requests import CommandRequest, encode_batch
from dexcmd.session import Request, Session
from dexcmd.wire.retrying import surely_not_processed

__all__ = ["Ambiguous", "CreatedLog", "Known", "Poster", "Posted", "culprits", "match_rows", "unclaimed"]

logger = logging.getLogger(__name__)

_POINTER = re.compile(r"/commands/(\d{1,3})(/.*)?")

Known = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Asked which of some commands are known to have been made for requests of others than this client."""


class CreatedLog:
    """The commands that a client made or adopted, each with a time of the service before which it was not.

    It tells a follower how far back to look, and keeps one command from being adopted twice.  Bounded: the oldest
    are forgotten.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._commands: OrderedDict[str, datetime | None] = OrderedDict()
        self._under_way: Counter[tuple[str, str]] = Counter()

    def add(self, command_id: str, not_before: datetime | None) -> None:
        """Note a command."""
        self._commands[command_id] = not_before
        if len(self._commands) > self._size:
            self._commands.popitem(last=False)

    def not_before(self, command_id: str) -> datetime | None:
        """Return the time before which a command was not; None where that is not known."""
        return self._commands.get(command_id)

    @contextmanager
    def under_way(self, batch: Sequence[CommandRequest]) -> Generator[None]:
        """Note, inside the block, that a POST for these requests is under way: what it makes is not to be adopted."""
        kinds = Counter((request.device_id, request.type) for request in batch)
        self._under_way += kinds
        try:
            yield
        finally:
            self._under_way -= kinds

    def is_under_way(self, request: CommandRequest) -> bool:
        """Tell whether a POST for a command of that type on that device is under way."""
        return (request.device_id, request.type) in self._under_way

    def __contains__(self, command_id: object) -> bool:
        """Tell whether this client made or adopted a command."""
        return command_id in self._commands


@attrs.frozen
class Posted:
    """A good answer: for each request its row, or the error that names it, or neither."""

    rows: tuple[Command | None, ...]
    errors: tuple[DexError | None, ...]
    said: tuple[ErrorDetail, ...] = ()
    """All that the answer calls an error."""


class Ambiguous(Exception):  # noqa: N818 - what is known of a POST, which never gets past `creation`
    """It can't be told from the answer whether the POST had an effect."""

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
        """Send the POST of a checked batch; `on_sent` is as that of `Call`.

        Raises `DexError` where surely nothing was created, as `QuotaExceededError` where that is why, and
        `Ambiguous` where something may have been.
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
                # One that a lost POST has adopted meanwhile is not this one's as well.
                rows = await unclaimed(told, self._created, self._known)
        if refusal is not None:
            raise await self._reason(refusal, batch, clock.monotonic() - started) from refusal
        not_before = None
        if served_at is not None:
            # `Date` is cut to the second, and told when the answer was made.
            not_before = served_at - timedelta(seconds=clock.monotonic() - started + 1)
        matched = match_rows(batch, rows)
        for asked, row in zip(batch, matched, strict=True):
            if row is not None and row.id is not None:
                self._created.add(row.id, not_before)
                self._session.emit(CommandCreated(row.id, asked.device_id, asked.registration_id, asked.type))
        for row in rows:
            if row not in matched:
                logger.warning("the answer to a POST names a command that was not asked for: %s", row.id)
        blamed = culprits(said, len(batch))
        errors = [
            BadRequestError(200, tuple(blamed[index]), None, "POST", "/dex/commands") if index in blamed else None
            for index in range(len(batch))
        ]
        return Posted(tuple(matched), tuple(errors), said)

    async def _reason(self, error: DexError, batch: Sequence[CommandRequest], elapsed: float) -> DexError:
        """Return `QuotaExceededError` where the quota is the reason for a refusal.

        Which status and code say so is not documented, so the quota itself is asked.
        """
        if not isinstance(error, APIError) or error.status == 401 or culprits(error.errors, len(batch)):
            return error
        session, retry = self._session, self._session.settings.retry
        if error.status == 429 and error.retry_after is not None:
            # The question has to wait as well, and may take what is left of the call's time and no more.
            session = session.with_retry(attrs.evolve(retry, total_seconds=max(0.001, retry.total_seconds - elapsed)))
        try:
            quota = await QuotaResource(session).get()
        except DexError:
            return error
        if quota.remaining is None or quota.remaining >= len(batch):
            return error
        return QuotaExceededError(error.status, error.errors, error.ray_id, error.method, error.path, error.retry_after)


async def unclaimed(rows: Iterable[Command], created: CreatedLog, known: Known | None) -> list[Command]:
    """Return the rows of commands that belong to no request yet, as far as that is known; those without an id do not.

    Raises what `known` does.
    """
    ids = [row.id for row in rows if row.id is not None and row.id not in created]
    taken = await known(ids) if known is not None and ids else ()
    # Asked again of `created`: something may have been adopted meanwhile.
    return [row for row in rows if row.id is not None and row.id not in created and row.id not in taken]


def culprits(errors: Sequence[ErrorDetail], count: int) -> dict[int, list[ErrorDetail]]:
    """Return the errors that name a command of a POST of `count` by its pointer, such as `/commands/3/device_id`."""
    named: dict[int, list[ErrorDetail]] = {}
    for error in errors:
        found = _POINTER.fullmatch(error.pointer or "")
        if found and int(found[1]) < count:
            named.setdefault(int(found[1]), []).append(error)
    return named


def match_rows(batch: Sequence[CommandRequest], rows: Sequence[Command]) -> list[Command | None]:
    """Return for each request the row that is its own, or None.

    The service promises neither the order of the request nor as many rows.  A row is claimed once; one that names
    the registration that was asked for goes first, and one without a registration, or for a request without one,
    after that.  Rows that nobody asked for are left over.
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
    return matched


def _is_for(row: Command, request: CommandRequest, exact: bool) -> bool:
    if (row.device_id, row.type) != (request.device_id, request.type):
        return False
    if exact:
        return row.registration_id == request.registration_id
    return row.registration_id is None or request.registration_id is None
