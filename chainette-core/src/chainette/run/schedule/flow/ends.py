"""The ends of rows and of their items, handed on in the order of the items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from chainette.events import RowState
from chainette.reports.result import STATES, Leaf, state_bits
from chainette.run.control import RunControl

Take: TypeAlias = Callable[[Leaf], None]
"""Receives the ends of one flow, in the order of its items."""


class RowRecorder(Protocol):
    """The place where the ends of rows are recorded.

    Attributes:
        waiting: Ends that are held in memory, since those of an earlier row come first.
    """

    waiting: int

    def add(self, row_id: int, leaf: Leaf) -> None:
        """Record the next end of a row."""

    def row_done(self, row_id: int) -> None:
        """Record that a row has no more ends."""


class RowEnds:
    """The ends of one row, on their way to the recorder.

    Args:
        row_id: The row.
        recorder: Records them.
        control: Says whether what is still in flight counts for nothing.

    Attributes:
        error: The error of its first end that has one, or `None`.
    """

    def __init__(self, row_id: int, recorder: RowRecorder, control: RunControl) -> None:
        self._row_id = row_id
        self._recorder = recorder
        self._control = control
        self._bits = 0
        self.error: Exception | None = None

    @property
    def reason(self) -> Exception | None:
        """The reason why all of the row failed, or `None`."""
        return self.error if self.state == "failed" else None

    @property
    def state(self) -> RowState:
        """The state of the row, once it has all its ends."""
        return STATES[self._bits]

    def add(self, leaf: Leaf) -> None:
        """Record the next end, unless the run is over."""
        if self._control.is_over:
            return
        self._bits |= state_bits(leaf)
        self.error = self.error or leaf.error
        self._recorder.add(self._row_id, leaf)


class Backlog:
    """The number of ends that wait for the end of an earlier item.

    Attributes:
        count: The number.
    """

    def __init__(self) -> None:
        self.count: int = 0


class ItemEnds:
    """The ends of a split's items: those of the first item that is not done go on at once.

    Args:
        take: Receives every end, in the order of the items.
        backlog: Counts the ends that wait.
    """

    def __init__(self, take: Take, backlog: Backlog) -> None:
        self._take = take
        self._backlog = backlog
        self._first = 0
        self._waiting: dict[int, list[Leaf]] = {}
        self._done: set[int] = set()

    def add(self, index: int, leaf: Leaf) -> None:
        """Take the next end of an item."""
        if index == self._first:
            self._take(leaf)
        else:
            self._waiting.setdefault(index, []).append(leaf)
            self._backlog.count += 1

    def end(self, index: int) -> None:
        """Let the ends of the next items go on, since an item has no more of them."""
        self._done.add(index)
        while self._first in self._done:
            self._done.remove(self._first)
            self._first += 1
            for leaf in self._waiting.pop(self._first, ()):
                self._backlog.count -= 1
                self._take(leaf)
