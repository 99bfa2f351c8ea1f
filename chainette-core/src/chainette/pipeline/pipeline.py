"""A pipeline: nodes that fit together, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Generic

from pydantic import TypeAdapter

from chainette.messages.brief import cut
from chainette.pipeline.composites.composite import Composite, first_taken
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.composites.repeat import value_node
from chainette.pipeline.nodes.flow import Flow, Grouped, In, Out, Parallel, flattened
from chainette.pipeline.nodes.naming import check_title
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.steps.attempts import check_samplings
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
        self, *, name: str, steps: Flow | Grouped | Parallel | Sequence[Any], emoji: str = ""
    ) -> None:
        check_title(name, "chain: name")
        self.name = name
        self.steps: list[Any] = flattened(steps)
        self.emoji = emoji
        validate(name, self.steps, self.input_model if self.steps else Any)
        check_samplings(self.steps)

    @property
    def input_model(self) -> Any:
        """Type of the input rows."""
        # Branches at the start take the main flow's input, and may accept more than it does.
        main = [node for node in self.row_steps if isinstance(node, Node | Reduce)]
        return first_taken(main) if main else self.steps[0].input_model

    @cached_property
    def row_steps(self) -> list[Any]:
        """The part of the steps that a row passes through: up to the first `reduce`."""
        return next(iter(self._parts), [])

    @cached_property
    def group_steps(self) -> dict[Reduce[Any, Any], list[Any]]:
        """For each `reduce`, the steps that its groups pass through: up to the next one."""
        before = [part[-1] for part in self._parts if isinstance(part[-1], Reduce)]
        after = [*self._parts[1:], []]
        return {part: [*part.steps, *more] for part, more in zip(before, after, strict=False)}

    @cached_property
    def _parts(self) -> list[list[Any]]:
        """The steps, divided behind every `reduce`."""
        parts: list[list[Any]] = [[]]
        for step in self.steps:
            parts[-1].append(step)
            if isinstance(step, Reduce):
                parts.append([])
        return parts if parts[-1] else parts[:-1]

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
        return [node.id for node in self.row_steps if isinstance(node, Node)]

    @cached_property
    def group_ids(self) -> frozenset[str]:
        """Ids of the nodes that work on groups."""
        return frozenset(it.id for reduce in self.group_steps for it in self.stage_nodes(reduce))

    def stage_nodes(self, reduce: Reduce[Any, Any]) -> list[Node]:
        """The nodes that the groups of a `reduce` pass through."""
        steps = self.group_steps[reduce]
        return [*all_nodes(step for step in steps if not isinstance(step, Reduce))]

    @property
    def row_nodes(self) -> dict[str, Node]:
        """The nodes that work on rows and on their items, by id."""
        return {id: node for id, node in self.nodes.items() if id not in self.group_ids}

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
        main = (it for it in self.steps if isinstance(it, Node | Reduce))
        ids = [f"reduce({it.id})" if isinstance(it, Reduce) else it.id for it in main]
        return cut(f"{type(self).__name__}({self.name!r}, {' >> '.join(ids)})", 280)
