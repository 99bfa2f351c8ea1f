"""Progress of a run on stderr: live on a terminal, plain lines or JSON elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from chainette.cli.run_stats import RunStats, rate
from chainette.events import (
    Event,
    GroupFinished,
    Listener,
    NodeFailed,
    NodeRetried,
    RowFinished,
    RunClosed,
    RunStarted,
)
from chainette.text import escaped, printable

EVERY = 2.0
"""Seconds between plain lines."""


def progress(stats: RunStats, *, as_json: bool = False) -> Listener:
    """The display for stderr: JSON lines, bars on a terminal, or plain lines."""
    if as_json:
        return JsonProgress(stats)
    return LiveProgress(stats) if sys.stderr.isatty() else PlainProgress(stats)


class _Bars(Progress):
    """Bars that show the counts of a run whenever they are drawn.

    Args:
        stats: Counts of the run.
    """

    def __init__(self, stats: RunStats) -> None:
        self._stats = stats
        self._bars: dict[str, TaskID] = {}
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[in_flight]}"),
            TextColumn("{task.fields[speed]}", style="dim"),
            TextColumn("{task.fields[failed]}", style="red"),
            Remaining(elapsed_when_finished=True),
            console=Console(stderr=True),
        )

    def add_bar(self, id: str, title: str, total: int | None) -> None:
        """Add a bar for a node, or for the rows, which have no id."""
        title = escape(escaped(title))
        self._bars[id] = self.add_task(title, total=total, in_flight="", failed="", speed="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Update the bars and draw them."""
        for id, bar in self._bars.items():
            self.update(bar, **self._node(id) if id else self._rows())
        yield from super().get_renderables()

    def _node(self, id: str) -> dict[str, Any]:
        node = self._stats.nodes[id]
        return {
            "completed": node.done + node.failed,
            **({"total": node.total} if node.total is not None else {}),
            "in_flight": f"{node.in_flight} in flight" if node.in_flight else "",
            "speed": node.speed(self._stats.seconds) if node.done else "",
            "failed": f"{node.failed} failed" if node.failed else "",
        }

    def _rows(self) -> dict[str, Any]:
        stats = self._stats
        return {
            "completed": stats.rows,
            "speed": f"{rate(stats.rows, stats.seconds)}/s{stats.cost()}",
            "failed": f"{stats.failed} failed" if stats.failed else "",
        }


class LiveProgress:
    """A listener that draws a bar for each node, and one for the rows.

    Args:
        stats: Counts of the run.
    """

    def __init__(self, stats: RunStats) -> None:
        self._bars = _Bars(stats)

    def __call__(self, event: Event) -> None:
        """Start and stop drawing."""
        match event:
            case RunStarted():
                for node in event.nodes:
                    total = None if node.on_groups else event.total
                    self._bars.add_bar(node.id, node.title, total)
                self._bars.add_bar("", "rows", event.total)
                self._bars.start()
            case RunClosed():
                self._bars.stop()


class PlainProgress:
    """A listener that prints one line every few seconds.

    Args:
        stats: Counts of the run.
    """

    def __init__(self, stats: RunStats) -> None:
        self._stats = stats
        self._printed_at = perf_counter()

    def __call__(self, event: Event) -> None:
        """Print the nodes at the start, then the state every few seconds and at the end."""
        match event:
            case RunStarted():
                main = [node.id for node in event.nodes if node.in_main_flow]
                _print(f"{event.chain}: {' > '.join(main)}")
            case RowFinished() | GroupFinished() if self._is_due():
                _print(self._stats.line())
            case RunClosed():
                _print(self._stats.line())

    def _is_due(self) -> bool:
        is_due = perf_counter() - self._printed_at >= EVERY
        if is_due:
            self._printed_at = perf_counter()
        return is_due


class JsonProgress(PlainProgress):
    """A listener that prints JSON lines: start, retries, failures, progress, end."""

    def __call__(self, event: Event) -> None:
        """Print one line for events that have one."""
        match event:
            case RunStarted():
                nodes = [node.id for node in event.nodes]
                _print_json("run_started", chain=event.chain, nodes=nodes, rows=event.total)
            case NodeRetried():
                _print_error("retried", event, seconds=round(event.seconds, 3))
            case NodeFailed():
                _print_error("failed", event)
            case RowFinished() | GroupFinished() if self._is_due():
                _print_json("progress", **self._stats.state())
            case RunClosed():
                _print_json("run_closed", **self._stats.state())


def _print_error(kind: str, event: NodeRetried | NodeFailed, **more: Any) -> None:
    error = event.error
    _print_json(
        kind,
        node_id=event.node_id or None,
        **({"row_id": event.row_id} if event.group is None else {"group": event.group}),
        item=event.item or None,
        engine=getattr(error, "engine", None),
        type=type(error).__name__,
        message=printable(str(error)),
        **more,
    )


def _print_json(kind: str, **fields: Any) -> None:
    _print(json.dumps({"event": kind, **fields}, ensure_ascii=False))


def _print(line: str) -> None:
    print(escaped(line), file=sys.stderr, flush=True)  # noqa: T201
