"""Flows: nodes in a row, branches beside it, and the operators that combine them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from typing_extensions import Self

from chainette.errors import ChainError
from chainette.pipeline.nodes.naming import check_name


class Flow:
    """A part of a chain; `>>` puts one part after another, `|` beside another."""

    def __rshift__(self, other: Any) -> Pipe:
        """This part, then the other."""
        return pipe(self, other)

    def __rrshift__(self, other: Any) -> Pipe:
        """The other part, then this one; for lists of branches on the left."""
        return pipe(other, self)

    def __or__(self, other: Any) -> Pipe:
        """Branches that run beside each other; a part that is not a branch becomes one."""
        beside = [*self.nodes()] if isinstance(self, Pipe) and self.parallel else [as_branch(self)]
        return Pipe([*beside, as_branch(other)], parallel=True)

    def nodes(self) -> Iterator[Any]:
        """The nodes, one after another."""
        yield self


class Pipe(Flow):
    """Nodes in a row, not yet a chain.

    Args:
        nodes: The nodes.
        parallel: Whether they are branches beside each other.
    """

    def __init__(self, nodes: Iterable[Any], *, parallel: bool = False) -> None:
        self._nodes = list(nodes)
        self.parallel = parallel

    def nodes(self) -> Iterator[Any]:
        """The nodes, one after another."""
        yield from self._nodes


def pipe(*parts: Any) -> Pipe:
    """Put steps, functions, branches and lists of branches in a row.

    Raises:
        ChainError: A part is something else.
    """
    return Pipe(flattened(parts))


def flattened(parts: Any) -> list[Any]:
    """The nodes of flows, of lists of them and of whole chains, one after another.

    A chain is recognised by its list of steps.

    Raises:
        ChainError: A part is something else.
    """
    if isinstance(parts, Flow):
        return list(parts.nodes())
    if isinstance(parts, list | tuple):
        return [node for part in parts for node in flattened(part)]
    steps = getattr(parts, "steps", None)
    if isinstance(steps, list):
        return flattened(steps)
    raise ChainError(
        f"{parts!r} is not a step, a branch or an apply(…); wrap a function in apply(…)"
    )


class Branch(Flow):
    """Nodes that take the current value of their flow and run beside it.

    The flow continues with its own value. `join` brings the branch's last output back under a name;
    without it, a branch only adds its outputs to the results.

    Args:
        name: Name of the branch.
        steps: Its nodes.
        emoji: Shown in front of the name.

    Raises:
        ChainError: There are no steps.
    """

    kind = "branch"

    def __init__(self, *, name: str, steps: Flow | Sequence[Any], emoji: str = "") -> None:
        self.name = name
        self.steps = flattened(steps)
        self.emoji = emoji
        self.alias: str | None = None
        if not self.steps:
            raise ChainError(f"branch {name!r} has no steps")

    def join(self, alias: str) -> Self:
        """Give later nodes the branch's last output under a name; after a split, all last outputs.

        Args:
            alias: The name.

        Raises:
            ChainError: The name is not valid, or the branch has one already.
        """
        check_name(alias, f"branch {self.name!r}: alias")
        if self.alias is not None:
            raise ChainError(f"branch {self.name!r} is joined already, as {self.alias!r}")
        self.alias = alias
        return self

    @property
    def input_model(self) -> Any:
        """Input type of its first node."""
        return self.steps[0].input_model

    def __repr__(self) -> str:
        """The name, and the alias if it is joined."""
        joined = f", joined as {self.alias!r}" if self.alias else ""
        return f"Branch({self.name!r}, {len(self.steps)} steps{joined})"


def as_branch(part: Any) -> Branch:
    """The part as a branch; other parts become a branch with the name of their last node.

    Raises:
        ChainError: The part is neither a step nor a pipe.
    """
    nodes = flattened([part])
    if len(nodes) == 1 and isinstance(nodes[0], Branch):
        return nodes[0]
    if isinstance(part, Pipe) and part.parallel:
        raise ChainError("put parallel branches beside each other, as in a >> (b | c | d)")
    last = next(node for node in reversed(nodes) if not isinstance(node, Branch))
    return Branch(name=last.id, steps=nodes)
