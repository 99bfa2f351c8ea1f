"""The conditions of nodes and branches, asked for each item."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from chainette.errors import (
    ApplyError,
    ChainetteError,
    EngineError,
    FailedRowError,
    RowBudgetError,
    ValidatorError,
)
from chainette.pipeline.nodes.conditions import Condition
from chainette.pipeline.nodes.naming import values_of
from chainette.pipeline.nodes.node import Node
from chainette.run.item import Item
from chainette.run.output.journal import Journal
from chainette.run.schedule.flow.functions import OwnNames, own

SKIPPED = object()
"""The output of a node whose condition does not hold: its input goes on."""


class Conditions:
    """Says which nodes run.

    Args:
        journal: The outputs so far; what was skipped once is skipped again.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def hold(
        self,
        condition: Condition,
        node: Node,
        item: Item,
        names: Mapping[str, Any],
        value: Any,
        branch: str | None = None,
    ) -> bool:
        """Whether a condition holds for an item.

        Args:
            condition: The condition.
            node: Its node; of a branch, the first one.
            item: The item.
            names: The values that it may see, by name.
            value: The node's direct input.
            branch: The name of the branch, if it is the condition of one.

        Raises:
            ChainetteError: It cannot be said.
        """
        if (earlier := self._journal.has_run(node, item, branch)) is not None:
            return earlier
        if condition.expression is not None:
            holds = bool(condition.expression.value({**values_of(value), **names}))
        else:
            holds = await self._called(condition, value, names)
        if not holds:
            self._journal.skipped(node, item, branch)
        return holds

    async def _called(self, condition: Condition, value: Any, names: Mapping[str, Any]) -> bool:
        assert condition.function is not None
        arguments = (own(value), OwnNames(names)) if condition.takes_names else (own(value),)
        try:
            output = condition.function(*arguments)
            if isinstance(output, Awaitable):
                output = await output
        except Exception as error:
            message = f"{condition.where} failed: {type(error).__name__}: {error}"
            raise ApplyError(message) from None
        if type(output).__name__ not in ("bool", "bool_"):  # that of NumPy, too
            raise ApplyError(f"{condition.where} returned {output!r}; it must return True or False")
        return bool(output)


def is_tolerable(error: ChainetteError) -> bool:
    """Whether a flow may go on behind an error: it is neither a bug nor the end of the run."""
    if isinstance(error, FailedRowError):
        return error.is_tolerated
    if isinstance(error, EngineError):
        return not (error.final or isinstance(error, RowBudgetError | ValidatorError))
    # What a function raised; an output that is not of its type is a bug, and has no cause.
    return isinstance(error, ApplyError) and error.__cause__ is not None
