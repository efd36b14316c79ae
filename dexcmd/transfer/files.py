"""Folders to save into, and checks of complete files.  Blocking, so called from threads."""

import errno
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO

from dexcmd.errors import ConfigurationError, DownloadError, UnsafeFilenameError
from dexcmd.transfer.checks import BodyCheck
from dexcmd.transfer.names import Parts
from dexcmd.transfer.options import Verify
from dexcmd.transfer.system import TOO_MANY_OPEN, UNWRITABLE, explain, explained, sync_folder
from dexcmd.transfer.unpacking import Archive

__all__ = ["check_writable", "check_zip", "make_below", "make_folder", "make_inside", "whole_file_hash"]

CHECK_PIECE = 1024 * 1024


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, durably and private to the user, as captures are confidential.

    Existing folders are left as they are.
    Raises `ConfigurationError` if it can't be created.
    """
    try:
        # `mkdir(parents=True)` would give the mode to the last folder only.
        for missing in reversed([parent for parent in (folder, *folder.parents) if not parent.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
            # Files in it are durable only if its own name is.
            sync_folder(missing.parent)
        folder.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"can't create the folder {folder}: {_why_not(folder, error)}") from error


def check_writable(folder: Path) -> None:
    """Raise `ConfigurationError` if no file can be created in a folder."""
    try:
        # Only this is certain: a network share's permissions, for one, may be decided by its server.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise ConfigurationError(f"can't write into the folder {folder}: {error.strerror}") from error
        # Anything else, such as a full disk, may be over by the time that there is something to write.


def _why_not(folder: Path, error: Exception) -> object:
    """Return why a folder can't be created: for a file in its place, the system only says that it exists."""
    # Not the methods of `Path`, which raise if access is denied.
    for path in (folder, *folder.parents):
        if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112
            which = "it" if path == folder else path
            return f"{which} is {'a file' if os.path.isfile(path) else 'no folder'}"  # noqa: PTH113
    return getattr(error, "strerror", error)


def make_inside(root: Path, parts: Parts) -> bool:
    """Create the folder `parts` below `root`, private to the user.

    `root` must be a path without links, and the parent folders must have been created or checked by this function.
    Returns whether it was missing.  Raises `UnsafeFilenameError` if a link is in its place, `DownloadError` if it
    can't be created.
    """
    folder = root.joinpath(*parts)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        # It may be a link, or a junction on Windows.
        if os.path.normcase(os.path.realpath(folder)) != os.path.normcase(folder):
            raise UnsafeFilenameError(f"{folder} is a link to another folder") from None
        if not folder.is_dir():
            raise explain(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), folder) from None
        return False
    except OSError as error:
        raise explain(error, folder) from error
    return True


def make_below(folder: Path, parts: Parts) -> bool:
    """Create the folders `parts`, each inside the one before, below `folder`, whose own path may have links; durably.

    Returns whether the last one was missing.  Raises what `make_inside` does.
    """
    root, made = Path(os.path.realpath(folder)), False
    for length in range(1, len(parts) + 1):
        made = make_inside(root, parts[:length])
        if made:
            # Files in it are durable only if its own name is.
            above = root.joinpath(*parts[: length - 1])
            with explained(above):
                sync_folder(above)
    return made


def whole_file_hash(path: Path, size: int, verify: Verify, stop: threading.Event | None = None) -> str | None:
    """Return the SHA-256, in hex, of a file if it has `size` bytes and is complete according to `verify`, else None.

    None also for a link, and for a file that can't be read.  Raises `Stopped` once `stop` is set, `OSError` if too many
    files are open.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return None
        check = BodyCheck(verify, stop)
        with path.open("rb") as file:
            while piece := file.read(CHECK_PIECE):
                check.feed(piece)
        if check.verdict() != "whole":
            check_zip(path, path.name, stop)
    except (OSError, DownloadError) as error:
        if isinstance(error, OSError) and error.errno in TOO_MANY_OPEN:
            raise
        return None
    return check.sha256


def check_zip(file: Path | BinaryIO, name: str, stop: threading.Event | None = None, *, joined: bool = False) -> None:
    """Check a zip archive from end to end, as `Archive.check` does, and close it; errors call it `name`."""
    with Archive(file, name) as archive:
        archive.check(stop or threading.Event(), joined=joined)
