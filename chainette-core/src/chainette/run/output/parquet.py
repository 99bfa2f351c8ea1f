"""The tables of a run as Parquet files; needs the extra `chainette[parquet]`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain as chained
from pathlib import Path
from typing import Any

from chainette.atomic_file import replacing
from chainette.folder.files import FLATTENED, GROUPS, STEPS
from chainette.folder.lines import read_lines, unwritable
from chainette.pipeline.composites.composite import may_split
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.export.tables import group_table, node_table
from chainette.reports.frames.chunks import Known, Lines, chunks, kinds_of, unknown
from chainette.reports.frames.from_arrow import Origin
from chainette.reports.frames.run_frames import RunFrames
from chainette.reports.stored.run_folder import StoredRun
from chainette.reports.stored.schemas import schemas


def frames_of(pipeline: Pipeline[Any, Any], lines: Lines, origin: Origin | None) -> RunFrames:
    """The flattened table of a run as data frames.

    Args:
        pipeline: The chain.
        lines: Reads the lines of the table.
        origin: What is known of the inputs.
    """
    return RunFrames(
        lines,
        schemas=partial(schemas, pipeline),
        yielding=[id for id, node in pipeline.row_nodes.items() if node.yield_output],
        node_ids=[*pipeline.nodes],
        origin=origin,
        splits=may_split(pipeline.steps),
    )


def write_tables(path: Path, pipeline: Pipeline[Any, Any], origin: Origin | None = None) -> None:
    """Write a run's flattened table and its nodes' tables as Parquet, beside their JSON lines.

    Args:
        path: The run's folder.
        pipeline: The chain.
        origin: What is known of the inputs.
    """
    frames = frames_of(pipeline, lambda: read_lines(path / FLATTENED), origin)
    _write(frames.chunks(), path / "flattened.parquet")
    run = StoredRun(path)
    for id in run.reduce_ids:
        target = path / GROUPS / f"{id}.jsonl"
        if target.exists():
            write_table(group_table(run, id).lines, target.with_suffix(".parquet"))
    for id in pipeline.nodes:
        table = node_table(run, id)
        write_table(table.lines, path / STEPS / f"{id}.parquet", table.known)


def write_table(lines: Lines, target: Path, known: Known = unknown) -> None:
    """Write lines as a Parquet file.

    Args:
        lines: Reads the lines.
        target: The file.
        known: Says what kind a column has.
    """
    _write(chunks(lines, kinds_of(lines, known)), target)


def _write(tables: Iterator[Any], target: Path) -> None:
    import pyarrow.parquet as pq

    first = next(tables)
    try:
        with replacing(target) as draft, pq.ParquetWriter(draft, first.schema) as writer:
            for table in chained((first,), tables):
                writer.write_table(table)
    except OSError as error:
        raise unwritable(target, error) from None
