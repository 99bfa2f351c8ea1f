"""A limit per minute, of requests or of tokens."""

from __future__ import annotations

import math
import threading
from time import monotonic


class Rate:
    """A limit per minute, spread evenly, with bursts of one second's worth.

    Args:
        per_minute: The rate; `None` lets everything through.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._per_second = per_minute / 60 if per_minute else math.inf
        self._lock = threading.Lock()
        self._owed, self._then = 0.0, monotonic()

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._per_second != math.inf

    def reserve(self, amount: float) -> float:
        """Reserve an amount, and return the seconds until it may be used."""
        with self._lock:
            now = monotonic()
            self._owed = max(0.0, self._owed - (now - self._then) * self._per_second)
            self._then = now
            wait = max(0.0, self._owed / self._per_second - 1.0)
            self._owed += amount
            return wait

    def correct(self, amount: float) -> None:
        """Add to a reservation, or take away from it."""
        with self._lock:
            self._owed = max(0.0, self._owed + amount)
