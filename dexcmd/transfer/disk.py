"""What a full or failing disk is to a caller, and files that are private to the user."""

import errno
import os
from pathlib import Path

from dexcmd.errors import DownloadError, InsufficientSpaceError

__all__ = ["private", "write_error"]

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def private(path: str, flags: int) -> int:
    """Open a file that only the user may read: an `opener` for `open`."""
    return os.open(path, flags, 0o600)


def write_error(error: OSError, path: Path) -> DownloadError:
    """Return what to raise where `path` can't be written."""
    if error.errno in _FULL:
        return InsufficientSpaceError(f"no space left for {path}")
    return DownloadError(f"can't write {path}: {error.strerror or error}")
