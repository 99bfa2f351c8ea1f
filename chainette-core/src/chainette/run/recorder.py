"""Records what rows became: on disk or in memory, in input order."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from chainette.errors import FailedRowError, OutputDirError
from chainette.pipeline.chain import Chain
from chainette.pipeline.graph import graph
from chainette.pipeline.node import Node
from chainette.run.cost import total
from chainette.run.files import GRAPH, MANIFEST, LineFile, RunFiles, read_lines
from chainette.run.journal import Journal, failure
from chainette.run.results import Counts, OutputCodec, StoredResults, codecs, flatten, result_of
from chainette.run.sink import Sink
from chainette.run.walk import ItemPath, Leaf, Many, item_name
from chainette.types import LLMOutput, Result, Usage

TABLE_EVERY = 0.1
"""Seconds after which lines of the flattened table are handed to the operating system."""


class Recorder:
    """Keeps the outcome of every row.

    Rows finish in any order; those that are ahead of a slower one are held until it is done, so
    that files and results keep the input order.

    Args:
        chain: The chain.
        files: The run's folder, or `None` to keep the results in memory.
        manifest: Content of `run.json` at the start.
        journal: What an earlier, interrupted run has finished.
        sink: Gets every result.
        order: The row ids in the order of the inputs; by default all of them.
        give_up: Is told when the files cannot be written.
    """

    def __init__(
        self,
        chain: Chain,
        files: RunFiles | None,
        manifest: dict[str, Any],
        journal: Journal | None = None,
        sink: Sink | None = None,
        order: Iterator[int] | None = None,
        give_up: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._chain = chain
        self._files = files
        self._manifest = manifest
        self._journal = journal
        self._sink = sink
        self._give_up = give_up
        self._is_flushing = self._is_closed = False
        self._codecs = codecs(chain)
        self._results: list[Result[Any]] = []
        self._ends: list[tuple[int, list[Leaf]]] = []
        self._held: dict[int, list[Leaf]] = {}
        self._order = itertools.count() if order is None else order
        self._next_row = next(self._order, -1)
        self.counts = Counts()
        self.usage = {step.id: Usage() for step in chain.prompted}
        self.retries: Counter[str] = Counter()
        if files is not None:
            files.write_json(GRAPH, graph(chain))
            files.write_json(MANIFEST, manifest)

    @property
    def held(self) -> int:
        """How many finished rows wait for a slower one."""
        return len(self._held)

    @property
    def results(self) -> Sequence[Result[Any]]:
        """The results so far, in input order."""
        if self._files is None:
            return self._results
        return StoredResults(self._files.path, self._chain, self.counts.rows)

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines of the flattened table."""
        if self._files is not None:
            return read_lines(self._files.path / "flattened")
        return (self._line(row_id, leaf) for row_id, leaves in self._ends for leaf in leaves)

    def codec(self, node: Node) -> OutputCodec:
        """What turns a node's outputs into JSON and back."""
        return self._codecs[node.id]

    def found(self, node: Node, row_id: int, path: ItemPath) -> dict[str, Any] | None:
        """The journal's line of a node that has finished with an item already.

        Raises:
            FailedRowError: It failed, and is not to be tried again.
        """
        if self._journal is None:
            return None
        line = self._journal.find(node.id, row_id, item_name(path))
        if line is None:
            return None
        if line.get("usage"):
            self.usage[node.id] += Usage(**line["usage"])
        if (error := failure(line)) is not None:
            raise error
        return line

    def step_done(self, row_id: int, path: ItemPath, step: Node, output: LLMOutput) -> None:
        """Record the answer of one step; a valid one goes into the step's journal."""
        if output.usage is not None:
            self.usage[step.id] += output.usage
        if self._files is None or output.error is not None:
            return
        completion = output.outputs[0]
        self._record(
            self._files.steps[step.id],
            {
                **_place(row_id, path),
                "output": self._codecs[step.id].dump(completion.parsed),
                "usage": output.usage.as_dict() if output.usage else None,
                "latency": round(output.latency, 6),
                "reasoning": completion.reasoning_content,
            },
        )

    def function_done(self, row_id: int, path: ItemPath, node: Node, made: Any) -> None:
        """Record what a function made of an item, where it can be read back."""
        codec = self._codecs[node.id]
        if self._files is None or not codec.is_exact:
            return
        several = isinstance(made, list)
        output = [codec.dump(item) for item in made] if several else None
        if not several and made is not None:
            output = codec.dump(made)
        kind = "split" if several else "one" if made is not None else "dropped"
        line = {**_place(row_id, path), "output": output, "kind": kind}
        self._record(self._files.steps[node.id], line)

    def failed(self, row_id: int, path: ItemPath, node: Node | None, error: Exception) -> None:
        """Record an error, of a node or of a row that could not be read."""
        if self._files is None:
            return
        id = node.id if node else ""
        if self._journal is None or self._journal.find(id, row_id, item_name(path)) is None:
            usage = getattr(error, "usage", None)
            spent = {"usage": usage.as_dict()} if usage else {}
            line = {**_place(row_id, path), **_error(node, error), **spent}
            self._record(self._files.errors, line)

    def row_done(self, row_id: int, leaves: list[Leaf]) -> None:
        """Record a row that is at its end."""
        if self._sink is not None and not self._sink.in_order:
            self._sink.put(result_of(self._chain, row_id, leaves))
        self._held[row_id] = leaves
        while (ready := self._held.pop(self._next_row, None)) is not None:
            self._deliver(self._next_row, ready)
            self._next_row = next(self._order, -1)

    def close(self, end: dict[str, Any], costs: Mapping[str, Decimal | None]) -> None:
        """Write what is held and the final manifest.

        Args:
            end: How the run ended, for the manifest.
            costs: In US dollars by step id; `None` where the price is unknown.
        """
        self._is_closed = True  # closing flushes
        for row_id in sorted(self._held):  # they finished behind a row that was given up
            self._deliver(row_id, self._held.pop(row_id))
        if self._journal is not None:
            self._journal.close()
        if self._files is None:
            return
        self._files.close()
        end |= {
            "counts": asdict(self.counts),
            "retries": dict(self.retries),
            "usage": sum(self.usage.values(), Usage()).as_dict(),
            "usage_by_step": {id: usage.as_dict() for id, usage in self.usage.items()},
            "cost_usd": _dollars(total(costs)),
            "cost_usd_by_step": {id: _dollars(cost) for id, cost in costs.items()},
        }
        self._files.write_json(MANIFEST, self._manifest | end)

    def _deliver(self, row_id: int, leaves: list[Leaf]) -> None:
        """Hand a row over, in input order."""
        ok = all(leaf.error is None for leaf in leaves)
        counts = self.counts
        self.counts = Counts(counts.rows + 1, counts.ok + ok, counts.failed + (not ok))
        if self._sink is not None:
            if self._sink.in_order:
                self._sink.put(result_of(self._chain, row_id, leaves))
        elif self._files is None:
            self._results.append(result_of(self._chain, row_id, leaves))
            self._ends.append((row_id, leaves))
        if self._files is not None:
            self._flush_soon()
            self._files.flattened.write(*(self._line(row_id, leaf) for leaf in leaves))

    def _record(self, file: LineFile, line: dict[str, Any]) -> None:
        """Add a line to a journal and hand it to the operating system, before its row goes on."""
        try:
            file.write(line)
            file.flush()
        except OutputDirError as error:
            self._give_up(error)

    def _flush_soon(self) -> None:
        """Hand the table's lines to the operating system, once for many of them.

        None is lost with those that are not there yet: the table is made of the journals.
        """
        if not (self._is_flushing or self._is_closed):
            self._is_flushing = True
            asyncio.get_running_loop().call_later(TABLE_EVERY, self._flush)

    def _flush(self) -> None:
        assert self._files is not None
        self._is_flushing = False
        if self._is_closed:
            return
        try:
            self._files.flattened.flush()
        except OutputDirError as error:
            self._give_up(error)

    def _line(self, row_id: int, leaf: Leaf) -> dict[str, Any]:
        """The flattened line of a row, or of one of its items."""
        values = {id: leaf.outputs[id] for id in self._chain.nodes if id in leaf.outputs}
        columns = {id: self._codecs[id].dump(value) for id, value in values.items()}
        many = [id for id, value in values.items() if isinstance(value, Many)]
        if leaf.error is not None:
            described = _error(leaf.node, leaf.error)
            columns["error"] = {k: v for k, v in described.items() if k != "raw_text"}
        if leaf.dropped:
            columns["dropped"] = True
        return {**_place(row_id, leaf.path), **flatten(columns, many)}

    @property
    def path(self) -> Path | None:
        """The run's folder."""
        return self._files.path if self._files is not None else None


def _dollars(cost: Decimal | None) -> float | None:
    return None if cost is None else float(round(cost, 8))


def _place(row_id: int, path: ItemPath) -> dict[str, Any]:
    return {"row_id": row_id} | ({"item": item_name(path)} if path else {})


def _error(node: Node | None, error: Exception) -> dict[str, Any]:
    return {
        "step_id": node.id if node else None,
        "engine": getattr(error, "engine", None),
        "type": error.type if isinstance(error, FailedRowError) else type(error).__name__,
        "message": str(error),
        "raw_text": getattr(error, "raw_text", None),
    }
