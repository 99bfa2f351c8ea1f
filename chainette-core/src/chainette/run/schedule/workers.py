"""The tasks that run rows, and the room that they have."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import anyio
from anyio.abc import TaskGroup

from chainette.pipeline.pipeline import Pipeline
from chainette.run.control import RunControl
from chainette.run.inputs.files import InputRow
from chainette.run.output.recorder import Recorder
from chainette.run.schedule.batches import Batches
from chainette.run.schedule.leases import Lease, Leases
from chainette.run.schedule.parking import Parking


class Room:
    """The number of rows that may be in flight.

    Args:
        pipeline: The chain.
        leases: Says how many requests the engines take.
        recorder: Says whether finished rows wait for slower ones, or for the caller.

    Attributes:
        requests: Requests that the engines take at a time.
    """

    def __init__(self, pipeline: Pipeline, leases: Leases, recorder: Recorder) -> None:
        self._clients = clients = list(leases.clients.values())
        self._asks_one_engine = len(clients) == 1 and pipeline.has_only_steps
        self._recorder = recorder
        self.requests: int = leases.requests

    def allows(self, active: int) -> bool:
        """Whether one more row may begin beside those that are active."""
        if self._recorder.is_full:
            return False
        most = self.requests + self._spare()
        return active == 0 or (active < most and self._recorder.held < 8 * self.requests)

    def _spare(self) -> int:
        """The rows beyond the number of requests, so that every engine always has one.

        Where one engine does everything, a row that goes from one step to the next is always
        there, and more rows would only queue; unless some wait to be sent again.
        """
        if not self._asks_one_engine:
            return self.requests if self._clients else 0
        return min(self._clients[0].limits.backing_off, self.requests)


class Workers:
    """Tasks that each run one row after another.

    A task for every row, or one that hands out rows, would cost several times as much.

    Args:
        run_row: Runs a row.
        pipeline: The chain.
        room: Says how many rows may be in flight.
        leases: The engines that are in use.
        batches: The batches that rows wait in.
        parking: The rows that only wait in batches.
        tasks: The task group that rows run in.
        control: Says whether the run takes more rows.
    """

    def __init__(
        self,
        run_row: Callable[[InputRow, Lease], Awaitable[None]],
        *,
        pipeline: Pipeline,
        room: Room,
        leases: Leases,
        batches: Batches,
        parking: Parking,
        tasks: TaskGroup,
        control: RunControl,
    ) -> None:
        self._run_row = run_row
        self._nodes = pipeline.steps
        self._room = room
        self._leases = leases
        self._batches = batches
        self._parking = parking
        self._tasks = tasks
        self._control = control
        self._ahead = max(room.requests, 4)
        self._ready: deque[InputRow] = deque()
        self._busy = 0
        self._is_exhausted = False
        self._changed = anyio.Event()
        control.attach(self._look)

    async def run(self, rows: AsyncGenerator[InputRow, None]) -> None:
        """Run rows as long as there are any; those in flight end in the task group."""
        async with aclosing(rows):
            while (row := await self._next_row(rows)) is not None:
                self.add(row)
            while self._ready:
                await self._wait()
        self._is_exhausted = True
        self._leases.no_more_rows(self._tasks)
        self._look()

    def add(self, row: InputRow) -> None:
        """Add a row that was read, and begin it if there is room."""
        self._ready.append(row)
        self._begin()

    async def _next_row(self, rows: AsyncGenerator[InputRow, None]) -> InputRow | None:
        """The next row, once one should be read."""
        while not self._control.is_draining and len(self._ready) >= self._ahead:
            await self._wait()
        try:
            return None if self._control.is_draining else await anext(rows, None)
        except Exception as error:  # of the user's iterable, or the file
            self._control.fail(error)
            return None

    async def _wait(self) -> None:
        self._changed = anyio.Event()
        await self._changed.wait()

    def _look(self) -> None:
        """Begin rows, and start batches that nothing more can fill."""
        is_draining = self._control.is_draining
        if is_draining:
            self._ready.clear()
        self._begin()
        if is_draining or 2 * len(self._ready) < self._ahead:
            self._changed.set()
        is_idle = self._busy == self._parking.count and not self._batches.running
        if not (self._is_exhausted and is_idle and self._busy):
            return
        if not self._batches.flush(partial=is_draining) and is_draining:
            self._control.cancel()  # what is left waits for rows that will not come

    def _begin(self) -> None:
        while (work := self._next()) is not None:
            self._tasks.start_soon(self._work, work)

    def _next(self) -> tuple[InputRow, Lease] | None:
        if not self._ready or not self._room.allows(self._busy - self._parking.count):
            return None
        self._busy += 1
        return self._ready.popleft(), self._leases.lease(self._nodes)

    async def _work(self, first: tuple[InputRow, Lease]) -> None:
        work: tuple[InputRow, Lease] | None = first
        while work is not None:
            await self._run_row(*work)
            self._busy -= 1
            work = self._next()
            self._look()
            if self._busy > 1:
                # Rows that wait for nothing must let others have their turn; and requests that
                # leave together wake the server, and are answered, together.
                await asyncio.sleep(0)
