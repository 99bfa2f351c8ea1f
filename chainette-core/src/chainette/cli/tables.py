"""Tables and summaries of runs for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain as chained
from itertools import groupby, islice
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from chainette.cli.shown.wording import worded
from chainette.messages.numbers import plural
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.groups import GroupResult, title_of
from chainette.reports.result import Many, Result
from chainette.reports.run import Counts, ItemCounts, Run
from chainette.run.progress.stats import RunStats
from chainette.text import escaped, printable
from chainette.usage import Usage

MAX_ROWS = 5
"""Maximum number of rows in a table; the run's files have all."""
MAX_FAILURES = 5
"""Maximum number of failed rows in a table."""
CELL_LINES = 12
"""Maximum number of lines of a cell."""
REASON = 40
"""Maximum number of characters of the reason why a row was dropped."""
FIELD_LINES = 4
"""Maximum number of lines of a field, or of one of several items, in a cell."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """A plain table; the cells are never read as markup, and cannot control the terminal."""
    grid = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        grid.add_column(Text(escaped(column)), overflow="fold")
    for row in rows:
        grid.add_row(*(Text(escaped(cell)) for cell in row))
    return grid


def answers(run: Run, chain: Pipeline, width: int = 80) -> Table:
    """The first rows that did not fail: one column for each step of the chain that yields.

    A cell is empty where its step gave no output, as in a row that was dropped before it.

    Args:
        run: The run.
        chain: Its chain.
        width: Width of the terminal.
    """
    found = (result for result in run.results if result.state != "failed")
    results = list(islice(found, MAX_ROWS))
    columns = [id for id, node in chain.row_nodes.items() if node.yield_output]
    inputs = any(getattr(it, "inputs", None) for it in results)
    cells = _Cells(columns, width, beside=1 + inputs)
    rows = [
        [_titled(str(it.row_id), it), *(cells.inputs(it) if inputs else ()), *cells.of(it)]
        for it in results
    ]
    grid = table(["row", *(["input"] if inputs else ()), *columns], rows)
    grid.show_lines = True
    counts = run.counts
    if left := counts.rows - counts.failed - len(results):
        grid.caption = f"and {plural(left, 'more row')} in the run's files"
    return grid


def group_answers(run: Run, chain: Pipeline, width: int = 80) -> Iterator[Table]:
    """The first groups that did not fail, of each `reduce`; see `answers`."""
    for reduce in chain.group_steps:
        found = (group for group in run.groups(reduce) if group.state != "failed")
        groups = list(islice(found, MAX_ROWS))
        columns = [node.id for node in chain.stage_nodes(reduce) if node.yield_output]
        cells = _Cells(columns, width)
        rows = [[_titled(_key(it, reduce), it), str(it.size), *cells.of(it)] for it in groups]
        label = f"by {reduce.key.text}" if reduce.key.parts else "group"
        grid = table([label, "items", *columns], rows)
        grid.show_lines = True
        if next(found, None) is not None:
            grid.caption = f"and more in the run's file groups/{reduce.id}.jsonl"
        if groups:
            yield grid


def failures(run: Run, chain: Pipeline) -> Table:
    """The first failed rows and groups with their errors."""
    groups = (
        (f"group {_key(it, reduce)}", it.error)
        for reduce in chain.group_steps
        for it in run.groups(reduce)
        if it.error is not None
    )
    found = chained(((str(it.row_id), it.error) for it in run.errors), groups)
    rows = [[name, worded(error) if error else ""] for name, error in islice(found, MAX_FAILURES)]
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
    if items := "; ".join(_items(id, counts) for id, counts in run.items.items()):
        lines.append(f"items: {items}")
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


def _items(id: str, counts: ItemCounts) -> str:
    """The numbers of items of a function."""
    dropped = f" ({counts.dropped} dropped)" if counts.dropped else ""
    return f"{id} {counts.taken} → {counts.given}{dropped}"


def _key(group: GroupResult[Any], reduce: Reduce[Any, Any]) -> str:
    """The key of a group; there is none where all rows are one."""
    return title_of(group.key) if reduce.key.parts else "all rows"


def _titled(name: str, result: Result[Any] | GroupResult[Any]) -> str:
    """The name of a row or group, and its state where that says more."""
    if result.ok:
        return name
    reason = ""
    if result.state == "dropped" and result.drop_reason:
        reason = f": {_cut(printable(result.drop_reason), REASON, 1)}"
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


class _Cells:
    """The cells of rows and groups, as long as there is room for.

    Args:
        columns: The ids of the nodes.
        width: Width of the terminal.
        beside: Number of other columns.
    """

    def __init__(self, columns: Sequence[str], width: int, *, beside: int = 1) -> None:
        self._columns = columns
        self._width = max(width // (len(columns) + beside), 16)

    def inputs(self, result: Any) -> Iterator[str]:
        """The cell of a row's inputs, one line for each column."""
        fields = getattr(result, "inputs", {}).items()
        parts = [_cut(f"{name}: {_text(it)}", self._width, FIELD_LINES) for name, it in fields]
        yield _cut("\n".join(parts), self._width, CELL_LINES)

    def of(self, result: Result[Any] | GroupResult[Any]) -> Iterator[str]:
        """The cells of a row or group."""
        for id in self._columns:
            value = result.outputs.get(id, "")
            is_many = isinstance(value, Many) or (result.is_split and isinstance(value, list))
            parts = self._of_items(value) if is_many else self._of_value(value)
            yield _cut("\n".join(parts), self._width, CELL_LINES)

    def _of_items(self, values: Sequence[Any]) -> Iterator[str]:
        """The outputs for the items of a split; those that are equal once."""
        runs = [(text, len([*them])) for text, them in groupby(map(_text, values))]
        if len(runs) == 1:
            yield from self._of_value(values[0])
            return
        left = CELL_LINES
        for index, (text, count) in enumerate(runs):
            times = f" ({count} times)" if count > 1 else ""
            shown = _cut(text, self._width, FIELD_LINES) + times
            left -= _height(shown, self._width)
            if left < (index < len(runs) - 1):
                rest = sum(it for _, it in runs[index:])
                yield f"… and {plural(rest, 'more item')}"
                return
            yield shown

    def _of_value(self, value: Any) -> Iterator[str]:
        """One line for each field, or for each entry of a list of models."""
        if isinstance(value, BaseModel):
            parts = [f"{name}: {_text(it)}" for name, it in value]
        elif isinstance(value, list) and any(isinstance(it, BaseModel) for it in value):
            parts = [_text(it) for it in value]
        else:
            return (yield _cut(_text(value), self._width, CELL_LINES))
        yield from (_cut(part, self._width, FIELD_LINES) for part in parts)


def _cut(text: str, width: int, most: int) -> str:
    """A text that takes at most a number of lines of a width; what is missing is an ellipsis."""
    kept: list[str] = []
    left = most
    for line in text.split("\n"):
        if not left:
            return "\n".join([*kept[:-1], kept[-1].removesuffix("…") + "…"])
        if cell_len(line) > left * width:
            return "\n".join([*kept, set_cell_size(line, left * width - 1).rstrip() + "…"])
        kept.append(line)
        left -= _height(line, width)
    return text


def _height(text: str, width: int) -> int:
    """The number of lines of a width that a text takes."""
    return sum(max(1, -(-cell_len(line) // width)) for line in text.split("\n"))


def _text(value: Any) -> str:
    """A text as it is, texts with commas between them, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    try:
        value = to_jsonable_python(value, bytes_mode="base64", fallback=str)
    except ValueError:  # such as half a surrogate pair
        return str(value)
    return json.dumps(value, ensure_ascii=False)
