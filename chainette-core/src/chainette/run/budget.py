"""The limits of what a run may cost, and of how much of it may fail."""

from __future__ import annotations

from decimal import Decimal

from chainette.errors import BudgetError
from chainette.events import Event, NodeFailed, NodeFinished, RowFinished
from chainette.run.control import RunControl
from chainette.run.cost import Ledger
from chainette.usage import FREE

FEWEST = 20
"""Rows before a share of errors means anything."""


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
        self._rows = self._failed = 0

    def __call__(self, event: Event) -> None:
        """Count a row that is finished, and look at the cost after every step."""
        reason = None
        if isinstance(event, RowFinished):
            self._rows += 1
            self._failed += not event.ok
            reason = self._too_many_errors()
        elif self._max_cost is not None and isinstance(event, NodeFinished | NodeFailed):
            reason = self._too_expensive(self._max_cost)
        if reason is not None and not self._control.is_draining:
            self._control.drain(reason)

    def _too_many_errors(self) -> BudgetError | None:
        most = self._max_errors
        if most is not None and self._failed:
            if most < 1 and self._rows >= FEWEST and self._failed > most * self._rows:
                share = f"{self._failed} of {self._rows} rows failed"
                return BudgetError(f"{share} (max_errors={most:g})")
            if most >= 1 and self._failed > most:
                return BudgetError(f"{self._failed} rows failed (max_errors={most:g})")
        return None

    def _too_expensive(self, max_cost: float) -> BudgetError | None:
        spent = FREE
        for step_id, cost in self._ledger.costs.items():
            if cost is None:
                problem = self._ledger.problem(step_id)
                return BudgetError(f"max_cost={max_cost:g} can no longer be kept: {problem}")
            spent += cost
        if spent > Decimal(str(max_cost)):
            return BudgetError(f"${spent:.4f} were spent (max_cost={max_cost:g})")
        return None
