"""A walk over the list of commands that may change hands."""

from dexcmd.paging import Pages
from dexcmd.resources.command import Command
from dexcmd.session import Session

__all__ = ["Walk"]


class Walk(Pages[Command]):
    """The pages of a look, which a peer may go on with."""

    def go_on_by(self, session: Session) -> None:
        """Ask by another session from now on, which has its own way to try again."""
        self._session = session
