"""Tables as Parquet; needs the extra `chainette[parquet]`."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from chainette.reports.export.tables import Table
from chainette.reports.frames.chunks import chunks, kinds_of, require_pyarrow


def write_parquet(table: Table, path: Path) -> list[str]:
    """Write a table as Parquet, with a type for each column."""
    require_pyarrow()
    import pyarrow.parquet as pq

    if (frames := table.frames()) is not None:
        tables = frames.chunks()
    else:
        tables = chunks(table.lines, kinds_of(table.lines, table.known))
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        for part in chain((first,), tables):
            writer.write_table(part)
    return []
