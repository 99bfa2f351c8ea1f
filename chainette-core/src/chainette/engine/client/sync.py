"""Coroutines for callers that have no event loop, or are in the middle of one."""

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


def run_sync(call: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function to its end, in a thread of its own inside a running loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return anyio.run(call)
    done: list[T] = []
    failed: list[BaseException] = []
    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    async def tracked() -> T:
        tasks.append((asyncio.get_running_loop(), asyncio.current_task()))
        return await call()

    def work() -> None:
        try:
            done.append(anyio.run(tracked))
        except BaseException as error:  # carried over to the calling thread
            failed.append(error)

    thread = threading.Thread(target=work, name="chainette", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:  # Ctrl-C in a notebook's cell: what goes on without it must end, too
        for loop, task in tasks:
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(task.cancel if task else loop.stop)
        thread.join()
        raise
    if failed:
        raise failed[0]
    return done[0]
