"""Progress of starting engines: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

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


class _Words(ProgressColumn):
    """A field of a task on one line, shortened where the terminal is narrow."""

    def __init__(self, field: str, style: str = "") -> None:
        super().__init__()
        self._field, self._style = field, style

    def render(self, task: Task) -> Text:
        text = str(task.fields[self._field])
        return Text(text, self._style, no_wrap=True, overflow="ellipsis")


class _Share(TimeElapsedColumn):
    """The share that is done, or the time so far where that is unknown."""

    def render(self, task: Task) -> Text:
        if task.fields["share"] is None:
            return super().render(task)
        return Text(f"{task.fields['share']:4.0%}", "progress.percentage")


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
                    "", total=None, what=printable(startup.what), share=None, detail=""
                )
            share = startup.share
            progress.update(
                self._tasks[startup.what],
                total=None if share is None else 1,
                completed=share,
                share=share,
                detail=printable(startup.detail),
            )

    def _begin(self) -> Progress:
        self._progress = Progress(
            _Words("what"),
            BarColumn(bar_width=12, table_column=Column(no_wrap=True)),
            _Share(table_column=Column(no_wrap=True)),
            _Words("detail", style="dim"),
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
