"""Things that belong to one event loop, such as its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes one thing for each event loop that asks for it.

    A client is shared by threads and loops, and connections are not: each loop has its own.

    Args:
        make: Makes the thing.
        close: Closes it, if it has to be.
    """

    def __init__(
        self,
        make: Callable[[], T],
        close: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        self._make = make
        self._close = close
        self._things: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The running loop's thing, made when it is first asked for."""
        loop = asyncio.get_running_loop()
        thing = self._things.get(loop)
        if thing is None:
            # A thing knows its loop, so a weak dictionary would keep both for ever.
            for ended in [other for other in list(self._things) if other.is_closed()]:
                del self._things[ended]
            thing = self._things[loop] = self._make()
        return thing

    async def aclose(self) -> None:
        """Close the running loop's thing; the next `get` makes a new one."""
        thing = self._things.pop(asyncio.get_running_loop(), None)
        if thing is not None and self._close is not None:
            await self._close(thing)
