"""Real file systems of a few MB, mounted for a test: a tmpfs, and an ext4 in an image.

Mounting takes root.  Where that is refused the tests say so and are left out; where `CI` is set they fail instead, so
that nobody takes them for run.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

MIB = 1024 * 1024
DISK = 12 * MIB
IMAGE = 16 * MIB


@contextmanager
def mounted(kind: str, **options: str) -> Iterator[Path]:
    """Mount a file system of its own; raises `CalledProcessError` or `OSError` where that is refused."""
    with tempfile.TemporaryDirectory() as home:
        folder, image = Path(home, "disk"), Path(home, "image")
        folder.mkdir()
        if kind == "tmpfs":
            settings = ",".join(f"{name}={value}" for name, value in {"size": str(DISK), **options}.items())
            command = ["mount", "-t", "tmpfs", "-o", settings, "tmpfs", str(folder)]
        else:
            with image.open("wb") as file:
                file.truncate(IMAGE)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, capture_output=True)
            command = ["mount", "-o", "loop", str(image), str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        try:
            yield folder
        finally:
            # Lazily: a file that a test has left open must not hide what the test says of it.
            subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have a mounted file system refuse all writing."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True, capture_output=True)


def why_not(kind: str) -> str | None:
    """Return why such a file system can't be mounted here, None where it can."""
    try:
        with mounted(kind):
            return None
    except subprocess.CalledProcessError as error:
        return error.stderr.decode(errors="replace").strip() or str(error)
    except OSError as error:
        return str(error)


def _parameter(kind: str) -> Any:
    refused = why_not(kind)
    marks = [] if refused is None else [pytest.mark.skip(reason=f"no {kind} can be mounted: {refused}")]
    return pytest.param(kind, marks=marks)


KINDS = TMPFS, EXT4 = _parameter("tmpfs"), _parameter("ext4")
"""The kinds of file system, as parameters of a test."""
