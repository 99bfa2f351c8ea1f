"""Flows: nodes in a row, branches beside it, and the operators that combine them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from typing_extensions import Self

from chainette.errors import ChainError
from chainette.pipeline.nodes.naming import check_name


class Flow:
    """Something that stands in a chain; `>>` puts one after another, `|` beside another."""

    def __rshift__(self, other: Any) -> Pipe:
        """This, then the other."""
        return pipe(self, other)

    def __rrshift__(self, other: Any) -> Pipe:
        """The other, then this; for lists of branches on the left."""
        return pipe(other, self)

    def __or__(self, other: Any) -> Pipe:
        """Branches that run beside each other; what is no branch yet becomes one."""
        beside = [*self.nodes()] if isinstance(self, Pipe) and self.parallel else [as_branch(self)]
        return Pipe([*beside, as_branch(other)], parallel=True)

    def nodes(self) -> Iterator[Any]:
        """The nodes, one after another."""
        yield self


class Pipe(Flow):
    """Nodes in a row, not yet a chain.

    Args:
        nodes: The nodes.
        parallel: They are branches beside each other.
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
        ChainError: A part is none of them.
    """
    return Pipe(flattened(parts))


def flattened(parts: Any) -> list[Any]:
    """The nodes of flows, of lists of them and of whole chains, one after another.

    Raises:
        ChainError: A part is none of them.
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
    """Nodes that take the value of the flow they stand in and run beside it.

    The flow goes on with its own value. `join` brings the branch's last output back under a name;
    without it, a branch only leaves its outputs in the results.

    Args:
        name: Name of the branch.
        steps: Its nodes.
        emoji: Shown in front of the name.

    Raises:
        ChainError: It is empty.
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
        """Let later nodes see the branch's last output under a name; of a split, all of them.

        Args:
            alias: The name.

        Raises:
            ChainError: The name cannot be one, or the branch has one already.
        """
        check_name(alias, f"branch {self.name!r}: alias")
        if self.alias is not None:
            raise ChainError(f"branch {self.name!r} is joined already, as {self.alias!r}")
        self.alias = alias
        return self

    @property
    def input_model(self) -> Any:
        """Type of what its first node takes."""
        first = self.steps[0]
        return first.input_model

    def __repr__(self) -> str:
        """The name and how it is joined."""
        joined = f", joined as {self.alias!r}" if self.alias else ""
        return f"Branch({self.name!r}, {len(self.steps)} steps{joined})"


def as_branch(part: Any) -> Branch:
    """A branch; what is none becomes one of its own name.

    Raises:
        ChainError: The part is no step and no pipe.
    """
    nodes = flattened([part])
    if len(nodes) == 1 and isinstance(nodes[0], Branch):
        return nodes[0]
    if isinstance(part, Pipe) and part.parallel:
        raise ChainError("put parallel branches beside each other, as in a >> (b | c | d)")
    last = next(node for node in reversed(nodes) if not isinstance(node, Branch))
    return Branch(name=last.id, steps=nodes)
