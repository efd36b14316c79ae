"""Exports, written page by page, so that a campaign of any size takes the memory of one page."""

import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Literal, TextIO, TypeVar

from dexcmd.campaign.export.database import SqliteFile
from dexcmd.campaign.export.newfile import NewFile, RowFile
from dexcmd.campaign.export.pages import pages_of
from dexcmd.campaign.export.parquet import ParquetFile
from dexcmd.campaign.export.schema import ExportRow
from dexcmd.campaign.export.texts import CsvRows, JsonRows, TextFile
from dexcmd.campaign.store import Store
from dexcmd.errors import CampaignError, CampaignNotFoundError, ConfigurationError
from dexcmd.threads import run_to_the_end

__all__ = ["ExportFormat", "export_campaign"]

ExportFormat = Literal["csv", "jsonl", "parquet", "sqlite"]

T = TypeVar("T")

TEXTS: Mapping[str, type[CsvRows] | type[JsonRows]] = {"csv": CsvRows, "jsonl": JsonRows}
FILES: Mapping[str, Callable[[Path], RowFile]] = {
    "csv": partial(TextFile, CsvRows),
    "jsonl": partial(TextFile, JsonRows),
    "parquet": ParquetFile,
    "sqlite": SqliteFile,
}


async def export_campaign(
    store: Store,
    campaign: str,
    destination: str | os.PathLike[str] | TextIO,
    format: ExportFormat,  # noqa: A002 - that is what people call it
    *,
    overwrite: bool = False,
) -> int:
    """Write one row per target and per surplus or foreign command, and return the number of rows.

    A file is private to the user, and appears under its name only when complete: it is written next to it, synced and
    renamed.  An existing file is replaced if `overwrite` is set, unless it is a journal.  A text stream, such as
    `sys.stdout`, takes `csv` and `jsonl`, and is left open; for CSV it has to be opened with `newline=""`.

    The campaign may be running: each row is then as old as the page with which it was read.

    Raises `ConfigurationError` for an unknown format, or one that needs a file, for a file that exists or is a journal,
    for an impossible file name, and if pyarrow is missing for `parquet`; `CampaignNotFoundError` if the journal does
    not have the campaign, and `CampaignError` if the file can't be written.  Errors of a stream are raised as they are.
    """
    if format not in FILES:
        raise ConfigurationError(f"format must be one of {', '.join(FILES)}, not {format!r}")
    record = await store.campaign(campaign)
    if record is None:
        raise CampaignNotFoundError(f"the journal has no campaign {campaign!r}")
    async with aclosing(pages_of(store, record)) as pages:
        if isinstance(destination, str | os.PathLike):
            return await _into_file(pages, Path(destination), FILES[format], overwrite=overwrite)
        if format not in TEXTS:
            raise ConfigurationError(f"{format} requires a file, not a stream")
        return await _into_stream(pages, destination, TEXTS[format])


async def _into_stream(
    pages: AsyncGenerator[list[ExportRow]], stream: TextIO, kind: type[CsvRows] | type[JsonRows]
) -> int:
    written = 0
    rows = await run_to_the_end(lambda: kind(stream))
    async for page in pages:
        await run_to_the_end(partial(rows.write, page))
        written += len(page)
    await run_to_the_end(stream.flush)
    return written


async def _into_file(
    pages: AsyncGenerator[list[ExportRow]], path: Path, opener: Callable[[Path], RowFile], *, overwrite: bool
) -> int:
    written = 0
    new = NewFile(path, overwrite=overwrite)
    try:
        file = await _worked(path, partial(new.open, opener))
        async for page in pages:
            await _worked(path, partial(file.write, page))
            written += len(page)
        await _worked(path, partial(new.put_in_place, file))
    finally:
        await run_to_the_end(new.leave)
    return written


async def _worked(path: Path, step: Callable[[], T]) -> T:
    """Run a step in a thread, to its end, and return its result, with typed errors."""
    try:
        return await run_to_the_end(step)
    except FileExistsError:
        raise ConfigurationError(f"{path} already exists: set overwrite to replace it") from None
    except (OSError, sqlite3.Error) as error:
        raise CampaignError(f"can't write {path}: {getattr(error, 'strerror', None) or error}") from error
