"""A node of a chain that turns one value into another."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chainette.pipeline.nodes.flow import Flow, In, Out
from chainette.pipeline.nodes.naming import check_name, check_type
from chainette.validation import reads_context, type_adapter

if TYPE_CHECKING:
    from chainette.pipeline.nodes.options import NodeOptions


class Node(Flow[In, Out]):
    """A node that turns a value into another one.

    Args:
        id: Name in templates and files; letters, digits and underscores.
        input_model: Type of the input.
        output_model: Type of the output.
        options: `name`, the title for people; `yield_output`, whether the output belongs to the
            run's results; `emoji`, shown in front of the name.

    Raises:
        ChainError: The id is not a valid name, or a type is something else.
    """

    kind = ""

    def __init__(
        self,
        *,
        id: str,
        input_model: Any,
        output_model: Any,
        options: NodeOptions,
    ) -> None:
        check_name(id, f"{self.kind} id")
        check_type(input_model, f"{self.kind} {id!r}: input_model")
        check_type(output_model, f"{self.kind} {id!r}: output_model")
        self.id = id
        self.name: str = options.get("name") or id
        self.input_model = input_model
        self.output_model = output_model
        self.yield_output: bool = options.get("yield_output", True)
        self.emoji: str = options.get("emoji", "")

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that it may ask."""
        return ()

    @cached_property
    def validates_in_context(self) -> bool:
        """Whether validators of the output may look at the names, and so at joined branches."""
        return reads_context(type_adapter(self.output_model))

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that must be done before this node can run."""
        return set(aliases)
