"""Things that belong to one event loop, such as its connections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from anyio.lowlevel import RunVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes one thing for each event loop that asks for it.

    A client is shared by threads and loops, and connections are not: each loop has its own.

    Args:
        name: What it is, for debugging.
        make: Makes the thing.
        close: Closes it, if it has to be.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], T],
        close: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        self._make = make
        self._close = close
        self._current: RunVar[T | None] = RunVar(name, None)

    def get(self) -> T:
        """The running loop's thing, made when it is first asked for."""
        current = self._current.get()
        if current is None:
            current = self._make()
            self._current.set(current)
        return current

    async def aclose(self) -> None:
        """Close the running loop's thing; the next `get` makes a new one."""
        current = self._current.get()
        self._current.set(None)
        if current is not None and self._close is not None:
            await self._close(current)
