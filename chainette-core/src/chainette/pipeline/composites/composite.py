"""A node that leads its item through nodes of its own, in the same flow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Union

from chainette.errors import ChainError
from chainette.messages.brief import cut
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.flow import In, Out
from chainette.pipeline.nodes.node import Node

ROUND_NAMES = ("previous", "feedback", "round")
"""Names that only the nodes of a repeat see."""


class Steps(Protocol):
    """A whole chain."""

    @property
    def steps(self) -> list[Any]:
        """Its nodes."""


@dataclass(slots=True)
class Scope:
    """What nodes see where they are, when a chain is built.

    Attributes:
        where: The chain, for messages.
        current: Type of the value that comes in.
        names: Types of the visible values by name.
        elsewhere: Hints for names that cannot be seen.
        source: The name of the value that comes in.
        before: The node that it comes from, or `None` at the start of a flow.
        origin: What the value at the start of the flow comes from, for messages.
    """

    where: str
    current: Any
    names: dict[str, Any]
    elsewhere: dict[str, str] = field(default_factory=dict)
    source: str = "chain_input"
    before: Node | None = None
    origin: str = "the input"

    def inner(self, **names: Any) -> Scope:
        """A scope that begins as this one, with more names."""
        return replace(self, names={**self.names, **names}, elsewhere={**self.elsewhere})


Check = Callable[[list[Any], Scope], Any]
"""Checks nodes one after another in a scope, and returns the type of what they give."""


class Composite(Node[In, Out]):
    """A node that leads its item through nodes of its own.

    Its nodes run in the flow that it is in, one after another; `end` is the place where the flow
    goes on behind it.

    Attributes:
        end: The place behind its nodes.
    """

    comes_first: bool = True
    """Whether it comes before its nodes in the order of the chain's nodes."""
    repeats: bool = False
    """Whether its nodes can run several times for one item."""

    @property
    @abstractmethod
    def flows(self) -> list[list[Any]]:
        """Its nodes: a list of them for each way through it."""

    @abstractmethod
    def check(self, scope: Scope, check: Check) -> Any:
        """Check its nodes, and note in the scope what later nodes see of it.

        Returns:
            The type of what it gives.

        Raises:
            ChainError: They do not fit together.
        """

    @abstractmethod
    def end_needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that must be done before the flow leaves it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.end: End = End(self)

    def visible(self) -> list[str]:
        """The names of its nodes that later nodes see."""
        return []

    def members(self) -> Iterator[Any]:
        """The nodes and branches of all its flows."""
        for flow in self.flows:
            yield from flow

    def __repr__(self) -> str:
        """The id, and the nodes of each way through it."""
        ways = ", ".join(" >> ".join(map(repr, flow)) or "[]" for flow in self.flows)
        return cut(f"{type(self).__name__}({self.id!r}, {ways})", 280)


class End:
    """The place where a flow leaves a composite.

    Args:
        composite: The composite.
    """

    def __init__(self, composite: Composite) -> None:
        self.composite = composite

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that must be done before the flow goes on; see `Node.needs`."""
        known = set(aliases)
        return known and self.composite.end_needs(known)


def main_nodes(nodes: Iterable[Any]) -> list[Node]:
    """The nodes of a flow that are not in branches."""
    return [node for node in nodes if isinstance(node, Node)]


def given(node: Node) -> Any:
    """The type of what a node gives, `None` included where it may have no output."""
    model = node.output_model
    return Union[model, None] if node.gives_none and model is not Any else model  # noqa: UP007


def recorded(node: Node) -> Any:
    """The type of what later nodes see under a node's id."""
    model = node.recorded_model
    return Union[model, None] if node.gives_none and model is not Any else model  # noqa: UP007


def union_of(models: Iterable[Any]) -> Any:
    """The union of types; `Any` if one of them is, or if there are none."""
    known = list(models)
    if not known or any(model is Any for model in known):
        return Any
    return Union[tuple(known)]  # noqa: UP007


def last_given(nodes: Sequence[Any], current: Any) -> Any:
    """The type of what a flow gives, of an empty one that of what comes in."""
    for node in reversed(main_nodes(nodes)):
        if not _is_open(node):
            return given(node)
    return current


def first_taken(nodes: Iterable[Any]) -> Any:
    """The type of what a flow takes; `Any` where it is empty or not known."""
    return next((it.input_model for it in nodes if not _is_open(it)), Any)


def _is_open(node: Any) -> bool:
    """Whether a node passes on what comes in, of a type that is not known yet."""
    return bool(getattr(node, "passes_on", False)) and node.input_model is Any


def checked_flow(nodes: list[Any], where: str) -> list[Any]:
    """The nodes of a flow that has an output.

    Raises:
        ChainError: There are none but branches.
    """
    if nodes and not main_nodes(nodes):
        raise ChainError(f"{where} has only branches, which give no value; add a step or function")
    return nodes


def may_split(nodes: Iterable[Any]) -> bool | None:
    """Whether a node of a flow splits its item; `None` if that is not certain."""
    found: set[bool | None] = set()
    for node in main_nodes(nodes):
        if isinstance(node, Composite):
            found.add(may_split(node.members()))
        elif isinstance(node, ApplyNode):
            found.add(node.types.splits)
    return True if True in found else (None if None in found else False)
