"""A walk over the list of commands that can be passed to a peer."""

from dexcmd.paging import Pages
from dexcmd.resources.command import Command
from dexcmd.session import Session

__all__ = ["Walk"]


class Walk(Pages[Command]):
    """The pages of a look, which a peer may continue."""

    def go_on_by(self, session: Session) -> None:
        """Use another session from now on, with its own retry policy."""
        self._session = session
