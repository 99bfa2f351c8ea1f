"""The results of a run, read back from its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice
from pathlib import Path
from typing import Any, overload

from chainette.errors import FailedRowError
from chainette.folder.lines import item_name, read_lines
from chainette.folder.resume_index import ResumeIndex
from chainette.pipeline.nodes.flow import Out
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.codec import MANY, OutputCodec, codecs, unflatten
from chainette.reports.result import Leaf, Many, Result, result_of


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
        self._count = count

    def __len__(self) -> int:
        """The number of rows."""
        return self._count

    def __iter__(self) -> Iterator[Result[Out]]:
        """Read the rows one by one."""
        lines = read_lines(self._path / "flattened")
        with closing(_LastOutputs(self._path, self._chain, self._codecs)) as last:
            for row_id, group in groupby(lines, key=lambda line: int(line["row_id"])):
                leaves = [self._leaf(line) for line in group]
                for leaf in leaves:
                    leaf.value = last.find(row_id, leaf)
                yield result_of(self._chain, row_id, leaves)

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


class _LastOutputs:
    """The outputs of the chain's last step, from the table or, if it has none, from the journal.

    Args:
        path: The run's folder.
        chain: The chain that ran.
        codecs: The codecs of its nodes.
    """

    def __init__(self, path: Path, chain: Pipeline, codecs: dict[str, OutputCodec]) -> None:
        self._id = chain.main_ids[-1] if chain.main_ids else ""
        self._load = codecs[self._id].load if self._id else None
        self._index: ResumeIndex | None = None
        if self._id and not chain.nodes[self._id].yield_output:
            self._index = ResumeIndex(path, [self._id], retry_errors=True)

    def find(self, row_id: int, leaf: Leaf) -> Any:
        """The output at one end of a row."""
        if self._index is None or self._load is None or not leaf.has_value:
            return leaf.outputs.get(self._id)
        line = self._index.find(self._id, row_id, item_name(leaf.path))
        if line is not None:
            return self._load(line["output"])
        line = self._index.find(self._id, row_id, item_name(leaf.path[:-1]))  # it split the item
        return self._load(line["output"][leaf.path[-1]]) if line else None

    def close(self) -> None:
        """Forget the journal."""
        if self._index is not None:
            self._index.close()
