"""Progress of a run as bars on a terminal."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from chainette.events import Event, RunClosed, RunStarted
from chainette.messages.numbers import duration, rate
from chainette.run.progress.stats import RunStats
from chainette.text import escaped

_logger = logging.getLogger(__name__)

NARROW = 100
"""Columns of a terminal on which less is shown."""
_shown = threading.Lock()
"""Held by the one run that draws; the bars of two would be drawn over each other."""


class _Words(ProgressColumn):
    """A field of a bar, right-aligned numbers first, which is empty where there is nothing to say.

    Args:
        field: Name of the field.
        style: Style of its text.
    """

    def __init__(self, field: str, style: str = "") -> None:
        super().__init__()
        self._field, self._style = field, style

    def render(self, task: Task) -> Text:
        """Render the field."""
        return Text(str(task.fields[self._field]), self._style, no_wrap=True)


class _Bars(Progress):
    """Bars that show the counts of a run whenever they are drawn.

    Args:
        stats: Counts of the run.
    """

    def __init__(self, stats: RunStats) -> None:
        self._stats = stats
        self._bars: dict[str, TaskID] = {}
        console = Console(stderr=True)
        self._is_narrow = console.width < NARROW
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12 if self._is_narrow else 24),
            _Words("count", "progress.download"),
            _Words("in_flight"),
            _Words("failed", "red"),
            _Words("speed", "dim"),
            _Words("left", "progress.remaining"),
            console=console,
            # What the program prints goes above the bars where both are on the terminal, and to
            # its own place where it is piped.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )

    def add_bar(self, id: str, title: str, total: int | None) -> None:
        """Add a bar for a node, or for the rows, which have no id."""
        empty = dict.fromkeys(("count", "in_flight", "failed", "speed", "left"), "")
        most = 20 if self._is_narrow else 40
        title = escaped(title)
        title = title if len(title) <= most else f"{title[: most - 1]}…"
        self._bars[id] = self.add_task(escape(title), total=total, **empty)  # type: ignore[arg-type]

    def fill(self) -> None:
        """Fill the bars of which the total was not known, now that it is."""
        for id, bar in self._bars.items():
            if self.tasks[bar].total is None:
                node = self._stats.nodes[id] if id else None
                done = self._stats.rows if node is None else node.done + node.failed
                self.update(bar, total=max(done, 1), completed=max(done, 1))
                if node is None:
                    self._stats.total = done

    def get_renderables(self) -> Iterable[RenderableType]:
        """Update the bars and draw them."""
        in_flight = self._stats.in_flight
        for id, bar in self._bars.items():
            self.update(bar, **self._node(id, in_flight[id]) if id else self._rows())
        yield from super().get_renderables()
        yield self._sums()

    def _node(self, id: str, in_flight: int) -> dict[str, Any]:
        node = self._stats.nodes[id]
        completed = node.done + node.failed
        total = node.total if node.total is not None else self.tasks[self._bars[id]].total
        speed = node.speed(self._stats.seconds) if node.done else ""
        return {
            "completed": completed,
            "total": total,
            "count": _count(completed, total),
            "in_flight": f"{in_flight:,} in flight" if in_flight else "",
            "failed": f"{node.failed:,} failed" if node.failed else "",
            "speed": speed if not self._is_narrow else speed.partition(" ")[0],
        }

    def _rows(self) -> dict[str, Any]:
        stats = self._stats
        left = stats.seconds_left
        return {
            "completed": stats.rows,
            "count": _count(stats.rows, stats.total),
            "speed": f"{rate(stats.rows, stats.seconds)}/s",
            "failed": f"{stats.failed:,} failed" if stats.failed else "",
            "left": f"{duration(round(left))} left" if left is not None else "",
        }

    def _sums(self) -> Text:
        """The time, tokens and cost so far."""
        stats, usage = self._stats, self._stats.tokens
        tokens = usage.prompt_tokens + usage.completion_tokens
        parts = [duration(stats.seconds), f"{tokens:,} tokens" if tokens else "", stats.cost()[2:]]
        return Text(" · ".join(part for part in parts if part), "dim", no_wrap=True)


def _count(done: int, total: float | None) -> str:
    return f"{done:,}" if total is None else f"{done:,}/{total:,.0f}"


class LiveProgress:
    """A listener that draws a bar for each node, and one for the rows.

    Only one run of a process is drawn at a time.

    Args:
        stats: Counts of the run.
    """

    def __init__(self, stats: RunStats) -> None:
        self._stats = stats
        self._bars: _Bars | None = None

    def __call__(self, event: Event) -> None:
        """Start and stop drawing."""
        if isinstance(event, RunStarted) and _shown.acquire(blocking=False):
            try:
                self._bars = self._started(event)
            except Exception:  # a terminal that cannot be drawn on must not end the run
                _shown.release()
                _logger.debug("the progress is not shown", exc_info=True)
        elif isinstance(event, RunClosed) and self._bars is not None:
            bars, self._bars = self._bars, None
            try:
                if event.status == "finished":
                    bars.fill()
                bars.stop()
            finally:
                _shown.release()

    def _started(self, event: RunStarted) -> _Bars:
        bars = _Bars(self._stats)
        for node in event.nodes:
            bars.add_bar(node.id, node.title, None if node.on_groups else event.total)
        bars.add_bar("", "rows", event.total)
        bars.start()
        return bars
