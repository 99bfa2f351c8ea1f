"""`reduce`: nodes that take all rows of a key, once every row has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from chainette.errors import ChainError
from chainette.pipeline.composites.group import Group, element_of
from chainette.pipeline.composites.group_key import Key
from chainette.pipeline.composites.repeat import may_give_other, value_node
from chainette.pipeline.nodes.flow import Branch, Flow, Grouped, Out, flattened
from chainette.pipeline.nodes.naming import check_name
from chainette.pipeline.nodes.node import Node

T_ = TypeVar("T_")
O_ = TypeVar("O_")
Names: TypeAlias = Mapping[str, Any]
KeyFunction: TypeAlias = Callable[[T_], Any] | Callable[[T_, Names], Any]
"""A function of an item, or of an item and the names."""
By: TypeAlias = str | KeyFunction[T_] | Sequence[str | KeyFunction[T_]] | None
"""A field or an expression, a function, several of them, or nothing for one group of all rows."""
GroupIn = TypeVar("GroupIn", contravariant=True)


class Reduce(Grouped[GroupIn, None, Out]):
    """Nodes that take all rows of a key, as a `Group`; see `reduce`.

    Args:
        node: The step, the function or the nodes in a row that take a group.
        by: What the rows of a group have in common.
        fold: Maximum number of items to take at a time, or `None` for all.
        id: Name of the table of groups; the id of the last node by default.

    Attributes:
        steps: The nodes.
        key: What the rows of a group have in common.
        last: The node whose output is that of the group.

    Raises:
        ChainError: The nodes cannot take groups, or an argument is wrong.
    """

    kind = "reduce"

    def __init__(self, node: Any, by: Any, fold: int | None, id: str | None) -> None:
        if callable(node) and not isinstance(node, Node):
            name = getattr(node, "__name__", "fn")
            raise ChainError(f"reduce: {name!r} is a function; wrap it: reduce(apply({name}), …)")
        self.steps: list[Any] = flattened([node])
        if not self.steps or not isinstance(self.steps[-1], Node):
            raise ChainError("reduce: give a step or a function that takes the group")
        self.last: Node = self.steps[-1]
        self.id: str = self.last.id if id is None else id
        check_name(self.id, "reduce id")
        where = f"reduce {self.id!r}"
        if may_give_other(self.last):
            raise ChainError(
                f"{where}: repeat {self.last.id!r} may give something else than its last node, "
                "as it has when=, on_error= or default=; put a function behind it in the reduce, "
                "whose output is that of the group"
            )
        given = value_node(self.last)
        if not given.yield_output:
            raise ChainError(
                f"{where}: {given.kind} {given.id!r} has yield_output=False, but its "
                "output is that of the group"
            )
        if fold is not None and (isinstance(fold, bool) or not isinstance(fold, int) or fold < 1):
            raise ChainError(f"{where}: fold is {fold!r}; give a number of items, from 1")
        self.fold = fold
        self.key: Key = Key(by, f"{where}, by")

    @property
    def name(self) -> str:
        """The id."""
        return self.id

    @property
    def emoji(self) -> str:
        """The emoji of its last node."""
        return self.last.emoji

    @property
    def input_model(self) -> Any:
        """Type of the items of its groups."""
        first = next((it for it in self.steps if not isinstance(it, Branch)), self.steps[0])
        return element_of(first.input_model)

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that its key looks at."""
        return self.key.needs(aliases)

    def nodes(self) -> Iterator[Any]:
        """The part itself."""
        yield self

    def __repr__(self) -> str:
        """The id, and what its groups have in common."""
        return f"Reduce({self.id!r}, by {self.key.text})"


def reduce(
    node: Flow[Group[T_], O_],
    by: By[T_] = None,
    *,
    fold: int | None = None,
    id: str | None = None,
) -> Reduce[T_, O_]:
    """Bring all rows of a key together: the node takes a `Group` and gives one output for it.

    The flow of the rows ends here: `Result.value` is the value before it. `Run.groups` has the
    outputs of the groups, and the nodes that follow work on groups. Groups are made when every row
    has ended; rows that failed, and those that were dropped, are in none.

    Args:
        node: A step, a function in `apply(…)`, or several in a row; the input is `Group[T]`.
        by: The key: a field of the item or another template expression, a function of the item,
            or of the item and the names; or a list of these. Without it, all rows are one group.
        fold: Maximum number of items to hand over at a time. The node is called again for the
            next ones, which see its output so far as `so_far`; the last output counts. What a
            function does not carry over from `so_far` is lost; a step's prompt must use it.
        id: Name of the groups in `Run.groups` and in the run's files; the node's id by default.

    Raises:
        ChainError: The node does not take a group, or an argument is wrong.
    """
    return Reduce(node, by, fold, id)
