"""Coroutines for synchronous callers, with or without a running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

__all__ = ["run_sync", "timeout"]

T = TypeVar("T")


def _has_loop() -> bool:
    """Whether an event loop runs here; what is called in an `except` block shows its error."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run_sync(call: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function to its end; inside a running loop, in a separate thread."""
    if not _has_loop():
        return anyio.run(call)
    results: list[T] = []
    errors: list[BaseException] = []
    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    async def tracked() -> T:
        tasks.append((asyncio.get_running_loop(), asyncio.current_task()))
        return await call()

    def work() -> None:
        try:
            results.append(anyio.run(tracked))
        except BaseException as error:  # raised again in the calling thread
            errors.append(error)

    thread = threading.Thread(target=work, name="chainette", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:  # Ctrl-C in a notebook's cell: the other thread must end, too
        for loop, task in tasks:
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                loop.call_soon_threadsafe(task.cancel if task else loop.stop)
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]
