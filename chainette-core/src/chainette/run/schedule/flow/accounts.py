"""The accounts of rows: the requests that each has taken, and what it may still take."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from chainette.errors import RowBudgetError
from chainette.events import Event, RowFinished
from chainette.folder.lines import ItemPath, owner
from chainette.usage import FREE

_WAY_OUT = "raise it, and run the row again with retry_errors"


class RowAccount:
    """The account of one row, whatever sends its requests: steps, repeats, calls in functions.

    It is a `Bound` of requests.

    Args:
        owner: The row, or the group.
        accounts: The limits.
        requests: Requests so far.
        cost: US dollars so far, or `None` if they are unknown.

    Attributes:
        requests: Requests so far: those that were answered, and those in flight.
        cost: US dollars so far, or `None` if they are unknown.
        attempts: Requests so far by step, path of the item and part of the group, for sampling by
            attempt.
    """

    __slots__ = ("_accounts", "_owner", "attempts", "cost", "requests")

    def __init__(
        self,
        owner: int | str,
        accounts: RowAccounts,
        requests: int = 0,
        cost: Decimal | None = FREE,
    ) -> None:
        self._owner = owner
        self._accounts = accounts
        self.requests: int = requests
        self.cost: Decimal | None = cost
        self.attempts: Counter[tuple[str, ItemPath, int]] = Counter()

    def check(self) -> None:
        """Check that one more request may be sent; see `Bound.check`."""
        most, max_cost = self._accounts.max_requests, self._accounts.max_cost
        row = f"{'row' if isinstance(self._owner, int) else 'group'} {self._owner}"
        if most is not None and self.requests >= most:
            counted = f"{self.requests} request{'s' if self.requests > 1 else ''}"
            raise RowBudgetError(
                f"{row} has taken {counted} (max_requests_per_row={most}); {_WAY_OUT}"
            )
        if max_cost is None:
            return
        if self.cost is None:
            raise RowBudgetError(
                f"{row}: max_cost_per_row={max_cost:g} can no longer be kept, because the cost of "
                "an answer is unknown; leave it out"
            )
        if self.cost > Decimal(str(max_cost)):
            raise RowBudgetError(
                f"{row} has cost ${self.cost:.4f} (max_cost_per_row={max_cost:g}); {_WAY_OUT}"
            )

    def before(self) -> None:
        """Count a request that is about to be sent; see `Bound.before`."""
        self.check()
        self.requests += 1

    def after(self, requests: int, cost: Decimal | None) -> None:
        """Count what came of it; see `Bound.after`."""
        self.requests += requests - 1
        self.cost = None if self.cost is None or cost is None else self.cost + cost


class RowAccounts:
    """The accounts of the rows in flight; it listens for their ends.

    What an earlier run of the folder has taken for a row counts, too; a temporary database holds
    it, so that memory stays flat.

    Args:
        max_requests: Maximum number of requests of a row.
        max_cost: Maximum US dollars of a row, after which no more is sent for it.

    Attributes:
        max_requests: Maximum number of requests of a row, or `None`.
        max_cost: Maximum US dollars of a row, or `None`.
        is_limited: Whether there is a limit.
    """

    def __init__(self, max_requests: int | None = None, max_cost: float | None = None) -> None:
        self.max_requests: int | None = max_requests
        self.max_cost: float | None = max_cost
        self.is_limited: bool = max_requests is not None or max_cost is not None
        self._open: dict[int | str, RowAccount] = {}
        self._db: sqlite3.Connection | None = None

    def of(self, owner: int | str) -> RowAccount:
        """The account of a row or a group."""
        account = self._open.get(owner)
        if account is None:
            account = self._open[owner] = RowAccount(owner, self, *self._earlier(owner))
        return account

    def add_line(self, line: Mapping[str, Any], cost: Decimal | None) -> None:
        """Count what an earlier run has written down for a row, where there are limits.

        Args:
            line: The line of an answer, or of an error.
            cost: US dollars, or `None` if they are unknown.
        """
        requests = requests_of(line)
        if not self.is_limited or not (requests or cost != FREE):
            return
        if self._db is None:
            self._db = sqlite3.connect("", check_same_thread=False)  # a temporary file
            self._db.execute("PRAGMA journal_mode=OFF")
            self._db.execute("CREATE TABLE lines (row, requests INTEGER, cost TEXT)")
            self._db.execute("CREATE INDEX rows ON lines (row)")
        record = owner(line), requests, None if cost is None else str(cost)
        self._db.execute("INSERT INTO lines VALUES (?, ?, ?)", record)

    def __call__(self, event: Event) -> None:
        """Forget the account of a row that is done."""
        if isinstance(event, RowFinished):
            self._open.pop(event.row_id, None)

    def close(self) -> None:
        """Forget everything."""
        if self._db is not None:
            self._db.close()

    def _earlier(self, owner: int | str) -> tuple[int, Decimal | None]:
        """Requests and cost of a row or group in earlier runs."""
        requests, total = 0, FREE
        is_known = True
        if self._db is not None:
            query = "SELECT requests, cost FROM lines WHERE row = ?"
            for count, cost in self._db.execute(query, (owner,)):
                requests += count
                is_known = is_known and cost is not None
                total += Decimal(cost or 0)
        return requests, total if is_known else None


def requests_of(line: Mapping[str, Any]) -> int:
    """The requests that a line of an answer or of an error took; none if the cache had it."""
    if line.get("cached") or "calls" in line or not (line.get("usage") or "cost" in line):
        return 0
    return int(line.get("requests", 1))
