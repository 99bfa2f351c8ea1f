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
    """The number of flows that continue by themselves; at 0 all of them are parked."""

    __slots__ = ("_flows", "_in_batches")

    def __init__(self) -> None:
        self._flows = 1
        self._in_batches = 0

    def resume(self, *, in_batch: bool = False) -> None:
        """One more flow continues.

        Args:
            in_batch: Whether it waited in a batch.
        """
        if self._flows == 0:
            self._unpark()
        self._flows += 1
        self._in_batches -= in_batch

    def rest(self, *, in_batch: bool = False) -> None:
        """One flow waits, or has ended.

        Args:
            in_batch: Whether it waits in a batch.
        """
        self._flows -= 1
        self._in_batches += in_batch
        if self._flows == 0:
            self._park()

    def _park(self) -> None:
        raise NotImplementedError

    def _unpark(self) -> None:
        raise NotImplementedError


class RowActivity(Activity):
    """The flows of one row that continue by themselves.

    Args:
        parking: Counts the parked rows.
    """

    __slots__ = ("_parking",)

    def __init__(self, parking: Parking) -> None:
        super().__init__()
        self._parking = parking

    def _park(self) -> None:
        self._parking.park()

    def _unpark(self) -> None:
        self._parking.unpark()


class Gate:
    """An event that flows wait for; they count as active as soon as it happens.

    Args:
        is_batch: Whether the event is the end of a batch.
    """

    __slots__ = ("_event", "_is_batch", "_waiting")

    def __init__(self, *, is_batch: bool = False) -> None:
        self._is_batch = is_batch
        self._event = anyio.Event()
        self._waiting: list[Activity] = []

    async def wait(self, activity: Activity) -> None:
        """Wait until the gate is open.

        Args:
            activity: The activity of the flow that waits.
        """
        if self._event.is_set():
            return
        self._waiting.append(activity)
        activity.rest(in_batch=self._is_batch)
        await self._event.wait()

    def open(self) -> None:
        """Let every waiting flow continue."""
        for activity in self._waiting:
            activity.resume(in_batch=self._is_batch)
        self._waiting.clear()
        self._event.set()
