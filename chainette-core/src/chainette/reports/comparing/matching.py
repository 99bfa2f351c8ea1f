"""The rows of two runs that belong together."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chainette.errors import ConfigError, InputError
from chainette.folder.files import FLATTENED
from chainette.folder.lines import value_or_none
from chainette.reports.comparing.values import folded, identity, text_of
from chainette.reports.stored.run_folder import StoredRun
from chainette.text import did_you_mean

Line: TypeAlias = dict[str, Any]
Pair: TypeAlias = tuple[Line | None, Line | None]
"""The lines of a row in both runs; `None` where a run does not have it."""
_MAX_LISTED = 5
_BITS = 48
"""Bits of a place that are the offset in its file; those above are the file's number."""


@dataclass(slots=True)
class Unmatched:
    """What could not be matched.

    Attributes:
        without_id: Lines of the first and of the second run that have no id.
        alike: Ids of the first run that have no equal in the second, and one that is equal as text
            without its case and the space around it.
    """

    without_id: list[int] = field(default_factory=lambda: [0, 0])
    alike: int = 0


def by_row(first: StoredRun, second: StoredRun) -> Iterator[Pair]:
    """The rows of two runs over the same inputs, in their order; none is kept in memory."""
    tagged = heapq.merge(_tagged(first, 0), _tagged(second, 1), key=lambda it: it[:2])
    waiting: tuple[Any, Line] | None = None
    for place, side, line in tagged:
        if side == 0:
            if waiting is not None:
                yield waiting[1], None
            waiting = place, line
        elif waiting is not None and waiting[0] == place:
            yield waiting[1], line
            waiting = None
        else:
            yield None, line
    if waiting is not None:
        yield waiting[1], None


def _tagged(run: StoredRun, side: int) -> Iterator[tuple[Any, int, Line]]:
    """The lines of a run with their places, which are in order."""
    last: Any = (-1, ())
    for line in run.lines():
        place = line["row_id"], item_path(line)
        if place <= last:
            raise InputError(
                f"{run.path}: the lines of its table are not in the order of its rows; resume the "
                "run to write it again (resume=True)"
            )
        last = place
        yield place, side, line


def item_path(line: Line) -> tuple[int, ...]:
    """The path of a line's item among its siblings."""
    item = line.get("item")
    return tuple(map(int, item.split("."))) if item else ()


def check_same_inputs(first: StoredRun, second: StoredRun) -> None:
    """Refuse to match by row id where the same number may not mean the same row.

    Raises:
        ConfigError: The inputs are others, or it is not known that they are the same.
    """
    digests = [run.manifest.get("inputs", {}).get("sha256") for run in (first, second)]
    if digests[0] is not None and digests[0] == digests[1]:
        return
    unknown = [str(run.path) for run, it in zip((first, second), digests, strict=True) if not it]
    reason = f"the inputs of {' and '.join(unknown)} could be read only once" if unknown else ""
    raise ConfigError(
        f"{first.path} and {second.path}: {reason or 'these runs have different inputs'}, so the "
        "number of a row does not say that it is the same one: name a column of the inputs that "
        "identifies a row (on='id')"
    )


def input_columns(run: StoredRun) -> dict[str, str]:
    """The names in the table of the inputs' columns, by their own names; of its first rows."""
    found: dict[str, str] = {}
    for number, line in enumerate(run.lines()):
        for name in line:
            own = run.names.input_column(name)
            if own is not None:
                found.setdefault(own, name)
        if number == 99:
            break
    return found


def input_column(run: StoredRun, name: str, option: str) -> str:
    """The column of the table that has a column of the inputs.

    Raises:
        ConfigError: The table does not have it.
    """
    columns = input_columns(run)
    if name in columns:
        return columns[name]
    known = ", ".join(columns) or "none"
    raise ConfigError(
        f"{option}: the table of {run.path} has no input column {name!r}"
        f"{did_you_mean(name, columns)}; it has: {known}; a run keeps the columns "
        "that keep names"
    )


class ById:
    """The rows of two runs by a column of their inputs.

    The ids of the second run are in memory, and no rows.

    Args:
        first: A run.
        second: Another run.
        on: The column's name in the inputs.
        fold: Whether ids are compared without their case and the space around them.

    Attributes:
        unmatched: What could not be matched, once all pairs were read.

    Raises:
        ConfigError: A run does not have the column.
    """

    def __init__(self, first: StoredRun, second: StoredRun, on: str, fold: bool) -> None:
        self._fold = fold
        self._runs = first, second
        self._columns = [input_column(run, on, "on") for run in self._runs]
        self._on = on
        self.unmatched: Unmatched = Unmatched()

    def pairs(self) -> Iterator[Pair]:
        """The rows, in the order of the first run; then those of the second alone.

        Raises:
            InputError: Two rows have the same id.
        """
        self.unmatched = Unmatched()
        lines = _PlacedLines(self._runs[1])
        try:
            places = self._index(1, lines.places())
            own = self._index(0, ((line, None) for line in self._runs[0].lines()))
            yield from self._matched(lines, places)
        finally:
            lines.close()
        yield from self._others(own)

    def _matched(self, lines: _PlacedLines, places: Mapping[Any, Any]) -> Iterator[Pair]:
        """The rows of the first run, with those of the second."""
        self._alike: set[str] = set()
        for line in self._runs[0].lines():
            key = self._key(0, line)
            if key is None or key not in places:
                if key is not None:
                    self._alike.add(folded(line[self._columns[0]]))
                yield line, None
            else:
                yield line, lines.read(places[key])

    def _others(self, own: Mapping[Any, Any]) -> Iterator[Pair]:
        """The rows of the second run alone."""
        for line in self._runs[1].lines():
            key = self._key(1, line)
            if key is None or key not in own:
                if key is not None and folded(line[self._columns[1]]) in self._alike:
                    self.unmatched.alike += 1
                yield None, line

    def _key(self, side: int, line: Line) -> Any:
        """What identifies a line: its id, and its item if it has one; `None` without an id."""
        value = line.get(self._columns[side])
        if value is None:
            return None
        id, item = identity(folded(value) if self._fold else value), line.get("item")
        return ("item", id, item) if item else id

    def _index(self, side: int, lines: Iterator[tuple[Line, Any]]) -> dict[Any, Any]:
        """The places of a run's lines by what identifies them."""
        found: dict[Any, Any] = {}
        rows: dict[Any, int] = {}  # of rows that were split
        twice: list[str] = []
        for line, place in lines:
            key = self._key(side, line)
            if key is None:
                self.unmatched.without_id[side] += 1
            elif key in found or _is_of_other(rows, found, key, line):
                twice.append(text_of(line[self._columns[side]]))
            else:
                found[key] = place
        if twice:
            listed = ", ".join([*dict.fromkeys(twice)][:_MAX_LISTED])
            raise InputError(
                f"{self._runs[side].path}: {self._on!r} does not identify a row, since ids occur "
                f"more than once: {listed[:200]}"
            )
        return found


def _is_of_other(rows: dict[Any, int], found: Mapping[Any, Any], key: Any, line: Line) -> bool:
    """Whether another row has an id; the items of a split row share theirs."""
    if not line.get("item"):
        return key in rows
    return key[1] in found or rows.setdefault(key[1], line["row_id"]) != line["row_id"]


class _PlacedLines:
    """The lines of a run's table, which can be read from their places.

    Args:
        run: The run.
    """

    def __init__(self, run: StoredRun) -> None:
        self._paths = sorted((run.path / FLATTENED).glob("*.jsonl"))
        self._files = [path.open("rb") for path in self._paths]

    def places(self) -> Iterator[tuple[Line, int]]:
        """All lines that are whole, with their places."""
        for number, file in enumerate(self._files):
            place = 0
            for content in file:
                line = value_or_none(content)
                if isinstance(line, dict) and isinstance(line.get("row_id"), int):
                    yield line, number << _BITS | place
                place += len(content)

    def read(self, place: int) -> Line:
        """The line at a place."""
        file = self._files[place >> _BITS]
        file.seek(place & ((1 << _BITS) - 1))
        found: Line = value_or_none(file.readline())
        return found

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
