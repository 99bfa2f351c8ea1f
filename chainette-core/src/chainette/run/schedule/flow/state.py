"""The state of a row's flows: the values so far, and the branches beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.nodes.conditions import Fallback
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.reasoning import REASONING, Reasoning
from chainette.pipeline.words.word import Recorded
from chainette.reports.result import Leaf, Many, merged_reasoning
from chainette.run.item import Item
from chainette.run.schedule.leases import Lease
from chainette.run.schedule.parking import Activity, Gate

_NONE: Mapping[str, Any] = MappingProxyType({})


Loss: TypeAlias = tuple[Exception, Node]
"""The reason why a part of a node's output failed, and the node."""


@dataclass(frozen=True, slots=True)
class Reasoned:
    """The output of a step whose model reported its reasoning.

    Attributes:
        output: The output.
        reasoning: The reasoning.
    """

    output: Any
    reasoning: str


@dataclass(slots=True)
class Subflow:
    """A flow that runs beside another one: a branch.

    Attributes:
        item: The item that it started with.
        gate: Opens at its end.
        branch: The branch.
        is_skipped: Whether its condition does not hold.
        leaves: Its ends.
        is_past: Whether it belongs to an earlier round of a repeat, and its outputs do not count.
        is_excused: Whether the flow has gone on without it, where its failures are tolerated.
    """

    item: Item
    gate: Gate
    branch: Branch
    is_skipped: bool = False
    leaves: list[Leaf] = field(default_factory=list)
    is_past: bool = False
    is_excused: bool = False

    @property
    def unfinished(self) -> Leaf | None:
        """The first end that failed or was stopped, other than failures that it tolerates."""
        found = (leaf for leaf in self.leaves if leaf.error or leaf.stopped)
        is_free = self.branch.tolerance is not None or self.is_excused
        return next(found, None) or (None if is_free else self.lost)

    @property
    def lost(self) -> Leaf | None:
        """The first end whose failure is tolerated, by the branch or by one around it."""
        return next((leaf for leaf in self.leaves if leaf.is_tolerated), None)

    @property
    def is_whole(self) -> bool:
        """Whether its item was not split."""
        return all(leaf.path == self.item.path and not leaf.is_empty for leaf in self.leaves)

    def output(self) -> Any:
        """The last output, or those of all items that it was split into."""
        if self.branch.tolerance is not None and self.lost is not None:
            return self.branch.tolerance.value
        if self.is_skipped:
            return None
        values = [leaf.value for leaf in self.leaves if not leaf.dropped]
        if not self.is_whole:
            return values
        return values[0] if values else None

    def outputs(self) -> dict[str, Any]:
        """Outputs of its nodes by id."""
        if self.is_past:
            return {}
        if self.is_whole:
            return self.leaves[0].outputs if self.leaves else {}
        merged: dict[str, Any] = {id: Many() for leaf in self.leaves for id in leaf.missed}
        for leaf in self.leaves:
            for id, value in leaf.outputs.items():
                # A branch in a branch that split as well gives one list, not a list of lists.
                merged.setdefault(id, Many()).extend(value if isinstance(value, Many) else [value])
        return merged

    def reasoning(self) -> Mapping[str, Any]:
        """Reasoning of its steps by id, as for the outputs."""
        if self.is_past:
            return _NONE
        if self.is_whole:
            return self.leaves[0].reasoning if self.leaves else _NONE
        return merged_reasoning(self.leaves, flat=True)


@dataclass(slots=True, eq=False)
class Frame:
    """The state of a flow in front of a composite that it is in.

    Attributes:
        composite: The composite.
        item: The item.
        names: The values by name.
        value: The value that came in.
        joined: The joined branches.
        outputs: The outputs.
        reasoning: The reasoning of steps.
        branches: The number of branches beside the flow.
        is_tolerant: Whether failures were tolerated already.
        round: The round of a repeat.
        feedback: What was wrong in the round before, if that is known.
    """

    composite: Composite
    item: Item
    names: dict[str, Any]
    value: Any
    joined: dict[str, Subflow]
    outputs: dict[str, Any]
    reasoning: Mapping[str, Any]
    branches: int
    is_tolerant: bool
    round: int = 1
    feedback: str | None = None


@dataclass(slots=True)
class FlowState:
    """The state of one flow of a row.

    Attributes:
        item: The item.
        lease: The engines that the flow may still need.
        activity: The activity of the row, or of the item.
        names: The values that templates and functions see, by name.
        value: The output of the last node, which is the next one's input.
        joined: Branches by their alias, those of enclosing flows included.
        beside: Branches that the end of the flow waits for.
        outputs: Outputs so far, of nodes that yield.
        is_row: Whether it is the main flow of a row that has not been split.
        is_tolerant: Whether it is in a branch or composite whose failures are tolerated.
        reasoning: Reasoning so far, of steps whose model reported it.
        frames: The composites that it is in, the innermost last.
        losses: Parts of outputs that failed and are not tolerated, of the flows around it as well.
        is_beside: Whether it is in a branch.
        is_fallback: Whether its value stands in the place of an output that failed.
    """

    item: Item
    lease: Lease
    activity: Activity
    names: dict[str, Any]
    value: Any
    joined: dict[str, Subflow] = field(default_factory=dict)
    beside: list[Subflow] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    is_row: bool = False
    is_tolerant: bool = False
    reasoning: Mapping[str, Any] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    losses: tuple[list[Loss], ...] = field(default_factory=lambda: ([],))
    is_beside: bool = False
    is_fallback: bool = False

    @property
    def unjoined(self) -> set[str]:
        """The aliases of joined branches that nothing has waited for."""
        return self.joined.keys() - self.names.keys() if self.joined else set()

    def fell_back(self, node: Node, output: Fallback) -> None:
        """Keep the value in place of a node's output."""
        if output.value is None:
            self.nothing(node)
            self.value = None
        else:
            self.passed(node, output.value)
        self.is_fallback = True

    def nothing(self, node: Node) -> None:
        """Note that a node has no output."""
        self.names[node.id] = None
        if node.id in self.reasoning:
            self.without_reasoning(node, None)
        if node.kind == "step":
            self._name_reasoning(node.id)

    def _name_reasoning(self, id: str) -> None:
        """Let prompts name the reasoning of a step, whether there is any."""
        text = self.reasoning.get(id, "") if self.reasoning else ""
        known = self.names.get(REASONING, _NONE)
        self.names[REASONING] = Reasoning({**known, id: text})

    def without_reasoning(self, node: Node, output: Any) -> Any:
        """The output of a node itself; its reasoning, if there is any, is kept here."""
        others = {id: text for id, text in self.reasoning.items() if id != node.id}
        if output.__class__ is not Reasoned:
            self.reasoning = others
            return output
        self.reasoning = {**others, node.id: output.reasoning}
        return output.output

    def recorded(self, node: Node, output: Recorded) -> None:
        """Keep the output of a node, and go on with the value that belongs to it."""
        self.passed(node, output.output)
        self.value = output.value

    def fill(self, leaf: Leaf) -> None:
        """Set the path, the value and the outputs of an end."""
        leaf.path, leaf.outputs, leaf.value = self.item.path, self.outputs, self.value
        leaf.reasoning = self.reasoning

    def blame(self, leaf: Leaf) -> None:
        """Make an end partial where a part of an output failed; see `losses`."""
        lost = next((loss for losses in self.losses for loss in losses), None)
        if lost is not None and leaf.error is None and leaf.has_value and not self.is_beside:
            leaf.error, leaf.node = lost
            leaf.is_partial = True

    def passed(self, node: Node, output: Any) -> None:
        """Keep the output of a node."""
        self.names[node.id] = self.value = output
        self.is_fallback = False
        if node.kind == "step":
            self._name_reasoning(node.id)
        if node.yield_output:
            self.outputs[node.id] = output

    def enter(self, composite: Composite) -> Frame:
        """Go into a composite; what its nodes do to the state can be undone."""
        frame = Frame(
            composite,
            self.item,
            self.names,
            self.value,
            self.joined,
            self.outputs,
            self.reasoning,
            len(self.beside),
            self.is_tolerant,
        )
        self.frames = (*self.frames, frame)
        self.names, self.outputs = {**self.names}, {**self.outputs}
        self.is_tolerant = self.is_tolerant or composite.tolerance is not None
        return frame

    def leave(self, frame: Frame) -> None:
        """Leave a composite, and all that are inside."""
        depth = self.frames.index(frame)
        for inner in reversed(self.frames[depth:]):
            if inner.composite.repeats:
                self.item = inner.item
        self.frames, self.is_tolerant = self.frames[:depth], frame.is_tolerant

    def for_item(self, index: int, lease: Lease, activity: Activity) -> FlowState:
        """The state of a flow that continues with one item of a split."""
        return FlowState(
            self.item.child(index),
            lease,
            activity,
            {**self.names},
            self.value,
            self.joined,
            self.beside[:],
            {**self.outputs},
            is_tolerant=self.is_tolerant,
            reasoning=self.reasoning,
            frames=self.frames,
            losses=(*self.losses, []),
            is_beside=self.is_beside,
        )

    def for_branch(self, branch: Branch, lease: Lease) -> FlowState:
        """The state of a branch that runs beside this flow."""
        return FlowState(
            self.item,
            lease,
            self.activity,
            {**self.names},
            self.value,
            {**self.joined},
            is_tolerant=self.is_tolerant or branch.tolerance is not None,
            losses=self.losses,
            is_beside=True,
        )


class EndError(Exception):
    """A flow ends, as a joined branch that it needs has ended, or one of its own nodes.

    Args:
        leaf: The end of the branch, or of the node.

    Attributes:
        end: The end of the flow that needs it.
    """

    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self.end: Leaf = Leaf(
            (),
            stopped=leaf.stopped,
            error=leaf.error,
            node=leaf.node,
            is_tolerated=leaf.is_tolerated,
        )
