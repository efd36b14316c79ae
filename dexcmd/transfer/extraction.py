"""Extracts the members of an artifact to a folder, and nothing outside of it."""

import os
import secrets
import threading
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

import attrs

from dexcmd.errors import (
    ArtifactTooLargeError,
    ConfigurationError,
    MemberNotFoundError,
    UnreadableMemberError,
    UnsafeFilenameError,
)
from dexcmd.safe_text import one_line
from dexcmd.threads import raise_if_stopped, run_stoppable
from dexcmd.transfer.files import make_folder, make_inside
from dexcmd.transfer.names import Parts, distinct_paths, safe_parts
from dexcmd.transfer.system import explain, open_private
from dexcmd.transfer.unpacking import Archive, is_folder, is_readable, is_special
from dexcmd.validators import above_zero, as_text, count, several

__all__ = ["ExtractLimits", "extract_members"]

MIB = 1024 * 1024


@attrs.frozen
class ExtractLimits:
    """How much an artifact may unpack to.  An artifact over a limit is refused before anything is written.

    Raises `ConfigurationError` for an invalid value.
    """

    total_bytes: int = attrs.field(default=2048 * MIB, validator=count)
    """Total bytes of the extracted files.  A `warp-diag` bundle contains captures of up to 100 MB."""

    ratio: float = attrs.field(default=200.0, validator=above_zero)
    """The maximum ratio of the files' total size to their size in the archive.

    Logs reach 20, and a log of zeros 1000, the maximum of the usual method; a whole artifact does not.
    """

    ratio_from_bytes: int = attrs.field(default=256 * MIB, validator=count)
    """Up to this total size in bytes any ratio is accepted, as it does no harm."""

    members: int = attrs.field(default=10_000, validator=count)
    """The maximum number of members in the archive, and of files and folders created from them."""


@attrs.frozen
class _Plan:
    """The folders and files to create, decided before any is written."""

    folders: tuple[Parts, ...]
    files: tuple[tuple[zipfile.ZipInfo, Parts], ...]


async def extract_members(
    path: Path, into: Path, names: Iterable[str] | None = None, *, limits: ExtractLimits | None = None
) -> tuple[Path, ...]:
    """Extract all members of a zip archive, or those with exactly the given `names`, to a folder.

    Returns the files, in the order of the archive or of `names`.  The folder is created if missing; files and folders
    are private to the user, whatever the archive says.  Each file gets its name after it was checked, replacing any
    existing file, so extracting twice gives the same result.  Nothing is synced, as it can be extracted again.
    Of several members with one name the last counts.  Names that some system does not accept are changed, and names
    that collide on some system get numbers, identically on every system and whatever `names` says.  Archives
    inside the archive are extracted as files.

    Nothing is written if a member would escape the folder or is a link (`UnsafeFilenameError`), if the limits are
    exceeded (`ArtifactTooLargeError`), a name is missing (`MemberNotFoundError`), a member is encrypted or its
    compression method is unsupported (`UnreadableMemberError`), or members overlap (`InvalidArtifactError`).  A damaged
    member raises `InvalidArtifactError`, a full disk `InsufficientSpaceError`, a link in the folder
    `UnsafeFilenameError`, any other write failure `DownloadError`; then, and after a cancellation, the files extracted
    before stay, and are complete.  If the folder `into` can't be created, `ConfigurationError` is raised.
    """
    wanted = None if names is None else _checked_names(names)
    if not isinstance(limits, ExtractLimits | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"limits must be ExtractLimits, not {limits!r}")
    return await run_stoppable(partial(_extract, path, into, wanted, limits or ExtractLimits()))


def _checked_names(names: object) -> tuple[str, ...]:
    several("names", names, "member names")
    return tuple(dict.fromkeys(as_text("each member name", name) for name in cast("Iterable[object]", names)))


def _extract(
    path: Path, into: Path, names: tuple[str, ...] | None, limits: ExtractLimits, stop: threading.Event
) -> tuple[Path, ...]:
    with Archive(path) as archive:
        plan = _planned(archive, names, limits)
        make_folder(into)
        root = Path(os.path.realpath(into))
        for parts in plan.folders:
            raise_if_stopped(stop)
            make_inside(root, parts)
        for info, parts in plan.files:
            raise_if_stopped(stop)
            _write(archive, info, root.joinpath(*parts), stop)
    return tuple(into.joinpath(*parts) for _, parts in plan.files)


def _planned(archive: Archive, names: tuple[str, ...] | None, limits: ExtractLimits) -> _Plan:
    if len(archive.infos) > limits.members:
        raise ArtifactTooLargeError(f"{archive.name} has {len(archive.infos)} members, more than {limits.members}")
    infos = {info.orig_filename: info for info in archive.infos}
    for name in names or ():
        if name not in infos:
            raise MemberNotFoundError(f"{archive.name} has no member {one_line(name)!r}")
    chosen = [infos[name] for name in (infos if names is None else names)]
    for info in chosen:
        if is_special(info):
            raise UnsafeFilenameError(f"{archive.name}: {one_line(info.orig_filename)} is a link or a device")
        if not is_readable(info):
            raise UnreadableMemberError(
                f"{archive.name}: {one_line(info.orig_filename)} is encrypted, or uses an unsupported compression"
            )
        safe_parts(info.orig_filename)
    places = _places(infos)
    files = [(info, places[info.orig_filename]) for info in chosen if not is_folder(info)]
    _check_sizes(archive, [info for info, _ in files], limits)
    folders = dict.fromkeys(
        parts[:length]
        for parts in (places[info.orig_filename] for info in chosen)
        for length in range(1, len(parts) + 1)
    )
    for _, parts in files:
        del folders[parts]
    if len(files) + len(folders) > limits.members:
        raise ArtifactTooLargeError(f"{archive.name} has more than {limits.members} files and folders")
    return _Plan(tuple(folders), tuple(files))


def _places(infos: dict[str, zipfile.ZipInfo]) -> dict[str, Parts]:
    """Return the path of each member with a safe name; it doesn't depend on which members are extracted."""
    parts_of: dict[str, Parts] = {}
    for name in infos:
        try:
            parts_of[name] = safe_parts(name)
        except UnsafeFilenameError:
            continue
    folders = {name: parts for name, parts in parts_of.items() if is_folder(infos[name])}
    files = {name: parts for name, parts in parts_of.items() if name not in folders}
    return folders | dict(zip(files, distinct_paths(files.values(), folders.values()), strict=True))


def _check_sizes(archive: Archive, infos: list[zipfile.ZipInfo], limits: ExtractLimits) -> None:
    """Compare the sizes in the directory with the limits: reading a member never yields more than that."""
    unpacked, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    if unpacked > limits.total_bytes:
        raise ArtifactTooLargeError(f"{archive.name} unpacks to {unpacked} bytes, more than {limits.total_bytes}")
    if unpacked > limits.ratio_from_bytes and unpacked > limits.ratio * packed:
        raise ArtifactTooLargeError(
            f"{archive.name} unpacks to {unpacked} bytes from {packed}, more than {limits.ratio:g} times as much"
        )
    # The same packed bytes in many members would make the ratio look small.
    archive.check_no_overlap(infos)


def _write(archive: Archive, info: zipfile.ZipInfo, final: Path, stop: threading.Event) -> None:
    part = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    try:
        # Exclusive creation, so that no existing link is followed.
        with open(part, "xb", opener=open_private) as file:
            for piece in archive.pieces(info):
                raise_if_stopped(stop)
                file.write(piece)
        # An existing link is replaced, not followed.
        part.replace(final)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise explain(error, final) from error
        raise
