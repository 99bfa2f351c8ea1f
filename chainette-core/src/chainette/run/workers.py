"""The tasks that run rows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import anyio.abc

from chainette.run.inputs import InputRow
from chainette.run.reach import Hold


class Workers:
    """Tasks that run one row after another.

    A task for every row, or somebody who hands every row out, would cost several times as much.

    Args:
        run: Runs a row.
        hold: Gives the engines that a row may need, from the moment it is begun.
        has_room: Whether one more row may be begun.
        moved: Is called whenever a row is done.
        ahead: Rows to read ahead at most, so that whoever is done with one finds the next.

    Attributes:
        tasks: Where they run.
        busy: Rows that are begun and not done.
    """

    tasks: anyio.abc.TaskGroup

    def __init__(
        self,
        run: Callable[[InputRow, Hold], Awaitable[None]],
        hold: Callable[[], Hold],
        has_room: Callable[[], bool],
        moved: Callable[[], None],
        ahead: int,
    ) -> None:
        self._run, self._hold = run, hold
        self._has_room, self._moved = has_room, moved
        self._ahead = ahead
        self._ready: deque[InputRow] = deque()
        self.busy = 0

    @property
    def wants_rows(self) -> bool:
        """Whether there is room for one more row that was read."""
        return len(self._ready) < self._ahead

    @property
    def runs_low(self) -> bool:
        """Whether it is time to read some more rows."""
        return 2 * len(self._ready) < self._ahead

    @property
    def has_rows(self) -> bool:
        """Whether rows that were read are not begun yet."""
        return bool(self._ready)

    def add(self, row: InputRow) -> None:
        """Add a row that was read."""
        self._ready.append(row)
        self.begin()

    def begin(self) -> None:
        """Begin rows, as many as there is room for."""
        while (work := self._next()) is not None:
            self.tasks.start_soon(self._work, work)

    def forget(self) -> None:
        """Begin no row any more."""
        self._ready.clear()

    def _next(self) -> tuple[InputRow, Hold] | None:
        if not self._ready or not self._has_room():
            return None
        self.busy += 1
        return self._ready.popleft(), self._hold()

    async def _work(self, first: tuple[InputRow, Hold]) -> None:
        work: tuple[InputRow, Hold] | None = first
        while work is not None:
            await self._run(*work)
            self.busy -= 1
            work = self._next()
            self._moved()
            if self.busy > 1:
                # Rows that wait for nothing must let others have their turn; and requests that
                # leave together wake the server, and are answered, together.
                await asyncio.sleep(0)
