"""Rows that can continue by themselves, and rows that wait for a batch to fill."""

from __future__ import annotations

import anyio

from chainette.run.control import RunControl


class Parking:
    """The number of rows that only wait in batches.

    Such a row takes no room among the rows in flight, since only further rows, or the end of the
    input, can help it.

    Args:
        control: Woken when a row is parked.

    Attributes:
        count: Rows that are parked.
    """

    def __init__(self, control: RunControl) -> None:
        self._control = control
        self.count: int = 0

    def park(self) -> None:
        """Add a row."""
        self.count += 1
        self._control.wake()

    def unpark(self) -> None:
        """Remove a row."""
        self.count -= 1


class Activity:
    """The number of flows of one row that continue by themselves; at 0 the row is parked.

    Args:
        parking: Counts the parked rows.
    """

    def __init__(self, parking: Parking) -> None:
        self._parking = parking
        self._flows = 1

    def resume(self) -> None:
        """One more flow continues."""
        if self._flows == 0:
            self._parking.unpark()
        self._flows += 1

    def rest(self) -> None:
        """One flow waits, or has ended."""
        self._flows -= 1
        if self._flows == 0:
            self._parking.park()


class Gate:
    """An event that flows of a row wait for; they count as active as soon as it happens.

    Args:
        activity: The activity of the row.
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
        """Let every waiting flow continue."""
        for _ in range(self._waiting):
            self._activity.resume()
        self._event.set()
