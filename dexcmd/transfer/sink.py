"""Where artifacts go: what a destination has to offer, so that the download engine can bring them there."""

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
            f"place must be a tuple of names that are safe, the last one with {name.command_id!r} in it, not {place!r}"
        )


@attrs.frozen
class ArtifactName:
    """Which artifact: the command's id, and the bare name that the service gives it.

    Raises `ConfigurationError` for a place that can be none.
    """

    command_id: str
    filename: str
    place: Parts | None = attrs.field(default=None, validator=_place)
    """Where it goes, if somebody wants it anywhere in particular: names of folders, and at last the file's.

    No two artifacts may have the same one, which is the business of whoever makes it.
    """

    @property
    def parts(self) -> Parts:
        """Return where it goes below the sink: to its place, or to where no other one goes.

        Raises `UnsafeFilenameError`.
        """
        return self.place or (final_name(self.command_id, self.filename),)


class UncheckedError(InvalidArtifactError):
    """What came can't be verified while it passes.  Raised by `Target.finish` to have it once more, from the start."""


class Target(Protocol[R_co]):
    """The place of one artifact, from the first byte to the last.

    Entered before anything is asked of the service; left when it is whole, or with the exception that ended it.
    """

    @property
    def have(self) -> Have:
        """What is there of it, so that the rest can be asked for."""
        ...

    async def find(self, size: int | None) -> R_co | None:
        """Return it if it is there whole.

        Called before a request, with None, and again once the size is announced.
        """
        ...

    async def begin(self, body: Body) -> None:
        """Prepare for a body: what is there beyond `body.offset` stays if that is not 0, and is dropped if it is."""
        ...

    async def tail(self, size: int) -> bytes:
        """Return the last `size` bytes of what is there."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes, and return when more may come."""
        ...

    async def finish(self, resumed_from: int) -> R_co:
        """Verify it, put it in its place for good, and return it.

        Raises `DownloadError` where it is not whole, `UncheckedError` where that can be told in another pass only.
        Then nothing of it may be held that another target waits for: those come to their ends before the next attempt.
        """
        ...


class Store(Protocol[R_co]):
    """A destination that is open."""

    def target(self, name: ArtifactName, verify: Verify) -> AbstractAsyncContextManager[Target[R_co]]:
        """Return the target of an artifact, which goes to `name.parts`."""
        ...


@runtime_checkable
class Sink(Protocol[R_co]):
    """A destination for `downloads.save` and `save_many`: `FileSink`, `ObjectStoreSink`, or one of your own.

    One of your own implements the protocols of `dexcmd.transfer.sink`.  What goes wrong with one artifact it raises as
    a `DownloadError` or an `OSError`.  `isinstance` looks at no more than whether there is an `open`: a `Path` has one.
    """

    def open(self, clock: Clock) -> AbstractAsyncContextManager[Store[R_co]]:
        """Open it for one call of `save` or `save_many`."""
        ...
