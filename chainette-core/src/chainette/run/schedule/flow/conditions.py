"""The conditions of nodes and branches, asked for each item."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from chainette.errors import (
    ApplyError,
    ChainetteError,
    EngineError,
    FailedRowError,
    RepeatError,
    RouteError,
    RowBudgetError,
    ValidatorError,
)
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.nodes.conditions import Condition
from chainette.pipeline.nodes.node import Node
from chainette.run.item import Item
from chainette.run.output.journal import Journal
from chainette.run.schedule.failures import failure
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
        output = await asked(condition, value, names)
        holds = bool(output) if condition.function is None else condition.truth(output)
        if not holds:
            self._journal.skipped(node, item, branch)
        elif isinstance(node, Repeat):  # its other lines are those of its rounds
            self._journal.decided(node, item, "begun")
        return holds


async def asked(condition: Condition, value: Any, names: Mapping[str, Any]) -> Any:
    """What a function or an expression of a chain says about an item.

    Raises:
        ChainetteError: It fails.
    """
    if condition.expression is not None:
        return condition.expression.value(value, names)
    assert condition.function is not None
    try:
        output = condition.called(own(value), OwnNames(names))
        return await output if isinstance(output, Awaitable) else output
    except Exception as error:
        problem = failure(condition.where, error, condition.function)
        problem.is_tolerable = False
        raise problem from error


def is_tolerable(error: ChainetteError) -> bool:
    """Whether a flow may go on behind an error: it is neither a bug nor the end of the run."""
    if isinstance(error, FailedRowError):
        return error.is_tolerated
    if isinstance(error, EngineError):
        return not (error.final or isinstance(error, RowBudgetError | ValidatorError))
    if isinstance(error, RepeatError | RouteError):
        return True
    # What a function raised; an output that is not of its type is a bug, and has no cause.
    return isinstance(error, ApplyError) and error.is_tolerable and error.__cause__ is not None
