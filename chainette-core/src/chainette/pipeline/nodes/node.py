"""A node of a chain that turns one value into another."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from chainette.pipeline.nodes.flow import Flow, In, Out
from chainette.pipeline.nodes.naming import check_name, check_type
from chainette.validation import reads_context, type_adapter


class Node(Flow[In, Out]):
    """A node that turns a value into another one.

    Args:
        id: Name in templates and files; letters, digits and underscores.
        name: Title for people; the id by default.
        input_model: Type of the input.
        output_model: Type of the output.
        yield_output: Whether the output belongs to the run's results.
        emoji: Shown in front of the name.

    Raises:
        ChainError: The id is not a valid name, or a type is something else.
    """

    kind = ""

    def __init__(
        self,
        *,
        id: str,
        name: str,
        input_model: Any,
        output_model: Any,
        yield_output: bool,
        emoji: str,
    ) -> None:
        check_name(id, f"{self.kind} id")
        check_type(input_model, f"{self.kind} {id!r}: input_model")
        check_type(output_model, f"{self.kind} {id!r}: output_model")
        self.id = id
        self.name: str = name or id
        self.input_model = input_model
        self.output_model = output_model
        self.yield_output = yield_output
        self.emoji = emoji

    @cached_property
    def validates_in_context(self) -> bool:
        """Whether validators of the output may look at the names, and so at joined branches."""
        return reads_context(type_adapter(self.output_model))

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that must be done before this node can run."""
        return set(aliases)
