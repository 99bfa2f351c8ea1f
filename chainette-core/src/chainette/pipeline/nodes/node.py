"""A node of a chain that turns one value into another."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chainette.errors import ChainError
from chainette.pipeline.nodes.conditions import (
    NOT_GIVEN,
    Condition,
    Fallback,
    OnError,
    condition,
    fallback,
    tolerance,
)
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
            run's results; `emoji`, shown in front of the name; `when`, the condition under which
            it runs; `default`, the output where it fails.
        otherwise: The output where the condition does not hold, in place of the input itself.
        on_error: `none` to go on without an output where it fails.

    Attributes:
        condition: The condition under which it runs, or `None`.
        skipped: The output where the condition does not hold; `None` passes the input on.
        tolerance: The output where it fails; `None` fails the item.
        is_plain: Whether it always runs, and no failure is tolerated.
        waits_for_all: Whether it runs once, with the items of all rows.

    Raises:
        ChainError: The id is not a valid name, a type is something else, or an option is wrong.
    """

    kind = ""
    waits_for_all: bool = False
    passes_on: bool = False
    """Whether its output is its input, whatever that is."""

    def __init__(
        self,
        *,
        id: str,
        input_model: Any,
        output_model: Any,
        options: NodeOptions,
        otherwise: Any = NOT_GIVEN,
        on_error: OnError = "fail",
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
        where, default = f"{self.kind} {id!r}", options.get("default", NOT_GIVEN)
        self.condition: Condition | None = condition(options.get("when"), where)
        self.skipped: Fallback | None = fallback(otherwise, output_model, f"{where}, otherwise")
        self.tolerance: Fallback | None = tolerance(on_error, default, output_model, where)
        self.is_plain: bool = self.condition is None and self.tolerance is None
        if self.skipped is not None and self.condition is None:
            raise ChainError(f"{where}: otherwise needs when=, which says when it is not run")

    def _repr_html_(self) -> str:
        from chainette.pipeline.drawing.cards import node_card

        return node_card(self)

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that it may ask."""
        return ()

    @cached_property
    def validates_in_context(self) -> bool:
        """Whether validators of the output may look at the names, and so at joined branches."""
        return reads_context(type_adapter(self.output_model))

    @property
    def recorded_model(self) -> Any:
        """Type of what the results have under its id."""
        return self.output_model

    @property
    def gives_none(self) -> bool:
        """Whether the flow may go on with `None` behind it."""
        fallbacks = (self.skipped, self.tolerance)
        return any(fallback is not None and fallback.value is None for fallback in fallbacks)

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that must be done before this node can run."""
        known = set(aliases)
        if not known or self.condition is None:
            return known and self._uses(known)
        return self.condition.needs(known) | self._uses(known)

    def _uses(self, aliases: set[str]) -> set[str]:
        """The joined branches that it uses itself."""
        return aliases
