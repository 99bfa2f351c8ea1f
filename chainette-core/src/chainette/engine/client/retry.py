"""Which requests are sent again, when, and how often."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Any, TypeVar

from chainette.engine.client.limits import Limits
from chainette.engine.config import EngineConfig
from chainette.errors import EngineDownError, EngineError, EngineUnreachableError, RateLimitError

T = TypeVar("T")
OnRetry = Callable[[EngineError, float], None]
"""Is told why a request is sent again, and in how many seconds."""

FIRST, LONGEST = 0.5, 30.0
"""Seconds of the first back-off and of the longest one; each is a random share of its length."""
_DURATION = re.compile(r"([\d.]+)(ms|d|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Retry:
    """Sends requests again that failed in passing.

    Args:
        config: The engine's configuration.
        limits: The engine's limits.
    """

    def __init__(self, config: EngineConfig, limits: Limits) -> None:
        self._most = config.max_retries
        self._patience = config.give_up_after
        self._limits = limits

    async def __call__(self, attempt: Callable[[], Awaitable[T]], on_retry: OnRetry) -> T:
        """Call until it succeeds, or failed for good.

        Raises:
            EngineError: It failed for good.
            EngineDownError: It did, and so did every other request for a long time.
        """
        try:
            return await attempt()
        except EngineError as error:
            never = isinstance(error, EngineUnreachableError) and self._limits.answered_at is None
            if self._most == 0 or not error.transient or never:
                raise
            failed = error
        return await _Course(self._most, self._patience, self._limits, on_retry).go_on(
            attempt, failed
        )


class _Course:
    """The attempts of one request after its first one failed."""

    def __init__(self, most: int, patience: float, limits: Limits, on_retry: OnRetry) -> None:
        self._most, self._patience, self._limits = most, patience, limits
        self._on_retry = on_retry
        self._since = monotonic()
        self._counted = 0
        self._is_down = False

    async def go_on(self, attempt: Callable[[], Awaitable[T]], failed: EngineError) -> T:
        from tenacity import AsyncRetrying, retry_if_exception

        first: EngineError | None = failed

        async def call() -> T:
            nonlocal first
            if first is not None:
                error, first = first, None
                raise error
            return await attempt()

        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            stop=self._stop,
            wait=self._wait,
            before_sleep=self._tell,
            sleep=self._back_off,
            reraise=True,
        )
        try:
            answer: T = await retrying(call)
            return answer
        except EngineError as error:
            if not self._is_down:
                raise
            patience = f"{self._patience:g} s (give_up_after)"
            why = f"no answer for {patience}"
            if error.retry_after is not None and error.retry_after > self._patience:
                why = f"asks to wait {error.retry_after:g} s, which is more than {patience}"
            raise EngineDownError(f"{why}; last: {error}") from None

    def _stop(self, state: Any) -> bool:
        """Whether a failure is the last one.

        Of most failures only so many are let pass. Not so of those that are the engine's own, not
        the request's: that it asks for fewer requests, or that it was there and is gone.
        """
        error = state.outcome.exception()
        answered_at = self._limits.answered_at
        if error.retry_after is not None and error.retry_after > self._patience:
            self._is_down = True
            return True
        unanswered = self._limits.failures > self._most + 1  # in a row: it is not this request
        gone = isinstance(error, EngineUnreachableError) or unanswered
        if isinstance(error, RateLimitError) or (gone and answered_at is not None):
            if monotonic() - self._since < self._patience:
                return False
            self._is_down = answered_at is None or answered_at < self._since
            return True
        self._counted += 1
        return self._counted > self._most

    def _wait(self, state: Any) -> float:
        """Seconds until the next attempt: exponential with full jitter, or what the server asks."""
        error = state.outcome.exception()
        longest = min(LONGEST, FIRST * 2 ** min(state.attempt_number, 10))
        delay = random.uniform(0, longest)  # noqa: S311
        if error.retry_after is not None:
            delay = error.retry_after + random.uniform(0, 0.1)  # noqa: S311
        return delay

    async def _back_off(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            self._limits.backing_off -= 1

    def _tell(self, state: Any) -> None:
        error, delay = state.outcome.exception(), state.next_action.sleep
        if isinstance(error, RateLimitError) or error.retry_after is not None:
            self._limits.pause(delay)
        self._limits.backing_off += 1
        self._on_retry(error, delay)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, EngineError) and error.transient


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, from the headers of its answer.

    `Retry-After` is seconds or a date (RFC 9110, 10.2.3). `retry-after-ms` and
    `x-ratelimit-reset-*` are those of OpenAI ("Rate limits", fields of the headers) and of servers
    that follow it; of the latter, those of what has run out count, else the longest.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (seconds := _number(headers.get(name), unit)) is not None:
            return seconds
    if (date := headers.get("retry-after")) is not None:
        return _until(date)
    resets: dict[bool, list[float]] = {True: [], False: []}
    for kind in ("requests", "tokens"):
        seconds = _duration(headers.get(f"x-ratelimit-reset-{kind}"))
        if seconds is not None:
            resets[headers.get(f"x-ratelimit-remaining-{kind}") == "0"].append(seconds)
    return max(resets[True] or resets[False], default=None)


def _number(value: str | None, unit: float) -> float | None:
    try:
        seconds = float(value or "") * unit
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _until(date: str) -> float | None:
    try:
        then = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
    return max(0.0, (then - datetime.now(timezone.utc)).total_seconds())


def _duration(value: str | None) -> float | None:
    """Seconds of `6m0s`, of `250ms`, of a number, or of a time of the Unix clock."""
    if value is None:
        return None
    number = _number(value, 1.0)
    if number is not None:
        return max(0.0, number - time()) if number > 1e9 else number
    parts = _DURATION.findall(value)
    if not parts or "".join(amount + unit for amount, unit in parts) != value:
        return None
    amounts = [_number(amount, _SECONDS[unit]) for amount, unit in parts]
    return sum(amount or 0.0 for amount in amounts)
