"""Where artifacts go: the protocols that a destination implements for the download engine."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import attrs

from dexcmd.clock import Clock
from dexcmd.errors import ConfigurationError, InvalidArtifactError
from dexcmd.transfer.names import Parts, final_name, is_place
from dexcmd.transfer.options import Verify
from dexcmd.transfer.ranges import Body, Have, Version
from dexcmd.transfer.saved import R_co

__all__ = ["ArtifactName", "Body", "Have", "R_co", "Sink", "Store", "Target", "UncheckedError", "Version"]


def _place(name: "ArtifactName", _: object, place: Parts | None) -> None:
    if place is not None and not is_place(place, name.command_id):
        raise ConfigurationError(
            f"place must be a tuple of safe names, the last one containing {name.command_id!r}, not {place!r}"
        )


@attrs.frozen
class ArtifactName:
    """The identity of an artifact: the command's id, and the bare name that the service gives it.

    Raises `ConfigurationError` for an invalid place.
    """

    command_id: str
    filename: str
    place: Parts | None = attrs.field(default=None, validator=_place)
    """The requested path, if any: the names of folders, then the file name.

    The caller must make sure that no two artifacts have the same one.
    """

    @property
    def parts(self) -> Parts:
        """The path below the sink: the requested place, or else a unique name.

        Raises `UnsafeFilenameError`.
        """
        return self.place or (final_name(self.command_id, self.filename),)


class UncheckedError(InvalidArtifactError):
    """The data can't be verified in one pass.  Raised by `Target.finish` to request it again, from the start."""


class Target(Protocol[R_co]):
    """The destination of one artifact, from the first byte to the last.

    Entered before anything is requested; exited when the artifact is complete, or with the exception that ended it.
    """

    @property
    def have(self) -> Have:
        """What is already stored, so that only the rest is requested."""
        ...

    async def find(self, size: int | None) -> R_co | None:
        """Return the artifact if it is already stored and complete.

        Called with None before a request, and again once the size is announced.
        """
        ...

    async def begin(self, body: Body) -> None:
        """Prepare for a body.  If `body.offset` is 0, discard what is stored; else keep it, even beyond the offset."""
        ...

    async def tail(self, size: int) -> bytes:
        """Return the last `size` bytes of what is stored."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes, and return when ready for more."""
        ...

    async def finish(self, resumed_from: int) -> R_co:
        """Verify the artifact, commit it to its final place, and return it.

        Raises `DownloadError` if it is not complete, `UncheckedError` if only a second pass can tell.  After raising,
        it must hold nothing that another target waits for: those may finish before the next attempt starts.
        """
        ...


class Store(Protocol[R_co]):
    """An open destination."""

    def target(self, name: ArtifactName, verify: Verify) -> AbstractAsyncContextManager[Target[R_co]]:
        """Return the target of an artifact, to be stored at `name.parts`."""
        ...


@runtime_checkable
class Sink(Protocol[R_co]):
    """A destination for `downloads.save` and `save_many`: `FileSink`, `ObjectStoreSink`, or your own.

    Your own sink implements the protocols of `dexcmd.transfer.sink`, and raises a failure of one artifact as a
    `DownloadError` or an `OSError`.  `isinstance` only checks for an `open` attribute, which a `Path` has as well.
    """

    def open(self, clock: Clock) -> AbstractAsyncContextManager[Store[R_co]]:
        """Open the destination for one call of `save` or `save_many`."""
        ...
