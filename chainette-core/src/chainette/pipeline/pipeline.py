"""A pipeline: nodes that fit together, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Generic

from pydantic import TypeAdapter

from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.composites.repeat import value_node
from chainette.pipeline.nodes.flow import Flow, In, Out, Parallel, flattened
from chainette.pipeline.nodes.naming import check_title
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.validate import all_branches, all_nodes, validate
from chainette.validation import type_adapter


class Pipeline(Generic[In, Out]):
    """Nodes that every input row passes through in turn.

    Args:
        name: Name of the pipeline.
        steps: Steps, functions in `apply(…)`, branches, pipes, chains, and lists of them.
        emoji: Shown in front of the name.

    Raises:
        ChainError: The steps do not fit together.
    """

    def __init__(
        self, *, name: str, steps: Flow | Parallel | Sequence[Any], emoji: str = ""
    ) -> None:
        check_title(name, "chain: name")
        self.name = name
        self.steps: list[Any] = flattened(steps)
        self.emoji = emoji
        validate(name, self.steps, self.input_model if self.steps else Any)

    @property
    def input_model(self) -> Any:
        """Type of the input rows."""
        # Branches at the start take the main flow's input, and may accept more than it does.
        main = (node for node in self.steps if isinstance(node, Node))
        return next(main, self.steps[0]).input_model

    @cached_property
    def input_adapter(self) -> TypeAdapter[Any]:
        """The validation of input rows."""
        return type_adapter(self.input_model)

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Steps, functions, routes and repeats by id, those of branches and of others included."""
        return {node.id: node for node in all_nodes(self.steps)}

    @cached_property
    def main_ids(self) -> list[str]:
        """Ids of the nodes of the main flow, in order."""
        return [node.id for node in self.steps if isinstance(node, Node)]

    @cached_property
    def value_id(self) -> str | None:
        """Id of the node whose output is the value of a row; `None` if there are only branches."""
        return value_node(self.nodes[self.main_ids[-1]]).id if self.main_ids else None

    @property
    def prompted(self) -> list[Step]:
        """The steps that prompt an engine, those of branches included."""
        return [node for node in self.nodes.values() if isinstance(node, Step)]

    @cached_property
    def has_only_steps(self) -> bool:
        """Whether it has no functions and no branches: its rows never split, and wait for engines.

        Routes and repeats may be in it.
        """
        nodes = self.nodes.values()
        is_plain = all(isinstance(node, Step | Composite) for node in nodes)
        return is_plain and not any(all_branches(self.steps))

    @property
    def engine_names(self) -> list[str]:
        """Names of the engines that steps and functions use, each once."""
        return list(dict.fromkeys(name for node in self.nodes.values() for name in node.engines))

    def __repr__(self) -> str:
        """The name and the nodes of the main flow."""
        return f"{type(self).__name__}({self.name!r}, {' >> '.join(self.main_ids)})"
