"""The tables of a run as Parquet files; needs the extra `chainette[parquet]`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain as chained
from pathlib import Path
from typing import Any

from chainette.atomic_file import replacing
from chainette.folder.files import FLATTENED, GROUPS
from chainette.folder.lines import read_file, read_lines, unwritable
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.codec import flatten
from chainette.reports.frames import Lines, chunks


def write_tables(path: Path, pipeline: Pipeline[Any, Any]) -> None:
    """Write a run's flattened table and its nodes' tables as Parquet, beside their JSON lines.

    Args:
        path: The run's folder.
        pipeline: The chain.
    """
    write_table(lambda: read_lines(path / FLATTENED), path / "flattened.parquet")
    for reduce in pipeline.group_steps:
        table = path / GROUPS / f"{reduce.id}.jsonl"
        if table.exists():
            write_table(partial(_group_lines, table, reduce.last.id), table.with_suffix(".parquet"))
    for id in pipeline.nodes:
        folder = path / "steps" / id
        write_table(partial(_node_lines, folder), folder.with_suffix(".parquet"))


def write_table(lines: Lines, target: Path) -> None:
    """Write lines as a Parquet file.

    Args:
        lines: Reads the lines; see `chunks`.
        target: The file.
    """
    import pyarrow.parquet as pq

    tables = chunks(lines)
    first = next(tables)
    try:
        with replacing(target) as draft, pq.ParquetWriter(draft, first.schema) as writer:
            for table in chained((first,), tables):
                writer.write_table(table)
    except OSError as error:
        raise unwritable(target, error) from None


def _group_lines(table: Path, node_id: str) -> Iterator[dict[str, Any]]:
    for line in read_file(table):
        outputs = {node_id: line["output"]} if "output" in line else {}
        outputs |= line.get("outputs", {})
        error = {"error": line["error"]} if "error" in line else {}
        names = ("key", "row_ids", "size", "item", "partial", "dropped", "reason")
        own = {name: line[name] for name in names if name in line}
        yield own | flatten(outputs | error, line.get("many", ()))


def _node_lines(folder: Path) -> Iterator[dict[str, Any]]:
    for line in read_lines(folder, lambda place: None):
        line.pop("snapshot", None)
        nested = {key: line.pop(key) for key in ("output", "usage") if key in line}
        yield line | flatten({key: value for key, value in nested.items() if value is not None})
