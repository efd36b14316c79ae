"""The caller's options for a download.  Cheap to import, as it is needed before any download."""

from collections.abc import Callable
from typing import Any, Literal

import attrs
from attrs.validators import optional

from dexcmd.errors import ConfigurationError
from dexcmd.transfer.limits import DownloadLimits
from dexcmd.transfer.progress import Progress
from dexcmd.validators import function, one_of

__all__ = ["DEFAULT_LIMITS", "OnProgress", "SaveOptions", "Verify"]

Verify = Literal["zip", "size", "none"]
"""How an artifact is verified.

- `zip`: its length, the structure of the archive and the checksum of every member;
- `size`: its length, if announced;
- `none`: only that the body was received to its end.
"""

OnProgress = Callable[[Progress], object]
"""Called on the event loop, at most ten times a second, and when all bytes have arrived."""

DEFAULT_LIMITS = DownloadLimits()


def _limits(_: object, __: object, value: object) -> None:
    if not isinstance(value, DownloadLimits):
        raise ConfigurationError(f"limits must be DownloadLimits, not {value!r}")


def _on_progress(_: object, __: object, value: Any) -> None:
    if value is not None:
        function("on_progress", value)


@attrs.frozen(kw_only=True)
class SaveOptions:
    """How an artifact is downloaded."""

    verify: Verify | None = attrs.field(default=None, validator=optional(one_of("zip", "size", "none")))
    """None means `zip` for names ending in `.zip`, `size` otherwise."""

    limits: DownloadLimits = attrs.field(default=DEFAULT_LIMITS, validator=_limits)
    on_progress: OnProgress | None = attrs.field(default=None, validator=_on_progress)

    def verification(self, filename: str) -> Verify:
        """Return how an artifact with that name is verified."""
        return self.verify or ("zip" if filename.lower().endswith(".zip") else "size")
