"""Progress of a run on stderr: live on a terminal, plain lines or JSON elsewhere."""

from __future__ import annotations

import json
import sys
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from chainette.cli.tally import Tally
from chainette.names import printable
from chainette.pipeline.chain import Chain
from chainette.run.events import Observer
from chainette.types import Usage

EVERY = 2.0
"""Seconds between plain lines."""


def progress(tally: Tally, *, as_json: bool = False) -> Observer:
    """The display that fits where stderr goes."""
    if as_json:
        return JsonProgress(tally)
    return LiveProgress(tally) if sys.stderr.isatty() else PlainProgress(tally)


class LiveProgress(Observer):
    """A bar for each node.

    Args:
        tally: Counts what happens.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}", style="dim"),
            TextColumn("{task.fields[failed]}", style="red"),
            Remaining(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Draw the bars."""
        for node in chain.nodes.values():
            title = f"{node.emoji} {node.name}".strip().replace("[", r"\[")
            task = self._bars.add_task(title, total=total, failed="", speed="")
            self._tasks[node.id] = task
        self._bars.start()

    def node_finished(self, node_id: str, usage: Usage | None, seconds: float) -> None:
        """Move a bar."""
        speed = self._tally.nodes[node_id].speed(self._tally.seconds)
        self._bars.update(self._tasks[node_id], advance=1, speed=speed)

    def node_failed(self, node_id: str, row_id: int, item: str, error: Exception) -> None:
        """Move a bar, and count the failure beside it."""
        if node_id in self._tasks:
            failed = f"{self._tally.nodes[node_id].failed} failed"
            self._bars.update(self._tasks[node_id], advance=1, failed=failed)

    def run_closed(self) -> None:
        """Leave the bars as they are."""
        self._bars.stop()


class PlainProgress(Observer):
    """One line every few seconds.

    Args:
        tally: Counts what happens.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._said = perf_counter()

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Say what starts."""
        self._say(f"{chain.name}: {' > '.join(chain.main_ids)}")

    def row_finished(self, ok: bool) -> None:
        """Say how far it is, now and then."""
        if perf_counter() - self._said >= EVERY:
            self._said = perf_counter()
            self._say(self._tally.line())

    def run_closed(self) -> None:
        """Say the final count."""
        self._say(self._tally.line())

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201


class JsonProgress(PlainProgress):
    """One JSON object a line: the start, failures, progress every few seconds, the end."""

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Tell what starts."""
        self._tell("run_started", chain=chain.name, nodes=list(chain.nodes), rows=total)

    def node_failed(self, node_id: str, row_id: int, item: str, error: Exception) -> None:
        """Tell what failed."""
        what = {"step_id": node_id or None, "row_id": row_id, "item": item or None}
        engine = getattr(error, "engine", None)
        self._tell(
            "failed",
            **what,
            engine=engine,
            type=type(error).__name__,
            message=printable(str(error)),
        )

    def row_finished(self, ok: bool) -> None:
        """Tell how far it is, now and then."""
        if perf_counter() - self._said >= EVERY:
            self._said = perf_counter()
            self._tell("progress", **self._tally.state())

    def run_closed(self) -> None:
        """Tell the final count."""
        self._tell("run_closed", **self._tally.state())

    def _tell(self, event: str, **fields: Any) -> None:
        self._say(json.dumps({"event": event, **fields}, ensure_ascii=False))
