"""Tables as Parquet; needs the extra `chainette[parquet]`."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from chainette.reports.export.tables import Table
from chainette.reports.frames.chunks import chunks, require_pyarrow


def write_parquet(table: Table, path: Path) -> list[str]:
    """Write a table as Parquet, with a type for each column."""
    require_pyarrow()
    import pyarrow.parquet as pq

    tables = chunks(table.lines)
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        for part in chain((first,), tables):
            writer.write_table(part)
    return []
