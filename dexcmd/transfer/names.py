"""Names for files, made from what the service says: never a way out of the folder, good on every system."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import cast

from dexcmd.errors import UnsafeFilenameError, one_line
from dexcmd.wire.paths import artifact_name

__all__ = [
    "MOST_NAME_BYTES",
    "MOST_PARTS",
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
    "told_apart",
]

Parts = tuple[str, ...]
"""A path below some folder: the names of folders, and at last the name of a file or a folder."""

MOST_NAME_BYTES = 200
"""File systems allow 255; the rest is for what a part file adds."""

MOST_SUFFIX_BYTES = 16

MOST_PARTS = 32
"""Folders inside folders: a member's name has room for thousands."""

# Separators and drive letters of any system, characters that Windows forbids.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_DRIVE = re.compile(r"[A-Za-z]:")
_UPWARDS = re.compile(r"[. ]*\.[. ]*\.[. ]*")


def final_name(command_id: str, filename: str) -> str:
    """Return the name of the file for an artifact.

    It holds the command's id, which is a UUID, before any other: so whatever the service calls them, artifacts of two
    commands never meet, on any file system, nor does one meet a file that lies beside the other (`.NAME.part`,
    `NAME.sha256`).  A name that has the id of another command first, or is a hidden one, gets its own before it.  Where
    `filename` had to be changed, it also holds a hash of it, for two names can become one by that.  Raises
    `UnsafeFilenameError`.
    """
    digest = hashlib.sha256(f"{command_id}/{filename}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    safe = safe_name(filename)
    name = safe if safe == filename else _marked(safe, digest)
    if _tells(name, command_id):
        return name
    name = safe_name(f"{command_id}-{safe}")
    return name if name == f"{command_id}-{filename}" else _marked(name, digest)


def _tells(name: str, command_id: str) -> bool:
    """Tell whether a name can be of no other command's artifact."""
    if not _UUID.fullmatch(command_id.lower()):
        # None of the service's, but it keeps ids apart that are words.
        return name.startswith(command_id) and not name[len(command_id) :][:1].isalnum()
    _, first = next(ids_in(name), (0, ""))
    return command_id in name and first == command_id.lower() and not name.startswith(".")


def _marked(name: str, digest: str) -> str:
    stem, suffix = _split(name)
    ending = f"~{digest}{suffix}"
    return f"{_cut(stem, MOST_NAME_BYTES - len(ending.encode()))}{ending}"


def outline(name: str) -> str:
    """Return what is the same for all names that are one on some file system.

    They may differ by case, in full (ext4 takes a ligature for its letters), by the way that accents are written, and
    by characters that count for nothing, none of which is ASCII.
    """
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return folded.encode("ascii", "ignore").decode()


def ids_in(name: str) -> Iterator[tuple[int, str]]:
    """Yield where in the outline of a name an id begins, and the id, also of those that overlap."""
    told = outline(name)
    for at in range(len(told)):
        if found := _UUID.match(told, at):
            yield at, found[0]


def safe_name(filename: str) -> str:
    """Return a file name for an artifact that the service calls `filename`.

    What could leave the folder, mislead a reader (control and bidi characters) or fail on some system is
    replaced by `_`. Raises `UnsafeFilenameError` where nothing is left.
    """
    name = cleaned(artifact_name(filename))
    if not name.strip("._"):
        raise UnsafeFilenameError(f"the service names an artifact {filename[:200]!r}")
    return name


def is_place(parts: object, command_id: str) -> bool:
    """Tell whether an artifact may go to `parts`: names that are good as they stand, and at last one with the id."""
    if not isinstance(parts, tuple):
        return False
    found = cast("tuple[object, ...]", parts)
    names = [part for part in found if isinstance(part, str) and part and cleaned(part) == part]
    return 0 < len(names) == len(found) <= MOST_PARTS and command_id in names[-1]


def safe_parts(name: str) -> Parts:
    """Return where below a folder the member goes that an archive calls `name`.

    Separators are those of any system, for either kind is written by somebody.  What misleads a reader or fails on some
    system is replaced as `safe_name` does, empty parts and `.` are left out.  Raises `UnsafeFilenameError` for what
    means another folder (an absolute name, one with a drive, one with `..`) or more than `MOST_PARTS`.
    """
    found = re.split(r"[/\\]", name)
    parts = [part for part in (cleaned(part) for part in found if part not in ("", ".")) if part]
    outside = found[0] == "" or _DRIVE.match(name) or any(_UPWARDS.fullmatch(part) for part in found)
    if outside or not 0 < len(parts) <= MOST_PARTS:
        raise UnsafeFilenameError(f"no place inside a folder: the archive names a member {one_line(name)!r}")
    return tuple(parts)


def told_apart(files: Iterable[Parts], folders: Iterable[Parts]) -> list[Parts]:
    """Return a place for each of `files`, so that no two are one, nor one of `folders` or above a file.

    Names that differ by case or by the way that accents are written are one on some systems, and told apart on all: the
    later gets a number before its suffix.
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
    """Return `name` as the name of a file or a folder, with what misleads or fails replaced; nothing may be left."""
    name = shortened(_trimmed(plain(name)))
    if _RESERVED.fullmatch(name):
        name = shortened(f"_{name}")
    return name


def plain(text: str) -> str:
    """Return `text` with each character replaced that can be in no name, or should not."""
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text)
        # Categories C*: control, format (bidi and zero-width among them), surrogate, private, unassigned.
        text = "".join("_" if unicodedata.category(char)[0] == "C" else char for char in text)
    return _FORBIDDEN.sub("_", text)


def _trimmed(name: str) -> str:
    """Cut what Windows drops from a name's end, and blanks before it."""
    return name.strip(" ").rstrip(". ")


def shortened(name: str, most: int = MOST_NAME_BYTES) -> str:
    """Return a name of at most `most` bytes, with its suffix where that is a short one."""
    if len(name.encode()) <= most:
        return name
    stem, ending = _split(name)
    if len(ending.encode()) >= most:
        stem, ending = name, ""
    kept = _cut(stem, most - len(ending.encode()))
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
