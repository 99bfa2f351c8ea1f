"""Coroutines for callers that have no event loop, or are in the middle of one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


def run_sync(call: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function to its end, in a thread of its own inside a running loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return anyio.run(call)
    done: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            done.append(anyio.run(call))
        except BaseException as error:  # carried over to the calling thread
            failed.append(error)

    thread = threading.Thread(target=work, name="chainette", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
