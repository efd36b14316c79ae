"""What the numbers were measured on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from benchmarks.table import MISSING, markdown_table

__all__ = ["describe_machine"]

PACKAGES = ("dexcmd", "cloudflare", "aiohttp", "httpx", "cattrs", "pydantic", "zlib-ng")


def describe_machine() -> str:
    """Return a table of the machine and the versions of the packages that matter."""
    rows = [
        ["cores", str(len(os.sched_getaffinity(0)))],
        ["system", f"{platform.system()} {platform.machine()}"],
        ["Python", platform.python_version()],
        *[[package, _version(package)] for package in PACKAGES],
    ]
    return markdown_table(["machine", "and versions"], rows)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING
