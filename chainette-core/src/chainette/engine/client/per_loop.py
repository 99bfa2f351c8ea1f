"""Resources that belong to one event loop, such as connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from chainette.text import names_keywords

T = TypeVar("T")


@names_keywords
class PerLoop(Generic[T]):
    """One resource for each event loop.

    Threads and loops share a client, but not its connections: each loop has its own.

    Args:
        make: Creates the resource.
        close: Closes it, if that is necessary.
    """

    def __init__(
        self,
        make: Callable[[], T],
        close: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        self._make = make
        self._close = close
        self._resources: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The resource of the running loop, created when it is first asked for."""
        loop = asyncio.get_running_loop()
        resource = self._resources.get(loop)
        if resource is None:
            # A resource refers to its loop, so a weak dictionary would keep both for ever.
            for ended in [other for other in list(self._resources) if other.is_closed()]:
                del self._resources[ended]
            resource = self._resources[loop] = self._make()
        return resource

    async def aclose(self) -> None:
        """Close the resource of the running loop; the next `get` creates a new one."""
        resource = self._resources.pop(asyncio.get_running_loop(), None)
        if resource is not None and self._close is not None:
            await self._close(resource)
