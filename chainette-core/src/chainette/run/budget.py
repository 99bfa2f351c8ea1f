"""The limits of what a run may cost, and of how much of it may fail."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from chainette.errors import BudgetError, FailedRowError, RepeatError, RouteError
from chainette.events import (
    CallFinished,
    Event,
    GroupFinished,
    GroupsStarted,
    NodeFailed,
    NodeFinished,
    RowFinished,
    RunStarted,
)
from chainette.messages.numbers import dollars
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_branches, all_nodes
from chainette.run.control import RunControl
from chainette.run.cost import Ledger
from chainette.text import described, without_numbers
from chainette.usage import FREE

_logger = logging.getLogger(__name__)

FEWEST = 20
"""Rows before a share of errors means anything, or that the first ones fail for one reason."""
HOPELESS = 100
"""Rows after which a run stops where all of them have failed for one reason."""
_SPENDING = (NodeFinished, NodeFailed, CallFinished)


class Budget:
    """A listener that stops a run when it has failed or spent too much.

    Args:
        max_cost: Maximum US dollars.
        max_errors: Maximum number of failed rows; below 1 it is their share of all rows.
        ledger: The costs so far.
        control: Told to take no more rows.
    """

    def __init__(
        self,
        max_cost: float | None,
        max_errors: float | None,
        ledger: Ledger,
        control: RunControl,
    ) -> None:
        self._max_cost, self._max_errors = max_cost, max_errors
        self._ledger = ledger
        self._control = control
        self._rows = self._failed = self._groups = self._failed_groups = 0
        self._first = FirstFailures("rows", stops=max_errors is None)
        self._first_groups = FirstFailures("groups", stops=max_errors is None)

    def __call__(self, event: Event) -> None:
        """Count a row or group that is finished, and look at the cost after every step and call."""
        reason = None
        if isinstance(event, RowFinished):
            self._rows += 1
            self._failed += not event.ok
            hopeless = self._first.count(event) if self._first.are_alike else None
            reason = hopeless or self._too_many_errors()
        elif isinstance(event, GroupFinished):
            self._groups += 1
            self._failed_groups += not event.ok
            first = self._first_groups
            reason = (first.count(event) if first.are_alike else None) or self._too_many_errors()
        elif isinstance(event, GroupsStarted):
            self._first_groups = FirstFailures("groups", stops=self._max_errors is None)
            self._first_groups.total = event.total
        elif isinstance(event, RunStarted):
            self._first.total = event.total
        elif self._max_cost is not None and isinstance(event, _SPENDING):
            reason = self._too_expensive(self._max_cost)
            self._control.is_spent = reason is not None
        if reason is not None and not self._control.is_draining:
            self._control.drain(reason)

    def _too_many_errors(self) -> BudgetError | None:
        """The reason to stop because of failed rows, or of failed groups."""
        counts = ((self._failed, self._rows, "rows"), (self._failed_groups, self._groups, "groups"))
        most = self._max_errors
        for failed, all_of_them, noun in counts if most is not None else ():
            assert most is not None
            if most < 1 and all_of_them >= FEWEST and failed > most * all_of_them:
                share = f"{failed} of {all_of_them} {noun} failed"
                return BudgetError(f"{share} (max_errors={most:g})")
            if most >= 1 and failed > most:
                return BudgetError(f"{failed} {noun} failed (max_errors={most:g})")
        return None

    def _too_expensive(self, max_cost: float) -> BudgetError | None:
        spent = FREE
        for step_id, cost in self._ledger.costs.items():
            if cost is None:
                problem = self._ledger.problem(step_id)
                return BudgetError(f"max_cost={max_cost:g} can no longer be kept: {problem}")
            spent += cost
        if spent > Decimal(str(max_cost)):
            return BudgetError(f"{dollars(spent)} were spent (max_cost={max_cost:g})")
        return None


class FirstFailures:
    """The first rows or groups of a run, as long as all of them fail for one reason.

    Args:
        noun: What they are.
        stops: Whether a run of which nothing else is to be expected stops.

    Attributes:
        are_alike: Whether all so far have failed for one reason.
        total: Number of rows or groups, or `None` where it is unknown.
    """

    def __init__(self, noun: str, *, stops: bool) -> None:
        self._noun = noun
        self._stops = stops
        self._kind: str | None = None
        self._rows = 0
        self.are_alike: bool = True
        self.total: int | None = None

    def count(self, row: RowFinished | GroupFinished) -> BudgetError | None:
        """Count one, and warn once there are `FEWEST`.

        Returns:
            The reason why the run must stop, or `None`.
        """
        if isinstance(row.error, FailedRowError):  # read back from an earlier run
            return None
        message = described(row.error) if row.error is not None else ""
        kind = without_numbers(message)
        self.are_alike = bool(message) and self._kind in (None, kind)
        if not self.are_alike:
            return None
        self._kind = kind
        self._rows += 1
        text = f"all of the first {self._rows} {self._noun} failed for one reason: {message}"
        if self._rows == FEWEST:
            more = f"; the run stops after {HOPELESS} (max_errors overrides)" if self._stops else ""
            _logger.warning("%s%s", text, more)
        if self._rows != HOPELESS or not self._stops or self.total == HOPELESS:
            return None
        return BudgetError(f"{text}; retry_errors runs them again, max_errors lets a run go on")


def tolerates(pipeline: Pipeline[Any, Any]) -> bool:
    """Whether a chain goes on behind a failure anywhere."""
    parts: list[Any] = [*all_nodes(pipeline.steps), *all_branches(pipeline.steps)]
    return any(part.tolerance is not None for part in parts)


class ToleratedFailures:
    """A listener that warns where a node fails for all of its first items, and the flow goes on.

    It stops nothing, since the chain says that such failures are tolerated.
    """

    def __init__(self) -> None:
        self._first: dict[str, _Alike] = {}
        self._has_outputs: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Count a failure, or note that a node has given an output."""
        if isinstance(event, NodeFinished):
            self._has_outputs.add(event.node_id)
        elif isinstance(event, NodeFailed):
            if event.is_tolerated and event.node_id not in self._has_outputs:
                self._count(event)
        elif self._first and isinstance(event, RowFinished | GroupFinished):
            self._look_at_composites(event)

    def _count(self, event: NodeFailed) -> None:
        if isinstance(event.error, FailedRowError):  # read back from an earlier run
            return
        id, message = event.node_id, described(event.error)
        kind = without_numbers(message)
        first = self._first.setdefault(id, _Alike(kind, isinstance(event.error, _OF_COMPOSITES)))
        if first.kind != kind:
            self._forget(id)
            return
        first.items.add((event.row_id, event.group, event.item))
        if len(first.items) == FEWEST:
            _logger.warning(
                "%s: all of the first %d items failed for one reason, and the run goes on, as its "
                "on_error or default says: %s",
                id,
                FEWEST,
                message,
            )
            self._forget(id)

    def _look_at_composites(self, event: RowFinished | GroupFinished) -> None:
        """Forget the routes and repeats that did not fail for a row or group: they have worked."""
        owner = (event.row_id, None) if isinstance(event, RowFinished) else (-1, event.group)
        for id, first in [*self._first.items()]:
            if first.is_composite and all(item[:2] != owner for item in first.items):
                self._forget(id)

    def _forget(self, id: str) -> None:
        self._has_outputs.add(id)
        self._first.pop(id, None)


_OF_COMPOSITES = (RouteError, RepeatError)
"""Errors of routes and repeats, which have no events where they do not fail."""


@dataclass(slots=True)
class _Alike:
    """The first failures of a node.

    Attributes:
        kind: What all of them are.
        is_composite: Whether it is a route or a repeat.
        items: The items that failed: row, group and path.
    """

    kind: str
    is_composite: bool
    items: set[tuple[int, str | None, str]] = field(default_factory=set)
