"""Downloads that a server makes: how far they are, and when they are begun again."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from chainette.engine.client import retry
from chainette.engine.config import public_url
from chainette.engine.http.event_stream import JSONLines
from chainette.engine.server.progress import announce
from chainette.errors import EngineConnectionError, EngineError, EngineTimeoutError
from chainette.json_bytes import encode
from chainette.text import names_keywords

if TYPE_CHECKING:
    from chainette.engine.http.client import BaseHTTPClient

T = TypeVar("T")
WINDOW = 15.0
"""Seconds over which the speed is measured."""


@names_keywords
class Download:
    """A download of one or more parts that a server makes and reports.

    Displays hear of it: how many bytes are there, of how many, how fast, and the time left.

    Args:
        what: The activity, such as `pulling llama3.2`.

    Attributes:
        furthest: Most bytes of any moment so far.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.furthest: int = 0
        self._parts: dict[str, tuple[int, int]] = {}
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, part: str, done: int, total: int) -> None:
        """Tell displays how far a part is.

        Args:
            part: Name of the part.
            done: Bytes of it that are there.
            total: Bytes of it.
        """
        self._parts[part] = (done, total)
        done = sum(each for each, _ in self._parts.values())
        total = sum(each for _, each in self._parts.values())
        self.furthest = max(self.furthest, done)
        words = [f"{_in_unit(done, total)[0]} of {size(total)}"]
        if done < total and (speed := self._speed(done)):
            words += [f"{_time((total - done) / speed)} left", f"{size(round(speed))}/s"]
        announce(self.what, ", ".join(words), done / total if total else None)

    def _speed(self, done: int) -> float:
        """Bytes in a second of late; 0 while that is unknown."""
        now = monotonic()
        if self._seen and done < self._seen[-1][1]:  # a part was begun again
            self._seen.clear()
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 2:
            self._seen.popleft()
        since, before = self._seen[0]
        return (done - before) / (now - since) if now - since >= 1 else 0.0

    def say(self, status: str) -> None:
        """Tell displays what the server does where that has no bytes, such as a check."""
        announce(self.what, status)

    async def run(self, attempt: Callable[[], Awaitable[T]], max_retries: int) -> T:
        """Download, and begin again after temporary failures.

        Args:
            attempt: Downloads what is missing.
            max_retries: Maximum failures in a row after which no further bytes have come.

        Raises:
            EngineError: It failed for good.
        """
        failures = 0
        try:
            while True:
                before = self.furthest
                try:
                    return await attempt()
                except EngineError as error:
                    failures = 1 if self.furthest > before else failures + 1
                    if not error.transient or failures > max_retries:
                        raise
                    failure = error
                await self._back_off(failure, failures)
        finally:
            announce(self.what, over=True)

    async def _back_off(self, error: EngineError, failures: int) -> None:
        delay = min(retry.LONGEST, retry.FIRST * 2**failures) * random.uniform(0.5, 1)  # noqa: S311
        self._parts.clear()
        self._seen.clear()
        self.say(f"{error}; again in {delay:.0f} s")
        await asyncio.sleep(delay)


async def post_for_lines(
    client: BaseHTTPClient[Any],
    path: str,
    body: Any,
    on_line: Callable[[Any], None],
    *,
    timeout: float,
) -> None:
    """Send a request whose answer is lines of JSON that come while the server works.

    The connection, keys and proxies are the engine's. However many lines there are, none is kept.

    Args:
        client: The engine's client.
        path: Path below its `base_url`.
        body: JSON value to send.
        on_line: Takes the value of every line; what it raises ends the request.
        timeout: Maximum seconds without a byte.

    Raises:
        EngineError: The request failed, as one of `BaseHTTPClient.send`.
    """
    url = client.base_url + path + client.query
    lines = JSONLines(on_line, client.config.max_response_bytes)
    try:
        response = await client._transport.get().send(
            "POST", url, client.headers(), encode(body), timeout=timeout, on_part=lines.take
        )
    except (EngineConnectionError, EngineTimeoutError) as error:
        raise client.connection_error(error, url) from None
    if not 200 <= response.status < 300:
        shown = public_url(url)
        raise client.status_error(response.status, response.body, shown, response.headers)
    lines.take(b"\n")  # the last line may have no end


def size(number: int) -> str:
    """An amount of bytes in words, with two digits or more, such as `2.0 GB`.

    Args:
        number: Bytes.
    """
    return " ".join(_in_unit(number, number))


def _in_unit(number: int, of: int) -> tuple[str, str]:
    """An amount of bytes in the unit of another one, and that unit."""
    amount, whole, units = float(number), float(of), ["B", "kB", "MB", "GB", "TB"]
    while whole >= 999.5 and len(units) > 1:
        amount, whole = amount / 1000, whole / 1000
        units.pop(0)
    is_short = amount < 9.95 and units[0] != "B"
    return f"{amount:.1f}" if is_short else f"{amount:.0f}", units[0]


def _time(seconds: float) -> str:
    minutes = round(seconds) // 60
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    if minutes >= 10:
        return f"{minutes} min"
    return f"{minutes} min {round(seconds) % 60} s" if minutes else f"{round(seconds)} s"
