"""The journal of a run: outputs and errors, written before their row continues."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import time
from types import MappingProxyType
from typing import Any, TypeAlias

from chainette.errors import ApplyError, Drop, EngineError, OutputDirError
from chainette.folder.call_index import CallIndex
from chainette.folder.files import RunFolder
from chainette.folder.lines import LineFile, error_fields
from chainette.folder.resume_index import ResumeIndex, failure, sample_name
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.words.word import KEPT
from chainette.reports.codec import OutputCodec, codecs
from chainette.reports.snapshot import SnapshotError
from chainette.run.control import RunControl
from chainette.run.cost import Ledger
from chainette.run.item import Item
from chainette.run.output.calls import CallJournal
from chainette.run.output.items import ItemTotals
from chainette.run.output.lines import (
    Sampled,
    failed_of,
    function_fields,
    unreadable_fields,
)
from chainette.run.output.whole import WholeBatch
from chainette.types import LLMOutput
from chainette.usage import FREE, dollars

Part: TypeAlias = Node | Reduce[Any, Any]
"""What an item can fail in: a node, or a `reduce` that cannot say which group it belongs to."""
NOTHING: Mapping[str, Any] = MappingProxyType({})
_UNREADABLE = "its outputs cannot be read back"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The end of a node for one item in an earlier run.

    Attributes:
        output: The output: of a function, `None` or a `Drop` if it dropped its item, a list if it
            split it.
        reasoning: The model's reasoning; empty where there is none.
        requests: Requests that the answer of a step took.
    """

    output: Any
    reasoning: str = ""
    requests: int = 1


class Journal:
    """The outputs of nodes: those of this run, and those that an earlier one left.

    Args:
        pipeline: The chain.
        folder: The run's folder, or `None` to keep nothing.
        earlier: The lines of the run that is resumed, or `None`.
        control: Told when a line cannot be written.
        ledger: The tokens and costs so far.
        earlier_calls: The calls of functions in the run that is resumed, or `None`.

    Attributes:
        ledger: The tokens and costs so far.
        calls: The calls of functions.
        retries: Requests that were sent again, by step id.
        tolerated: Failures after which their items went on.
        items: The numbers of items by function.
        batches: By node that sees all items at once, a digest of what it has seen.
        inputs: The input's columns of the rows that are in flight, as far as they are kept.
        on_stale: Receives the lines of the earlier run that turn out not to count anymore.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        folder: RunFolder | None,
        earlier: ResumeIndex | None,
        control: RunControl,
        ledger: Ledger,
        earlier_calls: CallIndex | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._earlier = earlier
        self._control = control
        self._codecs = codecs(pipeline)
        self._warned: set[str] = set()
        self.ledger = ledger
        files = folder.steps if folder is not None else None
        self.calls: CallJournal = CallJournal(files, earlier_calls, self._write)
        self.retries: Counter[str] = Counter()
        self.tolerated: int = 0
        self.items: ItemTotals = ItemTotals()
        self.batches: dict[str, str] = {}
        self.inputs: Mapping[int, Mapping[str, Any]] | None = None
        self.on_stale: Callable[[dict[str, Any]], object] = lambda line: None

    def codec(self, node: Node) -> OutputCodec:
        """The conversion of a node's outputs into JSON and back."""
        return self._codecs[node.id]

    def find(self, node: Part, item: Item, names: Mapping[str, Any]) -> Earlier | None:
        """The output that an earlier run left, or `None`.

        Args:
            node: The node.
            item: The item.
            names: The values that its validators see.

        Raises:
            FailedRowError: The item failed then, and is not to be tried again.
        """
        line = self._line(node.id, item)
        if line is None or (_waits_for_all(node) and ("message" not in line or "batch" in line)):
            return None  # all items go into the batch, which knows what an earlier run has seen
        return self.read(node, line, names)

    def read(self, node: Part, line: dict[str, Any], names: Mapping[str, Any]) -> Earlier | None:
        """The output in a line of an earlier run; `None` if it cannot be read. See `find`."""
        if (error := failure(line)) is not None:
            raise error
        try:
            return Earlier(
                _output(line, self._codecs[node.id], names),
                line.get("reasoning") or "",
                line.get("requests", 1),
            )
        except Exception as problem:  # an edited line, or a class that is gone
            reason = f"an output cannot be read back ({type(problem).__name__}: {problem})"
            self._warn_once(node, f"{reason}: its row runs again")
            return None

    def _line(self, id: str, item: Item) -> dict[str, Any] | None:
        """The line that an earlier run left; of a group, if its members are still the same."""
        if self._earlier is None:
            return None
        line = self._earlier.find(id, item.key)
        if line is None or item.group is None:
            return line
        members = item.group.members
        return line if members is not None and line.get("members") == members else None

    def step_done(
        self, step: Step, item: Item, output: LLMOutput, request: Mapping[str, Any]
    ) -> None:
        """Count the tokens and the cost of an answer, and write a valid one down.

        Args:
            step: The step.
            item: The item.
            output: The answer.
            request: Further fields of its line, about the request.
        """
        self.ledger.add(step.id, output.usage, output.cost)
        if self._folder is None or output.error is not None:
            return
        completion = output.outputs[0]
        text = completion.json_text
        fields = {
            **item.key,
            **self._answer(step, completion.parsed, text),
            "text": text,
            **({"truncated": True} if completion.finish_reason == "length" else {}),
            "usage": output.usage.as_dict() if output.usage else None,
            "cost": dollars(output.cost),
            "latency": round(output.latency, 6),
            "at": round(time(), 3),
            "reasoning": completion.reasoning_content,
            **request,
        }
        if output.requests != 1:
            fields["requests"] = output.requests
        if output.cached:
            fields["cached"] = True
        if output.prompt_cut:
            fields["prompt_cut"] = True
        self._write(self._folder.steps[step.id], fields)

    def sampled(self, step: Step, item: Item, output: Any, took: Mapping[str, Any]) -> None:
        """Write down the answers of a step that takes several; each has its own line, too.

        Args:
            step: The step.
            item: The item.
            output: The answers, or a `Sampled` where some cannot be used.
            took: Further fields of its line, about what they took.
        """
        if self._folder is None:
            return
        is_whole = isinstance(output, list)
        fields = self._answer(step, output if is_whole else output.values, None)
        self._write(self._folder.steps[step.id], {**item.key, **fields, **took})

    def function_done(
        self, node: Node, item: Item, output: Any, spent: Mapping[str, Any] = NOTHING
    ) -> None:
        """Write down the output of a function, where it can be read back.

        Args:
            node: The function.
            item: The item.
            output: The output.
            spent: Further fields of its line, about its calls.
        """
        if self._folder is None:
            return
        codec = self._codecs[node.id]
        try:
            fields = function_fields(codec, output)
        except SnapshotError as error:
            self._warn_once(
                node,
                f"{_UNREADABLE} ({error}): run.results has them as JSON, and the function is "
                "called again when the run is resumed",
            )
            if not node.waits_for_all:
                return
            fields = unreadable_fields(codec, output)
        line = {**item.key, **fields, **spent, **self._batch(node)}
        self._write(self._folder.steps[node.id], line, is_long=isinstance(output, list))

    def _batch(self, node: Part | None) -> dict[str, str]:
        """The field that says what a function that sees all items has seen."""
        digest = self.batches.get(node.id) if node else None
        return {} if digest is None else {"batch": digest}

    def whole(self, node: ApplyNode) -> WholeBatch | None:
        """The lines of a function that sees all items at once; `None` without a folder."""
        if self._folder is None:
            return None
        codec, on_stale = self._codecs[node.id], self.on_stale
        return WholeBatch(node, self._pipeline, codec, self._folder, self._earlier, self, on_stale)

    def _answer(self, step: Step, value: Any, text: str | None) -> dict[str, Any]:
        """The fields of an answer; what no snapshot can hold is read from its text again."""
        codec = self._codecs[step.id]
        try:
            return codec.record(value, is_validated=text is not None)
        except SnapshotError as error:
            self._warn_once(step, f"{_UNREADABLE} ({error}): run.results has them as JSON")
            return {"output": codec.dump(value)}

    def has_run(self, node: Node, item: Item, branch: str | None) -> bool | None:
        """Whether a node ran for an item in an earlier run; `None` if that is not known.

        Args:
            node: The node.
            item: The item.
            branch: The name of the branch that begins with the node and is meant, or `None`.
        """
        line = self._line(node.id, item)
        if line is None:
            return None
        return line.get("kind") != "skipped" or line.get("branch") != branch

    def skipped(self, node: Node, item: Item, branch: str | None) -> None:
        """Write down that a node, or its branch, was not run: the condition did not hold."""
        if self._folder is not None:
            fields = {**item.key, "output": None, "kind": "skipped"}
            if branch is not None:
                fields["branch"] = branch
            self._write(self._folder.steps[node.id], fields)

    def decision(self, node: Node, item: Item) -> dict[str, Any] | None:
        """What an earlier run has decided for an item, as `decided` wrote it down, or `None`.

        Raises:
            FailedRowError: It could not be decided then, and is not to be tried again.
        """
        line = self._line(node.id, item)
        if line is not None and (error := failure(line)) is not None:
            raise error
        return line

    def decided(self, node: Node, item: Item, kind: str, **fields: Any) -> None:
        """Write down what was decided for an item: the way that it takes, or whether it is good."""
        if self._folder is not None:
            line = {**item.key, "output": None, "kind": kind, **fields}
            self._write(self._folder.steps[node.id], line)

    def failed(
        self,
        node: Part | None,
        item: Item,
        error: Exception,
        *,
        is_tolerated: bool = False,
        sample: int | None = None,
    ) -> None:
        """Write down an error of a node or of one of its samples, or of a row that was not read.

        An error that the earlier run has written down already is not written again.
        """
        self.tolerated += is_tolerated
        if self._folder is None:
            return
        id = node.id if node else None
        name = id or ""
        earlier = self._line(name if sample is None else sample_name(name, sample), item)
        if earlier is not None and failure(earlier) is not None:
            return
        spent: dict[str, Any] = {}
        if sample is not None:  # what it took is in its own line
            spent = {"sample": sample}
        elif isinstance(error, EngineError | ApplyError):
            is_plain = isinstance(node, Step) and node.samples is None
            spent = _spent(error, has_calls=node is not None and not is_plain)
        if is_tolerated:
            spent["tolerated"] = True
        if isinstance(node, Reduce) and item.group is not None:
            spent["kind"] = "key"  # of a group of groups: it is about one of these
        fields = {**item.key, **error_fields(id, error), **spent, **self._batch(node)}
        self._write(self._folder.errors, fields | self._inputs_of(item))

    def dropped(self, node: Node, item: Item, reason: str | None) -> None:
        """Write down that a function dropped an item."""
        if self._folder is not None:
            fields = {**item.key, "node_id": node.id, "reason": reason}
            self._write(self._folder.dropped, fields | self._inputs_of(item))

    def _inputs_of(self, item: Item) -> dict[str, Any]:
        """The field that has the kept columns of an item's row."""
        if self.inputs is None or item.group is not None:
            return {}
        return {"inputs": self.inputs.get(item.row_id, NOTHING)}

    def close(self) -> None:
        """Forget the earlier run."""
        if self._earlier is not None:
            self._earlier.close()
        self.calls.close()

    def _warn_once(self, node: Part, message: str) -> None:
        if node.id not in self._warned:
            self._warned.add(node.id)
            _logger.warning("%s %r: %s", node.kind, node.id, message)

    def _write(self, file: LineFile, line: dict[str, Any], *, is_long: bool = False) -> None:
        """Add a line and hand it to the operating system."""
        try:
            if is_long:
                file.write_long(line)
            else:
                file.write(line)
            file.flush()
        except OutputDirError as error:
            self._control.fail(error)


def _waits_for_all(node: Part) -> bool:
    return isinstance(node, Node) and node.waits_for_all


def _output(line: dict[str, Any], codec: OutputCodec, names: Mapping[str, Any]) -> Any:
    """The output of a node, from its line."""
    if line.get("kind") == "split":
        snapshots = line.get("snapshot") or [None] * len(line["output"])
        parts = zip(_consumed(line["output"]), _consumed(snapshots), strict=True)
        return [codec.read({"output": it, "snapshot": snapshot}, names) for it, snapshot in parts]
    if line.get("failed"):
        return Sampled(codec.read(line, names), failed_of(line["failed"]))
    if line.get("kind") == "kept":
        return KEPT
    if line.get("kind") == "dropped":
        return Drop(line["reason"]) if "reason" in line else None
    return codec.read(line, names)


def _spent(error: EngineError | ApplyError, *, has_calls: bool) -> dict[str, Any]:
    """The fields of a failure that say what it took; each call of a function has its own line."""
    requests = error.requests if isinstance(error, EngineError) else 0
    if not (error.usage or error.cost != FREE or requests):
        return {}
    fields: dict[str, Any] = {"usage": error.usage and error.usage.as_dict()}
    fields["cost"] = dollars(error.cost)
    if has_calls:
        fields["calls"] = error.calls
    elif requests != 1:
        fields["requests"] = requests
    return fields


def _consumed(items: list[Any]) -> Iterator[Any]:
    """The items of a list that lets go of each: there can be very many, and only this needs it."""
    items.reverse()
    while items:
        yield items.pop()
