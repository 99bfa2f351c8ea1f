"""The lines of a run, counted once; its rows are read again where the page is written."""

from __future__ import annotations

import re
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from chainette.folder.files import CALLS, ERRORS, FLATTENED, STEPS
from chainette.folder.lines import names_item, value_or_none
from chainette.reports.page.fields import Field
from chainette.reports.page.tallies import Moments, Numbers
from chainette.reports.stored.items import depths
from chainette.reports.stored.names import has_error
from chainette.reports.stored.run_folder import StoredRun

STATES = ("dropped", "ok", "failed", "partial")
"""The states of rows by the sum of what their ends have: 1 for a value, 2 for an error."""
_BUFFERED = 4_096
_SHIFT = 44
_CONSTANT = ("filter", "distinct")
"""Kinds of nodes that drop all items for one reason, which may be an expression with numbers."""
REASONS = 500
"""Different reasons of failures that are told apart."""
_PLACES = re.compile(r"\b(rows?|items?|lines?|columns?|position|char|call|round) \d+[\d.]*")
_NUMBERS = re.compile(r"\d{4,}|\d+\.\d+")


def lines_in(folder: Path) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """The lines of numbered files, or of one: the place of each, its bytes, and its content."""
    paths = [folder] if folder.is_file() else sorted(folder.glob("*.jsonl"))
    for number, path in enumerate(paths):
        offset = 0
        with path.open("rb") as file:
            for line in file:
                value = value_or_none(line)
                if value.__class__ is dict and (
                    value.get("row_id").__class__ is int or names_item(value)
                ):
                    yield (number << _SHIFT) + offset, line, value
                offset += len(line)


class LinePlaces:
    """The places of lines by their rows, 16 bytes each.

    Args:
        folder: A folder of numbered files, or one file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows, self._places = array("q"), array("q")
        self._files: dict[int, BinaryIO] = {}
        self._readline: Callable[[], bytes] = bytes
        self._at = -1  # the place of the line that is read next
        self._next = 0

    def add(self, row_id: int, place: int) -> None:
        """Add the place of a line."""
        self._rows.append(row_id)
        self._places.append(place)

    def sort(self) -> None:
        """Put the rows in order; the lines of each stay in theirs."""
        if any(a > b for a, b in zip(self._rows, self._rows[1:], strict=False)):
            order = sorted(range(len(self._rows)), key=self._rows.__getitem__)
            self._rows = array("q", map(self._rows.__getitem__, order))
            self._places = array("q", map(self._places.__getitem__, order))

    def __len__(self) -> int:
        """The number of lines."""
        return len(self._rows)

    def rewind(self) -> None:
        """Begin with the first row again."""
        self._next = 0

    def take(self, row_id: int) -> list[bytes]:
        """The lines of a row; rows are asked for in their order."""
        rows, index, end = self._rows, self._next, len(self._rows)
        while index < end and rows[index] < row_id:
            index += 1
        self._next, found = index, []
        while index < end and rows[index] == row_id:
            found.append(self._read(self._places[index]))
            index += 1
        return found

    def _read(self, place: int) -> bytes:
        if place != self._at:
            self._seek(place)
        line = self._readline()
        self._at = place + len(line)
        return line

    def _seek(self, place: int) -> None:
        number, offset = place >> _SHIFT, place & ((1 << _SHIFT) - 1)
        file = self._files.get(number)
        if file is None:
            is_one = self._folder.is_file()
            path = self._folder if is_one else sorted(self._folder.glob("*.jsonl"))[number]
            file = self._files[number] = path.open("rb")
        file.seek(offset)
        self._readline = file.readline

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._at = -1


class NodeTally:
    """What the lines of a node say.

    Attributes:
        lines: How many there are.
        kinds: How many of each kind there are, such as `skipped`.
        prompt: Tokens of prompts.
        completion: Tokens of answers.
        latency: Seconds that answers took.
        cost: US dollars, as far as they are known.
        unknown: Answers whose cost is not known.
        flags: How often lines have `cached`, `truncated` and the like.
        buffered: Lines that `flush` has yet to count.
    """

    def __init__(self) -> None:
        self.lines: int = 0
        self.kinds: Counter[str] = Counter()
        self.prompt: Numbers = Numbers()
        self.completion: Numbers = Numbers()
        self.latency: Numbers = Numbers()
        self.cost: float = 0.0
        self.unknown: int = 0
        self.flags: Counter[str] = Counter()
        self.times: list[float] = []
        self._buffers: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        self.buffered: int = 0

    def add(self, line: Mapping[str, Any], *, is_call: bool = False) -> None:
        """Count a line of the node, or of one of its calls."""
        self.buffered += 1
        if not is_call:
            self.lines += 1
            if (kind := line.get("kind")) is not None:
                self.kinds[kind] += 1
        if "calls" not in line:  # each of them has a line of its own
            self._add_request(line)

    def _add_request(self, line: Mapping[str, Any]) -> None:
        if "cost" in line:
            if line["cost"] is None:
                self.unknown += 1
            else:
                self.cost += float(line["cost"])
        prompt, completion, latency = self._buffers
        if usage := line.get("usage"):
            prompt.append(usage.get("prompt_tokens", 0))
            completion.append(usage.get("completion_tokens", 0))
        if (seconds := line.get("latency")) is not None:
            latency.append(seconds)
        if (moment := line.get("at")) is not None:
            self.times.append(moment)
        for flag in ("cached", "truncated", "prompt_cut"):
            if flag in line:
                self.flags[flag] += 1
        if (requests := line.get("requests", 1)) > 1:
            self.flags["asked again"] += requests - 1

    def flush(self) -> None:
        """Count what is buffered."""
        for numbers, values in zip(
            (self.prompt, self.completion, self.latency), self._buffers, strict=True
        ):
            numbers.update(values)
            values.clear()
        self.times.clear()
        self.buffered = 0


class Scan:
    """What the lines of a run say together.

    Args:
        run: The run.
        rows: Maximum rows of the table that are shown, whose lines are found again.

    Attributes:
        fields: The values by the column of the table that they are in, in its order.
        lines: Lines of the table.
        shown: Those of them that are shown.
        last_row: The last row that is shown.
        states: Rows by state.
        nodes: What the lines of each node say.
        moments: When answers came.
        failures: How often items failed, by node, type and message, and whether it was tolerated.
        dropped: How often items were dropped, by node and reason.
        places: The lines of each node, of `errors.jsonl` too, by row.
    """

    def __init__(self, run: StoredRun, rows: int) -> None:
        self._run = run
        self._limit = rows
        self.fields: dict[str, Field] = {}
        self.lines: int = 0
        self.shown: int = 0
        self.last_row: int = -1
        self.states: Counter[str] = Counter()
        self.nodes: dict[str, NodeTally] = {}
        self.moments: Moments = Moments()
        self.failures: Counter[tuple[str, str, str, bool]] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.places: dict[str, LinePlaces] = {}
        self._read_table()
        for id in run.node_ids:
            self._read_node(id)
        self._read_errors()
        for line in run.dropped():
            id, reason = line.get("node_id") or "", line.get("reason") or "(no reason given)"
            is_own = run.nodes.get(id, {}).get("kind") in _CONSTANT
            self.dropped[id, reason if is_own else _short(reason)] += 1

    def _read_table(self) -> None:
        row, bits, depth = -1, 0, {"item": sys.maxsize, **depths(self._run)}
        buffers: dict[str, list[Any]] = {}
        counted: dict[str, list[str]] = {}  # of a row, the item whose value was counted, by column
        for _, _, line in lines_in(self._run.path / FLATTENED):
            if line["row_id"] != row:
                self._count_row(row, bits)
                row, bits = line["row_id"], 0
                counted.clear()
            bits |= bits_of(line)
            self.lines += 1
            if self.lines <= self._limit:
                self.shown, self.last_row = self.lines, row
            path = line["item"].split(".") if "item" in line else None
            for name, value in line.items():
                values = buffers.get(name)
                if values is None:
                    values = buffers[name] = self._buffer(name)
                if path is not None:
                    item = path[: depth.get(_node_of(name), 0)]
                    if counted.get(name) == item:
                        continue
                    counted[name] = item
                values.append(value)
            if not self.lines % _BUFFERED:
                self._count_values(buffers)
        self._count_values(buffers)
        self._count_row(row, bits)

    def _count_values(self, buffers: Mapping[str, list[Any]]) -> None:
        for name, values in buffers.items():
            self.fields[name].extend(values)
            values.clear()

    def _buffer(self, name: str) -> list[Any]:
        """The values of a new column that are counted later, together."""
        self.fields[name] = self._field(name)
        return []

    def _count_row(self, row: int, bits: int) -> None:
        if row >= 0:
            self.states[STATES[bits]] += 1

    def _field(self, name: str) -> Field:
        """The values of a column, with what the chain's types say about them."""
        id, _, key = name.partition(".")
        schema = self._run.schema(id.removesuffix("[]"))
        definitions = schema.get("$defs", {})
        if key:
            schema = _properties(schema, definitions).get(key, {})
        elif id.endswith("[]"):
            schema = {"type": "array", "items": schema}
        return Field(schema, definitions)

    def _read_node(self, id: str) -> None:
        tally = self.nodes[id] = NodeTally()
        for name in (id, id + CALLS):
            folder = self._run.path / STEPS / name
            places = self.places[name] = LinePlaces(folder)
            for place, _, line in lines_in(folder):
                tally.add(line, is_call=name != id)
                row_id = line.get("row_id")
                if row_id is not None and row_id <= self.last_row:
                    places.add(row_id, place)
                if tally.buffered >= _BUFFERED:
                    self._flush(id, tally)
            places.sort()
        self._flush(id, tally)

    def _flush(self, id: str, tally: NodeTally) -> None:
        if tally.times:
            self.moments.update(id, tally.times)
        tally.flush()

    def _read_errors(self) -> None:
        path = self._run.path / ERRORS
        places = self.places[ERRORS] = LinePlaces(path)
        if not path.exists():
            return
        for place, _, line in lines_in(path):
            reason = _short(str(line.get("message") or ""))
            node, kind = line.get("node_id") or "", line.get("type") or ""
            key = (node, kind, reason, bool(line.get("tolerated")))
            if key not in self.failures and len(self.failures) >= REASONS:
                key = (node, kind, "(other messages)", key[3])
            self.failures[key] += 1
            if (row_id := line.get("row_id")) is not None and row_id <= self.last_row:
                places.add(row_id, place)
        places.sort()


@cache
def _node_of(name: str) -> str:
    return name.partition(".")[0]


def bits_of(line: Mapping[str, Any]) -> int:
    """What an end of a row has; see `STATES`."""
    if has_error(line):
        return 3 if line.get("partial") else 2
    return 0 if line.get("dropped") else 1


def _properties(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        schema = definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
    found: Mapping[str, Any] = schema.get("properties", {})
    return found


def _short(text: str) -> str:
    """The start of a message without the numbers that differ from row to row."""
    start = _NUMBERS.sub("#", _PLACES.sub(r"\1 #", " ".join(text[:400].split())))
    return start[:200] + ("…" if len(start) > 200 or len(text) > 400 else "")
