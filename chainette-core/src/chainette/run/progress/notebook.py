"""Progress of a run as a bar in a notebook: Jupyter, VS Code, Colab.

The bar is an output that is replaced by its id, which every front end of Jupyter can do
(https://jupyter-client.readthedocs.io/en/stable/messaging.html#update-display-data), with and
without widgets.
"""

from __future__ import annotations

import contextvars
import threading
from contextlib import suppress
from html import escape
from typing import Any

from chainette.events import Event, RunClosed, RunStarted
from chainette.run.progress.stats import RunStats
from chainette.text import escaped

EVERY = 0.4
"""Seconds between two states of the bar."""
MAX_NODES = 12
"""Nodes whose counts are shown."""
TRACK = (
    "display:flex;height:6px;border-radius:3px;overflow:hidden;background:rgba(128,128,128,.25);"
    "margin:4px 0;max-width:640px"
)
GOOD, BAD = "#2f9e6e", "#d9534f"


class NotebookProgress:
    """A listener that shows a bar in the cell's output, and replaces it as the run goes on.

    A thread of its own replaces it, so that rows cost nothing.

    Args:
        stats: Counts of the run.
    """

    def __init__(self, stats: RunStats) -> None:
        self._stats = stats
        # The kernel knows by the context which cell an output belongs to.
        self._context = contextvars.copy_context()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._titles: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Start and stop the thread."""
        if isinstance(event, RunStarted):
            self._titles = {node.id: node.title for node in event.nodes[:MAX_NODES]}
            self._thread = threading.Thread(
                target=self._context.run, args=(self._show,), name="chainette-bar", daemon=True
            )
            self._thread.start()
        elif isinstance(event, RunClosed) and self._thread is not None:
            self._is_over.set()
            self._thread.join()

    def _show(self) -> None:
        """Show the bar until the run is over; the run goes on without it."""
        from IPython.display import display

        show: Any = display
        with suppress(Exception):  # whatever the kernel's connection raises
            handle = show(_State(self._stats, self._titles), display_id=True)
            while not self._is_over.wait(EVERY):
                handle.update(_State(self._stats, self._titles))
            handle.update(_State(self._stats, self._titles))


class _State:
    """The state of a run at one time.

    Args:
        stats: Counts of the run.
        titles: The titles of nodes by id.
    """

    def __init__(self, stats: RunStats, titles: dict[str, str]) -> None:
        self._stats, self._titles = stats, titles

    def __repr__(self) -> str:
        """The state as a text, for front ends that show no HTML."""
        return escaped(self._stats.line())

    def _repr_html_(self) -> str:
        stats = self._stats
        share = min(stats.rows / stats.total, 1) if stats.total else None
        parts = stats.parts()
        if share is not None:
            parts.insert(1, f"{share:.0%}")
        words = escape(" · ".join(parts))
        bar = ""
        if share is not None:
            failed = share * stats.failed / stats.rows if stats.rows else 0
            bar = _part(GOOD, share - failed) + (_part(BAD, failed) if failed else "")
            bar = f'<div style="{TRACK}">{bar}</div>'
        return f'<div style="font-variant-numeric:tabular-nums">{bar}{words}{self._nodes()}</div>'

    def _nodes(self) -> str:
        """The counts of the nodes, where there are several."""
        if len(self._titles) < 2:
            return ""
        texts = []
        for id, title in self._titles.items():
            node = self._stats.nodes[id]
            failed = f" ({node.failed:,} failed)" if node.failed else ""
            texts.append(f"{escape(escaped(title[:40]))} {node.done:,}{failed}")
        return f'<div style="opacity:.65;font-size:90%">{" · ".join(texts)}</div>'


def _part(color: str, share: float) -> str:
    return f'<div style="background:{color};width:{share:.1%}"></div>'
