"""The tasks that run rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio.abc

from chainette.run.inputs import InputRow
from chainette.run.reach import Hold


class Workers:
    """Tasks that run one row after another; there are as many as there ever were rows in flight.

    A task for every row would cost several times as much.

    Args:
        tasks: Where they run.
        run: Runs a row.
    """

    def __init__(
        self, tasks: anyio.abc.TaskGroup, run: Callable[[InputRow, Hold], Awaitable[None]]
    ) -> None:
        self._tasks = tasks
        self._run = run
        self._idle: list[asyncio.Future[tuple[InputRow, Hold] | None]] = []
        self._dismissed = False

    def give(self, row: InputRow, hold: Hold) -> None:
        """Have a row run that holds the engines which it may need."""
        while self._idle:
            idle = self._idle.pop()
            if not idle.done():  # as it is when the run was given up
                idle.set_result((row, hold))
                return
        self._tasks.start_soon(self._work, (row, hold))

    def dismiss(self) -> None:
        """No more rows come."""
        self._dismissed = True
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)

    async def _work(self, first: tuple[InputRow, Hold]) -> None:
        work: tuple[InputRow, Hold] | None = first
        while work is not None:
            await self._run(*work)
            if self._dismissed:
                return
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            work = await idle
