"""The limits of what a run may cost, and of how much of it may fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from time import monotonic

from chainette.errors import BudgetError, FailedRowError
from chainette.events import Event, RowFinished, RunStarted
from chainette.run.control import RunControl
from chainette.text import described, without_numbers

_logger = logging.getLogger(__name__)

FEWEST = 20
"""Rows before a share of errors means anything, or that the first ones fail for one reason."""
HOPELESS = 100
"""Rows after which a run stops where all of them have failed for one reason."""
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
        self._first = FirstFailures(stops=max_errors is None)

    def __call__(self, event: Event) -> None:
        """Count a row that is finished."""
        if isinstance(event, RunStarted):
            self._first.total = event.total
        if not isinstance(event, RowFinished):
            return
        self._rows += 1
        self._failed += not event.ok
        hopeless = self._first.count(event) if self._first.are_alike else None
        if not self._control.is_draining and (reason := hopeless or self.exceeded()) is not None:
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


class FirstFailures:
    """The first rows of a run, as long as all of them fail for one reason.

    Args:
        stops: Whether a run of which nothing else is to be expected stops.

    Attributes:
        are_alike: Whether all rows so far have failed for one reason.
        total: Number of input rows, or `None` where it is unknown.
    """

    def __init__(self, *, stops: bool) -> None:
        self._stops = stops
        self._kind: str | None = None
        self._rows = 0
        self.are_alike: bool = True
        self.total: int | None = None

    def count(self, row: RowFinished) -> BudgetError | None:
        """Count a row, and warn once there are `FEWEST`.

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
        text = f"all of the first {self._rows} rows failed for one reason: {message}"
        if self._rows == FEWEST:
            more = f"; the run stops after {HOPELESS} (max_errors overrides)" if self._stops else ""
            _logger.warning("%s%s", text, more)
        if self._rows != HOPELESS or not self._stops or self.total == HOPELESS:
            return None
        return BudgetError(f"{text}; retry_errors runs them again, max_errors lets a run go on")
