"""Branches: nodes that run beside the main flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import Self

from chainette.errors import ChainError
from chainette.pipeline.node import Flow, Node, Pipe, check_name, flattened


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

    def __init__(self, *, name: str, steps: Sequence[Any], emoji: str = "") -> None:
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
    last = next(node for node in reversed(nodes) if isinstance(node, Node))
    return Branch(name=last.id, steps=nodes)
