"""The journal of a run: outputs and errors, written before their row continues."""

from __future__ import annotations

from collections import Counter
from typing import Any

from chainette.errors import EngineError, OutputDirError
from chainette.folder.files import RunFolder
from chainette.folder.lines import LineFile, error_fields
from chainette.folder.resume_index import ResumeIndex, failure
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.codec import OutputCodec, codecs
from chainette.run.control import RunControl
from chainette.run.cost import Ledger
from chainette.run.item import Item
from chainette.types import LLMOutput
from chainette.usage import FREE, dollars


class Journal:
    """The outputs of nodes: those of this run, and those that an earlier one left.

    Args:
        pipeline: The chain.
        folder: The run's folder, or `None` to keep nothing.
        earlier: The lines of the run that is resumed, or `None`.
        control: Told when a line cannot be written.
        ledger: The tokens and costs so far.

    Attributes:
        ledger: The tokens and costs so far.
        retries: Requests that were sent again, by step id.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        folder: RunFolder | None,
        earlier: ResumeIndex | None,
        control: RunControl,
        ledger: Ledger,
    ) -> None:
        self._folder = folder
        self._earlier = earlier
        self._control = control
        self._codecs = codecs(pipeline)
        self.ledger = ledger
        self.retries: Counter[str] = Counter()

    def codec(self, node: Node) -> OutputCodec:
        """The conversion of a node's outputs into JSON and back."""
        return self._codecs[node.id]

    def find(self, node: Node, item: Item) -> dict[str, Any] | None:
        """The line of an output that an earlier run left, or `None`.

        Raises:
            FailedRowError: The item failed then, and is not to be tried again.
        """
        if self._earlier is None:
            return None
        line = self._earlier.find(node.id, item.row_id, item.name)
        if line is None:
            return None
        if (error := failure(line)) is not None:
            raise error
        return line

    def step_done(self, step: Step, item: Item, output: LLMOutput) -> None:
        """Count the tokens and the cost of an answer, and write a valid one down."""
        self.ledger.add(step.id, output.usage, output.cost)
        if self._folder is None or output.error is not None:
            return
        completion = output.outputs[0]
        self._write(
            self._folder.steps[step.id],
            {
                **item.key,
                "output": self._codecs[step.id].dump(completion.parsed),
                "usage": output.usage.as_dict() if output.usage else None,
                "cost": dollars(output.cost),
                "latency": round(output.latency, 6),
                "reasoning": completion.reasoning_content,
            },
        )

    def function_done(self, node: Node, item: Item, output: Any) -> None:
        """Write down the output of a function, where it can be read back."""
        codec = self._codecs[node.id]
        if self._folder is None or not codec.is_exact:
            return
        if isinstance(output, list):
            kind, value = "split", [codec.dump(part) for part in output]
        elif output is not None:
            kind, value = "one", codec.dump(output)
        else:
            kind, value = "dropped", None
        self._write(self._folder.steps[node.id], {**item.key, "output": value, "kind": kind})

    def failed(self, node: Node | None, item: Item, error: Exception) -> None:
        """Write down an error of a node, or of a row that could not be read.

        An error that the earlier run has written down already is not written again.
        """
        if self._folder is None:
            return
        id = node.id if node else None
        if self._earlier is not None and self._earlier.find(id or "", item.row_id, item.name):
            return
        spent: dict[str, Any] = {}
        if isinstance(error, EngineError) and (error.usage or error.cost != FREE):
            usage = error.usage
            spent = {"usage": usage and usage.as_dict(), "cost": dollars(error.cost)}
        self._write(self._folder.errors, {**item.key, **error_fields(id, error), **spent})

    def close(self) -> None:
        """Forget the earlier run."""
        if self._earlier is not None:
            self._earlier.close()

    def _write(self, file: LineFile, line: dict[str, Any]) -> None:
        """Add a line and hand it to the operating system."""
        try:
            file.write(line)
            file.flush()
        except OutputDirError as error:
            self._control.fail(error)
