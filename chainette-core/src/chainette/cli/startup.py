"""What is shown while an engine starts: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from chainette.engine.server.progress import Startup, listening
from chainette.text import printable

EVERY = 5.0
"""Seconds between plain lines."""


@contextmanager
def startups_shown() -> Iterator[None]:
    """Show on stderr what engines that start are waiting for, until the block ends."""
    shown = _Live() if sys.stderr.isatty() else _Plain()
    with listening(shown.show):
        try:
            yield
        finally:
            shown.close()


class _Live:
    """One line for each start, as long as it lasts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, startup: Startup) -> None:
        with self._lock:
            if startup.over:
                self._end(startup.what)
                return
            progress = self._progress or self._begin()
            if startup.what not in self._tasks:
                self._tasks[startup.what] = progress.add_task(escape(startup.what), detail="")
            share = None if startup.share is None else 100 * startup.share
            progress.update(
                self._tasks[startup.what],
                total=None if share is None else 100,
                completed=share,
                detail=escape(printable(startup.detail)),
            )

    def _begin(self) -> Progress:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        return self._progress

    def _end(self, what: str) -> None:
        task = self._tasks.pop(what, None)
        if self._progress is None or task is None:
            return
        self._progress.remove_task(task)
        if not self._tasks:
            self._progress.stop()
            self._progress = None

    def close(self) -> None:
        with self._lock:
            for what in list(self._tasks):
                self._end(what)


class _Plain:
    """A line every few seconds."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def show(self, startup: Startup) -> None:
        now = monotonic()
        begun = self._begun.setdefault(startup.what, now)
        if startup.over:
            self._begun.pop(startup.what)
            self._said.pop(startup.what, None)
        elif now - self._said.setdefault(startup.what, begun) >= EVERY:
            self._said[startup.what] = now
            done = "" if startup.share is None else f" {startup.share:.0%}"
            line = f"{startup.what}:{done} {now - begun:.0f} s, {printable(startup.detail)}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        pass
