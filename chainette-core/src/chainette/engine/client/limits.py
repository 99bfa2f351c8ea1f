"""Limits of an engine: requests in flight, and requests and tokens per minute.

Every thread and every event loop of the process shares the limits of an engine, so nothing here
belongs to a loop: counts are kept under a lock, and a waiting task is woken in its own loop.
"""

from __future__ import annotations

import asyncio
import os
import random
import weakref
from collections.abc import Callable, Sequence
from time import monotonic

from chainette.engine.config import EngineConfig
from chainette.engine.limits.concurrency import Concurrency, Sending
from chainette.engine.limits.rate import Rate
from chainette.errors import (
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    OutputError,
    RequestError,
)
from chainette.types import Message
from chainette.usage import Usage

CHARACTERS_PER_TOKEN = 4
"""Average for English text; the estimate is corrected when the answer arrives."""


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
        self.slots: Concurrency = Concurrency(config.max_concurrency, timeout=config.timeout)
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

    def answered(
        self, reserved: float = 0.0, usage: Usage | None = None, sending: Sending | None = None
    ) -> None:
        """Record an answer.

        Args:
            reserved: The tokens that were reserved for the request.
            usage: The tokens that it took.
            sending: The request.
        """
        self.answered_at = now = monotonic()
        self.failures = 0
        self.slots.answer(sending, now)
        if self._tokens.is_limited and usage is not None:
            length = usage.completion_tokens
            self._completion += (length - self._completion) / (10 if self._completion else 1)
            self._tokens.correct(usage.prompt_tokens + length - reserved)

    def failed(self, error: EngineError, sending: Sending | None = None) -> str:
        """Record a failed attempt; a request that the engine refused was answered, too.

        Args:
            error: The failure; whether others were in front of it, and how many, is added to it.
            sending: The request, if it was sent.

        Returns:
            A warning that fewer requests will be in flight, or an empty string.
        """
        if isinstance(error, RequestError | OutputError):
            self.answered_at = monotonic()
            self.failures = 0
            self.slots.answer(None, 0.0)
            return ""
        self.failures += 1
        is_certain = isinstance(error, EngineTimeoutError)
        if sending is None or not (is_certain or _may_be_late(error)):
            return ""
        seconds, before = monotonic() - sending[3], self.slots.limit
        lateness = self.slots.time_out(sending, seconds, is_certain=is_certain)
        if lateness is not None and lateness.answered:
            error.is_queued = lateness.was_queued
            error.args = (f"{error}{lateness}",)
        if not error.is_queued or self.slots.aim >= before:
            return ""
        return (
            f"requests are not answered within {seconds:.3g} s while others are, with {before} in "
            f"flight; going on with {self.slots.aim}, and more as long as answers come in time"
        )


def _may_be_late(error: EngineError) -> bool:
    """Whether a proxy may have ended a request that took too long.

    It answers 504 or Cloudflare's 524 (Cloudflare docs, "5xx errors"), or closes the connection.
    """
    is_closed = isinstance(error, EngineConnectionError) and not error.unusable
    return is_closed or error.status in (408, 504, 524)


_all: weakref.WeakSet[Limits] = weakref.WeakSet()


def _reset_all() -> None:
    for limits in list(_all):
        limits.slots.reset()


_at_fork: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _at_fork is not None:
    _at_fork(after_in_child=_reset_all)
