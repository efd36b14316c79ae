"""Rows as Parquet.  Blocking, so meant for threads.  Only this module imports pyarrow, which is an extra."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from dexcmd.campaign.export.schema import COLUMNS, ExportRow, values_of
from dexcmd.errors import ConfigurationError

__all__ = ["ROW_GROUP", "ParquetFile"]

ROW_GROUP = 20_000
"""Rows that are held, at about half a KiB each, and then written together: readers skip or read whole groups."""


class ParquetFile:
    """Typed columns: strings, 64-bit integers, and timestamps in microseconds of UTC."""

    def __init__(self, path: Path) -> None:
        try:
            # pyarrow is untyped.
            self._arrow: Any = import_module("pyarrow")
            parquet: Any = import_module("pyarrow.parquet")
        except ModuleNotFoundError:
            raise ConfigurationError("Parquet requires an optional dependency: pip install 'dexcmd[parquet]'") from None
        self._schema = _schema(self._arrow)
        # Opened here, as pyarrow accepts only UTF-8 file names.
        self._file = path.open("wb")
        try:
            self._writer = parquet.ParquetWriter(self._file, self._schema)
        except BaseException:
            self._file.close()
            raise
        self._batches: list[Any] = []
        self._kept = 0

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Write rows."""
        columns = zip(*map(values_of, rows), strict=True)
        arrays = [self._arrow.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._batches.append(self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._kept += len(rows)
        if self._kept >= ROW_GROUP:
            self._write_group()

    def finish(self) -> None:
        """Write what is left."""
        if self._batches:
            self._write_group()
        self._writer.close()

    def close(self) -> None:
        """Close the file, complete or not."""
        try:
            self._writer.close()
        finally:
            self._file.close()

    def _write_group(self) -> None:
        table = self._arrow.Table.from_batches(self._batches, self._schema)
        self._writer.write_table(table, row_group_size=self._kept)
        self._batches, self._kept = [], 0


def _schema(arrow: Any) -> Any:
    types = {"text": arrow.string(), "integer": arrow.int64(), "time": arrow.timestamp("us", tz="UTC")}
    return arrow.schema(
        arrow.field(column.name, types[column.kind], column.nullable, {"description": column.meaning})
        for column in COLUMNS
    )
