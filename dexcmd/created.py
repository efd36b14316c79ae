"""What all that creates by one client knows of one another: so no command is taken for two requests."""

import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime

import attrs

from dexcmd.errors import DexError
from dexcmd.resources.command import Command
from dexcmd.resources.requests import CommandRequest

__all__ = ["CreatedLog", "Kind", "Known", "Lost", "kind", "unclaimed"]

Kind = tuple[str, str]
"""A device and a type of command."""

Known = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Asked which of some commands are known to have been made for requests of others than this client."""


def kind(request: CommandRequest) -> Kind:
    """Return what a request is for, registrations aside: rows need not name theirs."""
    return request.device_id, request.type


@attrs.define(eq=False)
class Lost:
    """A request whose POST ended in a way that does not tell whether it was created."""

    request: CommandRequest
    cause: DexError
    started: float
    """When the POST began, by this machine's monotonic clock."""

    until: float
    """When it will have settled: a command that the list does not show by then is not going to appear."""

    since: datetime | None = None
    """The same as `started`, by the service's clock, once that can be told."""

    kind: Kind = attrs.field(init=False, default=attrs.Factory(lambda self: kind(self.request), takes_self=True))
    """What was asked for, kept since it is asked for so often."""


class CreatedLog:
    """The commands that a client made or adopted, each with a time of the service before which it was not.

    And what its POSTs may be making, or have made without an answer, and when that may be looked for.  It tells a
    follower how far back to look, and keeps one command from being adopted twice.  Bounded: the oldest are forgotten.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._commands: OrderedDict[str, datetime | None] = OrderedDict()
        self._under_way: Counter[Kind] = Counter()
        self._noted: list[set[Kind]] = []
        """What each of the blocks of `posts` has noted."""

        self._seekers: list[Callable[[], Iterable[Lost]]] = []
        self.look_free_at: float = -math.inf
        """When anybody may look for something again by the share of the rate limit, if not for a reason sooner."""

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
        """Give the kinds of command for which a POST is under way, or was at any time since the block began."""
        noted = set(self._under_way)
        self._noted.append(noted)
        try:
            yield noted
        finally:
            self._noted = [other for other in self._noted if other is not noted]

    @contextmanager
    def seeking(self, sought: Callable[[], Iterable[Lost]]) -> Generator[None]:
        """Have all know, inside the block, what is looked for: what was made for it is not to be adopted by others."""
        self._seekers.append(sought)
        try:
            yield
        finally:
            self._seekers.remove(sought)

    def sought(self) -> list[Lost]:
        """Return all that is looked for, whoever looks, and with whichever retry policy."""
        return [one for sought in self._seekers for one in sought()]

    def __contains__(self, command_id: object) -> bool:
        """Tell whether this client made or adopted a command."""
        return command_id in self._commands


async def unclaimed(rows: Iterable[Command], created: CreatedLog, known: Known | None) -> list[Command]:
    """Return the rows of commands that belong to no request yet, as far as that is known; those without an id do not.

    Raises what `known` does.
    """
    ids = [row.id for row in rows if row.id is not None and row.id not in created]
    taken = await known(ids) if known is not None and ids else ()
    # Asked again of `created`: something may have been adopted meanwhile.
    return [row for row in rows if row.id is not None and row.id not in created and row.id not in taken]
