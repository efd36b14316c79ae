"""The outcome of each request of a bulk create."""

from typing import Literal

import attrs

from dexcmd.errors import DexError
from dexcmd.resources.command import Command
from dexcmd.resources.requests import CommandRequest

__all__ = ["BulkResult", "Outcome", "OutcomeState"]

OutcomeState = Literal["created", "adopted", "rejected", "not_attempted", "unknown"]


@attrs.frozen
class Outcome:
    """The outcome of one request.

    - `created`: the service confirmed it.
    - `adopted`: the response was lost, and the command was found in the list.
    - `rejected`: the service refused it; `error` says why.
    - `not_attempted`: it was not sent, or certainly not processed; `reason` says why (`quota`, `abort`, `cancelled`).
    - `unknown`: it may or may not have been created; `error` holds what is known, and `reason` says why: the list
      can't be read (`unreadable`), or does not show it or not so that it can be told apart (`not_listed`).
    """

    request: CommandRequest
    state: OutcomeState
    command_id: str | None = None
    """The id of the command, if one is known to exist."""

    error: DexError | None = None
    reason: str | None = None
    command: Command | None = None
    """The command, if one is known to exist."""

    @classmethod
    def made(cls, request: CommandRequest, state: Literal["created", "adopted"], command: Command) -> "Outcome":
        """Return the outcome of a request whose command is known."""
        return cls(request, state, command.id, command=command)


@attrs.frozen
class BulkResult:
    """The outcomes of `create_many`, one per request, in the order of the requests."""

    outcomes: tuple[Outcome, ...]

    @property
    def commands(self) -> list[Command]:
        """Return the commands known to exist."""
        return [outcome.command for outcome in self.outcomes if outcome.command is not None]

    def in_state(self, *states: OutcomeState) -> list[Outcome]:
        """Return the outcomes in any of the given states."""
        return [outcome for outcome in self.outcomes if outcome.state in states]
