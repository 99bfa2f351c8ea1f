"""Progress of a run on stderr: live on a terminal, plain lines or JSON elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from chainette.cli.tally import Tally
from chainette.names import printable
from chainette.pipeline.chain import Chain
from chainette.run.events import Observer

EVERY = 2.0
"""Seconds between plain lines."""


def progress(tally: Tally, *, as_json: bool = False) -> Observer:
    """The display that fits where stderr goes."""
    if as_json:
        return JsonProgress(tally)
    return LiveProgress(tally) if sys.stderr.isatty() else PlainProgress(tally)


class _Bars(Progress):
    """Bars that show a tally whenever they are drawn.

    Args:
        tally: Counts what happens.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._bars: dict[str, TaskID] = {}
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[in_flight]}"),
            TextColumn("{task.fields[speed]}", style="dim"),
            TextColumn("{task.fields[failed]}", style="red"),
            Remaining(),
            console=Console(stderr=True),
        )

    def add_bar(self, id: str, title: str, total: int | None) -> None:
        """Add a bar for a node, or for the rows, which have no id."""
        title = title.replace("[", r"\[")
        self._bars[id] = self.add_task(title, total=total, in_flight="", failed="", speed="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Bring the bars up to date, and draw them."""
        for id, bar in self._bars.items():
            self.update(bar, **self._node(id) if id else self._rows())
        yield from super().get_renderables()

    def _node(self, id: str) -> dict[str, Any]:
        node = self._tally.nodes[id]
        return {
            "completed": node.done + node.failed,
            "in_flight": f"{node.in_flight} in flight" if node.in_flight else "",
            "speed": node.speed(self._tally.seconds) if node.done else "",
            "failed": f"{node.failed} failed" if node.failed else "",
        }

    def _rows(self) -> dict[str, Any]:
        tally = self._tally
        return {
            "completed": tally.rows,
            "speed": f"{tally.rows / tally.seconds:.1f}/s{tally.cost()}",
            "failed": f"{tally.failed} failed" if tally.failed else "",
        }


class LiveProgress(Observer):
    """A bar for each node, and one for the rows.

    Args:
        tally: Counts what happens.
    """

    def __init__(self, tally: Tally) -> None:
        self._bars = _Bars(tally)

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Draw the bars."""
        for id, node in chain.nodes.items():
            self._bars.add_bar(id, f"{node.emoji} {node.name}".strip(), total)
        self._bars.add_bar("", "rows", total)
        self._bars.start()

    def run_closed(self) -> None:
        """Leave the bars as they ended."""
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

    def node_retried(
        self, node_id: str, row_id: int, item: str, error: Exception, seconds: float
    ) -> None:
        """Tell what is sent again."""
        again = round(seconds, 3)
        self._failed("retried", node_id, row_id, item, error, seconds=again)

    def node_failed(self, node_id: str, row_id: int, item: str, error: Exception) -> None:
        """Tell what failed."""
        self._failed("failed", node_id, row_id, item, error)

    def _failed(
        self, event: str, node_id: str, row_id: int, item: str, error: Exception, **more: Any
    ) -> None:
        what = {"step_id": node_id or None, "row_id": row_id, "item": item or None}
        engine = getattr(error, "engine", None)
        self._tell(
            event,
            **what,
            engine=engine,
            type=type(error).__name__,
            message=printable(str(error)),
            **more,
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
