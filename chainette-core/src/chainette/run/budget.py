"""What a run may cost, and how much of it may fail, before it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from time import monotonic

from chainette.errors import BudgetError
from chainette.run.results import Counts

FEWEST = 20
"""Rows before a share of errors means anything."""
EVERY = 0.5
"""Seconds between looks at the cost."""


class Budget:
    """The limits of a run.

    Args:
        max_cost: Most US dollars. Steps whose price is unknown count as nothing.
        max_errors: Most failed rows; below 1 it is their share of all rows.
    """

    def __init__(self, max_cost: float | None, max_errors: float | None) -> None:
        self._max_cost, self._max_errors = max_cost, max_errors
        self._looked = 0.0

    def exceeded(
        self, counts: Counts, costs: Callable[[], Mapping[str, Decimal | None]]
    ) -> BudgetError | None:
        """Why the run must stop, if it must."""
        most = self._max_errors
        if most is not None and counts.failed:
            if most < 1 and counts.rows >= FEWEST and counts.failed > most * counts.rows:
                share = f"{counts.failed} of {counts.rows} rows failed"
                return BudgetError(f"{share} (max_errors={most:g})")
            if most >= 1 and counts.failed > most:
                return BudgetError(f"{counts.failed} rows failed (max_errors={most:g})")
        if self._max_cost is None or monotonic() - self._looked < EVERY:
            return None
        self._looked = monotonic()
        spent = sum((cost for cost in costs().values() if cost is not None), Decimal(0))
        if spent > Decimal(str(self._max_cost)):
            return BudgetError(f"${spent:.4f} were spent (max_cost={self._max_cost:g})")
        return None
