"""The results of a run, read back from its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, overload

from chainette.errors import FailedRowError
from chainette.folder.files import FLATTENED, VALUES
from chainette.folder.lines import read_lines
from chainette.messages.brief import cut
from chainette.pipeline.nodes.flow import Out
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.reasoning import REASONING
from chainette.reports.codec import MANY, codecs, unflatten, value_codec
from chainette.reports.result import Leaf, Many, Result, result_of
from chainette.reports.stored.names import ColumnNames


class Results(list[Result[Out]]):
    """The results of a run in memory, in input order."""

    def __repr__(self) -> str:
        """The number of rows, and the first of them."""
        more = f", first {self[0]!r}" if self else ""
        return cut(f"<{len(self):,} results{more}>", 280)


class StoredResults(Sequence[Result[Out]]):
    """The results of a run on disk, in input order; read again each time, so memory stays flat.

    Args:
        path: The run's folder.
        chain: The chain that ran.
        count: Number of rows.
    """

    def __init__(self, path: Path, chain: Pipeline[Any, Out], count: int) -> None:
        self._path = path
        self._chain = chain
        self._codecs = codecs(chain)
        self._names = ColumnNames(chain.nodes)
        self._inputs: dict[str, str | None] = {}
        self._last = chain.value_id
        self._value_codec = value_codec(chain) or self._codecs.get(self._last or "")
        self._count = count

    def __len__(self) -> int:
        """The number of rows."""
        return self._count

    def __repr__(self) -> str:
        """The number of rows, and where they are."""
        return f"<{self._count:,} results in {self._path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Let `pickle` have the rows, since to read them again takes the chain."""
        return Results, ([*self],)

    def __iter__(self) -> Iterator[Result[Out]]:
        """Read the rows one by one."""
        values = _Values(self._path / VALUES)
        lines = read_lines(self._path / FLATTENED)
        for row_id, group in groupby(lines, key=lambda line: int(line["row_id"])):
            ends = [(self._taken(line), self._leaf(line, values.find(line))) for line in group]
            yield result_of(self._chain, row_id, [leaf for _, leaf in ends], ends[0][0])

    @overload
    def __getitem__(self, index: int) -> Result[Out]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result[Out]]: ...
    def __getitem__(self, index: int | slice) -> Result[Out] | list[Result[Out]]:
        """One row, or several; the files are read from their start."""
        if isinstance(index, slice):
            indexes = range(*index.indices(self._count))
            results = {index: result for index, result in enumerate(self) if index in indexes}
            return [results[index] for index in indexes]
        row = range(self._count)[index]
        return next(islice(iter(self), row, None))

    def _taken(self, line: dict[str, Any]) -> dict[str, Any]:
        """The input's columns, which are taken out of the line."""
        known = self._inputs
        for name in line.keys() - known.keys():
            known[name] = self._names.input_column(name)
        columns = {name: column for name in line if (column := known[name]) is not None}
        return {column: line.pop(name) for name, column in columns.items()}

    def _leaf(self, line: dict[str, Any], more: dict[str, Any]) -> Leaf:
        """One end of a row, from its lines in the table and among the values."""
        del line["row_id"]
        path = tuple(int(part) for part in line.pop("item", "").split(".") if part)
        dropped, is_partial = line.pop("dropped", False), line.pop("partial", False)
        values = unflatten(line | more.get("before", {}))
        failure = values.pop("error", None)
        kept = values.pop(REASONING, {})
        snapshots = more.get("outputs", {})
        outputs = {
            (id := name.removesuffix(MANY)): self._codecs[id].read_back(
                value, snapshots.get(id), is_many=name.endswith(MANY)
            )
            for name, value in values.items()
        }
        error = FailedRowError(failure["message"], type=failure["type"]) if failure else None
        leaf = Leaf(path, outputs, dropped=dropped, error=error, is_partial=is_partial)
        leaf.reason = more.get("reason")
        leaf.reasoning = _reasoning(kept, more.get(REASONING, {}))
        if leaf.has_value and self._last is not None:
            codec, record = self._value_codec, more.get("value", {})
            assert codec is not None
            leaf.value = codec.read_back(**record) if record else outputs.get(self._last)
        return leaf


def _reasoning(kept: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """The reasoning at an end of a row: that of columns, and that among the values."""
    texts = {id.removesuffix(MANY): text for id, text in kept.items()} | others
    return {
        id: Many(text) if isinstance(text, list) else text
        for id, text in texts.items()
        if text is not None
    }


class _Values:
    """The lines of the values, in the order of the table; few lines of it have one.

    Args:
        folder: The folder of the values.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = read_lines(folder)
        self._next = next(self._lines, None)

    def find(self, line: dict[str, Any]) -> dict[str, Any]:
        """The values that belong to a line of the table; empty if there are none."""
        found = self._next
        if found is None or any(found.get(key) != line.get(key) for key in ("row_id", "item")):
            return {}
        self._next = next(self._lines, None)
        return found
