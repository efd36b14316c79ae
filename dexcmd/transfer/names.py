"""Names for files, made from what the service says: never a way out of the folder, good on every system."""

import hashlib
import re
import unicodedata

from dexcmd.errors import UnsafeFilenameError
from dexcmd.wire.paths import artifact_name

__all__ = ["final_name", "safe_name"]

MOST_NAME_BYTES = 200
"""File systems allow 255; the rest is for what a part file adds."""

MOST_SUFFIX_BYTES = 16

# Separators and drive letters of any system, characters that Windows forbids.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)


def final_name(command_id: str, filename: str) -> str:
    """Return the name of the file for an artifact, which no other artifact gets.

    It holds the command's id.  Where `filename` had to be changed, it also holds a hash of it, for two names can
    become one by that.  Raises `UnsafeFilenameError`.
    """
    name = safe_name(filename)
    if command_id not in name:
        name = safe_name(f"{command_id}-{name}")
    if filename in (name, name.removeprefix(f"{command_id}-")):
        return name
    digest = hashlib.sha256(f"{command_id}/{filename}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    stem, suffix = _split(name)
    ending = f"~{digest}{suffix}"
    return f"{_cut(stem, MOST_NAME_BYTES - len(ending.encode()))}{ending}"


def safe_name(filename: str) -> str:
    """Return a file name for an artifact that the service calls `filename`.

    What could leave the folder, mislead a reader (control and bidi characters) or fail on some system is
    replaced by `_`. Raises `UnsafeFilenameError` where nothing is left.
    """
    name = unicodedata.normalize("NFC", artifact_name(filename))
    # Categories C*: control, format (bidi and zero-width among them), surrogate, private, unassigned.
    name = "".join("_" if unicodedata.category(char)[0] == "C" else char for char in name)
    name = _shortened(_trimmed(_FORBIDDEN.sub("_", name)))
    if _RESERVED.fullmatch(name):
        name = _shortened(f"_{name}")
    if not name.strip("._"):
        raise UnsafeFilenameError(f"the service names an artifact {filename[:200]!r}")
    return name


def _trimmed(name: str) -> str:
    """Cut what Windows drops from a name's end, and blanks before it."""
    return name.strip(" ").rstrip(". ")


def _shortened(name: str) -> str:
    """Return a name of at most `MOST_NAME_BYTES`, with its suffix where that is a short one."""
    if len(name.encode()) <= MOST_NAME_BYTES:
        return name
    stem, ending = _split(name)
    kept = _cut(stem, MOST_NAME_BYTES - len(ending.encode()))
    # The cut may leave a stem whose end is dropped, or one that changes when it is composed anew.
    return _trimmed(f"{_trimmed(kept)}{ending}")


def _split(name: str) -> tuple[str, str]:
    """Return a name's stem, and its suffix with the dot where it has a short one."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > MOST_SUFFIX_BYTES:
        return name, ""
    return stem, f"{dot}{suffix}"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore")
