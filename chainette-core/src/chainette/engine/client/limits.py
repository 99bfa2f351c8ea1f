"""How much an engine may be asked at a time: one set of limits for a whole process.

Every thread and every event loop that uses an engine shares its limits, so nothing here belongs to
a loop: counts are kept under a lock, and who has to wait is woken in the loop that it waits in.
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
from chainette.errors import EngineError, RequestError
from chainette.types import Message
from chainette.usage import Usage

CHARACTERS_PER_TOKEN = 4
"""Of English text, on average; the estimate is corrected as soon as the answer is there."""


class _Place:
    """One who waits for a place."""

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
    """Places for requests in flight, given away in the order of asking.

    Their number follows the server: half of them after it asked for fewer requests, and one more
    for every so many answers (additive increase, multiplicative decrease, as in TCP).

    Args:
        most: Most places.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.reset()

    def reset(self) -> None:
        """Forget who has a place and who waits; for the child of a fork, which has neither."""
        self._lock = threading.Lock()
        self._limit = float(self._most)
        self._taken = 0
        self._waiting: deque[_Place] = deque()

    @property
    def limit(self) -> int:
        """How many places there are now."""
        return int(self._limit)

    async def acquire(self) -> None:
        """Take a place, once there is one."""
        with self._lock:
            if self._taken < int(self._limit) and not self._waiting:
                self._taken += 1
                return
            place = _Place()
            self._waiting.append(place)
        try:
            await place.future
        except BaseException:
            with self._lock:
                if not place.granted:
                    self._waiting.remove(place)
            if place.granted:
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        with self._lock:
            self._taken -= 1
            self._give()

    def grow(self) -> None:
        """The server has answered."""
        if self._limit < self._most:
            with self._lock:
                self._limit = min(self._most, self._limit + 1 / self._limit)
                self._give()

    def shrink(self) -> None:
        """The server has asked for fewer requests."""
        with self._lock:
            self._limit = max(1.0, self._limit / 2)

    def _give(self) -> None:
        while self._waiting and self._taken < int(self._limit):
            place = self._waiting.popleft()
            place.granted = True
            try:
                place.grant()
            except RuntimeError:  # its event loop was closed
                continue
            self._taken += 1


class Rate:
    """Lets so much through in a minute, evenly, but for a burst of one second's worth.

    Args:
        per_minute: The rate; `None` lets everything through.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._per_second = per_minute / 60 if per_minute else math.inf
        self._lock = threading.Lock()
        self._owed, self._then = 0.0, monotonic()

    @property
    def is_limited(self) -> bool:
        """Whether there is a rate at all."""
        return self._per_second != math.inf

    def reserve(self, amount: float) -> float:
        """Book an amount; returns the seconds until it may be used."""
        with self._lock:
            now = monotonic()
            self._owed = max(0.0, self._owed - (now - self._then) * self._per_second)
            self._then = now
            wait = max(0.0, self._owed / self._per_second - 1.0)
            self._owed += amount
            return wait

    def correct(self, amount: float) -> None:
        """Book more, or less, than was reserved."""
        with self._lock:
            self._owed = max(0.0, self._owed + amount)


class Limits:
    """All limits of one engine, and what is known of its state.

    Args:
        config: The engine's configuration.

    Attributes:
        places: Requests in flight.
        answered_at: When the engine last answered, on the clock of `time.monotonic`, or `None`.
        failures: Attempts in a row that did not get an answer.
        backing_off: Requests that wait to be sent again.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.places = Concurrency(config.max_concurrency)
        self._requests = Rate(config.requests_per_minute)
        self._tokens = Rate(config.tokens_per_minute)
        self._completion = 0.0
        self._paused_until = 0.0
        self.answered_at: float | None = None
        self.failures = 0
        self.backing_off = 0
        _all.add(self)

    async def wait(self, messages: Sequence[Message], most_tokens: int | None) -> float:
        """Wait until a request may be sent.

        Args:
            messages: Its conversation.
            most_tokens: Most tokens of its completion, where that is known.

        Returns:
            The tokens that were booked for it.
        """
        booked = delay = 0.0
        if self._requests.is_limited:
            delay = self._requests.reserve(1)
        if self._tokens.is_limited:
            characters = sum(len(message["content"]) for message in messages)
            booked = characters / CHARACTERS_PER_TOKEN + (self._completion or most_tokens or 0)
            delay = max(delay, self._tokens.reserve(booked))
        if delay:
            await asyncio.sleep(delay)
        while (left := self._paused_until - monotonic()) > 0:
            # Not all at once, or the server would ask for fewer requests again.
            await asyncio.sleep(left + random.uniform(0, 0.1 + left / 10))  # noqa: S311
        return booked

    def pause(self, seconds: float) -> None:
        """Send nothing for a while: the server asks for fewer requests."""
        now = monotonic()
        if now >= self._paused_until:  # of many requests that are refused at once, one counts
            self.places.shrink()
        self._paused_until = max(self._paused_until, now + seconds)

    def answered(self, booked: float = 0.0, usage: Usage | None = None) -> None:
        """The engine has answered.

        Args:
            booked: The tokens that were booked for the request.
            usage: The tokens that it took.
        """
        self.answered_at = monotonic()
        self.failures = 0
        self.places.grow()
        if self._tokens.is_limited and usage is not None:
            seen = usage.completion_tokens
            self._completion += (seen - self._completion) / (10 if self._completion else 1)
            self._tokens.correct(usage.prompt_tokens + seen - booked)

    def failed(self, error: EngineError) -> None:
        """An attempt has failed; one that the engine refused for what it is was answered, too."""
        if isinstance(error, RequestError):
            self.answered_at = monotonic()
            self.failures = 0
        else:
            self.failures += 1


_all: weakref.WeakSet[Limits] = weakref.WeakSet()


def _reset_all() -> None:
    for limits in list(_all):
        limits.places.reset()


_at_fork: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _at_fork is not None:
    _at_fork(after_in_child=_reset_all)
