"""The ends of rows, recorded in input order: on disk, in memory or in a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from anyio.streams.memory import MemoryObjectSendStream

from chainette.errors import OutputDirError
from chainette.folder.files import FLATTENED, GRAPH, MANIFEST, RunFolder
from chainette.folder.lines import encodable, read_lines
from chainette.pipeline.graph import graph
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.result import NOTHING, STATES, Leaf, Result, result_of, state_bits
from chainette.reports.results import Results, StoredResults
from chainette.reports.run import Counts, total_cost
from chainette.reports.stored.schemas import schemas
from chainette.reports.stored.shapes import shapes
from chainette.run.control import RunControl
from chainette.run.output.journal import Journal
from chainette.run.output.table import Table, TableLines
from chainette.usage import Usage, dollars

MakeResult: TypeAlias = Callable[[int, list[Leaf]], Result[Any]]
BUFFERED = 256
"""Results that wait in a stream before no more rows begin."""


class Recorder:
    """The end of every row, in input order.

    Rows finish in any order; those that are ahead of a slower one are held until it is done. Of the
    row that is next, every end is written at once where there is a folder to write it to.

    Args:
        pipeline: The chain.
        folder: The run's folder, or `None` to keep the results in memory.
        manifest: Content of `run.json` at the start.
        control: Told when the files cannot be written.
        order: The row ids in the order of the inputs.
        inputs: The input's columns of rows that were read, which are removed once they are
            written; `None` where none are kept.
        results: The stream that every result is sent to, or `None`.
        in_order: Whether results are sent in input order, or as rows finish.

    Attributes:
        group_counts: The numbers of groups, as `Counts` has them.
        waiting: Ends that are held, since those of an earlier row are written first.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        folder: RunFolder | None,
        manifest: dict[str, Any],
        control: RunControl,
        *,
        order: Iterator[int],
        inputs: dict[int, dict[str, Any]] | None = None,
        results: MemoryObjectSendStream[Result[Any]] | None = None,
        in_order: bool = True,
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._manifest = manifest
        self._control = control
        self._stream, self._in_order = results, in_order
        self._inputs = inputs
        plain = partial(result_of, pipeline)
        self._result: MakeResult = plain if inputs is None else self._with_inputs
        self._lines = TableLines(pipeline, inputs)
        self._table = Table(self._lines, folder, control) if folder is not None else None
        self._results: Results[Any] = Results()
        self._ends: list[tuple[int, list[Leaf]]] = []
        self._held: dict[int, list[Leaf]] = {}
        self._done: set[int] = set()
        self._bits: dict[int, int] = {}
        self._order = order
        self._next_row = next(order, -1)
        self._is_direct = folder is not None and results is None
        self._rows = [0] * len(STATES)
        self._tolerated = 0
        self.group_counts: Mapping[str, int] = {}
        self.waiting: int = 0
        if folder is not None:
            types = {"schemas": schemas(pipeline), "shapes": shapes(pipeline)}
            folder.write_json(GRAPH, graph(pipeline) | types)
            folder.write_json(MANIFEST, manifest)

    @property
    def counts(self) -> Counts:
        """The numbers of rows and groups so far."""
        by_state = dict(zip(STATES, self._rows, strict=True))
        return Counts(
            rows=sum(self._rows),
            tolerated=self._tolerated,
            **by_state,
            **self.group_counts,
        )

    @property
    def held(self) -> int:
        """The number of finished rows that wait for a slower one."""
        return len(self._done)

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
        return (encodable(self._lines.line(row_id, leaf)) for row_id, leaf in ends)

    def add(self, row_id: int, leaf: Leaf) -> None:
        """Record the next end of a row; the ends of its items come in the order of the items."""
        self._bits[row_id] = self._bits.get(row_id, 0) | state_bits(leaf)
        if row_id == self._next_row and self._is_direct:
            self._write(row_id, [leaf])
        else:
            self._hold(row_id, leaf)

    def row_done(self, row_id: int) -> None:
        """Record that a row has no more ends."""
        if self._stream is not None and not self._in_order:
            self._stream.send_nowait(self._result(row_id, self._held[row_id]))
        self._done.add(row_id)
        while self._next_row in self._done:
            self._deliver(self._next_row)
            self._next_row = next(self._order, -1)
            if self._is_direct:
                self._write(self._next_row, self._released(self._next_row))

    def close(
        self, journal: Journal, end: dict[str, Any], costs: Mapping[str, Decimal | None]
    ) -> None:
        """Write what is held, and the final manifest.

        Args:
            journal: The tokens and retries of the run.
            end: The fields of the manifest that say how the run ended.
            costs: US dollars by step id; `None` where the price is unknown.
        """
        self._tolerated = journal.tolerated
        try:
            if self._table is not None:
                self._table.close()
            for row_id in sorted(self._done):  # they finished behind a row that was given up
                self._deliver(row_id)
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
        counts = asdict(self.counts)
        if not self._pipeline.group_steps:
            counts = {it: count for it, count in counts.items() if "groups" not in it}
        end |= {
            "counts": counts,
            "items": {id: it.as_dict() for id, it in journal.items.counts(self._pipeline).items()},
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

    def _hold(self, row_id: int, leaf: Leaf) -> None:
        self._held.setdefault(row_id, []).append(leaf)
        self.waiting += self._is_direct

    def _released(self, row_id: int) -> list[Leaf]:
        """The ends of a row that were held."""
        leaves = self._held.pop(row_id, [])
        self.waiting -= len(leaves) * self._is_direct
        return leaves

    def _write(self, row_id: int, leaves: list[Leaf]) -> None:
        assert self._table is not None
        for leaf in leaves:
            self._table.write(row_id, leaf)

    def _deliver(self, row_id: int) -> None:
        """Hand a row over, in input order."""
        leaves = self._released(row_id)
        self._done.remove(row_id)
        self._rows[self._bits.pop(row_id, 0)] += 1
        if self._stream is not None:
            if self._in_order:
                self._stream.send_nowait(self._result(row_id, leaves))
        elif self._folder is None:
            self._results.append(self._result(row_id, leaves))
            self._ends.append((row_id, leaves))
        if self._table is not None:
            self._write(row_id, leaves)
            self._table.row_done()
        if self._inputs is not None and (self._folder is not None or self._stream is not None):
            self._inputs.pop(row_id, None)

    def _with_inputs(self, row_id: int, leaves: list[Leaf]) -> Result[Any]:
        assert self._inputs is not None
        return result_of(self._pipeline, row_id, leaves, self._inputs.get(row_id, NOTHING))
