"""What is done to files: blocking, so called from a thread."""

import errno
import lzma
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from dexcmd.errors import ConfigurationError, InvalidArtifactError
from dexcmd.transfer.checks import BodyCheck, Verify
from dexcmd.transfer.zipstream import ends_with_its_directory

__all__ = ["check_zip", "make_folder", "whole_file_hash"]

CHECK_PIECE = 1024 * 1024

ENCRYPTED = 0x1
KNOWN_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})

# What zipfile and the decompressors raise for damaged archives, each for some flipped bit.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, private to the user (captures are); one that exists is left as it is.

    Raises `ConfigurationError` where there can be no such folder.
    """
    try:
        # `mkdir(parents=True)` would give the mode to the last folder only.
        for missing in reversed([parent for parent in (folder, *folder.parents) if not parent.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"can't make the folder {folder}: {getattr(error, 'strerror', error)}") from error


def whole_file_hash(path: Path, size: int, verify: Verify) -> str | None:
    """Return the sha256, in hex, of a file of `size` bytes that is whole, as far as `verify` asks for.

    None where `path` is none, or a link.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return None
        check = BodyCheck(verify)
        with path.open("rb") as file:
            while piece := file.read(CHECK_PIECE):
                check.feed(piece)
        if check.verdict() != "whole":
            check_zip(path, path.name)
    except (OSError, InvalidArtifactError):
        return None
    return check.sha256


def check_zip(path: Path, name: str) -> None:
    """Read a zip archive, to be called `name`, from end to end.

    Raises `InvalidArtifactError` unless each member's checksum is right.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _read_member(archive, info)
            if not ends_with_its_directory(archive):
                raise zipfile.BadZipFile("there is something behind its end")
    except _DAMAGE as error:
        raise InvalidArtifactError(f"{name}: not a whole zip archive: {error}") from None
    except OSError as error:
        # Damage comes as an OSError, too: one without a number from bz2, and from a seek to before the start.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise InvalidArtifactError(f"{name}: not a whole zip archive: {error}") from None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & ENCRYPTED or info.compress_type not in KNOWN_METHODS:
        # It can't be checked, which is no reason to throw an artifact away.
        return
    with archive.open(info) as member:
        while member.read(CHECK_PIECE):
            pass
