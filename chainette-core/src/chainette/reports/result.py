"""The result of one input row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from chainette.folder.lines import ItemPath
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.pipeline import Pipeline

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """The result of one input row.

    Attributes:
        row_id: 0-based index of the input row.
        value: Output of the chain's last step, or `None` if the row failed.
        error: The reason why the row failed, or `None`.
        outputs: Outputs of the steps that yield one and succeeded, by step id.
    """

    row_id: int
    value: T | None = None
    error: Exception | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the row succeeded."""
        return self.error is None

    def unwrap(self) -> T:
        """Return the value.

        Raises:
            Exception: The row's error, if it failed.
        """
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Many(list[Any]):
    """Outputs of a node in a branch that split its item."""


@dataclass(slots=True)
class Leaf:
    """A row, or an item that it was split into, at its end.

    Attributes:
        path: Index among its siblings; empty for a row that was not split.
        outputs: Outputs of the nodes that it has passed and that yield, by id.
        value: Output of the last node.
        dropped: Whether a function returned `None` for it.
        stopped: Whether a step did not prompt its engine, as in a dry run.
        error: The reason why it failed, or `None`.
        node: The node that it failed in, or `None`.
    """

    path: ItemPath
    outputs: dict[str, Any] = field(default_factory=dict)
    value: Any = None
    dropped: bool = False
    stopped: bool = False
    error: Exception | None = None
    node: Node | None = None

    @property
    def has_value(self) -> bool:
        """Whether it reached the end of the chain."""
        return not (self.dropped or self.stopped or self.error)


def result_of(chain: Pipeline, row_id: int, leaves: Sequence[Leaf]) -> Result[Any]:
    """The result of a row, from its one or more ends.

    If the row was split, `value` and the outputs are lists with one element for each item.
    """
    error = next((leaf.error for leaf in leaves if leaf.error is not None), None)
    ends = [
        (leaf, {id: leaf.outputs[id] for id in chain.nodes if id in leaf.outputs})
        for leaf in leaves
    ]
    if len(ends) == 1 and not ends[0][0].path:
        leaf, outputs = ends[0]
        value = _last(chain, outputs) if leaf.has_value else None
        return Result(row_id, value, error, outputs)
    values = [_last(chain, outputs) for leaf, outputs in ends if leaf.has_value]
    merged: dict[str, list[Any]] = {}
    for _, outputs in ends:
        for id, output in outputs.items():
            merged.setdefault(id, []).append(output)
    return Result(row_id, None if error else values, error, merged)


def _last(chain: Pipeline, outputs: Mapping[str, Any]) -> Any:
    """The output of the last node of the main flow that yields one."""
    return next((outputs[id] for id in reversed(chain.main_ids) if id in outputs), None)
