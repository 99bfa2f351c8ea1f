"""Slots for requests in flight, whose number adapts to the server."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from time import monotonic
from typing import NamedTuple, TypeAlias

FIRST = 8
"""Requests in flight at the start, where the configuration does not say how many."""
AIM = 0.85
"""Share of the timeout that the slowest answer may take after the number in flight has grown."""
Sending: TypeAlias = tuple[int, int, int, float]
"""A request that was sent: its number, those in flight before it, the answers before it, and its
time on the clock of `time.monotonic`."""


class Lateness(NamedTuple):
    """A request that has ended too late.

    Attributes:
        ahead: Requests that were in flight when it was sent.
        answered: Answers since then.
    """

    ahead: int
    answered: int

    @property
    def was_queued(self) -> bool:
        """Whether it waited for others: the server answered, but not as many as were before it."""
        return 0 < self.answered < self.ahead

    def __str__(self) -> str:
        """The rest of the error's message."""
        if self.was_queued:
            others = f"{self.answered} of the {self.ahead} requests before it were answered"
            return f"; {others}, so it waited in the server's queue (max_concurrency)"
        others = f"{self.answered} others were answered meanwhile"
        return f"; {others}, so this one is too slow by itself: raise timeout, or limit max_tokens"


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

    Their number adapts to the server. It grows after a round of answers, as many as there are
    slots, if all slots were in use. After a 429 it is halved, and grows by one a round (additive
    increase, multiplicative decrease, as in TCP). Otherwise it is at most doubled, and only as far
    as answers would still be in time if each waited for all others.

    A request that ends without an answer while fewer are answered than were sent before it has
    waited in a queue. The number is lowered then, to half of what was answered in that time; and
    one request alone is sent until it is answered, since some servers go on with what timed out.

    Args:
        maximum: Maximum number of slots.
        timeout: Seconds after which a request times out.
    """

    def __init__(self, maximum: int, *, timeout: float = math.inf) -> None:
        self._maximum = self._first = maximum
        self._timeout = timeout
        self.reset()

    def begin_with(self, slots: int) -> None:
        """Begin with few slots, and adapt their number to the answers."""
        self._first = min(slots, self._maximum)
        self.reset()

    def reset(self) -> None:
        """Free every slot; for the child of a fork, which has no requests in flight."""
        self._lock = threading.Lock()
        self._limit = self._first
        self._taken = self._in_flight = 0
        self._sent = self._answered = 0
        self._waiting: deque[_Waiter] = deque()
        self._slowest = self._slowest_before = 0.0
        self._is_additive = False
        self._resume_at = 0
        self._begin_round(is_new=True)

    @property
    def limit(self) -> int:
        """The present number of slots."""
        return self._limit

    @property
    def aim(self) -> int:
        """The number of slots after the next answer, where one request alone is sent first."""
        return max(self._limit, self._resume_at)

    @property
    def in_flight(self) -> int:
        """Requests that were sent and have not ended."""
        return self._in_flight

    async def acquire(self) -> None:
        """Take a slot, waiting until one is free."""
        with self._lock:
            if self._taken < self._limit and not self._waiting:
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

    def send(self) -> Sending:
        """Note that a request is sent with a slot."""
        with self._lock:
            self._sent += 1
            ahead = self._in_flight
            self._in_flight = ahead + 1
            if ahead + 1 >= self._limit:
                self._was_full = True
            return self._sent, ahead, self._answered, monotonic()

    def release(self, sending: Sending | None = None) -> None:
        """Give a slot back.

        Args:
            sending: The request that was sent with it, if one was.
        """
        with self._lock:
            self._taken -= 1
            if sending is not None:
                self._in_flight -= 1
            self._grant()

    def answer(self, sending: Sending | None, now: float) -> None:
        """Adapt the slots to an answer.

        Args:
            sending: The request; `None` for one that was refused, whose time says nothing.
            now: The time, on the clock of `time.monotonic`.
        """
        with self._lock:
            self._answered += 1
            if sending is None or sending[0] <= self._round_from:
                return  # it was sent with another number of others
            self._slowest = max(self._slowest, now - sending[3])
            self._left -= 1
            if self._left > 0 and not self._resume_at:
                return
            limit = self._limit
            if self._resume_at:
                self._limit, self._resume_at = max(limit, self._resume_at), 0
            elif self._was_full and limit < self._maximum:
                self._limit = self._grown()
            self._begin_round(is_new=self._limit != limit)
            self._grant()

    def shrink(self) -> None:
        """Halve the number of slots, because the server has asked for fewer requests."""
        with self._lock:
            self._is_additive = True
            self._limit, self._resume_at = max(1, self._limit // 2), self._resume_at // 2
            self._begin_round(is_new=True)

    def time_out(self, sending: Sending, seconds: float, *, is_certain: bool) -> Lateness | None:
        """Adapt the slots to a request that has ended without an answer.

        Args:
            sending: The request.
            seconds: Seconds that it took.
            is_certain: Whether it took too long; otherwise it may have failed for another reason,
                and counts only if it took longer than the answers of late.

        Returns:
            The requests before it and the answers since; `None` if it was not too late.
        """
        number, ahead, answered, _ = sending
        with self._lock:
            if not is_certain and not 0 < max(self._slowest, self._slowest_before) < seconds:
                return None
            lateness = Lateness(ahead, self._answered - answered)
            if number <= self._round_from:
                return lateness  # it was sent before the number was lowered for another one
            if lateness.was_queued:
                if not is_certain:  # the limit of a proxy
                    self._timeout = min(self._timeout, seconds)
                self._resume_at = min(self._limit, lateness.answered // 2)
                self._limit = 1
                self._begin_round(is_new=True)
            elif not lateness.answered and self._limit > FIRST:
                self._limit = FIRST  # it may answer fewer
                self._begin_round(is_new=True)
            return lateness

    def _grown(self) -> int:
        """The number of slots after a round of answers that used all of them."""
        limit, most = self._limit, self._maximum
        if self._is_additive:
            self._is_additive = limit + 1 < most
            return limit + 1
        at_once = self._slowest / limit  # the share of one request, if they wait for one another
        if at_once * most <= self._timeout / 2:
            return most
        return min(most, 2 * limit, max(limit, int(AIM * self._timeout / at_once)))

    def _begin_round(self, *, is_new: bool) -> None:
        """Begin to count answers; of a new number of slots, only those sent from now on."""
        if is_new:
            self._round_from = self._sent
        self._left = self._limit
        self._slowest_before = self._slowest or self._slowest_before
        self._slowest = 0.0
        self._was_full = False

    def _grant(self) -> None:
        while self._waiting and self._taken < self._limit:
            waiter = self._waiting.popleft()
            waiter.granted = True
            try:
                waiter.grant()
            except RuntimeError:  # its event loop was closed
                continue
            self._taken += 1
