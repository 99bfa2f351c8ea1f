"""Where results wait for whoever takes them one by one."""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio

from chainette.types import Result


class Sink:
    """A queue of results; the run takes no more rows while it is full.

    Args:
        in_order: Whether results come in the order of the inputs, or as they are done.
        size: How many make it full.
    """

    def __init__(self, *, in_order: bool, size: int = 256) -> None:
        self.in_order = in_order
        self._size = size
        self._results: deque[Result[Any]] = deque()
        self._filled = anyio.Event()
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether enough results wait."""
        return len(self._results) >= self._size

    def put(self, result: Result[Any]) -> None:
        """Add a result."""
        self._results.append(result)
        self._filled.set()

    def close(self) -> None:
        """Say that no more will come."""
        self._closed = True
        self._filled.set()

    async def take(self) -> Result[Any] | None:
        """The next result, or `None` at the end."""
        while not self._results:
            if self._closed:
                return None
            self._filled = anyio.Event()
            await self._filled.wait()
        return self._results.popleft()
