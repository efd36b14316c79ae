"""Safe file names for the names that the service gives: inside the folder, and valid on every system."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import cast

from dexcmd.errors import UnsafeFilenameError
from dexcmd.safe_text import one_line
from dexcmd.wire.paths import artifact_name

__all__ = [
    "MAX_NAME_BYTES",
    "MAX_PARTS",
    "Parts",
    "cleaned",
    "final_name",
    "ids_in",
    "is_place",
    "outline",
    "plain",
    "safe_name",
    "safe_parts",
    "shortened",
    "distinct_paths",
]

Parts = tuple[str, ...]
"""A path below some folder: the names of folders, then the name of a file or folder."""

MAX_NAME_BYTES = 200
"""File systems allow 255; the rest is reserved for what the names of part and state files add."""

MAX_SUFFIX_BYTES = 16

MAX_PARTS = 32
"""The maximum depth of a path: a member's name has room for thousands of folders."""

# Separators and drive letters of any system, and characters that Windows forbids.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OVERLAPPING_UUIDS = re.compile(f"(?=({_UUID.pattern}))")

_DRIVE = re.compile(r"[A-Za-z]:")
_UPWARDS = re.compile(r"[. ]*\.[. ]*\.[. ]*")


def final_name(command_id: str, filename: str) -> str:
    """Return the file name for an artifact.

    The first id that it contains is the command's own, a UUID.  So whatever the service calls them, artifacts of two
    commands never collide on any file system, nor with each other's companion files (`.NAME.part`, `NAME.sha256`).  A
    name that begins with another command's id, or is hidden, is prefixed with its own.  If `filename` had to be
    changed, the name also contains a hash of it, since two names could become equal.  Raises `UnsafeFilenameError`.
    """
    digest = hashlib.sha256(f"{command_id}/{filename}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    safe = safe_name(filename)
    name = safe if safe == filename else _marked(safe, digest)
    if _is_unambiguous(name, command_id):
        return name
    name = safe_name(f"{command_id}-{safe}")
    return name if name == f"{command_id}-{filename}" else _marked(name, digest)


def _is_unambiguous(name: str, command_id: str) -> bool:
    """Tell whether a name can't be that of another command's artifact."""
    if not _UUID.fullmatch(command_id.lower()):
        # Not one of the service's ids, but this distinguishes ids that are words.
        return name.startswith(command_id) and not name[len(command_id) :][:1].isalnum()
    _, first = next(ids_in(name), (0, ""))
    return command_id in name and first == command_id.lower() and not name.startswith(".")


def _marked(name: str, digest: str) -> str:
    stem, suffix = _split(name)
    ending = f"~{digest}{suffix}"
    return f"{_cut(stem, MAX_NAME_BYTES - len(ending.encode()))}{ending}"


def outline(name: str) -> str:
    """Return a key that is equal for all names that some file system considers equal.

    They may differ in case (with full case folding: ext4 treats a ligature as its letters), in the encoding of accents,
    and in ignored characters, none of which is ASCII.
    """
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return folded.encode("ascii", "ignore").decode()


def ids_in(name: str) -> Iterator[tuple[int, str]]:
    """Yield the position and text of each id in the outline of a name, including overlapping ones."""
    for found in _OVERLAPPING_UUIDS.finditer(outline(name)):
        yield found.start(), found[1]


def safe_name(filename: str) -> str:
    """Return a safe file name for an artifact that the service calls `filename`.

    Characters that could lead out of the folder, mislead a reader (control and bidi characters) or fail on some system
    are replaced by `_`.  Raises `UnsafeFilenameError` if nothing is left.
    """
    name = cleaned(artifact_name(filename))
    if not name.strip("._"):
        raise UnsafeFilenameError(f"the service sent an unusable artifact name: {filename[:200]!r}")
    return name


def is_place(parts: object, command_id: str) -> bool:
    """Tell whether `parts` is a valid path for an artifact: safe names, the last of which contains the id."""
    if not isinstance(parts, tuple):
        return False
    found = cast("tuple[object, ...]", parts)
    names = [part for part in found if isinstance(part, str) and part and cleaned(part) == part]
    return 0 < len(names) == len(found) <= MAX_PARTS and command_id in names[-1]


def safe_parts(name: str) -> Parts:
    """Return the path below a folder for the member that an archive calls `name`.

    The separators of all systems count, as archives use either.  Characters that mislead a reader or fail on some
    system are replaced as in `safe_name`; empty parts and `.` are left out.  Raises `UnsafeFilenameError` for a name
    that leads elsewhere (absolute, with a drive, or with `..`) or has more than `MAX_PARTS`.
    """
    found = re.split(r"[/\\]", name)
    parts = [part for part in (cleaned(part) for part in found if part not in ("", ".")) if part]
    outside = found[0] == "" or _DRIVE.match(name) or any(_UPWARDS.fullmatch(part) for part in found)
    if outside or not 0 < len(parts) <= MAX_PARTS:
        raise UnsafeFilenameError(f"the archive has an unsafe member name: {one_line(name)!r}")
    return tuple(parts)


def distinct_paths(files: Iterable[Parts], folders: Iterable[Parts]) -> list[Parts]:
    """Return a path for each of `files`, so that they are distinct from each other, from `folders` and from parents.

    Names that differ only in case or in the encoding of accents are equal on some systems, so on all systems the later
    one gets a number before its suffix.
    """
    files = list(files)
    taken = {above for parts in files for above in _above(_key(parts))}
    for parts in folders:
        key = _key(parts)
        taken.update((key, *_above(key)))
    last: dict[Parts, int] = {}
    places: list[Parts] = []
    for parts in files:
        key, place = _key(parts), parts
        while _key(place) in taken:
            last[key] = last.get(key, 1) + 1
            bare = PurePosixPath(parts[-1])
            place = (*parts[:-1], f"{bare.stem}-{last[key]}{bare.suffix}")
        taken.add(_key(place))
        places.append(place)
    return places


def _above(parts: Parts) -> list[Parts]:
    return [parts[:length] for length in range(1, len(parts))]


def _key(parts: Parts) -> Parts:
    return tuple(unicodedata.normalize("NFD", unicodedata.normalize("NFD", part).casefold()) for part in parts)


def cleaned(name: str) -> str:
    """Return `name` as a file or folder name, with misleading or invalid characters replaced; it may become empty."""
    name = shortened(_trimmed(plain(name)))
    if _RESERVED.fullmatch(name):
        name = shortened(f"_{name}")
    return name


def plain(text: str) -> str:
    """Return `text` with each character replaced that can't or shouldn't be in a name."""
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text)
        # Categories C*: control, format (including bidi and zero-width), surrogate, private, unassigned.
        text = "".join("_" if unicodedata.category(char)[0] == "C" else char for char in text)
    return _FORBIDDEN.sub("_", text)


def _trimmed(name: str) -> str:
    """Strip what Windows drops from the end of a name, and leading blanks."""
    return name.strip(" ").rstrip(". ")


def shortened(name: str, most: int = MAX_NAME_BYTES) -> str:
    """Shorten a name to at most `most` bytes, keeping its suffix if that is short."""
    if len(name.encode()) <= most:
        return name
    stem, ending = _split(name)
    if len(ending.encode()) >= most:
        stem, ending = name, ""
    kept = _cut(stem, most - len(ending.encode()))
    # After the cut, the end of the stem may need stripping as well.
    return _trimmed(f"{_trimmed(kept)}{ending}")


def _split(name: str) -> tuple[str, str]:
    """Split a name into its stem and its suffix with the dot, which is empty unless it is short."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > MAX_SUFFIX_BYTES:
        return name, ""
    return stem, f"{dot}{suffix}"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore")
