"""Tables for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from chainette.run import Run

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
