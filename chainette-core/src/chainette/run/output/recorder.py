"""The ends of rows, recorded in input order: on disk, in memory or in a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from anyio.streams.memory import MemoryObjectSendStream

from chainette.errors import OutputDirError
from chainette.folder.files import FLATTENED, GRAPH, MANIFEST, RunFolder
from chainette.folder.lines import encodable, error_fields, read_lines
from chainette.pipeline.graph import graph
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.codec import codecs, flatten
from chainette.reports.result import Leaf, Many, Result, result_of
from chainette.reports.results import StoredResults
from chainette.reports.run import Counts, total_cost
from chainette.run.control import RunControl
from chainette.run.item import Item
from chainette.run.output.journal import Journal
from chainette.usage import Usage, dollars

TABLE_EVERY = 0.1
"""Seconds after which lines of the flattened table are handed to the operating system."""
BUFFERED = 256
"""Results that wait in a stream before no more rows begin."""


class Recorder:
    """The end of every row, in input order.

    Rows finish in any order; those that are ahead of a slower one are held until it is done.

    Args:
        pipeline: The chain.
        folder: The run's folder, or `None` to keep the results in memory.
        manifest: Content of `run.json` at the start.
        control: Told when the files cannot be written.
        order: The row ids in the order of the inputs.
        results: The stream that every result is sent to, or `None`.
        in_order: Whether results are sent in input order, or as rows finish.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        folder: RunFolder | None,
        manifest: dict[str, Any],
        control: RunControl,
        *,
        order: Iterator[int],
        results: MemoryObjectSendStream[Result[Any]] | None = None,
        in_order: bool = True,
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._manifest = manifest
        self._control = control
        self._stream, self._in_order = results, in_order
        self._is_flushing = self._is_closed = False
        self._codecs = codecs(pipeline)
        self._uncertain = {id for id, codec in self._codecs.items() if not codec.is_certain}
        self._last = pipeline.main_ids[-1] if pipeline.main_ids else None
        self._yields_last = self._last is None or pipeline.nodes[self._last].yield_output
        self._results: list[Result[Any]] = []
        self._ends: list[tuple[int, list[Leaf]]] = []
        self._held: dict[int, list[Leaf]] = {}
        self._order = order
        self._next_row = next(order, -1)
        self.counts: Counts = Counts()
        if folder is not None:
            folder.write_json(GRAPH, graph(pipeline))
            folder.write_json(MANIFEST, manifest)

    @property
    def held(self) -> int:
        """The number of finished rows that wait for a slower one."""
        return len(self._held)

    @property
    def is_full(self) -> bool:
        """Whether enough results wait in the stream."""
        stream = self._stream
        return stream is not None and stream.statistics().current_buffer_used >= BUFFERED

    @property
    def results(self) -> Sequence[Result[Any]]:
        """The results so far, in input order."""
        if self._folder is None:
            return self._results
        return StoredResults(self._folder.path, self._pipeline, self.counts.rows)

    @property
    def path(self) -> Path | None:
        """The run's folder."""
        return self._folder.path if self._folder is not None else None

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines of the flattened table."""
        if self._folder is not None:
            return read_lines(self._folder.path / FLATTENED)
        ends = ((row_id, leaf) for row_id, leaves in self._ends for leaf in leaves)
        return (encodable(self._line(row_id, leaf)) for row_id, leaf in ends)

    def row_done(self, row_id: int, leaves: list[Leaf]) -> None:
        """Record a row that has reached its end."""
        if self._stream is not None and not self._in_order:
            self._stream.send_nowait(result_of(self._pipeline, row_id, leaves))
        self._held[row_id] = leaves
        while (ready := self._held.pop(self._next_row, None)) is not None:
            self._deliver(self._next_row, ready)
            self._next_row = next(self._order, -1)

    def close(
        self, journal: Journal, end: dict[str, Any], costs: Mapping[str, Decimal | None]
    ) -> None:
        """Write what is held, and the final manifest.

        Args:
            journal: The tokens and retries of the run.
            end: The fields of the manifest that say how the run ended.
            costs: US dollars by step id; `None` where the price is unknown.
        """
        self._is_closed = True  # closing flushes
        try:
            for row_id in sorted(self._held):  # they finished behind a row that was given up
                self._deliver(row_id, self._held.pop(row_id))
        except OutputDirError as error:
            end |= {"status": "stopped", "stopped": str(error)}
            raise
        finally:
            journal.close()
            if self._folder is not None:
                self._end(self._folder, journal, end, costs)

    def _end(
        self,
        folder: RunFolder,
        journal: Journal,
        end: dict[str, Any],
        costs: Mapping[str, Decimal | None],
    ) -> None:
        """Close the files and write the manifest, even if one of them cannot be written."""
        end |= {
            "counts": asdict(self.counts),
            "retries": dict(journal.retries),
            "usage": sum(journal.ledger.usage.values(), Usage()).as_dict(),
            "usage_by_step": {id: usage.as_dict() for id, usage in journal.ledger.usage.items()},
            "cost_usd": dollars(total_cost(costs)),
            "cost_usd_by_step": {id: dollars(cost) for id, cost in costs.items()},
        }
        try:
            folder.close()
        except OutputDirError as error:
            end |= {"status": "stopped", "stopped": str(error)}
            raise
        finally:
            end["bytes"] = folder.size()
            folder.write_json(MANIFEST, self._manifest | end)

    def _deliver(self, row_id: int, leaves: list[Leaf]) -> None:
        """Hand a row over, in input order."""
        ok = all(leaf.error is None for leaf in leaves)
        counts = self.counts
        self.counts = Counts(counts.rows + 1, counts.ok + ok, counts.failed + (not ok))
        if self._stream is not None:
            if self._in_order:
                self._stream.send_nowait(result_of(self._pipeline, row_id, leaves))
        elif self._folder is None:
            self._results.append(result_of(self._pipeline, row_id, leaves))
            self._ends.append((row_id, leaves))
        if self._folder is not None:
            self._flush_soon()
            self._folder.flattened.write(*(self._line(row_id, leaf) for leaf in leaves))
            if self._uncertain or not self._yields_last:
                self._write_values(self._folder, row_id, leaves)

    def _flush_soon(self) -> None:
        """Hand the table's lines to the operating system, once for many of them.

        Lines that are lost before that cost nothing: the table is made from the journal.
        """
        if not (self._is_flushing or self._is_closed):
            self._is_flushing = True
            asyncio.get_running_loop().call_later(TABLE_EVERY, self._flush)

    def _flush(self) -> None:
        assert self._folder is not None
        self._is_flushing = False
        if self._is_closed:
            return
        try:
            self._folder.check()
            for table in self._folder.tables:
                table.flush()
        except OutputDirError as error:
            self._control.fail(error)

    def _write_values(self, folder: RunFolder, row_id: int, leaves: list[Leaf]) -> None:
        lines = [line for leaf in leaves if (line := self._values(row_id, leaf))]
        if lines:
            folder.values.write(*lines)

    def _values(self, row_id: int, leaf: Leaf) -> dict[str, Any]:
        """The outputs at one end of a row that its flattened line does not give back, if any."""
        outputs = {
            id: snapshot
            for id, value in leaf.outputs.items()
            if id in self._uncertain
            if (snapshot := self._codecs[id].snapshot_or_lost(value)) is not None
        }
        fields: dict[str, Any] = {"outputs": outputs} if outputs else {}
        last = self._last
        if last is not None and leaf.has_value and last not in leaf.outputs:
            codec = self._codecs[last]
            snapshot = codec.snapshot_or_lost(leaf.value)
            fields["value"] = {"output": codec.dump(leaf.value), "snapshot": snapshot}
        return {**Item(row_id, leaf.path).key, **fields} if fields else fields

    def _line(self, row_id: int, leaf: Leaf) -> dict[str, Any]:
        """The flattened line of a row, or of one of its items."""
        values = {id: leaf.outputs[id] for id in self._pipeline.nodes if id in leaf.outputs}
        columns = {id: self._codecs[id].dump(value) for id, value in values.items()}
        many = [id for id, value in values.items() if isinstance(value, Many)]
        if leaf.error is not None:
            fields = error_fields(leaf.node.id if leaf.node else None, leaf.error)
            columns["error"] = {key: text for key, text in fields.items() if key != "raw_text"}
        if leaf.dropped:
            columns["dropped"] = True
        return {**Item(row_id, leaf.path).key, **flatten(columns, many)}
