"""The results of a run, read back from its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, overload

from chainette.errors import FailedRowError
from chainette.folder.lines import read_lines
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.codec import MANY, codecs, unflatten
from chainette.reports.result import Leaf, Many, Result, result_of


class StoredResults(Sequence[Result[Any]]):
    """The results of a run on disk, in input order; read again each time, so memory stays flat.

    Args:
        path: The run's folder.
        chain: The chain that ran.
        count: Number of rows.
    """

    def __init__(self, path: Path, chain: Pipeline, count: int) -> None:
        self._path = path
        self._chain = chain
        self._codecs = codecs(chain)
        self._count = count

    def __len__(self) -> int:
        """The number of rows."""
        return self._count

    def __iter__(self) -> Iterator[Result[Any]]:
        """Read the rows one by one."""
        lines = read_lines(self._path / "flattened")
        for row_id, group in groupby(lines, key=lambda line: int(line["row_id"])):
            yield result_of(self._chain, row_id, [self._leaf(line) for line in group])

    @overload
    def __getitem__(self, index: int) -> Result[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result[Any]]: ...
    def __getitem__(self, index: int | slice) -> Result[Any] | list[Result[Any]]:
        """One row, or several; the files are read from their start."""
        if isinstance(index, slice):
            indexes = range(*index.indices(self._count))
            results = {index: result for index, result in enumerate(self) if index in indexes}
            return [results[index] for index in indexes]
        row = range(self._count)[index]
        return next(islice(iter(self), row, None))

    def _leaf(self, line: dict[str, Any]) -> Leaf:
        """One end of a row, from its line."""
        del line["row_id"]
        path = tuple(int(part) for part in line.pop("item", "").split(".") if part)
        dropped = line.pop("dropped", False)
        values = unflatten(line)
        failure = values.pop("error", None)
        outputs: dict[str, Any] = {}
        for name, value in values.items():
            id = name.removesuffix(MANY)
            load = self._codecs[id].load
            outputs[id] = Many(map(load, value)) if name.endswith(MANY) else load(value)
        error = FailedRowError(failure["message"], type=failure["type"]) if failure else None
        return Leaf(path, outputs, dropped=dropped, error=error)
