"""The address of a command's artifact at the service, and why there may be nothing."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from dexcmd.errors import ConfigurationError, NotFoundError
from dexcmd.resources.command import Command, command_id_of
from dexcmd.safe_text import one_line
from dexcmd.transfer.names import Parts
from dexcmd.validators import as_text
from dexcmd.wire.paths import artifact_name, segment

if TYPE_CHECKING:
    from dexcmd.transfer.sink import ArtifactName

__all__ = ["ArtifactAddress", "address", "explained_absence"]


@attrs.frozen
class ArtifactAddress:
    """The address of an artifact: the command's id and the artifact's bare name."""

    command_id: str
    filename: str

    @property
    def path(self) -> str:
        """The API path below the account."""
        command_id, filename = segment("command_id", self.command_id), segment("filename", self.filename)
        return f"/dex/commands/{command_id}/downloads/{filename}"

    def name(self, place: Parts | None) -> "ArtifactName":
        """Return its name for a sink, perhaps with a place.  Raises `ConfigurationError` for an invalid place."""
        from dexcmd.transfer.sink import ArtifactName

        return ArtifactName(self.command_id, self.filename, place)


def address(
    command: Command | str | None, command_id: str | None = None, filename: str | None = None
) -> ArtifactAddress:
    """Return the address of the artifact of a command, given as a `Command` or its id.

    If the file name is missing (it can lag behind SUCCESS), it is `{command_id}.zip`, the service's own scheme.  Raises
    `ConfigurationError` for no command, or both a command and an id, and `UnsafeFilenameError`.
    """
    if (command is None) == (command_id is None):
        raise ConfigurationError("pass either a command, or command_id= and filename=")
    if filename is not None:
        as_text("filename", filename)
    found_id = command_id_of(command if command is not None else command_id or "")
    found_name = filename or (command.filename if isinstance(command, Command) else None) or f"{found_id}.zip"
    return ArtifactAddress(found_id, artifact_name(found_name))


@contextmanager
def explained_absence(command: Command | str | None) -> Generator[None]:
    """Add a note to a `NotFoundError` of the block if the command had no artifact when it was last seen."""
    try:
        yield
    except NotFoundError as error:
        status = command.status if isinstance(command, Command) else None
        if status == "FAILED":
            error.add_note("the command has failed: there is no artifact")
        elif status is not None and status != "SUCCESS":
            seen = one_line(status, 40)
            error.add_note(f"the command was in {seen} when it was last seen: `commands.wait` for it first")
        raise
