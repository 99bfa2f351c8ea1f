"""The rows of a run, read again one by one, with all that is known about each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from typing import Any

from chainette.folder.files import CALLS, ERRORS, FLATTENED
from chainette.folder.lines import encoded, value_or_none
from chainette.pipeline.reasoning import REASONING
from chainette.reports.page.document import Column, Row
from chainette.reports.page.prompts import Prompts
from chainette.reports.page.scan import STATES, Scan, bits_of, lines_in
from chainette.reports.stored.run_folder import StoredRun

COLUMNS = 200
"""Columns of the table; a row that is opened has all of its values."""
_LEFT_OUT = ("row_id", "snapshot", "batch", "inputs")
"""Fields of a line that nobody reads."""
_MESSAGE = "error.message"
_OWN = ("row_id", "item", "partial", "dropped")
Line = dict[str, Any]


class RunRows:
    """The rows of a run's table.

    Args:
        run: The run.
        scan: What its lines say together.

    Attributes:
        left_out: The number of columns that the table does not have, since there are too many.
    """

    def __init__(self, run: StoredRun, scan: Scan) -> None:
        self._run, self._scan = run, scan
        self._prompts = Prompts(run)
        names = [it for it in scan.fields if it not in _OWN and not it.startswith("error.")]
        self._names = names[:COLUMNS]
        self.left_out: int = len(names) - len(self._names)
        self._has_items = "item" in scan.fields
        self._has_errors = _MESSAGE in scan.fields
        engines = {id: node.get("engine") for id, node in run.nodes.items()}
        self._titles = {
            id: f"{node.get('name') or id}" + (f" · {engines[id]}" if engines[id] else "")
            for id, node in run.nodes.items()
        }

    @property
    def columns(self) -> list[Column]:
        """The columns: the row, the inputs, the answers, and what they took."""
        taken = {*self._names}
        found = [Column("row_id", "number", "run", about="0-based index of the input row")]
        if self._has_items:
            found.append(Column("item", "text", "run", about="place among the items of the row"))
        states = [it for it in ("ok", "partial", "dropped", "failed") if self._scan.states[it]]
        found.append(Column(_free("state", taken), "state", "run", states))
        found += [self._column(name) for name in self._names]
        if self._has_errors:
            found.append(Column(_MESSAGE, "text", "run"))
        took = {"tokens": "of prompts and answers", "cost": "US dollars", "seconds": "of answers"}
        return found + [
            Column(_free(name, taken), "number", "run", about=about) for name, about in took.items()
        ]

    def _column(self, name: str) -> Column:
        field = self._scan.fields[name]
        column = self._run.names.input_column(name)
        if column is not None:
            return Column(name, field.kind, "input", field.options, f"input {column}")
        if name.startswith(f"{REASONING}."):
            return Column(name, "text", "answer")
        return Column(name, field.kind, "answer", field.options)

    def __iter__(self) -> Iterator[Row]:
        """Read the rows one by one."""
        places = {id: it for id, it in self._scan.places.items() if len(it)}
        lines = islice(lines_in(self._run.path / FLATTENED), self._scan.shown)
        row_id, found = -1, {}
        with ExitStack() as closing:
            for it in places.values():
                it.rewind()
                closing.callback(it.close)
            for _, raw, line in lines:
                if line["row_id"] != row_id:
                    row_id = line["row_id"]
                    found = {id: its for id, it in places.items() if (its := it.take(row_id))}
                yield self._row(raw, line, found)

    def _row(self, raw: bytes, line: Line, found: Mapping[str, Sequence[bytes]]) -> Row:
        path = line.get("item", "")
        steps: dict[str, list[Line]] = {}
        for id, its in found.items():
            read = [value for it in its if (value := value_or_none(it)) is not None]
            if self._has_items:
                read = [it for it in read if _concerns(it, path)]
            steps[id] = read
        tokens, cost, seconds = _taken(chain.from_iterable(steps.values()))
        get = line.get
        values: list[Any] = [line["row_id"]]
        if self._has_items:
            values.append(path or None)
        values.append(STATES[bits_of(line)])
        values += map(get, self._names)
        if self._has_errors:
            values.append(get(_MESSAGE))
        values += (tokens, cost, seconds)
        return Row(values, self._parts(raw, line, steps))

    def _parts(self, raw: bytes, line: Line, steps: dict[str, list[Line]]) -> bytes:
        """What is shown of a row, as JSON."""
        title = f"Row {line['row_id']}" + (f", item {line['item']}" if "item" in line else "")
        head = encoded({"title": title, "split": True})[:-1]
        parts: list[Line] = []
        for error in steps.pop(ERRORS, ()):
            node = error.get("node_id") or "the input"
            part: Line = {"title": f"Failed: {self._titles.get(node, node)}", "error": error}
            self._add_prompt(part, node, error, line, steps)
            parts.append(part)
        for id, its in steps.items():
            node = id.removesuffix(CALLS)
            for it in its:
                part = {"title": self._titles[node], "line": it}
                if node != id:
                    part["title"] += " · call"
                else:
                    self._add_prompt(part, id, it, line, steps)
                parts.append(part)
        for part in parts:
            _strip(part["line"] if "line" in part else part["error"])
        rest = b"," + encoded(parts)[1:] if parts else b"]"
        return b'[%b,"values":%b}%b' % (head, raw.rstrip(b"\n"), rest)

    def _add_prompt(
        self, part: Line, id: str, line: Line, row: Line, steps: Mapping[str, list[Line]]
    ) -> None:
        prompt = self._prompts.of(id, line, row, steps)
        if prompt is not None:
            part["prompt"] = prompt


def _free(name: str, taken: set[str]) -> str:
    """A name for a column of the run that no column of the table has."""
    while name in taken:
        name += " of the run"
    return name


def _concerns(line: Line, path: str) -> bool:
    """Whether a line is about an item, about what it was split from, or about its parts."""
    item = line.get("item", "")
    return not item or item == path or f"{path}.".startswith(f"{item}.") or _is_part(item, path)


def _is_part(item: str, path: str) -> bool:
    return not path or item.startswith(f"{path}.")


def _strip(line: Line) -> None:
    """Take out of a line what is shown elsewhere, or to nobody."""
    for name in _LEFT_OUT:
        line.pop(name, None)
    if line.get("text") is not None:
        line.pop("output", None)
    if line.get("latency") is not None:
        line["latency"] = round(line["latency"], 3)
    if line.get("at") is not None:
        line["at"] = int(line["at"])


def _taken(lines: Iterable[Line]) -> tuple[int | None, float | None, float | None]:
    """Tokens, dollars and seconds of lines; `None` where they have none, or one is not known."""
    tokens, cost, seconds = 0, 0.0, 0.0
    has_tokens = has_cost = has_seconds = False
    is_known = True
    for line in lines:
        if "calls" in line:  # each of them has a line of its own
            continue
        if usage := line.get("usage"):
            has_tokens = True
            tokens += usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
        if "cost" in line:
            has_cost = True
            if line["cost"] is None:
                is_known = False
            else:
                cost += float(line["cost"])
        if (taken := line.get("latency")) is not None and line.get("requests") != 0:
            has_seconds = True
            seconds += taken
    return (
        tokens if has_tokens else None,
        float(f"{cost:.4g}") if has_cost and is_known else None,
        round(seconds, 3) if has_seconds else None,
    )
