"""Progress of a run on stderr: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from chainette.pipeline.chain import Chain
from chainette.run.events import Observer
from chainette.types import Usage

EVERY = 2.0
"""Seconds between plain lines."""


def progress() -> Observer:
    """The display that fits where stderr goes."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


class LiveProgress(Observer):
    """A bar for each step."""

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}", style="red"),
            Elapsed(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Draw the bars."""
        for step in chain.nodes.values():
            title = f"{step.emoji} {step.name}".strip().replace("[", r"\[")
            self._tasks[step.id] = self._bars.add_task(title, total=total, failed="")
        self._bars.start()

    def step_finished(self, step_id: str, ok: bool, usage: Usage | None) -> None:
        """Move a bar."""
        task = self._tasks[step_id]
        self._bars.advance(task)
        if not ok:
            self._failed[step_id] = self._failed.get(step_id, 0) + 1
            self._bars.update(task, failed=f"{self._failed[step_id]} failed")

    def run_closed(self) -> None:
        """Leave the bars as they are."""
        self._bars.stop()


class PlainProgress(Observer):
    """One line every few seconds."""

    def __init__(self) -> None:
        self._begun = self._said = perf_counter()
        self._total: int | None = None
        self._done = self._failed = 0

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Say what starts."""
        self._total = total
        steps = " > ".join(chain.main_ids)
        self._say(f"{chain.name}: {steps}")

    def row_finished(self, ok: bool) -> None:
        """Count a row."""
        self._done += 1
        self._failed += not ok
        if perf_counter() - self._said >= EVERY:
            self._said = perf_counter()
            self._say(self._line())

    def run_closed(self) -> None:
        """Say the final count."""
        self._say(self._line())

    def _line(self) -> str:
        of = f"/{self._total}" if self._total is not None else ""
        rate = self._done / max(perf_counter() - self._begun, 1e-9)
        return f"{self._done}{of} rows, {self._failed} failed, {rate:.1f} rows/s"

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201
