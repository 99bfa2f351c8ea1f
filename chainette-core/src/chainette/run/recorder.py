"""Records what rows became: on disk or in memory, in input order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chainette.pipeline.chain import Chain
from chainette.pipeline.graph import graph
from chainette.pipeline.step import Step
from chainette.run.files import GRAPH, MANIFEST, RunFiles
from chainette.run.results import Counts, StoredResults, codecs, flatten
from chainette.types import LLMOutput, Result, Usage


@dataclass(slots=True)
class RowOutcome:
    """A row on its way, or at its end.

    Attributes:
        row_id: 0-based index of the input row.
        outputs: Outputs of the steps it has passed, by step id.
        step: The step it is in, or ended in.
        error: Why it failed, or `None`.
    """

    row_id: int
    outputs: dict[str, Any] = field(default_factory=dict)
    step: Step | None = None
    error: Exception | None = None


class Recorder:
    """Keeps the outcome of every row.

    Rows finish in any order; those that are ahead of a slower one are held until it is done, so
    that files and results keep the input order.

    Args:
        chain: The chain.
        files: The run's folder, or `None` to keep the results in memory.
        manifest: Content of `run.json` at the start.
    """

    def __init__(self, chain: Chain, files: RunFiles | None, manifest: dict[str, Any]) -> None:
        self._chain = chain
        self._files = files
        self._manifest = manifest
        self._codecs = codecs(chain)
        self._results: list[Result[Any]] = []
        self._held: dict[int, RowOutcome] = {}
        self._next_row = 0
        self.counts = Counts()
        self.usage = {step.id: Usage() for step in chain.steps}
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

    def step_done(self, row_id: int, step: Step, output: LLMOutput) -> None:
        """Record the answer of one step; a valid one goes into the step's journal."""
        if output.usage is not None:
            self.usage[step.id] += output.usage
        if self._files is None or output.error is not None:
            return
        completion = output.outputs[0]
        self._files.steps[step.id].write(
            {
                "row_id": row_id,
                "output": self._codecs[step.id].dump(completion.parsed),
                "usage": asdict(output.usage) if output.usage else None,
                "latency": round(output.latency, 6),
                "reasoning": completion.reasoning_content,
            }
        )

    def row_done(self, row: RowOutcome) -> None:
        """Record a row that is at its end."""
        if row.error is not None and self._files is not None:
            self._files.error({"row_id": row.row_id, **_error(row)})
        self._held[row.row_id] = row
        while (ready := self._held.pop(self._next_row, None)) is not None:
            self._deliver(ready)
            self._next_row += 1

    def close(self, status: str, ended: str) -> None:
        """Write what is held and the final manifest.

        Args:
            status: How the run ended.
            ended: When, as ISO 8601.
        """
        for row_id in sorted(self._held):  # they finished behind a row that was given up
            self._deliver(self._held.pop(row_id))
        if self._files is None:
            return
        self._files.close()
        end = {
            "status": status,
            "ended": ended,
            "counts": asdict(self.counts),
            "usage": asdict(sum(self.usage.values(), Usage())),
            "usage_by_step": {id: asdict(usage) for id, usage in self.usage.items()},
        }
        self._files.write_json(MANIFEST, self._manifest | end)

    def _deliver(self, row: RowOutcome) -> None:
        """Hand a row over, in input order."""
        ok = row.error is None
        counts = self.counts
        self.counts = Counts(counts.rows + 1, counts.ok + ok, counts.failed + (not ok))
        yielded = {
            step.id: row.outputs[step.id]
            for step in self._chain.steps
            if step.yield_output and step.id in row.outputs
        }
        if self._files is None:
            value = list(yielded.values())[-1] if ok else None
            self._results.append(Result(row.row_id, value, row.error, yielded))
            return
        columns = {id: self._codecs[id].dump(value) for id, value in yielded.items()}
        if not ok:
            columns["error"] = {k: v for k, v in _error(row).items() if k != "raw_text"}
        self._files.flattened.write({"row_id": row.row_id, **flatten(columns)})

    @property
    def path(self) -> Path | None:
        """The run's folder."""
        return self._files.path if self._files is not None else None


def _error(row: RowOutcome) -> dict[str, Any]:
    error = row.error
    return {
        "step_id": row.step.id if row.step else None,
        "engine": getattr(error, "engine", None),
        "type": type(error).__name__,
        "message": str(error),
        "raw_text": getattr(error, "raw_text", None),
    }
