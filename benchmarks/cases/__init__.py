"""The cases, each a module of its name."""

import importlib

from benchmarks.case import Case

__all__ = ["NAMES", "load"]

NAMES = (
    "storm",
    "first-call",
    "decode",
    "decode-devices",
    "walk",
    "walk-devices",
    "create",
    "follow",
    "download",
    "download-tls",
    "many-downloads",
    "many-downloads-tls",
    "journal",
    "sizes",
    "sizes-create",
    "campaign-5000",
    "campaign",
    "kill",
)


def load(name: str) -> Case:
    """Return a case by its name."""
    return importlib.import_module(f"benchmarks.cases.{name.replace('-', '_')}").CASE
