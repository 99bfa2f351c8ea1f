"""The limits of what a run may cost, and of how much of it may fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from time import monotonic

from chainette.errors import BudgetError
from chainette.events import Event, RowFinished
from chainette.run.control import RunControl

FEWEST = 20
"""Rows before a share of errors means anything."""
EVERY = 0.5
"""Seconds between looks at the cost."""


class Budget:
    """A listener that stops a run when it has failed or spent too much.

    Args:
        max_cost: Maximum US dollars.
        max_errors: Maximum number of failed rows; below 1 it is their share of all rows.
        costs: US dollars so far, by step id.
        control: Told to take no more rows.
    """

    def __init__(
        self,
        max_cost: float | None,
        max_errors: float | None,
        costs: Callable[[], Mapping[str, Decimal | None]],
        control: RunControl,
    ) -> None:
        self._max_cost, self._max_errors = max_cost, max_errors
        self._costs = costs
        self._control = control
        self._rows = self._failed = 0
        self._looked = 0.0

    def __call__(self, event: Event) -> None:
        """Count a row that is finished."""
        if not isinstance(event, RowFinished):
            return
        self._rows += 1
        self._failed += not event.ok
        if not self._control.is_draining and (reason := self.exceeded()) is not None:
            self._control.drain(reason)

    def exceeded(self) -> BudgetError | None:
        """The reason why the run must stop, or `None`."""
        most = self._max_errors
        if most is not None and self._failed:
            if most < 1 and self._rows >= FEWEST and self._failed > most * self._rows:
                share = f"{self._failed} of {self._rows} rows failed"
                return BudgetError(f"{share} (max_errors={most:g})")
            if most >= 1 and self._failed > most:
                return BudgetError(f"{self._failed} rows failed (max_errors={most:g})")
        if self._max_cost is None or monotonic() - self._looked < EVERY:
            return None
        self._looked = monotonic()
        spent = sum((cost for cost in self._costs().values() if cost is not None), Decimal(0))
        if spent > Decimal(str(self._max_cost)):
            return BudgetError(f"${spent:.4f} were spent (max_cost={self._max_cost:g})")
        return None
