"""Tables for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from chainette.cli.run_stats import RunStats
from chainette.reports.run import Run
from chainette.usage import Usage

SHOWN = 25
"""Rows in a table; all of them are in the run's files."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """A plain table; the cells are never read as markup."""
    made = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        made.add_column(Text(column), overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def answers(run: Run) -> Table:
    """The first rows that succeeded: one column for each step that yields."""
    shown = list(islice((result for result in run.results if result.ok), SHOWN))
    columns = list(shown[0].outputs)
    rows = [[str(item.row_id), *(_cell(item.outputs[id]) for id in columns)] for item in shown]
    left = run.counts.ok - len(shown)
    made = table(["row", *columns], rows)
    made.show_lines = True
    if left:
        made.caption = f"and {left} more rows in the run's files"
    return made


def failures(run: Run) -> Table:
    """The first rows that failed, and why."""
    shown = list(islice(run.errors, 5))
    rows = [[str(item.row_id), str(item.error)] for item in shown]
    left = run.counts.failed - len(shown)
    title = f"failed rows (and {left} more)" if left else "failed rows"
    return table(["row", "error"], rows, title)


def summary(run: Run, stats: RunStats) -> str:
    """The sum of a run: counts, tokens, cost, what was slow and what failed most."""
    counts, usage = run.counts, sum(run.usage.values(), Usage())
    lines = [
        f"{counts.rows} rows in {run.seconds:.1f} s: {counts.ok} ok, {counts.failed} failed; "
        f"{usage.prompt_tokens} prompt and {usage.completion_tokens} completion tokens, "
        f"{_cost(run)}"
    ]
    slow = sorted(stats.nodes.items(), key=lambda item: -item[1].average)[:3]
    if len(stats.nodes) > 1 and (slowest := [item for item in slow if item[1].average > 0]):
        shown = ", ".join(f"{id} {node.average:.2f} s" for id, node in slowest)
        lines.append(f"slowest steps, an item: {shown}")
    if stats.errors:
        message, count = stats.errors.most_common(1)[0]
        lines.append(f"most frequent error, {count} times: {message}")
    return "\n".join(escape(line) for line in lines)


def _cost(run: Run) -> str:
    unknown = [id for id, cost in run.costs.items() if cost is None]
    if unknown:
        return f"cost unknown (no price for the model of {', '.join(unknown)})"
    return f"${run.cost or 0:.4f}" if run.cost else "no cost"


def _cell(value: Any) -> str:
    """One field a line."""
    fields = dict(value) if hasattr(value, "model_fields") else {"": value}
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
