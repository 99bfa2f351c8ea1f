"""The flattened table of a run, and the values that it does not give back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from chainette.errors import OutputDirError
from chainette.folder.files import RunFolder
from chainette.folder.lines import LineFiles, Mark
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.reasoning import REASONING
from chainette.reports.codec import MANY, codecs, flatten, value_codec
from chainette.reports.result import NOTHING, Leaf, Many, error_columns
from chainette.reports.stored.names import ColumnNames
from chainette.run.control import RunControl
from chainette.run.item import Item

EVERY = 0.1
"""Seconds after which lines are handed to the operating system."""
_logger = logging.getLogger(__name__)


class InputColumns:
    """The input's columns under the names that they have in the table.

    Args:
        node_ids: The ids of the chain's nodes.
    """

    def __init__(self, node_ids: Collection[str]) -> None:
        self._names = ColumnNames(node_ids)
        self._same: set[str] = set()
        self._renamed: dict[str, str] = {}

    def named(self, columns: Mapping[str, Any]) -> Mapping[str, Any]:
        """The columns of a row; one whose name is taken gets another."""
        if columns.keys() <= self._same:
            return columns
        if new := [it for it in columns if it not in self._same and it not in self._renamed]:
            self._learn(new)
        return {self._renamed.get(name, name): value for name, value in columns.items()}

    def _learn(self, columns: Iterable[str]) -> None:
        names = {column: self._names.of_input(column) for column in columns}
        renamed = {column: name for column, name in names.items() if column != name}
        self._same |= names.keys() - renamed.keys()
        self._renamed |= renamed
        if renamed:
            _logger.warning(
                "names of the inputs' columns are taken; in tables, %s",
                ", ".join(f"{column!r} is {name!r}" for column, name in renamed.items()),
            )


class TableLines:
    """The ends of rows as lines of the flattened table.

    Args:
        pipeline: The chain.
        inputs: The input's columns of the rows that are in flight; `None` where none are kept.

    Attributes:
        may_have_values: Whether a line of it may not give all outputs back.
    """

    def __init__(
        self, pipeline: Pipeline, inputs: Mapping[int, Mapping[str, Any]] | None = None
    ) -> None:
        self._pipeline = pipeline
        self._inputs = inputs
        self._input_columns = InputColumns(pipeline.nodes)
        self._codecs = codecs(pipeline)
        self._uncertain = {id for id, codec in self._codecs.items() if not codec.is_certain}
        self._kept = [step.id for step in pipeline.prompted if step.keep_reasoning]
        self._splits = {
            id
            for id, node in pipeline.nodes.items()
            if isinstance(node, ApplyNode) and node.types.splits is not False
        }
        self._last = pipeline.value_id
        is_plain = self._last is None or self._last == pipeline.main_ids[-1]
        yields_last = self._last is None or (is_plain and pipeline.nodes[self._last].yield_output)
        self._value_codec = value_codec(pipeline)
        has_others = self._value_codec is not None or not yields_last
        self.may_have_values: bool = bool(self._uncertain) or has_others

    def line(self, row_id: int, leaf: Leaf) -> dict[str, Any]:
        """The flattened line of a row, or of one of its items."""
        columns, many = self._columns(leaf, is_before=False)
        if leaf.error is not None:
            columns["error"] = error_columns(leaf)
            if leaf.is_partial:
                columns["partial"] = True
        if leaf.dropped:
            columns["dropped"] = True
        fields = Item(row_id, leaf.path).key
        if self._inputs is not None:
            fields |= self._input_columns.named(self._inputs.get(row_id, NOTHING))
        fields |= flatten(columns, many)
        for id in () if leaf.dropped else self._kept:
            text = leaf.reasoning.get(id)
            fields[f"{REASONING}.{id}{MANY if isinstance(text, Many) else ''}"] = text
        return fields

    def _columns(self, leaf: Leaf, *, is_before: bool) -> tuple[dict[str, Any], list[str]]:
        """The outputs of an end by id, and the ids of those that are of several items.

        Of what was dropped, only the functions that split a row have columns, which say what item
        it is; the other outputs are those before it was dropped.
        """
        values = {id: leaf.outputs[id] for id in self._pipeline.nodes if id in leaf.outputs}
        if leaf.dropped:
            shown = self._splits if leaf.path else ()
            values = {id: it for id, it in values.items() if (id not in shown) is is_before}
        many = [id for id, value in values.items() if isinstance(value, Many)]
        return {id: self._codecs[id].dump(value) for id, value in values.items()}, many

    def values(self, row_id: int, leaf: Leaf) -> dict[str, Any]:
        """What the flattened line of an end of a row does not give back, if there is anything."""
        outputs = {
            id: snapshot
            for id, value in leaf.outputs.items()
            if id in self._uncertain
            if (snapshot := self._codecs[id].snapshot_or_lost(value)) is not None
        }
        fields: dict[str, Any] = {"outputs": outputs} if outputs else {}
        last = self._last
        if last is not None and leaf.has_value and leaf.outputs.get(last, self) is not leaf.value:
            codec = self._value_codec or self._codecs[last]
            snapshot = codec.snapshot_or_lost(leaf.value)
            fields["value"] = {"output": codec.dump(leaf.value), "snapshot": snapshot}
        in_table = () if leaf.dropped else self._kept
        if rest := {id: it for id, it in leaf.reasoning.items() if id not in in_table}:
            fields[REASONING] = rest
        if leaf.dropped and leaf.reason:
            fields["reason"] = leaf.reason
        if leaf.dropped and (before := self._columns(leaf, is_before=True))[0]:
            fields["before"] = flatten(*before)
        return {**Item(row_id, leaf.path).key, **fields} if fields else fields


class Table:
    """The files of the flattened table, written as rows and their items end.

    Args:
        lines: Makes the lines.
        folder: The run's folder.
        control: Told when the files cannot be written.
    """

    def __init__(self, lines: TableLines, folder: RunFolder, control: RunControl) -> None:
        self._lines = lines
        self._folder = folder
        self._control = control
        self._is_flushing = self._is_closed = False
        self._row_starts: dict[LineFiles, Mark] = {}

    def write(self, row_id: int, leaf: Leaf) -> None:
        """Write the next end of a row.

        Raises:
            OutputDirError: It cannot be written.
        """
        self._flush_soon()
        if leaf.path and not self._row_starts:
            self._row_starts = {file: file.end for file in self._folder.tables}
        self._folder.flattened.write(self._lines.line(row_id, leaf))
        may_have_values = self._lines.may_have_values or leaf.reasoning or leaf.dropped
        if may_have_values and (values := self._lines.values(row_id, leaf)):
            self._folder.values.write(values)

    def row_done(self) -> None:
        """Keep the lines of the row that was written last."""
        self._row_starts.clear()

    def close(self) -> None:
        """Take back the lines of a row that was given up.

        Raises:
            OutputDirError: The files cannot be written.
        """
        self._is_closed = True  # closing flushes
        if self._row_starts:
            for file in self._folder.tables:
                file.cut(self._row_starts.get(file, Mark()))
        self._row_starts.clear()

    def _flush_soon(self) -> None:
        """Hand the lines to the operating system, once for many of them.

        Lines that are lost before that cost nothing: the table is made from the journal.
        """
        if not (self._is_flushing or self._is_closed):
            self._is_flushing = True
            asyncio.get_running_loop().call_later(EVERY, self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if self._is_closed:
            return
        try:
            self._folder.check()
            for table in self._folder.tables:
                table.flush()
        except OutputDirError as error:
            self._control.fail(error)
