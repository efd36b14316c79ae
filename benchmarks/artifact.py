"""An artifact to be served: a zip of any size, made quickly."""

import os
import zipfile
from pathlib import Path

from benchmarks.usage import MIB

__all__ = ["write_artifact"]

MEMBER = 64 * MIB


def write_artifact(path: Path, size: int) -> None:
    """Write a zip of about `size` bytes with members that are stored, as what is captured hardly compresses."""
    content = os.urandom(min(size, MEMBER))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, start in enumerate(range(0, size, MEMBER)):
            archive.writestr(f"capture-{number}.pcap", content[: size - start])
