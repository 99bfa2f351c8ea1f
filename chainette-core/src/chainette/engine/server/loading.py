"""A start that many requests wait for, and one task makes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from chainette.engine.client.per_loop import PerLoop
from chainette.engine.server.progress import announce
from chainette.errors import EngineStartError, EngineTimeoutError
from chainette.text import names_keywords


@dataclass
class _Running:
    task: asyncio.Task[None] | None = None
    waiting: int = 0


@names_keywords
class SharedStart:
    """Work that is done once for all requests that wait for it; its failure is that of all.

    Args:
        work: The work, such as loading a model.

    Attributes:
        is_done: Whether it was done; set it to false where it has to be done again.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._running: PerLoop[_Running] = PerLoop(_Running)
        self.is_done: bool = False

    @property
    def is_running(self) -> bool:
        """Whether requests of this event loop wait for it."""
        return self._running.get().waiting > 0

    async def wait(self) -> None:
        """Do the work, or wait for the task of this event loop that does it."""
        running = self._running.get()
        if running.task is None or running.task.done():
            running.task, running.waiting = asyncio.ensure_future(self._all()), 0
        task = running.task
        running.waiting += 1
        try:
            await asyncio.shield(task)
        finally:
            running.waiting -= 1
            if not running.waiting and not task.done():
                task.cancel()

    async def _all(self) -> None:
        await self._work()
        self.is_done = True


async def load(work: Coroutine[Any, Any, Any], model: str, limit: float) -> None:
    """Load a model with a limit of its own, and tell displays of it.

    Args:
        work: The request that ends when the model is loaded.
        model: Name of the model.
        limit: Maximum seconds, the engine's `load_timeout`.

    Raises:
        EngineStartError: It took longer; to begin again would not end either.
    """
    task = f"loading {model}"
    announce(task)
    try:
        await asyncio.wait_for(work, limit)
    except (EngineTimeoutError, asyncio.TimeoutError):
        message = f"the model {model} was not loaded within {limit:g} s (load_timeout={limit:g})"
        raise EngineStartError(f"{message}: raise load_timeout") from None
    finally:
        announce(task, over=True)
