"""Threads of functions that block until an engine has answered."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.to_thread


class FunctionStopped(BaseException):
    """A function in a thread is given up; no `except Exception` of the function's catches it."""


class CallThreads:
    """The threads of a run's functions that block.

    They have a limit of their own: with that of other threads, those that wait for an engine could
    keep the engine itself from starting.

    Args:
        most: The number of threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, work: Callable[[], Any], cancel: Callable[[], None]) -> Any:
        """Call a function in a thread, and wait for its end even when the run is cancelled.

        Args:
            work: Calls the function.
            cancel: Ends what the thread waits for.
        """
        self._limiter = self._limiter or anyio.CapacityLimiter(self._most)
        thread = _Thread(work)
        try:
            async with self._limiter:
                return await anyio.to_thread.run_sync(
                    thread, limiter=anyio.CapacityLimiter(1), abandon_on_cancel=True
                )
        except FunctionStopped:
            await anyio.sleep_forever()  # what has stopped it cancels this task
        except asyncio.CancelledError:
            cancel()
            with anyio.CancelScope(shield=True):
                await thread.ended()
            raise

    def wait(
        self, loop: asyncio.AbstractEventLoop, ask: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        """Run a coroutine function in the event loop, and block until its end.

        Raises:
            FunctionStopped: It was cancelled.
            RuntimeError: The event loop itself would be blocked.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            raise RuntimeError("calls in a thread cannot be used in the event loop of the run")
        future = asyncio.run_coroutine_threadsafe(ask(), loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise FunctionStopped from None


class _Thread:
    """A call of a function in a thread that may never start.

    Args:
        work: Calls the function.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._end: concurrent.futures.Future[None] | None = None

    def __call__(self) -> Any:
        """Call the function, unless it is no longer wanted."""
        with self._lock:
            if self._is_cancelled:
                raise FunctionStopped
            self._end = concurrent.futures.Future()
        try:
            return self._work()
        finally:
            self._end.set_result(None)

    async def ended(self) -> None:
        """Wait for its end, if it has begun."""
        with self._lock:
            self._is_cancelled = True
        if self._end is not None:
            await asyncio.wrap_future(self._end)
