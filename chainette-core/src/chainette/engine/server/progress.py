"""What is being waited for while an engine starts, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Startup:
    """A moment of a server's start, or of a download that precedes it.

    Attributes:
        what: What is going on, such as `starting vllm`.
        detail: What it said last.
        share: How much of it is done, from 0 to 1, where that is known.
        over: Whether it has ended, well or not.
    """

    what: str
    detail: str = ""
    share: float | None = None
    over: bool = False


_listeners: list[Callable[[Startup], None]] = []


def announce(
    what: str, detail: str = "", share: float | None = None, *, over: bool = False
) -> None:
    """Tell whoever listens; see `Startup`."""
    for listener in _listeners:
        listener(Startup(what, detail, share, over))


@contextmanager
def listening(listener: Callable[[Startup], None]) -> Iterator[None]:
    """Have a function called with every `Startup`, from whatever thread, until the block ends."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
