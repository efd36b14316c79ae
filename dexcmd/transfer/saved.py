"""What is told of an artifact that is whole at its destination."""

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    # Type checkers know it without its being installed; a default for a type variable is Python 3.13's.
    from typing_extensions import TypeVar
else:
    from typing import TypeVar

__all__ = ["R", "Saved", "SavedArtifact"]


@attrs.frozen(kw_only=True)
class Saved:
    """An artifact that is whole at its destination."""

    size: int
    """Bytes."""

    sha256: str
    """In hex."""

    resumed_from: int = 0
    """The byte at which the last attempt took up what earlier ones, of this call or another, had brought."""

    skipped: bool = False
    """Whether it was there already, so that nothing was fetched."""


@attrs.frozen(kw_only=True)
class SavedArtifact(Saved):
    """A file that is whole: of the announced length, each checksum in the zip right, synced to disk."""

    path: Path


if TYPE_CHECKING:
    R = TypeVar("R", bound=Saved, default=SavedArtifact)
    """What a sink returns; in results it is a `SavedArtifact` unless told otherwise."""
else:
    R = TypeVar("R", bound=Saved)
