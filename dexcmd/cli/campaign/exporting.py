"""Exports a campaign as a table."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TextIO

from dexcmd.amounts import counted
from dexcmd.campaign.export.write import ExportFormat, export_campaign
from dexcmd.cli.campaign.finding import opened
from dexcmd.cli.common import Common
from dexcmd.cli.exits import OK
from dexcmd.cli.signals import run_until_stopped
from dexcmd.cli.stderr import note
from dexcmd.errors import ConfigurationError

__all__ = ["format_of", "run_export"]

ENDINGS: dict[str, ExportFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}


def format_of(chosen: ExportFormat | None, output: Path | None, *, as_json: bool) -> ExportFormat:
    """Return the format: the chosen one, or that of the output's extension.  Raises `ConfigurationError`."""
    if chosen is None and output is not None and (extension := output.suffix.lower()):
        if extension not in ENDINGS:
            known = ", ".join(ENDINGS)
            raise ConfigurationError(f"{output}: no format has this extension: use --format, or one of {known}")
        return ENDINGS[extension]
    found = chosen or ("jsonl" if as_json else "csv")
    if output is None and found in ("parquet", "sqlite"):
        raise ConfigurationError(f"{found} can't be written to stdout: name a file with --output")
    return found


def run_export(
    common: Common,
    journal: Path | None,
    name: str,
    chosen: ExportFormat | None,
    output: Path | None,
    *,
    overwrite: bool,
) -> int:
    """Write one row per target, and return the exit code.  Raises `DexError`."""
    kind = format_of(chosen, output, as_json=common.json)

    async def work() -> int:
        async with opened(name, journal) as campaign:
            export = partial(export_campaign, campaign.store, name, format=kind, overwrite=overwrite)
            return await export(_stdout() if output is None else output)

    if output is not None and output.exists() and not overwrite:
        raise ConfigurationError(f"{output} already exists: --overwrite replaces it")
    rows = run_until_stopped(work)
    if output is not None:
        note(f"{counted(rows, 'row')} in {output}")
    return OK


def _stdout() -> TextIO:
    """Return stdout, set up for an export: UTF-8 everywhere, and without translation of line ends."""
    stream: TextIO = sys.stdout
    # A replacement of stdout may lack this method.
    reconfigure: Callable[..., object] | None = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", newline="")
    return stream
