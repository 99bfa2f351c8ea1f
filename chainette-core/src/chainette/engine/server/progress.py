"""Progress of engines that start, for displays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Startup:
    """A moment of a server's start, or of a download before it.

    Attributes:
        what: The activity, such as `starting vllm`.
        detail: Its latest message.
        share: The part that is done, from 0 to 1, or `None` if that is unknown.
        over: Whether it has ended, with or without success.
    """

    what: str
    detail: str = ""
    share: float | None = None
    over: bool = False


_listeners: list[Callable[[Startup], None]] = []


def announce(
    what: str, detail: str = "", share: float | None = None, *, over: bool = False
) -> None:
    """Send a `Startup` to every listener."""
    for listener in _listeners:
        listener(Startup(what, detail, share, over))


@contextmanager
def listening(listener: Callable[[Startup], None]) -> Iterator[None]:
    """Call a function with every `Startup`, from any thread, until the block ends."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
