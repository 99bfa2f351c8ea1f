"""The result of one input row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, overload

from typing_extensions import TypeVar

from chainette.errors import DroppedRowError
from chainette.folder.lines import ItemPath
from chainette.pipeline.nodes.flow import Branch, Out
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.pipeline import Pipeline
from chainette.text import names_keywords

Output = TypeVar("Output")


@names_keywords
@dataclass(frozen=True, slots=True)
class Result(Generic[Out]):
    """The result of one input row.

    `result[step]` is the output of a step, typed by it; `result["id"]` is the same, untyped.

    Attributes:
        row_id: 0-based index of the input row.
        value: Output of the chain's last step, or `None` if the row failed or was dropped.
        error: The reason why the row failed, or `None`.
        outputs: Outputs of the steps that yield one and succeeded, by step id.
        dropped: Whether a function dropped the row.
        is_split: Whether a function split the row; `value` and the outputs are lists then.
    """

    row_id: int
    value: Out | None = None
    error: Exception | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    dropped: bool = False
    is_split: bool = False

    @property
    def ok(self) -> bool:
        """Whether the row succeeded."""
        return self.error is None

    def unwrap(self) -> Out:
        """Return the value.

        Raises:
            Exception: The row's error, if it failed.
            DroppedRowError: A function dropped the row.
        """
        if self.error is not None:
            raise self.error
        if self.dropped:
            raise DroppedRowError(f"row {self.row_id} has no value: a function dropped it")
        return self.value  # type: ignore[return-value]

    @overload
    def __getitem__(self, key: Node[Any, Output]) -> Output: ...
    @overload
    def __getitem__(self, key: Branch[Any, Output]) -> Output: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """The output of a step, a function or a branch.

        Args:
            key: The node, or its id. Of a row that was split, only the id gives the outputs, a
                list.

        Raises:
            KeyError: The node gave no output for this row, or one for each item of a split row; the
                message says which.
        """
        if not isinstance(key, str) and self.is_split:
            raise KeyError(
                f"row {self.row_id} was split into items: result[{_id_of(key)!r}] has the list of "
                "their outputs"
            )
        id = _id_of(key)
        if id not in self.outputs:
            raise KeyError(f"row {self.row_id}: {id!r} gave no output: {self._reason(key)}")
        output = self.outputs[id]
        return list(output) if isinstance(output, Many) else output

    def _reason(self, key: Any) -> str:
        """The reason why a node has no output."""
        if not getattr(_node_of(key), "yield_output", True):
            return "it has yield_output=False"
        if self.error is not None:
            return f"the row failed: {self.error}"
        if self.dropped:
            return "the row was dropped"
        known = ", ".join(self.outputs) or "none"
        return f"it is not a step of this chain, or its branch was not run; outputs: {known}"


class Many(list[Any]):
    """Outputs of a node in a branch that split its item."""


@dataclass(slots=True)
class Leaf:
    """A row, or an item that it was split into, at its end.

    Attributes:
        path: Index among its siblings; empty for a row that was not split.
        outputs: Outputs of the nodes that it has passed and that yield, by id.
        value: Output of the last node.
        dropped: Whether a function returned `None` for it, or split it into nothing.
        stopped: Whether a node was not run, as in a dry run.
        error: The reason why it failed, or `None`.
        node: The node that it failed in, or `None`.
        is_empty: Whether a function split it into nothing.
        missed: Ids of the nodes that yield and have no output because it was dropped.
    """

    path: ItemPath
    outputs: dict[str, Any] = field(default_factory=dict)
    value: Any = None
    dropped: bool = False
    stopped: bool = False
    error: Exception | None = None
    node: Node | None = None
    is_empty: bool = False
    missed: Sequence[str] = ()

    @property
    def has_value(self) -> bool:
        """Whether it reached the end of the chain."""
        return not (self.dropped or self.stopped or self.error)


def result_of(chain: Pipeline, row_id: int, leaves: Sequence[Leaf]) -> Result[Any]:
    """The result of a row, from its one or more ends.

    If the row was split, `value` and the outputs are lists with one element for each item.
    """
    error = next((leaf.error for leaf in leaves if leaf.error is not None), None)
    has_main_flow = bool(chain.main_ids)
    ends = [{id: leaf.outputs[id] for id in chain.nodes if id in leaf.outputs} for leaf in leaves]
    if len(leaves) == 1 and not leaves[0].path:
        (leaf,) = leaves
        value = leaf.value if leaf.has_value and has_main_flow else None
        return Result(row_id, value, error, ends[0], dropped=leaf.dropped)
    values = [leaf.value for leaf in leaves if leaf.has_value and has_main_flow]
    merged: dict[str, list[Any]] = {}
    for outputs in ends:
        for id, output in outputs.items():
            merged.setdefault(id, []).append(output)
    return Result(row_id, None if error else values, error, merged, is_split=True)


def _node_of(key: Any) -> Any:
    """The node that a key of a result names; the last one of a branch."""
    if isinstance(key, Branch):
        return next(node for node in reversed(key.steps) if not isinstance(node, Branch))
    return key


def _id_of(key: Any) -> str:
    """The id of a node, of a branch's last node, or the id itself."""
    return key if isinstance(key, str) else str(_node_of(key).id)
