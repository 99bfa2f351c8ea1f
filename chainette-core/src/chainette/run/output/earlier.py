"""Earlier runs in which nothing is left to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from chainette.folder.files import ERRORS, FLATTENED, GROUPS, MANIFEST, VALUES, lines_size
from chainette.folder.lines import read_file, read_lines
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.frames.from_arrow import Origin
from chainette.reports.groups import stored_groups
from chainette.reports.results import StoredResults
from chainette.reports.run import Counts, ItemCounts, Run
from chainette.run.options import RunOptions
from chainette.run.output.parquet import frames_of
from chainette.usage import Usage


def selection(options: RunOptions) -> dict[str, Any]:
    """The part of the inputs that a run takes, and how it reads them, for its manifest."""
    columns = dict(options.columns) if options.columns is not None else None
    is_utf_8 = (options.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")
    encoding = None if is_utf_8 else options.encoding
    reading = {"encoding": encoding, "delimiter": options.delimiter}
    return {
        "limit": options.limit,
        "sample": options.sample,
        "columns": columns,
        **{name: value for name, value in reading.items() if value is not None},
    }


def complete_run(
    path: Path,
    pipeline: Pipeline,
    fields: Mapping[str, Any],
    options: RunOptions,
    origin: Origin | None = None,
) -> Run | None:
    """The earlier run in a folder, if it has an end for every row that is asked for.

    Args:
        path: The folder.
        pipeline: The chain.
        fields: The manifest of the run that resumes it; its chain and inputs are the same.
        options: Its options.
        origin: What is known of its inputs.
    """
    if not options.resume or options.retry_errors or options.force:
        return None
    if fields["inputs"]["sha256"] is None or not (path / MANIFEST).exists():
        return None
    try:
        found = _complete_run(path, pipeline, fields, options)
    except (OSError, LookupError, TypeError, ValueError):  # files that something has changed
        return None
    if found is None:
        return None
    return replace(found, frames=frames_of(pipeline, found.lines, origin))


def _complete_run(
    path: Path, pipeline: Pipeline, fields: Mapping[str, Any], options: RunOptions
) -> Run | None:
    earlier = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if earlier["fingerprint"]["chain"] != fields["fingerprint"]["chain"]:
        return None  # the tables may show other outputs
    if earlier.get("keep", "none") != fields["keep"]:
        return None  # the tables have other columns
    if not (_is_complete(earlier, selection(options)) and _is_whole(path, earlier)):
        return None
    if options.fmt == "parquet" and not (path / "flattened.parquet").exists():
        return None
    if not all((path / GROUPS / f"{it.id}.jsonl").exists() for it in pipeline.group_steps):
        return None
    counts = Counts(**earlier["counts"])
    costs = earlier["cost_usd_by_step"]
    return Run(
        results=StoredResults(path, pipeline, counts.rows),
        counts=counts,
        usage={id: Usage(**usage) for id, usage in earlier["usage_by_step"].items()},
        path=path,
        costs={id: None if it is None else Decimal(str(it)) for id, it in costs.items()},
        lines=partial(read_lines, path / FLATTENED),
        nothing_to_do=True,
        node_ids=(*pipeline.nodes,),
        items={
            id: ItemCounts(it["in"], it["out"], it["dropped"])
            for id, it in earlier.get("items", {}).items()
        },
        group_results=stored_groups(path, pipeline),
    )


def _is_complete(earlier: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an earlier run has finished, and took the rows that are wanted."""
    taken = earlier.get("selection")
    if earlier.get("status") != "finished" or taken is None:
        return False
    if taken == wanted:
        return True
    if taken["columns"] != wanted["columns"] or taken["sample"] or wanted["sample"]:
        return False
    rows, limit = earlier["counts"]["rows"], wanted["limit"]
    has_all = taken["limit"] is None or rows < taken["limit"]
    return has_all or (limit is not None and limit <= rows)


def _is_whole(path: Path, earlier: Mapping[str, Any]) -> bool:
    """Whether the files of a run are as it left them, and can be read."""
    if earlier.get("bytes") != lines_size(path):
        return False
    broken: list[str] = []
    for folder in (path / FLATTENED, path / VALUES, *(path / "steps").iterdir()):
        for _ in read_lines(folder, broken.append):
            pass
    for file in (path / ERRORS, *(path / GROUPS).glob("*.jsonl")):
        for _ in read_file(file, broken.append):
            pass
    return not broken
