"""Verifies the results of the demo.

Checks the files on disk and the sandbox's own records, without the code that the demo demonstrates.
"""

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from dexcmd.capture import CaptureResult
from dexcmd.errors import CommandFailedError

__all__ = ["Truth", "check_file", "check_folder", "check_results"]

PCAP_MAGIC = frozenset(bytes.fromhex(magic) for magic in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d"))
"""The first bytes of a classic pcap file: either byte order, times in microseconds or nanoseconds."""


@attrs.frozen
class Truth:
    """What the sandbox knows about a command."""

    status: str
    size: int | None
    """Bytes of its artifact."""


def check_results(results: Iterable[CaptureResult], truth: Mapping[str, Truth], targets: int) -> list[str]:
    """Return the problems with the results, in words.

    There must be exactly one result per target and per command of the sandbox, each matching the sandbox's records.
    """
    problems: list[str] = []
    results = list(results)
    if len({result.request.target for result in results}) != len(results) or len(results) != targets:
        problems.append(f"{len(results)} results for {targets} targets")
    named = Counter(None if result.command is None else result.command.id for result in results)
    problems += [f"{command_id}: no result tells of it" for command_id in truth if command_id not in named]
    for result in results:
        if result.command is None or result.command.id is None:
            problems.append(f"{result.request.device_id}: {result.state}: {result.error or result.reason}")
        elif (known := truth.get(result.command.id)) is None or named[result.command.id] > 1:
            problems.append(f"{result.command.id}: not a command of the sandbox, or told of more than once")
        elif problem := _difference(result, known):
            problems.append(f"{result.command.id}: {problem}")
    return problems


def _difference(result: CaptureResult, known: Truth) -> str | None:
    if known.status == "SUCCESS":
        expected = result.state == "saved"
    else:
        expected = known.status == "FAILED" and isinstance(result.error, CommandFailedError)
    if expected:
        return None
    return f"{known.status} in the sandbox, but {result.state}: {result.error}"


def check_folder(results: Iterable[CaptureResult], truth: Mapping[str, Truth], folder: Path) -> list[str]:
    """Return the problems with the files on disk, in words; every file is read from end to end."""
    # Partial files of other commands are from an earlier demo that was interrupted.
    problems = [
        f"{part.name}: half a file was left behind"
        for part in sorted(folder.glob(".*.part"))
        if any(command_id in part.name for command_id in truth)
    ]
    for result in results:
        if result.artifact is not None and result.command is not None:
            known = truth.get(result.command.id or "")
            problem = check_file(result.artifact.path, None if known is None else known.size)
            if problem is not None:
                problems.append(f"{result.artifact.path.name}: {problem}")
    return problems


def check_file(path: Path, size: int | None) -> str | None:
    """Return the problem with the artifact of a packet capture, None if it is whole."""
    try:
        if path.stat().st_size != size:
            return f"{path.stat().st_size} bytes, {size} in the sandbox"
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                return f"{damaged} does not match its checksum"
            captures = [name for name in archive.namelist() if name.endswith(".pcap")]
            for name in captures:
                with archive.open(name) as capture:
                    if capture.read(4) not in PCAP_MAGIC:
                        return f"{name} is no packet capture"
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        return f"can't be read: {error}"
    return None if captures else "no packet capture in it"
