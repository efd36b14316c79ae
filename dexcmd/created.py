"""What all create calls of a client share, so that no command is attributed to two requests."""

import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime

import attrs

from dexcmd.errors import DexError
from dexcmd.resources.command import Command
from dexcmd.resources.requests import CommandRequest, id_key

__all__ = ["CreatedLog", "Kind", "Known", "Lost", "kind", "unclaimed"]

Kind = tuple[str | None, str | None]
"""A device, by the `id_key` of its id, and a type of command."""

Known = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Returns which of the given command ids are known to belong to requests other than this client's."""


def kind(request: CommandRequest) -> Kind:
    """Return the device and type of a request, without the registration, which rows may lack."""
    return id_key(request.device_id), request.type


@attrs.define(eq=False)
class Lost:
    """A request whose POST ended without telling whether the command was created."""

    request: CommandRequest
    cause: DexError
    started: float
    """When the POST started, by this machine's monotonic clock."""

    until: float
    """The end of the settling time: a command that the list does not show by then is considered absent."""

    since: datetime | None = None
    """A time slightly before `started` by the service's clock, once known."""

    kind: Kind = attrs.field(init=False, default=attrs.Factory(lambda self: kind(self.request), takes_self=True))
    """Cached, as it is used so often."""


class CreatedLog:
    """The commands that a client created or adopted, each with a service time before which it did not exist.

    It tells a follower how far back to look, and prevents a command from being adopted twice.  The size is bounded: the
    oldest commands are dropped.  It also tracks which commands the client's POSTs may be creating now, which lost ones
    are being searched for, and when the next search is allowed.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._commands: OrderedDict[str, datetime | None] = OrderedDict()
        self._under_way: Counter[Kind] = Counter()
        self._noted: list[set[Kind]] = []
        """For each active `posts` block, the kinds that it has recorded."""

        self._seekers: list[Callable[[], Iterable[Lost]]] = []
        self.look_free_at: float = -math.inf
        """When the share of the rate limit allows the next search; only one that ends a settling time comes sooner."""

    def add(self, command_id: str, not_before: datetime | None) -> None:
        """Record a command."""
        self._commands[command_id] = not_before
        if len(self._commands) > self._size:
            self._commands.popitem(last=False)

    def not_before(self, command_id: str) -> datetime | None:
        """Return a time before which a command did not exist; None if unknown."""
        return self._commands.get(command_id)

    @contextmanager
    def under_way(self, batch: Sequence[CommandRequest]) -> Generator[None]:
        """Mark a POST for these requests as in progress inside the block, so that its commands are not adopted."""
        kinds = Counter(kind(request) for request in batch)
        self._under_way += kinds
        for noted in self._noted:
            noted.update(kinds)
        try:
            yield
        finally:
            self._under_way -= kinds

    @contextmanager
    def posts(self) -> Generator[Collection[Kind]]:
        """Yield the kinds of command for which a POST is in progress, or was at any time since the block began."""
        noted = set(self._under_way)
        self._noted.append(noted)
        try:
            yield noted
        finally:
            self._noted = [other for other in self._noted if other is not noted]

    @contextmanager
    def seeking(self, sought: Callable[[], Iterable[Lost]]) -> Generator[None]:
        """Publish what is being searched for inside the block, so that others don't adopt its commands."""
        self._seekers.append(sought)
        try:
            yield
        finally:
            self._seekers.remove(sought)

    def sought(self) -> list[Lost]:
        """Return everything being searched for, by any call and with any retry policy."""
        return [one for sought in self._seekers for one in sought()]

    def __contains__(self, command_id: object) -> bool:
        """Tell whether this client created or adopted a command."""
        return command_id in self._commands


async def unclaimed(rows: Iterable[Command], created: CreatedLog, known: Known | None) -> list[Command]:
    """Return the rows that are not known to belong to a request; rows without an id are left out.

    Raises whatever `known` raises.
    """
    ids = [row.id for row in rows if row.id is not None and row.id not in created]
    taken = await known(ids) if known is not None and ids else ()
    # `created` is checked again: something may have been adopted meanwhile.
    return [row for row in rows if row.id is not None and row.id not in created and row.id not in taken]
