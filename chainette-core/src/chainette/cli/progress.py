"""Progress of a run on stderr, as the command line shows it: live, plain lines or JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

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
from chainette.run.progress.lines import PlainProgress, print_line
from chainette.run.progress.stats import RunStats
from chainette.text import printable


def progress(stats: RunStats, *, as_json: bool = False) -> Listener:
    """The display for stderr: JSON lines, bars on a terminal, or plain lines."""
    if as_json:
        return JsonProgress(stats)
    if not sys.stderr.isatty():
        return PlainProgress(stats)
    from chainette.run.progress.terminal import LiveProgress

    return LiveProgress(stats)


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
            case RowFinished() | GroupFinished() if self.is_due():
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
    print_line(json.dumps({"event": kind, **fields}, ensure_ascii=False))
