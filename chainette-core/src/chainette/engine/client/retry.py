"""Retries: the requests that are sent again, when, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import TypeVar

from chainette.engine.client.limits import Limits
from chainette.engine.config import EngineConfig
from chainette.errors import (
    AuthenticationError,
    EngineDownError,
    EngineError,
    EngineUnreachableError,
    RateLimitError,
)

T = TypeVar("T")
OnRetry = Callable[[EngineError, float], None]
"""Called before a request is sent again, with the reason and the delay in seconds."""

FIRST, LONGEST = 0.5, 30.0
"""Seconds of the first back-off, on average, and of the longest one."""
_DURATION = re.compile(r"([\d.]+)(ms|d|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(slots=True)
class _Failures:
    """The failures of one request so far.

    Attributes:
        since: Time of the first one, on the clock of `time.monotonic`.
        attempts: Attempts so far.
        counted: Those among them that count against `max_retries`.
        keys_refused: Times that the server refused a key that it had accepted before.
    """

    since: float = field(default_factory=monotonic)
    attempts: int = 0
    counted: int = 0
    keys_refused: int = 0


def untold(error: EngineError, seconds: float) -> None:
    """Pass over that a request is sent again."""


class Retry:
    """Sends a request again after a temporary failure.

    Args:
        config: The engine's configuration.
        limits: The engine's limits.
    """

    def __init__(self, config: EngineConfig, limits: Limits) -> None:
        self._max_retries = config.max_retries
        self._patience = config.give_up_after
        self._limits = limits

    async def __call__(self, attempt: Callable[[], Awaitable[T]], on_retry: OnRetry) -> T:
        """Call until it succeeds, or fails for good.

        Args:
            attempt: Sends the request once.
            on_retry: Called before every further attempt.

        Raises:
            EngineError: It failed for good.
            EngineDownError: It did, and so did every other request for `give_up_after` seconds.
        """
        failures: _Failures | None = None
        while True:
            try:
                return await attempt()
            except EngineError as error:
                failures = failures or _Failures()
                failures.attempts += 1
                if self._asks_too_long(error):
                    raise EngineDownError(self._until(error)) from None
                if self._is_hopeless(error, failures) or self._max_retries == 0:
                    raise
                if down := self._is_down(error, failures):
                    raise EngineDownError(down) from None
                if self._is_last(error, failures):
                    raise
                failure = error
            await self._back_off(failure, failures.attempts, on_retry)

    def _is_hopeless(self, error: EngineError, failures: _Failures) -> bool:
        """Whether sending the request again cannot help.

        A key that the server accepted before is tried once more; a second refusal is final.
        """
        if isinstance(error, EngineUnreachableError):
            return failures.attempts == 1 and self._limits.answered_at is None
        if error.transient or not isinstance(error, AuthenticationError):
            return not error.transient
        if self._limits.answered_at is None or not error.is_about_key:
            return True
        failures.keys_refused += 1
        error.final = failures.keys_refused > min(self._max_retries, 1)
        return error.final

    def _asks_too_long(self, error: EngineError) -> bool:
        return error.transient and (error.retry_after or 0.0) > self._patience

    def _until(self, error: EngineError) -> str:
        """The reason to give up on an engine that asks for a long wait, and when to come back."""
        seconds = error.retry_after or 0.0
        message = f"asks to wait {seconds:g} s, which is more than {self._patience:g} s"
        with contextlib.suppress(OverflowError):
            then = datetime.now(timezone.utc) + timedelta(seconds=seconds + 60)
            message += f" (give_up_after); resume after {then:%Y-%m-%d %H:%M} UTC"
        return f"{message}; last: {error}"

    def _is_down(self, error: EngineError, failures: _Failures) -> str:
        """The reason to give up on the engine, or an empty string."""
        patience = f"{self._patience:g} s (give_up_after)"
        answered_at = self._limits.answered_at
        is_silent = answered_at is None or answered_at < failures.since
        if self._is_patient(error) and is_silent and not self._has_time(failures):
            return f"no answer for {patience}; last: {error}"
        return ""

    def _is_last(self, error: EngineError, failures: _Failures) -> bool:
        """Whether a failure is the last one.

        Only `max_retries` failures are retried. Those of the engine as a whole do not count, and
        neither do those of a queue, which gets shorter.
        """
        if error.is_queued:
            return False
        is_asked_for = isinstance(error, RateLimitError) or error.is_loading
        if self._is_patient(error) and (is_asked_for or self._has_time(failures)):
            return not self._has_time(failures)
        failures.counted += 1
        return failures.counted > self._max_retries

    def _is_patient(self, error: EngineError) -> bool:
        """Whether the failure is the engine's own, not the request's.

        The engine asks for fewer requests or loads its model, or it was there before and is gone.
        """
        is_unanswered = self._limits.failures > self._max_retries + 1  # in a row
        is_gone = isinstance(error, EngineUnreachableError) or is_unanswered
        was_there = self._limits.answered_at is not None
        is_asked_for = isinstance(error, RateLimitError) or error.is_loading
        return is_asked_for or (is_gone and was_there)

    def _has_time(self, failures: _Failures) -> bool:
        return monotonic() - failures.since < self._patience

    async def _back_off(self, error: EngineError, attempts: int, on_retry: OnRetry) -> None:
        """Wait before the next attempt."""
        delay = _delay(error, attempts)
        if isinstance(error, RateLimitError) or error.retry_after is not None:
            self._limits.pause(delay)
        self._limits.backing_off += 1
        try:
            on_retry(error, delay)
            await asyncio.sleep(delay)
        finally:
            self._limits.backing_off -= 1


def _delay(error: EngineError, attempts: int) -> float:
    """Seconds until the next attempt: exponential with full jitter, or what the server asks for."""
    if error.retry_after is not None:
        return error.retry_after + random.uniform(0, 0.1)  # noqa: S311
    longest = min(LONGEST, FIRST * 2 ** min(attempts, 10))
    return random.uniform(0, longest)  # noqa: S311


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
        seconds = duration(headers.get(f"x-ratelimit-reset-{kind}"))
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


def duration(value: str | None) -> float | None:
    """Seconds from `6m0s`, `250ms`, a number, or a time of the Unix clock.

    Args:
        value: The text, or `None`.

    Returns:
        The seconds, or `None` where it is something else.
    """
    if value is None:
        return None
    number = _number(value, 1.0)
    if number is not None:
        number = number / 1000 if number > 1e11 else number  # OpenRouter's has milliseconds
        return max(0.0, number - time()) if number > 1e9 else number
    parts = _DURATION.findall(value)
    if not parts or "".join(amount + unit for amount, unit in parts) != value:
        return None
    amounts = [_number(amount, _SECONDS[unit]) for amount, unit in parts]
    return sum(amount or 0.0 for amount in amounts)
