"""The state of a row's flows: the values so far, and the branches beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chainette.pipeline.nodes.node import Node
from chainette.reports.result import Leaf, Many
from chainette.run.item import Item
from chainette.run.schedule.leases import Lease
from chainette.run.schedule.parking import Activity, Gate


@dataclass(slots=True)
class Subflow:
    """A flow that runs beside another one: a branch.

    Attributes:
        item: The item that it started with.
        gate: Opens at its end.
        leaves: Its ends.
    """

    item: Item
    gate: Gate
    leaves: list[Leaf] = field(default_factory=list)

    @property
    def unfinished(self) -> Leaf | None:
        """The first end that failed or was stopped."""
        return next((leaf for leaf in self.leaves if leaf.error or leaf.stopped), None)

    @property
    def is_whole(self) -> bool:
        """Whether its item was not split."""
        return all(leaf.path == self.item.path and not leaf.is_empty for leaf in self.leaves)

    def output(self) -> Any:
        """The last output, or those of all items that it was split into."""
        values = [leaf.value for leaf in self.leaves if not leaf.dropped]
        if not self.is_whole:
            return values
        return values[0] if values else None

    def outputs(self) -> dict[str, Any]:
        """Outputs of its nodes by id."""
        if self.is_whole:
            return self.leaves[0].outputs if self.leaves else {}
        merged: dict[str, Any] = {id: Many() for leaf in self.leaves for id in leaf.missed}
        for leaf in self.leaves:
            for id, value in leaf.outputs.items():
                # A branch in a branch that split as well gives one list, not a list of lists.
                merged.setdefault(id, Many()).extend(value if isinstance(value, Many) else [value])
        return merged


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

    def passed(self, node: Node, output: Any) -> None:
        """Keep the output of a node."""
        self.names[node.id] = self.value = output
        if node.yield_output:
            self.outputs[node.id] = output

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
        )

    def for_branch(self, lease: Lease) -> FlowState:
        """The state of a flow that runs beside this one."""
        names, joined = {**self.names}, {**self.joined}
        return FlowState(self.item, lease, self.activity, names, self.value, joined)


class BranchError(Exception):
    """A joined branch that is needed has no output."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self.leaf = leaf
