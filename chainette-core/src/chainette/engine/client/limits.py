"""Limits of an engine: requests in flight, and requests and tokens per minute.

Every thread and every event loop of the process shares the limits of an engine, so nothing here
belongs to a loop: counts are kept under a lock, and a waiting task is woken in its own loop.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from chainette.engine.config import EngineConfig
from chainette.errors import EngineError, OutputError, RequestError
from chainette.types import Message
from chainette.usage import Usage

CHARACTERS_PER_TOKEN = 4
"""Average for English text; the estimate is corrected when the answer arrives."""


class _Waiter:
    """A task that waits for a slot."""

    __slots__ = ("future", "granted", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future = self.loop.create_future()
        self.granted = False

    def grant(self) -> None:
        if self.loop is asyncio.get_running_loop():
            self._wake()  # a thread's wake-up would cost a system call
        else:
            self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Concurrency:
    """Slots for requests in flight, granted in the order of asking.

    Their number adapts to the server: it is halved when the server asks for fewer requests, and
    grows by one for every round of answers (additive increase, multiplicative decrease, as in TCP).

    Args:
        maximum: Maximum number of slots.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.reset()

    def reset(self) -> None:
        """Free every slot; for the child of a fork, which has no requests in flight."""
        self._lock = threading.Lock()
        self._limit = float(self._maximum)
        self._taken = 0
        self._waiting: deque[_Waiter] = deque()

    @property
    def limit(self) -> int:
        """The present number of slots."""
        return int(self._limit)

    async def acquire(self) -> None:
        """Take a slot, waiting until one is free."""
        with self._lock:
            if self._taken < int(self._limit) and not self._waiting:
                self._taken += 1
                return
            waiter = _Waiter()
            self._waiting.append(waiter)
        try:
            await waiter.future
        except BaseException:
            with self._lock:
                if not waiter.granted:
                    self._waiting.remove(waiter)
            if waiter.granted:
                self.release()
            raise

    def release(self) -> None:
        """Give a slot back."""
        with self._lock:
            self._taken -= 1
            self._grant()

    def grow(self) -> None:
        """Add a fraction of a slot, because the server has answered."""
        if self._limit < self._maximum:
            with self._lock:
                self._limit = min(self._maximum, self._limit + 1 / self._limit)
                self._grant()

    def shrink(self) -> None:
        """Halve the number of slots, because the server has asked for fewer requests."""
        with self._lock:
            self._limit = max(1.0, self._limit / 2)

    def _grant(self) -> None:
        while self._waiting and self._taken < int(self._limit):
            waiter = self._waiting.popleft()
            waiter.granted = True
            try:
                waiter.grant()
            except RuntimeError:  # its event loop was closed
                continue
            self._taken += 1


class Rate:
    """A limit per minute, spread evenly, with bursts of one second's worth.

    Args:
        per_minute: The rate; `None` lets everything through.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._per_second = per_minute / 60 if per_minute else math.inf
        self._lock = threading.Lock()
        self._owed, self._then = 0.0, monotonic()

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._per_second != math.inf

    def reserve(self, amount: float) -> float:
        """Reserve an amount, and return the seconds until it may be used."""
        with self._lock:
            now = monotonic()
            self._owed = max(0.0, self._owed - (now - self._then) * self._per_second)
            self._then = now
            wait = max(0.0, self._owed / self._per_second - 1.0)
            self._owed += amount
            return wait

    def correct(self, amount: float) -> None:
        """Add to a reservation, or take away from it."""
        with self._lock:
            self._owed = max(0.0, self._owed + amount)


class Limits:
    """All limits of one engine, and its state as far as it is known.

    Args:
        config: The engine's configuration.

    Attributes:
        slots: Requests in flight.
        answered_at: Time of the last answer, on the clock of `time.monotonic`, or `None`.
        failures: Consecutive attempts without an answer.
        backing_off: Requests that wait to be sent again.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.slots: Concurrency = Concurrency(config.max_concurrency)
        self._requests = Rate(config.requests_per_minute)
        self._tokens = Rate(config.tokens_per_minute)
        self._completion = 0.0
        self._paused_until = 0.0
        self.answered_at: float | None = None
        self.failures: int = 0
        self.backing_off: int = 0
        _all.add(self)

    async def wait(self, messages: Sequence[Message], max_tokens: int | None) -> float:
        """Wait until a request may be sent.

        Args:
            messages: Its conversation.
            max_tokens: Maximum tokens of its completion, if there is a limit.

        Returns:
            The tokens that were reserved for it.
        """
        reserved = delay = 0.0
        if self._requests.is_limited:
            delay = self._requests.reserve(1)
        if self._tokens.is_limited:
            characters = sum(len(message["content"]) for message in messages)
            reserved = characters / CHARACTERS_PER_TOKEN + (self._completion or max_tokens or 0)
            delay = max(delay, self._tokens.reserve(reserved))
        if delay:
            await asyncio.sleep(delay)
        while (left := self._paused_until - monotonic()) > 0:
            # Not all at once, or the server would ask for fewer requests again.
            await asyncio.sleep(left + random.uniform(0, 0.1 + left / 10))  # noqa: S311
        return reserved

    def pause(self, seconds: float) -> None:
        """Send nothing for some seconds, because the server asks for fewer requests."""
        now = monotonic()
        if now >= self._paused_until:  # of many requests refused at the same time, one counts
            self.slots.shrink()
        self._paused_until = max(self._paused_until, now + seconds)

    def answered(self, reserved: float = 0.0, usage: Usage | None = None) -> None:
        """Record an answer.

        Args:
            reserved: The tokens that were reserved for the request.
            usage: The tokens that it took.
        """
        self.answered_at = monotonic()
        self.failures = 0
        self.slots.grow()
        if self._tokens.is_limited and usage is not None:
            length = usage.completion_tokens
            self._completion += (length - self._completion) / (10 if self._completion else 1)
            self._tokens.correct(usage.prompt_tokens + length - reserved)

    def failed(self, error: EngineError) -> None:
        """Record a failed attempt; a request that the engine refused was answered, too."""
        if isinstance(error, RequestError | OutputError):
            self.answered_at = monotonic()
            self.failures = 0
        else:
            self.failures += 1


_all: weakref.WeakSet[Limits] = weakref.WeakSet()


def _reset_all() -> None:
    for limits in list(_all):
        limits.slots.reset()


_at_fork: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _at_fork is not None:
    _at_fork(after_in_child=_reset_all)
