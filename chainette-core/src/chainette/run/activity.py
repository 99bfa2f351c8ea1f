"""Who can go on by itself, and who waits for a batch to fill."""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Activity:
    """Counts the flows of one row that go on by themselves.

    A row whose flows all wait in batches is parked: it takes no room among the rows in flight,
    since only further rows, or the end of the input, can help it.

    Args:
        parked: Is told with +1 that the row is parked, with -1 that it is no longer.
    """

    def __init__(self, parked: Callable[[int], None]) -> None:
        self._parked = parked
        self._flows = 1

    def wake(self) -> None:
        """One more flow goes on."""
        if self._flows == 0:
            self._parked(-1)
        self._flows += 1

    def rest(self) -> None:
        """One flow waits, or has ended."""
        self._flows -= 1
        if self._flows == 0:
            self._parked(1)


class Gate:
    """Lets flows of a row wait for something; they count as going on as soon as it is there.

    Args:
        activity: The row's.
    """

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._event = anyio.Event()
        self._waiting = 0

    async def wait(self) -> None:
        """Wait until the gate is open."""
        if self._event.is_set():
            return
        self._waiting += 1
        self._activity.rest()
        await self._event.wait()

    def open(self) -> None:
        """Let everybody through."""
        for _ in range(self._waiting):
            self._activity.wake()
        self._event.set()
