"""The result of one input row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any, Generic, overload

from typing_extensions import TypeVar

from chainette.errors import DroppedRowError
from chainette.events import RowState
from chainette.folder.lines import ItemPath, error_fields, item_name
from chainette.messages.brief import brief_call
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.composites.repeat import Repeat, Rounds, value_node
from chainette.pipeline.nodes.flow import Branch, Out
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.pipeline import Pipeline
from chainette.text import names_keywords

Output = TypeVar("Output")
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The result of one item that a row was split into, or of a row that was not.

    Attributes:
        path: Index among its siblings for every split, as in the run's files: `3.1`; empty for a
            row that was not split.
        state: As in `Result`.
        value: Output of the chain's last step, or `None`.
        error: The reason why it, or a branch of it, failed, or `None`.
        outputs: Outputs of the steps that yield one and succeeded, by step id.
        drop_reason: The reason that the function gave which dropped it, or `None`.
    """

    path: str
    state: RowState
    value: Any
    error: Exception | None
    outputs: Mapping[str, Any]
    drop_reason: str | None = None

    def __repr__(self) -> str:
        """Its path, state and value."""
        return brief_call(
            "ItemResult", path=self.path, state=self.state, value=self.value, error=self.error
        )


@names_keywords
@dataclass(frozen=True, slots=True)
class Result(Generic[Out]):
    """The result of one input row.

    `result[step]` is the output of a step, typed by it; `result["id"]` is the same, untyped.

    Attributes:
        row_id: 0-based index of the input row.
        value: Output of the chain's last step, or `None` if the row failed or was dropped. Of a row
            that was split, a list of those of the items that have one.
        error: The reason why the row failed, or the first part of it that did, or `None`.
        outputs: Outputs of the steps that yield one and succeeded, by step id.
        state: `ok`; `partial`, if it has a value and an item or a branch failed; `dropped`, if
            functions dropped all of it; or `failed`.
        is_split: Whether a function split the row; `value`, the outputs and the reasoning are lists
            then.
        ends: The ends of its items.
        reasoning: The model's reasoning by step id, of steps whose backend reported it.
        inputs: The columns of the input row that are kept, as JSON values by name.
    """

    row_id: int
    value: Out | None = None
    error: Exception | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    state: RowState = "ok"
    is_split: bool = False
    ends: Sequence[Leaf] = field(default=(), repr=False, compare=False)
    reasoning: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give a result with an error the state that goes with it."""
        if self.error is not None and self.state == "ok":
            object.__setattr__(self, "state", "failed")

    def __reduce__(self) -> tuple[Any, ...]:
        """Let `pickle` have plain dicts in the place of those that cannot be changed."""
        outputs, reasoning, inputs = map(dict, (self.outputs, self.reasoning, self.inputs))
        head = (self.row_id, self.value, self.error, outputs, self.state, self.is_split)
        return type(self), (*head, self.ends, reasoning, inputs)

    def __repr__(self) -> str:
        """Its row, state and value, or the reason why it has none."""
        return brief_call(
            "Result",
            row_id=self.row_id,
            state=self.state,
            value=self.value,
            error=self.error,
            drop_reason=self.drop_reason,
        )

    def _repr_html_(self) -> str:
        from chainette.reports.display.rows import result_card

        return result_card(self)

    @property
    def ok(self) -> bool:
        """Whether the state is `ok`."""
        return self.state == "ok"

    @property
    def dropped(self) -> bool:
        """Whether functions dropped all of the row."""
        return self.state == "dropped"

    @property
    def drop_reason(self) -> str | None:
        """The reason that the function gave which dropped the row, or the first of its items."""
        return drop_reason(self.ends)

    @property
    def items(self) -> tuple[ItemResult, ...]:
        """The results of the items that it was split into, in their order."""
        return tuple(leaf.result() for leaf in self.ends)

    def unwrap(self) -> Out:
        """Return the value.

        Raises:
            Exception: The error of the row, or of a part of it.
            DroppedRowError: A function dropped the row.
        """
        if self.error is not None:
            raise self.error
        if self.dropped:
            reason = f": {self.drop_reason}" if self.drop_reason else ""
            message = f"row {self.row_id} has no value: a function dropped it{reason}"
            raise DroppedRowError(message)
        return self.value  # type: ignore[return-value]

    @overload
    def __getitem__(self, key: Repeat[Any, Any]) -> Rounds: ...
    @overload
    def __getitem__(self, key: Node[Any, Output]) -> Output: ...
    @overload
    def __getitem__(self, key: Branch[Any, Output]) -> Output: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """The output of a step, a function, a route or a branch, or the rounds of a repeat.

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
            return "the row was dropped" + (f": {self.drop_reason}" if self.drop_reason else "")
        known = ", ".join(self.outputs) or "none"
        return (
            "it is not a step of this chain, its branch was not run, or it works on groups, which "
            f"run.groups has; outputs: {known}"
        )


class Many(list[Any]):
    """Outputs of a node in a branch that split its item."""


@dataclass(slots=True)
class Leaf:
    """A row, or an item that it was split into, at its end.

    Attributes:
        path: Index among its siblings; empty for a row that was not split.
        outputs: Outputs of the nodes that it has passed and that yield, by id.
        value: Output of the last node.
        dropped: Whether a function dropped it, or split it into nothing.
        stopped: Whether a node was not run, as in a dry run.
        error: The reason why it failed, or a branch beside it, or `None`.
        node: The node that it failed in, or that dropped it, or `None`.
        is_partial: Whether only a branch failed, and the flow itself has a value.
        is_tolerated: Whether it failed, in a branch whose failures are tolerated.
        is_empty: Whether a function split it into nothing.
        reason: The reason why it was dropped, if the function gave one.
        missed: Ids of the nodes that yield and have no output because it was dropped.
        reasoning: Reasoning of the steps that it has passed, where there is any, by id.
    """

    path: ItemPath
    outputs: dict[str, Any] = field(default_factory=dict)
    value: Any = None
    dropped: bool = False
    stopped: bool = False
    error: Exception | None = None
    node: Node | Reduce[Any, Any] | None = None
    is_partial: bool = False
    is_tolerated: bool = False
    is_empty: bool = False
    reason: str | None = None
    missed: Sequence[str] = ()
    reasoning: Mapping[str, Any] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let `pickle` have it without its node, which has code."""
        state = {it.name: getattr(self, it.name) for it in fields(self)}
        state |= {"node": None, "reasoning": dict(self.reasoning)}
        return Leaf, (*state.values(),)

    @property
    def has_value(self) -> bool:
        """Whether it reached the end of the chain."""
        return not (self.dropped or self.stopped or self.is_tolerated) and (
            self.error is None or self.is_partial
        )

    @property
    def state(self) -> RowState:
        """The state of this end alone."""
        return state_of([self])

    def result(self) -> ItemResult:
        """The end, for people."""
        value = self.value if self.has_value else None
        reason = drop_reason([self])
        return ItemResult(item_name(self.path), self.state, value, self.error, self.outputs, reason)


def drop_reason(leaves: Iterable[Leaf]) -> str | None:
    """The reason why the first end that was dropped for one was so, or `None`."""
    return next((leaf.reason for leaf in leaves if leaf.dropped and leaf.reason), None)


def state_of(leaves: Iterable[Leaf]) -> RowState:
    """The state of a row, from its one or more ends."""
    return STATES[reduce(or_, map(state_bits, leaves), 0)]


STATES: tuple[RowState, ...] = ("dropped", "ok", "failed", "partial")
"""The states of rows by the sum of what their ends have; see `state_bits`."""


def state_bits(leaf: Leaf) -> int:
    """1 if an end has a value, or would have one but for a dry run; and 2 if it has an error."""
    if leaf.error is None:
        return 0 if leaf.dropped else 1
    return 3 if leaf.is_partial else 2


def result_of(
    chain: Pipeline, row_id: int, leaves: Sequence[Leaf], inputs: Mapping[str, Any] = NOTHING
) -> Result[Any]:
    """The result of a row, from its one or more ends and the columns that it came with.

    If the row was split, `value` and the outputs are lists with one element for each item.
    """
    error = next((leaf.error for leaf in leaves if leaf.error is not None), None)
    state = state_of(leaves)
    if not chain.main_ids:  # a flow without nodes gives nothing
        leaves = [replace(leaf, value=None) for leaf in leaves]
    ends = [{id: leaf.outputs[id] for id in chain.nodes if id in leaf.outputs} for leaf in leaves]
    if len(leaves) == 1 and not leaves[0].path:
        (leaf,) = leaves
        value = leaf.value if leaf.has_value else None
        thoughts = _in_order(chain, leaf.reasoning)
        return Result(row_id, value, error, ends[0], state, False, leaves, thoughts, inputs)
    values = [leaf.value for leaf in leaves if leaf.has_value]
    merged = merged_outputs(ends)
    value = None if state == "failed" else values
    thoughts = _in_order(chain, merged_reasoning(leaves))
    return Result(row_id, value, error, merged, state, True, leaves, thoughts, inputs)


def merged_outputs(ends: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The outputs of several items by node id, a list for each node."""
    merged: dict[str, list[Any]] = {}
    for outputs in ends:
        for id, output in outputs.items():
            merged.setdefault(id, []).append(output)
    return merged


def error_columns(leaf: Leaf) -> dict[str, Any]:
    """What tables say about the error of an end that has one."""
    assert leaf.error is not None
    fields = error_fields(leaf.node.id if leaf.node else None, leaf.error)
    del fields["raw_text"]
    return fields


def _in_order(chain: Pipeline, reasoning: Mapping[str, Any]) -> Mapping[str, Any]:
    return {id: reasoning[id] for id in chain.nodes if id in reasoning} if reasoning else {}


def merged_reasoning(leaves: Sequence[Leaf], *, flat: bool = False) -> dict[str, Any]:
    """Reasoning of a row's items by step id: for each that has an output, `None` if it has none.

    Args:
        leaves: The ends of the items.
        flat: Whether lists of items of items become one list.
    """
    ids = dict.fromkeys(id for leaf in leaves for id in leaf.reasoning)
    merged: dict[str, Any] = {id: Many() if flat else [] for id in ids}
    for leaf in leaves:
        for id in ids:
            output = leaf.outputs.get(id)
            nothing = [None] * len(output) if isinstance(output, Many) else None
            found = leaf.reasoning.get(id, nothing)
            if flat and isinstance(found, list):
                merged[id] += found
            elif id in leaf.reasoning or id in leaf.outputs:
                merged[id].append(found)
    return merged


def _node_of(key: Any) -> Any:
    """The node that a key of a result names; the last one of a branch."""
    if isinstance(key, Branch):
        last = next(node for node in reversed(key.steps) if not isinstance(node, Branch))
        return value_node(last)
    return key


def _id_of(key: Any) -> str:
    """The id of a node, of a branch's last node, or the id itself."""
    return key if isinstance(key, str) else str(_node_of(key).id)
