"""Progress of starting engines: a live line on a terminal, plain lines elsewhere."""

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
    """Show the progress of starting engines on stderr until the block ends."""
    display = _Live() if sys.stderr.isatty() else _Plain()
    with listening(display.show):
        try:
            yield
        finally:
            display.close()


class _Live:
    """One line for each starting engine."""

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
                self._tasks[startup.what] = progress.add_task(
                    escape(printable(startup.what)), detail=""
                )
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
    """One line every few seconds."""

    def __init__(self) -> None:
        self._started_at: dict[str, float] = {}
        self._printed_at: dict[str, float] = {}

    def show(self, startup: Startup) -> None:
        now = monotonic()
        started_at = self._started_at.setdefault(startup.what, now)
        if startup.over:
            self._started_at.pop(startup.what)
            self._printed_at.pop(startup.what, None)
        elif now - self._printed_at.setdefault(startup.what, started_at) >= EVERY:
            self._printed_at[startup.what] = now
            share = "" if startup.share is None else f" {startup.share:.0%}"
            line = f"{startup.what}:{share} {now - started_at:.0f} s, {startup.detail}"
            print(printable(line), file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        pass
