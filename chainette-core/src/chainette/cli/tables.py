"""Tables and summaries of runs for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain as chained
from itertools import islice
from typing import Any

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from chainette.cli.run_stats import RunStats, plural
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.groups import GroupResult, title_of
from chainette.reports.result import Result
from chainette.reports.run import Counts, Run
from chainette.text import escaped
from chainette.usage import Usage

MAX_ROWS = 25
"""Maximum number of rows in a table; the run's files have all."""
MAX_FAILURES = 5
"""Maximum number of failed rows in a table."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """A plain table; the cells are never read as markup, and cannot control the terminal."""
    grid = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        grid.add_column(Text(escaped(column)), overflow="fold")
    for row in rows:
        grid.add_row(*(Text(escaped(cell)) for cell in row))
    return grid


def answers(run: Run, chain: Pipeline) -> Table:
    """The first rows that did not fail: one column for each step of the chain that yields.

    A cell is empty where its step gave no output, as in a row that was dropped before it.
    """
    found = (result for result in run.results if result.state != "failed")
    results = list(islice(found, MAX_ROWS))
    columns = [id for id, node in chain.row_nodes.items() if node.yield_output]
    rows = [
        [
            _titled(str(it.row_id), it),
            *(_cell(it.outputs[id]) if id in it.outputs else "" for id in columns),
        ]
        for it in results
    ]
    grid = table(["row", *columns], rows)
    grid.show_lines = True
    counts = run.counts
    if left := counts.rows - counts.failed - len(results):
        grid.caption = f"and {plural(left, 'more row')} in the run's files"
    return grid


def group_answers(run: Run, chain: Pipeline) -> Iterator[Table]:
    """The first groups that did not fail, of each `reduce`."""
    for reduce in chain.group_steps:
        found = (group for group in run.groups(reduce) if group.state != "failed")
        groups = list(islice(found, MAX_ROWS))
        columns = [node.id for node in chain.stage_nodes(reduce) if node.yield_output]
        rows = [
            [
                _titled(title_of(it.key), it),
                str(it.size),
                *(_cell(it.outputs[id]) if id in it.outputs else "" for id in columns),
            ]
            for it in groups
        ]
        grid = table([f"by {reduce.key.text}", "items", *columns], rows)
        grid.show_lines = True
        if next(found, None) is not None:
            grid.caption = f"and more in the run's file groups/{reduce.id}.jsonl"
        if groups:
            yield grid


def failures(run: Run, chain: Pipeline) -> Table:
    """The first failed rows and groups with their errors."""
    groups = (
        (f"group {title_of(it.key)}", it.error)
        for reduce in chain.group_steps
        for it in run.groups(reduce)
        if it.error is not None
    )
    found = chained(((str(it.row_id), it.error) for it in run.errors), groups)
    rows = [[name, str(error)] for name, error in islice(found, MAX_FAILURES)]
    left = run.counts.unfinished + run.counts.failed_groups - len(rows)
    noun = "failed rows and groups" if run.counts.failed_groups else "failed rows"
    title = f"{noun} (and {left} more)" if left else noun
    return table(["row", "error"], rows, title)


def summary(run: Run, stats: RunStats) -> str:
    """The summary of a run: counts, tokens, cost, slowest steps and most frequent error."""
    counts, usage = run.counts, sum(run.usage.values(), Usage())
    rows = f"{plural(counts.rows, 'row')} in {run.seconds:.1f} s"
    tokens = f"{usage.prompt_tokens} prompt and {usage.completion_tokens} completion tokens"
    lines = [f"{rows}: {_counted(counts)}; {tokens}, {_cost(run)}"]
    if groups := _groups(run):
        lines.append(groups)
    by_time = sorted(stats.nodes.items(), key=lambda item: -item[1].average)[:3]
    slowest = [f"{id} {node.average:.2f} s" for id, node in by_time if node.average > 0]
    if len(stats.nodes) > 1 and slowest:
        lines.append(f"slowest steps, per item: {', '.join(slowest)}")
    if stats.errors:
        message, count = stats.errors.most_common(1)[0]
        lines.append(f"most frequent error ({count} of {stats.errors.total()}): {message}")
    return "\n".join(escape(escaped(line)) for line in lines)


def _groups(run: Run) -> str:
    """The numbers of groups, and of the rows that are in none; empty without a `reduce`."""
    if not run.group_results:
        return ""
    counts, has_ended = run.counts, run.stopped is None and not run.interrupted
    if not (has_ended or counts.groups):
        return "no groups were made: they need all rows"
    failed = f"{counts.failed_groups} failed"
    failed += f", {counts.dropped_groups} dropped" if counts.dropped_groups else ""
    missing = {"failed": counts.failed, "dropped": counts.dropped}
    left_out = " and ".join(f"{count} {state}" for state, count in missing.items() if count)
    noun = "row is" if counts.failed + counts.dropped == 1 else "rows are"
    return f"{plural(counts.groups, 'group')}, {failed}" + (
        f"; {left_out} {noun} in no group" if left_out else ""
    )


def _titled(name: str, result: Result[Any] | GroupResult[Any]) -> str:
    """The name of a row or group, and its state where that says more."""
    if result.ok:
        return name
    reason = f": {result.drop_reason}" if result.state == "dropped" and result.drop_reason else ""
    return f"{name} ({result.state}{reason})"


def _counted(counts: Counts) -> str:
    """The numbers of rows by state; partial and dropped ones only if there are any."""
    states = {"partial": counts.partial, "dropped": counts.dropped}
    more = "".join(f", {count} {state}" for state, count in states.items() if count)
    tolerated = f" ({plural(counts.tolerated, 'failure')} tolerated)" if counts.tolerated else ""
    return f"{counts.ok} ok{more}, {counts.failed} failed{tolerated}"


def _cost(run: Run) -> str:
    unknown = [id for id, cost in run.costs.items() if cost is None]
    if unknown:
        return f"cost unknown (no price for the model of {', '.join(unknown)})"
    return f"${run.cost or 0:.4f}" if run.cost else "no cost"


def _cell(value: Any) -> str:
    """One line for each field."""
    fields = dict(value) if isinstance(value, BaseModel) else {"": value}
    return "\n".join(
        f"{key}: {_text(item)}" if key else _text(item) for key, item in fields.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    return json.dumps(value, ensure_ascii=False, default=str)
