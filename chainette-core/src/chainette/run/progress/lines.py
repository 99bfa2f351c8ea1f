"""Progress of a run as plain lines on stderr."""

from __future__ import annotations

import sys
from time import perf_counter

from chainette.events import Event, GroupFinished, RowFinished, RunClosed, RunStarted
from chainette.run.progress.stats import RunStats
from chainette.text import escaped

EVERY = 2.0
"""Seconds between plain lines."""


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
                print_line(f"{event.chain}: {' > '.join(main)}")
            case RowFinished() | GroupFinished() if self.is_due():
                print_line(self._stats.line())
            case RunClosed():
                print_line(self._stats.line())

    def is_due(self) -> bool:
        """Whether it is time for the next line."""
        is_due = perf_counter() - self._printed_at >= EVERY
        if is_due:
            self._printed_at = perf_counter()
        return is_due


def print_line(line: str) -> None:
    """Print a line to stderr, in which nothing controls the terminal."""
    print(escaped(line), file=sys.stderr, flush=True)  # noqa: T201
